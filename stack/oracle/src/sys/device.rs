//! The TUN device and the socket that sees, with the kernel's times, what leaves by it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{checked, message};

/// Creates a TUN device in the calling thread's network namespace: whole IP packets, no packet information, not
/// blocking. It lives as long as the descriptor.
///
/// # Errors
/// No `/dev/net/tun`, or no CAP_NET_ADMIN.
pub fn open_tun(name: &str) -> io::Result<OwnedFd> {
    // SAFETY: the path is a C string; the descriptor is new and becomes owned at once.
    let tun = unsafe {
        OwnedFd::from_raw_fd(checked(i64::from(libc::open(
            c"/dev/net/tun".as_ptr(),
            libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC,
        )))?)
    };
    // SAFETY: all zeros is a valid `ifreq`; TUNSETIFF reads and writes it alone.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (slot, byte) in request
            .ifr_name
            .iter_mut()
            .zip(name.bytes().take(libc::IFNAMSIZ - 1))
        {
            *slot = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
        checked(i64::from(libc::ioctl(
            tun.as_raw_fd(),
            libc::TUNSETIFF as libc::Ioctl,
            &raw mut request,
        )))?;
    }
    Ok(tun)
}

/// The number of an interface of the calling thread's namespace.
///
/// # Errors
/// There is none of this name.
pub fn index_of(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the name is a C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// A packet socket on interface `index` of the calling thread's namespace, with time stamps.
///
/// # Errors
/// No CAP_NET_RAW.
pub fn watch(index: u32) -> io::Result<OwnedFd> {
    let every = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: no memory is passed; the descriptor is new and becomes owned at once.
    let socket = unsafe {
        OwnedFd::from_raw_fd(checked(i64::from(libc::socket(
            libc::AF_PACKET,
            libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        )))?)
    };
    let set = |name: i32, value: i32| {
        // SAFETY: the value is an `int` of the length given.
        checked(i64::from(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                name,
                (&raw const value).cast(),
                size_of::<i32>() as u32,
            )
        }))
    };
    set(libc::SO_TIMESTAMPNS, 1)?;
    set(libc::SO_RCVBUFFORCE, 64 << 20)?;
    // SAFETY: all zeros is a valid `sockaddr_ll`; the length given is its own.
    unsafe {
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = every;
        address.sll_ifindex = index as i32;
        checked(i64::from(libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )))?;
    }
    Ok(socket)
}

/// A packet that the packet socket saw.
#[derive(Debug)]
pub struct Seen {
    /// When, since 1970.
    pub at: Duration,
    /// It left by the interface (and did not come in).
    pub outgoing: bool,
    /// From the IP header on.
    pub bytes: Vec<u8>,
}

/// The next packet that was seen, by way of `room`; `None` when there is no more.
///
/// # Errors
/// As recvmsg(2).
pub fn next_seen(socket: &OwnedFd, room: &mut [u8]) -> io::Result<Option<Seen>> {
    let mut control = [0u64; 16];
    let mut iov = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    // SAFETY: all zeros are valid values of both structures; every pointer in the message is to memory of the length
    // given beside it, and outlives the call.
    let (count, from, used) = unsafe {
        let mut from: libc::sockaddr_ll = std::mem::zeroed();
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_name = (&raw mut from).cast();
        header.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
        header.msg_iov = &raw mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        let count = libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0);
        (count as i64, from, header.msg_controllen)
    };
    let count = match checked(count) {
        Ok(count) => count as usize,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    let control: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let at = message::decode(&control[..used])
        .into_iter()
        .find(|cmsg| (cmsg.level, cmsg.ty) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS))
        .and_then(|cmsg| {
            Some((
                *cmsg.data.first_chunk::<8>()?,
                *cmsg.data.last_chunk::<8>()?,
            ))
        })
        .map(|(secs, nanos)| {
            Duration::new(u64::from_ne_bytes(secs), u64::from_ne_bytes(nanos) as u32)
        })
        .ok_or_else(|| io::Error::other("a packet without a time stamp"))?;
    Ok(Some(Seen {
        at,
        outgoing: from.sll_pkttype == libc::PACKET_OUTGOING,
        bytes: room[..count].to_vec(),
    }))
}
