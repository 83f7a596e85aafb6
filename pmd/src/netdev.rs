//! What the kernel knows about an interface, asked by `ioctl`: `netdevice(7)`, ethtool, and the attaching of a TAP.
//!
//! `ioctl` and not `/sys/class/net`, because sysfs shows the namespace in which it was mounted. `unsafe` is confined to
//! the four functions that make a system call over a C structure.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::PortError;
#[cfg(feature = "af-xdp")]
use crate::port::MacAddr;

/// `SIOCETHTOOL` of `linux/sockios.h`.
#[cfg(feature = "af-xdp")]
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// `ETHTOOL_GCHANNELS` of `linux/ethtool.h`.
#[cfg(feature = "af-xdp")]
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// An interface of the calling thread's network namespace, by name.
pub(crate) struct NetDev {
    name: String,
    control: OwnedFd,
}

impl NetDev {
    /// Opens the control socket for `name` and sees that the interface exists.
    pub(crate) fn open(name: &str) -> Result<Self, PortError> {
        let flags = SocketFlags::CLOEXEC;
        let control = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)
            .map_err(|errno| system(name, "socket", errno.into()))?;
        let dev = Self {
            name: name.to_owned(),
            control,
        };
        dev.mtu()?;
        Ok(dev)
    }

    /// The largest IP packet in bytes.
    pub(crate) fn mtu(&self) -> Result<usize, PortError> {
        let req = self.ask(libc::SIOCGIFMTU, "ioctl(SIOCGIFMTU)")?;
        // SAFETY: SIOCGIFMTU has filled this member of the union.
        let mtu = unsafe { req.ifr_ifru.ifru_mtu };
        Ok(usize::try_from(mtu).unwrap_or(0))
    }

    /// The kernel's Ethernet address of the interface.
    #[cfg(feature = "af-xdp")]
    pub(crate) fn mac(&self) -> Result<MacAddr, PortError> {
        let req = self.ask(libc::SIOCGIFHWADDR, "ioctl(SIOCGIFHWADDR)")?;
        // SAFETY: SIOCGIFHWADDR has filled this member of the union.
        let addr = unsafe { req.ifr_ifru.ifru_hwaddr };
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(addr.sa_data) {
            *to = from.cast_unsigned();
        }
        Ok(MacAddr(mac))
    }

    /// The interface's number.
    #[cfg(feature = "af-xdp")]
    pub(crate) fn index(&self) -> Result<u32, PortError> {
        let req = self.ask(libc::SIOCGIFINDEX, "ioctl(SIOCGIFINDEX)")?;
        // SAFETY: SIOCGIFINDEX has filled this member of the union.
        let index = unsafe { req.ifr_ifru.ifru_ifindex };
        Ok(index.cast_unsigned())
    }

    /// How many queue pairs are in use (`ethtool -l`); 1 for a driver that does not say.
    #[cfg(feature = "af-xdp")]
    pub(crate) fn queues(&self) -> Result<u32, PortError> {
        let mut channels = EthtoolChannels {
            cmd: ETHTOOL_GCHANNELS,
            ..EthtoolChannels::default()
        };
        let mut req = request(&self.name)?;
        req.ifr_ifru.ifru_data = (&raw mut channels).cast();
        // SAFETY: `ifru_data` points to an `ethtool_channels` whose `cmd` says so, alive and not otherwise borrowed
        // during the call; the kernel writes no more than that structure.
        match unsafe { ioctl(self.control.as_fd(), SIOCETHTOOL, &mut req) } {
            Ok(()) => Ok((channels.combined + channels.rx.max(channels.tx)).max(1)),
            Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(1),
            Err(source) => Err(system(&self.name, "ioctl(ETHTOOL_GCHANNELS)", source)),
        }
    }

    fn ask(&self, number: libc::Ioctl, call: &'static str) -> Result<libc::ifreq, PortError> {
        let mut req = request(&self.name)?;
        // SAFETY: the callers pass SIOCGIF* numbers, which read the name and write the union of an `ifreq`, no more.
        unsafe { ioctl(self.control.as_fd(), number, &mut req) }
            .map_err(|source| system(&self.name, call, source))?;
        Ok(req)
    }
}

/// Makes `tun` (an open `/dev/net/tun`) the TAP interface `name`, which is created when it does not exist.
pub(crate) fn attach_tap(tun: &File, name: &str) -> Result<(), PortError> {
    let mut req = request(name)?;
    // Both flags fit: 0x1002.
    req.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes an `ifreq`.
    unsafe { ioctl(tun.as_fd(), libc::TUNSETIFF as libc::Ioctl, &mut req) }.map_err(|source| {
        let interface = name.to_owned();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => PortError::NoTapPermission { interface },
            Some(libc::EBUSY) => PortError::TapBusy { interface },
            _ => system(name, "ioctl(TUNSETIFF)", source),
        }
    })
}

/// What a system call refused, as an error that names the cure where there is one.
pub(crate) fn system(interface: &str, call: &'static str, source: io::Error) -> PortError {
    let interface = interface.to_owned();
    match source.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => PortError::NoInterface { interface },
        _ => PortError::System {
            interface,
            call,
            source,
        },
    }
}

/// `struct ethtool_channels` of `linux/ethtool.h`.
#[cfg(feature = "af-xdp")]
#[repr(C)]
#[derive(Default)]
struct EthtoolChannels {
    cmd: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// An empty request about `name`.
fn request(name: &str) -> Result<libc::ifreq, PortError> {
    let bytes = name.as_bytes();
    // One byte stays zero: the kernel wants a C string.
    if bytes.is_empty()
        || bytes.len() >= libc::IFNAMSIZ
        || bytes
            .iter()
            .any(|byte| matches!(byte, 0 | b'/' | b' ' | b'\n'))
    {
        return Err(PortError::BadName {
            interface: name.to_owned(),
        });
    }
    // SAFETY: `ifreq` is integers and a union of integers and pointers, for all of which zero is a value.
    let mut req: libc::ifreq = unsafe { core::mem::zeroed() };
    for (to, from) in req.ifr_name.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    Ok(req)
}

/// # Safety
///
/// `number` must be a request whose argument is an `ifreq`, and a pointer inside it must be good for what the request does.
unsafe fn ioctl(fd: BorrowedFd<'_>, number: libc::Ioctl, req: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the caller vouches for the argument.
    if unsafe { libc::ioctl(fd.as_raw_fd(), number, core::ptr::from_mut(req)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
