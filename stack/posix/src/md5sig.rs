//! Keys of signed connections as bytes: `struct tcp_md5sig` of `linux/tcp.h`.

use std::net::Ipv4Addr;

use millrace_net::{SockError, SockId, Stack};
use millrace_wire::time::Instant;

/// Option names that libc does not have.
pub(crate) const TCP_MD5SIG: i32 = 14;
pub(crate) const TCP_MD5SIG_EXT: i32 = 32;

/// Octets of the struct: a `sockaddr_storage`, flags, prefix and lengths, an interface, 80 octets of key.
const MD5SIG: usize = 216;
const MD5SIG_PREFIX: u8 = 1;
const MD5SIG_IFINDEX: u8 = 2;

/// TCP_MD5SIG and TCP_MD5SIG_EXT: a `struct tcp_md5sig` (Linux `tcp_v4_parse_md5_keys`).
pub(crate) fn set(
    stack: &mut Stack,
    now: Instant,
    sock: SockId,
    (name, value): (i32, &[u8]),
) -> Result<i64, i32> {
    let sig = value.first_chunk::<MD5SIG>().ok_or(libc::EINVAL)?;
    let family = i32::from(u16::from_ne_bytes([sig[0], sig[1]]));
    let addr = Ipv4Addr::new(sig[4], sig[5], sig[6], sig[7]);
    let (flags, prefix) = (sig[128], sig[129]);
    let len = usize::from(u16::from_ne_bytes([sig[130], sig[131]]));
    let device = sig[132..136] != [0; 4];
    let extended = name == TCP_MD5SIG_EXT;
    // No interface is the master of a routing domain here.
    let foreign = extended && device && flags & MD5SIG_IFINDEX != 0;
    if family != libc::AF_INET || foreign {
        return Err(libc::EINVAL);
    }
    let prefix = if extended && flags & MD5SIG_PREFIX != 0 {
        prefix
    } else {
        32
    };
    let key = sig[136..].get(..len).ok_or(libc::EINVAL)?;
    stack
        .set_md5_key(now, sock, (addr, prefix), key)
        .map(|()| 0)
        .map_err(SockError::errno)
}
