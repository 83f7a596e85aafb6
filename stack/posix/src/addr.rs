//! `struct sockaddr` as the calls of an AF_INET socket take it.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::call::SockAddr;

/// Octets of `struct sockaddr_in`.
const SOCKADDR_IN: usize = 16;

/// What connect does with an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    To(SocketAddrV4),
    /// AF_UNSPEC.
    Dissolve,
    /// No address of ours: this error, unless the state of the socket has one.
    Unfit(i32),
}

/// The address for bind (Linux `inet_bind`).
///
/// # Errors
/// EINVAL when it is too short, EAFNOSUPPORT for another family; AF_UNSPEC counts as AF_INET with the address 0.
pub(crate) fn for_bind(addr: &SockAddr) -> Result<SocketAddrV4, i32> {
    let bytes = addr.to_bytes();
    if bytes.len() < SOCKADDR_IN {
        return Err(libc::EINVAL);
    }
    let parsed = sockaddr_in(&bytes);
    match family(&bytes) {
        Some(libc::AF_INET) => Ok(parsed),
        Some(libc::AF_UNSPEC) if parsed.ip().is_unspecified() => Ok(parsed),
        _ => Err(libc::EAFNOSUPPORT),
    }
}

/// The address for connect (Linux `__inet_stream_connect`, `tcp_v4_connect`).
///
/// # Errors
/// EINVAL when it is too short for a family.
pub(crate) fn for_connect(addr: &SockAddr) -> Result<Peer, i32> {
    let bytes = addr.to_bytes();
    match family(&bytes) {
        None => Err(libc::EINVAL),
        Some(libc::AF_UNSPEC) => Ok(Peer::Dissolve),
        Some(_) if bytes.len() < SOCKADDR_IN => Ok(Peer::Unfit(libc::EINVAL)),
        Some(libc::AF_INET) => Ok(Peer::To(sockaddr_in(&bytes))),
        Some(_) => Ok(Peer::Unfit(libc::EAFNOSUPPORT)),
    }
}

fn family(bytes: &[u8]) -> Option<i32> {
    let family = bytes.first_chunk::<2>()?;
    Some(i32::from(u16::from_ne_bytes(*family)))
}

/// The first 16 octets, which are there.
fn sockaddr_in(bytes: &[u8]) -> SocketAddrV4 {
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let port = u16::from_be_bytes([at(2), at(3)]);
    SocketAddrV4::new(Ipv4Addr::new(at(4), at(5), at(6), at(7)), port)
}

impl SockAddr {
    /// The bytes of its C structure.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::V4(v4) => {
                let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
                bytes.extend(v4.port().to_be_bytes());
                bytes.extend(v4.ip().octets());
                bytes.resize(SOCKADDR_IN, 0);
                bytes
            }
            Self::V6(v6) => {
                let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
                bytes.extend(v6.port().to_be_bytes());
                bytes.extend(v6.flowinfo().to_be_bytes());
                bytes.extend(v6.ip().octets());
                bytes.extend(v6.scope_id().to_ne_bytes());
                bytes
            }
            Self::Unspec => vec![0; SOCKADDR_IN],
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, SocketAddrV6};

    const HERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);

    #[test]
    fn bind_takes_sockaddr_in() {
        let v6 = SockAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0));
        assert_eq!(for_bind(&SockAddr::V4(HERE)), Ok(HERE));
        assert_eq!(for_bind(&v6), Err(libc::EAFNOSUPPORT));
        assert_eq!(for_bind(&SockAddr::Raw(vec![2, 0, 0])), Err(libc::EINVAL));
        assert!(for_bind(&SockAddr::Unspec).is_ok());
        let mut named = vec![0; 16];
        named[4] = 10;
        assert_eq!(for_bind(&SockAddr::Raw(named)), Err(libc::EAFNOSUPPORT));
    }

    #[test]
    fn connect_looks_at_the_family_first() {
        let raw = |bytes: &[u8]| for_connect(&SockAddr::Raw(bytes.to_vec()));
        assert_eq!(for_connect(&SockAddr::V4(HERE)), Ok(Peer::To(HERE)));
        assert_eq!(raw(&[0]), Err(libc::EINVAL));
        assert_eq!(raw(&[0, 0]), Ok(Peer::Dissolve));
        assert_eq!(raw(&[2, 0, 0, 80]), Ok(Peer::Unfit(libc::EINVAL)));
        assert_eq!(raw(&[10, 0, 0, 80]), Ok(Peer::Unfit(libc::EINVAL)));
        let mut other = [0; 16];
        other[0] = 10;
        assert_eq!(raw(&other), Ok(Peer::Unfit(libc::EAFNOSUPPORT)));
    }
}
