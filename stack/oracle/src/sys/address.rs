//! `struct sockaddr` as octets and back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use millrace_posix::call::SockAddr;

/// The octets that the kernel reads.
pub fn encode(addr: &SockAddr) -> Vec<u8> {
    match addr {
        SockAddr::V4(v4) => {
            let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
            bytes
        }
        SockAddr::V6(v6) => {
            let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend(v6.flowinfo().to_be_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
            bytes
        }
        SockAddr::Unspec => {
            let mut bytes = (libc::AF_UNSPEC as u16).to_ne_bytes().to_vec();
            bytes.extend([0; 14]);
            bytes
        }
        SockAddr::Raw(bytes) => bytes.clone(),
    }
}

/// What the octets mean; a family that is not known stays as it is.
pub fn decode(bytes: &[u8]) -> SockAddr {
    let family = bytes
        .first_chunk()
        .map(|two| i32::from(u16::from_ne_bytes(*two)));
    let port = |at: &[u8]| u16::from_be_bytes([at[2], at[3]]);
    match family {
        Some(libc::AF_INET) if bytes.len() >= 8 => SockAddr::V4(SocketAddrV4::new(
            Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]),
            port(bytes),
        )),
        Some(libc::AF_INET6) if bytes.len() >= 28 => {
            let mut ip = [0; 16];
            ip.copy_from_slice(&bytes[8..24]);
            let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            SockAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(ip),
                port(bytes),
                u32::from_be_bytes(word(4)),
                u32::from_ne_bytes(word(24)),
            ))
        }
        _ => SockAddr::Raw(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let v4 = SockAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8080));
        let v6 = SockAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 7, 3));
        let other = SockAddr::Raw(vec![1, 0, 47]);
        for addr in [v4, v6, other] {
            assert_eq!(decode(&encode(&addr)), addr);
        }
        assert_eq!(decode(&[2]), SockAddr::Raw(vec![2]));
    }
}
