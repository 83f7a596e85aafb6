//! AF_XDP: frames from and to any Linux interface, past the kernel's network stack.
//!
//! | module | what |
//! |---|---|
//! | `port` | the control side: program, queues, what to undo |
//! | `program` | the steering program (`xdp/steer.bpf.c`): loaded, attached, told our addresses |
//! | `sizes`, `open` | what all sockets have in common: sizes, patience, socket options |
//! | `own` | sockets of our own making (the default) |
//! | `xsk_rs` | sockets of the crate xsk-rs, for comparison; no frames in several pieces |
//!
//! The program runs in the driver if that can be (native mode), behind it otherwise (generic mode); frames are
//! read by the device itself if that can be (zero-copy), copied by the kernel otherwise. What was reached is the queue's
//! [`mode`](crate::Queue::mode). Every queue of the device gets a socket, because the device spreads flows over all.
//!
//! The program is attached by a `bpf_link` that only this process holds (Linux 5.9 and later): nothing stays behind, not
//! even after `kill -9`.
//!
//! Threaded NAPI (`echo 1 > /sys/class/net/IF/threaded`) moves the receiving work of a veth off the sender's core. It helps
//! where AF_XDP sockets are at both ends and a core is idle; it is for whoever sets the machine up, and not switched here.
//!
//! On a veth: the peer must send finished checksums (`ethtool -K PEER tx off`), and both ends need as many queues as
//! each other.

mod open;
mod own;
mod port;
mod program;
mod sizes;
mod xsk_rs;

use std::net::Ipv4Addr;

pub use self::port::AfXdpPort;

/// Which packets the steering program gives to us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Steer {
    /// All: the kernel sees nothing of this interface any more.
    All,
    /// IPv4 to these addresses and ARP for them; the rest passes to the kernel. The addresses must be ours alone: the
    /// kernel's end of the interface must not have them.
    Addresses(Vec<Ipv4Addr>),
}

/// Where the steering program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpMode {
    /// In the driver if it can, behind it otherwise.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// Behind the driver (SKB mode).
    Generic,
}

/// Who makes the sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sockets {
    /// We do. Takes an MTU up to 9216, by frames in several pieces.
    #[default]
    Own,
    /// The crate xsk-rs, over libxdp. Takes an MTU up to 3498.
    XskRs,
}

/// What the frames' memory is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pages {
    /// 2 MiB pages.
    Huge,
    /// 4 KiB pages: there were no huge ones, or what is asked for does not fill whole ones.
    Small,
}

/// What to do when the interface carries the default route, and [`Steer::All`] would cut this machine off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DefaultRoute {
    /// Refuse to open the port.
    #[default]
    Refuse,
    /// Take the interface all the same.
    Take,
}

/// Busy polling by the socket (`SO_PREFER_BUSY_POLL`): the device's NAPI runs inside our own poll. For devices with
/// interrupts; a veth ignores it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusyPoll {
    /// Longest time of one busy poll in microseconds.
    pub usecs: u32,
    /// Most frames per busy poll.
    pub budget: u32,
}

/// How to open an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfXdpConfig {
    /// The interface's name.
    pub interface: String,
    /// Which packets are ours.
    pub steer: Steer,
    /// Where the program runs.
    pub mode: XdpMode,
    /// Who makes the sockets.
    pub sockets: Sockets,
    /// Frames per queue that can be received before the next poll: a power of two, 64 to 32768. The receive ring
    /// has this size and the fill ring twice of it; as many frames belong to them. Where frames come in pieces, it is
    /// pieces that are counted.
    pub rx_ring: u32,
    /// Frames per queue that can be under way to the device: a power of two, 64 to 32768. The transmit and completion rings
    /// have this size, and as many frames belong to them; where frames need several pieces, as many pieces.
    pub tx_ring: u32,
    /// Busy polling by the socket; off by default.
    pub busy_poll: Option<BusyPoll>,
    /// Whether the interface of the default route may be taken whole.
    pub default_route: DefaultRoute,
}

impl AfXdpConfig {
    /// The whole of `interface`, native if possible, 2048 frames to receive and 1024 to send per queue.
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            steer: Steer::All,
            mode: XdpMode::Auto,
            sockets: Sockets::default(),
            rx_ring: 2048,
            tx_ring: 1024,
            busy_poll: None,
            default_route: DefaultRoute::Refuse,
        }
    }
}
