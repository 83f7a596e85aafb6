//! Why a port cannot be opened, in one sentence that ends with the command that mends it.

use std::io;

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No such interface in this network namespace.
    #[error(
        "interface {interface} does not exist in this network namespace; list them with `ip link`"
    )]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// The name is empty, too long for Linux (15 bytes), or holds a NUL or a slash.
    #[error(
        "`{interface}` cannot be the name of an interface (1 to 15 bytes); list them with `ip link`"
    )]
    BadName {
        /// The name that was asked for.
        interface: String,
    },
    /// AF_XDP or its program was refused with EPERM.
    #[error(
        "no permission to open an AF_XDP socket on {interface}; run as root or grant CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF \
         with `setcap cap_net_admin,cap_net_raw,cap_bpf+ep PROGRAM`"
    )]
    NoXdpPermission {
        /// The interface.
        interface: String,
    },
    /// The kernel was built without AF_XDP.
    #[error(
        "this kernel has no AF_XDP sockets; use one built with CONFIG_XDP_SOCKETS (`zgrep XDP_SOCKETS /proc/config.gz`), or another driver"
    )]
    NoAfXdpInKernel,
    /// Frames of this MTU come in several pieces, which the kernel or the device does not offer.
    #[error(
        "the MTU of {interface} needs frames in several pieces, which takes Linux 6.6 and a device that can; run `ip link set {interface} mtu 1500`"
    )]
    NoMultiBuffer {
        /// The interface.
        interface: String,
    },
    /// The TAP device was refused with EPERM.
    #[error(
        "no permission to open the TAP interface {interface}; run as root or give it to this user with `ip tuntap add dev {interface} mode tap user $USER`"
    )]
    NoTapPermission {
        /// The interface.
        interface: String,
    },
    /// The kernel has no TUN/TAP driver, or the device node is missing.
    #[error("/dev/net/tun is missing; load the driver with `modprobe tun`")]
    NoTunDriver,
    /// A TAP interface of this name is held by another process.
    #[error(
        "the TAP interface {interface} is in use by another process; find it with `fuser /dev/net/tun`"
    )]
    TapBusy {
        /// The interface.
        interface: String,
    },
    /// An MTU that a frame cannot hold.
    #[error(
        "MTU {mtu} of {interface} needs more than the {limit} bytes a frame can hold; run `ip link set {interface} mtu 1500`"
    )]
    MtuTooLarge {
        /// The interface.
        interface: String,
        /// Its MTU in bytes.
        mtu: usize,
        /// The largest MTU that works, in bytes.
        limit: usize,
    },
    /// The driver refused the program because of the MTU of the other end of a veth.
    #[error(
        "the peer of {interface} has an MTU too large for an XDP program; run `ip link set PEER mtu 1500`"
    )]
    PeerMtuTooLarge {
        /// The interface.
        interface: String,
    },
    /// The interface carries the default route and would be taken whole.
    #[error(
        "{interface} carries the default route and taking it whole would cut this machine off; steer addresses only, allow it \
         in the settings, or look with `ip route show default`"
    )]
    DefaultRoute {
        /// The interface.
        interface: String,
    },
    /// A veth whose peer may send on more queues than this end receives on.
    #[error(
        "{interface} has fewer receive queues than its peer has transmit queues; give both the same with `ethtool -L {interface} rx N tx N`"
    )]
    TooFewQueues {
        /// The interface.
        interface: String,
    },
    /// Another XDP program sits on the interface.
    #[error(
        "another XDP program is attached to {interface}; remove it with `ip link set dev {interface} xdp off`"
    )]
    ProgramAttached {
        /// The interface.
        interface: String,
    },
    /// A driver asked for native mode does not have it.
    #[error(
        "the driver of {interface} cannot run an XDP program in native mode ({source}); choose generic mode, or look with `ethtool -i {interface}`"
    )]
    NoNativeMode {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The queue is still bound after the retries.
    #[error(
        "queue {queue} of {interface} is bound by another AF_XDP socket; find its process with `ss --xdp -p`"
    )]
    QueueBusy {
        /// The interface.
        interface: String,
        /// The queue's number.
        queue: u32,
    },
    /// The queue's memory could not be had.
    #[error(
        "no memory for {bytes} bytes of frames for queue {queue} of {interface} ({source}); ask for fewer frames or raise the limit with `ulimit -l unlimited`"
    )]
    NoMemory {
        /// The interface.
        interface: String,
        /// The queue's number.
        queue: u32,
        /// Bytes asked for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// A setting that no device can satisfy.
    #[error("{setting} = {value} is not possible: {why}; change the setting")]
    BadSetting {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        value: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The queues were opened before.
    #[error("the queues of {interface} are open already; open the port again to get new ones")]
    AlreadyOpen {
        /// The interface.
        interface: String,
    },
    /// The steering program was refused by the kernel.
    #[error(
        "the kernel refused the steering program for {interface}: {why}; see `dmesg | tail` and `bpftool prog`"
    )]
    Program {
        /// The interface.
        interface: String,
        /// The loader's words.
        why: String,
    },
    /// Anything else that a system call refused.
    #[error(
        "{call} failed on {interface}: {source}; see `dmesg | tail` and `ip -details link show dev {interface}`"
    )]
    System {
        /// The interface.
        interface: String,
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}
