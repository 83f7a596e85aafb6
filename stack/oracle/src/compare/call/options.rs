//! The options of socket(7), tcp(7) and ip(7), and values to give them.

use super::ask::Value;
use Value::{Int, Octets};

/// An option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    /// Its name.
    pub name: &'static str,
    /// Its level.
    pub level: i32,
    /// Its number.
    pub number: i32,
    /// Room for its value, octets.
    pub room: u32,
    /// What it is set to.
    pub values: &'static [Value],
}

const SOCKET: i32 = libc::SOL_SOCKET;
const TCP: i32 = libc::IPPROTO_TCP;
const IP: i32 = libc::IPPROTO_IP;

const FLAG: &[Value] = &[Int(0), Int(1), Int(2)];
const NUMBER: &[Value] = &[Int(-1), Int(0), Int(1), Int(1000), Int(1 << 20)];
const OCTET: &[Value] = &[Int(-1), Int(0), Int(1), Int(64), Int(255), Int(256)];
/// Seconds and microseconds: none, 2.5, a negative number, too many microseconds.
const TIME: &[Value] = &[
    Octets(&[0; 16]),
    Octets(&[2, 0, 0, 0, 0, 0, 0, 0, 0x20, 0xa1, 7, 0, 0, 0, 0, 0]),
    Octets(&[0xff; 16]),
    Octets(&[1, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x42, 0x0f, 0, 0, 0, 0, 0]),
    Int(1),
];
const LINGER: &[Value] = &[
    Octets(&[0; 8]),
    Octets(&[1, 0, 0, 0, 0, 0, 0, 0]),
    Octets(&[1, 0, 0, 0, 5, 0, 0, 0]),
    Octets(&[0, 0, 0, 0, 5, 0, 0, 0]),
    Octets(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
    Int(1),
];
const READ: &[Value] = &[Int(1)];
const NONE: &[Value] = &[];

const fn opt(level: i32, name: &'static str, number: i32, values: &'static [Value]) -> Opt {
    let room = 4;
    Opt {
        name,
        level,
        number,
        room,
        values,
    }
}

const fn wide(
    level: i32,
    name: &'static str,
    number: i32,
    room: u32,
    values: &'static [Value],
) -> Opt {
    Opt {
        name,
        level,
        number,
        room,
        values,
    }
}

/// All of them.
pub const OPTIONS: &[Opt] = &[
    opt(SOCKET, "SO_DEBUG", libc::SO_DEBUG, FLAG),
    opt(SOCKET, "SO_REUSEADDR", libc::SO_REUSEADDR, FLAG),
    opt(SOCKET, "SO_REUSEPORT", libc::SO_REUSEPORT, FLAG),
    opt(SOCKET, "SO_TYPE", libc::SO_TYPE, READ),
    opt(SOCKET, "SO_DOMAIN", libc::SO_DOMAIN, READ),
    opt(SOCKET, "SO_PROTOCOL", libc::SO_PROTOCOL, READ),
    opt(SOCKET, "SO_ACCEPTCONN", libc::SO_ACCEPTCONN, READ),
    opt(SOCKET, "SO_ERROR", libc::SO_ERROR, READ),
    opt(SOCKET, "SO_DONTROUTE", libc::SO_DONTROUTE, FLAG),
    opt(SOCKET, "SO_BROADCAST", libc::SO_BROADCAST, FLAG),
    opt(SOCKET, "SO_SNDBUF", libc::SO_SNDBUF, NUMBER),
    opt(SOCKET, "SO_RCVBUF", libc::SO_RCVBUF, NUMBER),
    opt(SOCKET, "SO_SNDBUFFORCE", libc::SO_SNDBUFFORCE, NUMBER),
    opt(SOCKET, "SO_RCVBUFFORCE", libc::SO_RCVBUFFORCE, NUMBER),
    opt(SOCKET, "SO_BUF_LOCK", 72, OCTET),
    opt(SOCKET, "SO_KEEPALIVE", libc::SO_KEEPALIVE, FLAG),
    opt(SOCKET, "SO_OOBINLINE", libc::SO_OOBINLINE, FLAG),
    opt(SOCKET, "SO_NO_CHECK", libc::SO_NO_CHECK, FLAG),
    opt(SOCKET, "SO_PRIORITY", libc::SO_PRIORITY, NUMBER),
    wide(SOCKET, "SO_LINGER", libc::SO_LINGER, 8, LINGER),
    opt(SOCKET, "SO_PASSCRED", libc::SO_PASSCRED, FLAG),
    opt(SOCKET, "SO_RCVLOWAT", libc::SO_RCVLOWAT, NUMBER),
    opt(SOCKET, "SO_SNDLOWAT", libc::SO_SNDLOWAT, NUMBER),
    wide(SOCKET, "SO_RCVTIMEO", libc::SO_RCVTIMEO, 16, TIME),
    wide(SOCKET, "SO_SNDTIMEO", libc::SO_SNDTIMEO, 16, TIME),
    wide(
        SOCKET,
        "SO_BINDTODEVICE",
        libc::SO_BINDTODEVICE,
        16,
        &[Octets(&[0; 16])],
    ),
    opt(SOCKET, "SO_TIMESTAMP", libc::SO_TIMESTAMP, FLAG),
    opt(SOCKET, "SO_TIMESTAMPNS", libc::SO_TIMESTAMPNS, FLAG),
    opt(
        SOCKET,
        "SO_TIMESTAMPING",
        libc::SO_TIMESTAMPING,
        &[Int(0), Int(8), Int(0x1a), Int(0x9a), Int(1 << 30)],
    ),
    opt(SOCKET, "SO_MARK", libc::SO_MARK, NUMBER),
    opt(SOCKET, "SO_RXQ_OVFL", libc::SO_RXQ_OVFL, FLAG),
    opt(
        SOCKET,
        "SO_PEEK_OFF",
        libc::SO_PEEK_OFF,
        &[Int(-1), Int(0), Int(5)],
    ),
    opt(SOCKET, "SO_BUSY_POLL", libc::SO_BUSY_POLL, NUMBER),
    opt(
        SOCKET,
        "SO_PREFER_BUSY_POLL",
        libc::SO_PREFER_BUSY_POLL,
        FLAG,
    ),
    opt(SOCKET, "SO_LOCK_FILTER", libc::SO_LOCK_FILTER, &[Int(0)]),
    opt(
        SOCKET,
        "SO_MAX_PACING_RATE",
        libc::SO_MAX_PACING_RATE,
        &[Int(-1)],
    ),
    opt(SOCKET, "SO_INCOMING_CPU", libc::SO_INCOMING_CPU, NONE),
    wide(SOCKET, "SO_MEMINFO", 55, 36, READ),
    wide(SOCKET, "SO_COOKIE", 57, 8, READ),
    opt(SOCKET, "SO_ZEROCOPY", libc::SO_ZEROCOPY, FLAG),
    opt(
        SOCKET,
        "SO_TXREHASH",
        74,
        &[Int(-2), Int(-1), Int(0), Int(1), Int(2)],
    ),
    opt(TCP, "TCP_NODELAY", libc::TCP_NODELAY, FLAG),
    opt(
        TCP,
        "TCP_MAXSEG",
        libc::TCP_MAXSEG,
        &[
            Int(0),
            Int(1),
            Int(88),
            Int(536),
            Int(1400),
            Int(32767),
            Int(32768),
        ],
    ),
    opt(TCP, "TCP_CORK", libc::TCP_CORK, FLAG),
    opt(
        TCP,
        "TCP_KEEPIDLE",
        libc::TCP_KEEPIDLE,
        &[Int(0), Int(5), Int(32767), Int(32768)],
    ),
    opt(
        TCP,
        "TCP_KEEPINTVL",
        libc::TCP_KEEPINTVL,
        &[Int(0), Int(5), Int(32767), Int(32768)],
    ),
    opt(
        TCP,
        "TCP_KEEPCNT",
        libc::TCP_KEEPCNT,
        &[Int(0), Int(5), Int(127), Int(128)],
    ),
    opt(
        TCP,
        "TCP_SYNCNT",
        libc::TCP_SYNCNT,
        &[Int(0), Int(5), Int(127), Int(128)],
    ),
    opt(
        TCP,
        "TCP_LINGER2",
        libc::TCP_LINGER2,
        &[Int(-1), Int(0), Int(5), Int(120), Int(121)],
    ),
    opt(
        TCP,
        "TCP_DEFER_ACCEPT",
        libc::TCP_DEFER_ACCEPT,
        &[Int(-1), Int(0), Int(1), Int(60)],
    ),
    opt(
        TCP,
        "TCP_WINDOW_CLAMP",
        libc::TCP_WINDOW_CLAMP,
        &[Int(-1), Int(0), Int(1000), Int(10_000), Int(1 << 20)],
    ),
    opt(
        TCP,
        "TCP_QUICKACK",
        libc::TCP_QUICKACK,
        &[Int(-1), Int(0), Int(1), Int(2), Int(3)],
    ),
    wide(
        TCP,
        "TCP_CONGESTION",
        libc::TCP_CONGESTION,
        16,
        &[
            Octets(b"reno"),
            Octets(b"reno\0"),
            Octets(b"no-such"),
            Octets(b""),
        ],
    ),
    opt(
        TCP,
        "TCP_THIN_LINEAR_TIMEOUTS",
        libc::TCP_THIN_LINEAR_TIMEOUTS,
        FLAG,
    ),
    opt(TCP, "TCP_THIN_DUPACK", libc::TCP_THIN_DUPACK, FLAG),
    opt(TCP, "TCP_USER_TIMEOUT", libc::TCP_USER_TIMEOUT, NUMBER),
    opt(
        TCP,
        "TCP_FASTOPEN",
        libc::TCP_FASTOPEN,
        &[Int(-1), Int(0), Int(5)],
    ),
    opt(
        TCP,
        "TCP_FASTOPEN_CONNECT",
        libc::TCP_FASTOPEN_CONNECT,
        FLAG,
    ),
    opt(
        TCP,
        "TCP_FASTOPEN_NO_COOKIE",
        libc::TCP_FASTOPEN_NO_COOKIE,
        FLAG,
    ),
    wide(
        TCP,
        "TCP_FASTOPEN_KEY",
        libc::TCP_FASTOPEN_KEY,
        32,
        &[Octets(&[7; 16]), Octets(&[7; 15])],
    ),
    opt(TCP, "TCP_TIMESTAMP", libc::TCP_TIMESTAMP, &[Int(1)]),
    opt(TCP, "TCP_NOTSENT_LOWAT", libc::TCP_NOTSENT_LOWAT, NUMBER),
    opt(TCP, "TCP_CC_INFO", libc::TCP_CC_INFO, READ),
    opt(TCP, "TCP_SAVE_SYN", libc::TCP_SAVE_SYN, FLAG),
    opt(TCP, "TCP_INQ", 36, FLAG),
    opt(TCP, "TCP_IS_MPTCP", 43, READ),
    opt(
        TCP,
        "TCP_RTO_MAX_MS",
        44,
        &[Int(0), Int(999), Int(1000), Int(120_000), Int(120_001)],
    ),
    opt(
        IP,
        "IP_TOS",
        libc::IP_TOS,
        &[Int(0), Int(0x10), Int(0xff), Int(-1), Int(256)],
    ),
    opt(IP, "IP_TTL", libc::IP_TTL, OCTET),
    opt(IP, "IP_OPTIONS", libc::IP_OPTIONS, &[Octets(&[])]),
    opt(IP, "IP_RECVOPTS", libc::IP_RECVOPTS, FLAG),
    opt(IP, "IP_RETOPTS", libc::IP_RETOPTS, FLAG),
    opt(IP, "IP_PKTINFO", libc::IP_PKTINFO, FLAG),
    opt(
        IP,
        "IP_MTU_DISCOVER",
        libc::IP_MTU_DISCOVER,
        &[
            Int(-1),
            Int(0),
            Int(1),
            Int(2),
            Int(3),
            Int(4),
            Int(5),
            Int(6),
        ],
    ),
    opt(IP, "IP_MTU", libc::IP_MTU, READ),
    opt(IP, "IP_RECVERR", libc::IP_RECVERR, FLAG),
    opt(IP, "IP_RECVTTL", libc::IP_RECVTTL, FLAG),
    opt(IP, "IP_RECVTOS", libc::IP_RECVTOS, FLAG),
    opt(IP, "IP_FREEBIND", libc::IP_FREEBIND, FLAG),
    opt(IP, "IP_HDRINCL", libc::IP_HDRINCL, FLAG),
    opt(IP, "IP_NODEFRAG", libc::IP_NODEFRAG, FLAG),
    opt(IP, "IP_TRANSPARENT", libc::IP_TRANSPARENT, FLAG),
    opt(IP, "IP_MINTTL", libc::IP_MINTTL, OCTET),
    opt(IP, "IP_MULTICAST_TTL", libc::IP_MULTICAST_TTL, FLAG),
    opt(IP, "IP_RECVORIGDSTADDR", libc::IP_RECVORIGDSTADDR, FLAG),
    opt(
        IP,
        "IP_BIND_ADDRESS_NO_PORT",
        libc::IP_BIND_ADDRESS_NO_PORT,
        FLAG,
    ),
    opt(
        IP,
        "IP_LOCAL_PORT_RANGE",
        51,
        &[Int(0), Int(0x7530_2710), Int(0x2710_7530)],
    ),
    opt(41, "IPV6_V6ONLY", 26, FLAG),
];
