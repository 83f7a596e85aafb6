//! socket: which kinds there are (Linux `__sys_socket`, `__sock_create`, `inet_create`).

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;

/// Address families that Linux numbers (`AF_MAX`), and the one that is here.
const AF_MAX: i32 = 46;
const AF_INET: i32 = 2;
/// Socket types that it numbers (`SOCK_MAX`), the bits they take, and the ones that mean something here.
const SOCK_MAX: i32 = 11;
const SOCK_TYPE_MASK: i32 = 0xf;
const SOCK_STREAM: i32 = 1;
const SOCK_PACKET: i32 = 10;
/// `SOCK_NONBLOCK` and `SOCK_CLOEXEC`: of the descriptor, not of the socket.
const SOCK_FLAGS: i32 = 0o4000 | 0o2_000_000;
/// Protocols that it numbers (`IPPROTO_MAX`), and those that are TCP.
const IPPROTO_MAX: i32 = 263;
const IPPROTO_IP: i32 = 0;
const IPPROTO_TCP: i32 = 6;

impl Stack {
    /// socket, with the kernel's numbers: a TCP socket over IPv4, or the error of a kernel that has nothing else.
    /// `SOCK_NONBLOCK` and `SOCK_CLOEXEC` may be set; they are for whoever has descriptors.
    ///
    /// # Errors
    /// EINVAL for a type or protocol that cannot be, EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, and ENFILE when
    /// `Limits::max_sockets` is reached.
    pub fn socket(&mut self, domain: i32, ty: i32, protocol: i32) -> Result<SockId, SockError> {
        if ty & !SOCK_TYPE_MASK & !SOCK_FLAGS != 0 {
            return Err(SockError::Invalid);
        }
        let ty = ty & SOCK_TYPE_MASK;
        if !(0..AF_MAX).contains(&domain) {
            return Err(SockError::AfNotSupported);
        }
        if ty >= SOCK_MAX {
            return Err(SockError::Invalid);
        }
        // The old name of AF_PACKET.
        if domain != AF_INET || ty == SOCK_PACKET {
            return Err(SockError::AfNotSupported);
        }
        if !(0..IPPROTO_MAX).contains(&protocol) {
            return Err(SockError::Invalid);
        }
        match (ty, protocol) {
            (SOCK_STREAM, IPPROTO_IP | IPPROTO_TCP) => self.tcp_socket(),
            (SOCK_STREAM, _) => Err(SockError::ProtocolNotSupported),
            _ => Err(SockError::TypeNotSupported),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    /// Linux 6.18; where that has other families, types and protocols, what it says of absent ones.
    #[test]
    fn kinds() {
        let mut stack = Stack::new(Config::new([1; 32]));
        let cases = [
            ((2, 1, 0), "ok"),
            ((2, 1, 6), "ok"),
            ((2, 1 | 0o4000, 0), "ok"),
            ((2, 1 | 0o2_004_000, 6), "ok"),
            ((2, 1, 17), "EPROTONOSUPPORT"),
            ((2, 1, 132), "EPROTONOSUPPORT"),
            ((2, 1, 262), "EPROTONOSUPPORT"),
            ((2, 1, 263), "EINVAL"),
            ((2, 1, -1), "EINVAL"),
            ((2, 1 | 0o100, 0), "EINVAL"),
            ((2, 0x10_0001, 0), "EINVAL"),
            ((2, 0, 0), "ESOCKTNOSUPPORT"),
            ((2, 2, 17), "ESOCKTNOSUPPORT"),
            ((2, 3, 1), "ESOCKTNOSUPPORT"),
            ((2, 4, 6), "ESOCKTNOSUPPORT"),
            ((2, 5, 132), "ESOCKTNOSUPPORT"),
            ((2, 5, 263), "EINVAL"),
            ((2, 10, 0), "EAFNOSUPPORT"),
            ((2, 10, -1), "EAFNOSUPPORT"),
            ((2, 11, 0), "EINVAL"),
            ((2, -1, 0), "EINVAL"),
            ((0, 1, 0), "EAFNOSUPPORT"),
            ((0, 11, 0), "EINVAL"),
            ((10, 1, 6), "EAFNOSUPPORT"),
            ((10, 11, 6), "EINVAL"),
            ((3, 1, 0), "EAFNOSUPPORT"),
            ((45, 11, 0), "EINVAL"),
            ((46, 1, 0), "EAFNOSUPPORT"),
            ((46, 11, 0), "EAFNOSUPPORT"),
            ((46, -1, 0), "EINVAL"),
            ((-1, 1, 0), "EAFNOSUPPORT"),
            ((100, 11, 0), "EAFNOSUPPORT"),
        ];
        for ((domain, ty, protocol), expected) in cases {
            let made = stack.socket(domain, ty, protocol);
            let got = made.map_or_else(SockError::name, |_| "ok");
            assert_eq!(got, expected, "{domain} {ty:#x} {protocol}");
        }
        assert_eq!(stack.census().sockets, 4);
    }
}
