//! The calls.

use std::fmt;

use super::options::{OPTIONS, Opt};

/// A value of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// `int`.
    Int(i32),
    /// These octets.
    Octets(&'static [u8]),
}

impl Value {
    /// As the call takes it.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Int(number) => number.to_ne_bytes().to_vec(),
            Self::Octets(octets) => octets.to_vec(),
        }
    }
}

/// An address in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The machine's own address and the question's port.
    Own,
    /// The machine's own address and any port.
    OwnAny,
    /// Every address, with the question's port.
    Wildcard,
    /// An address that is not the machine's, with the question's port.
    Foreign,
    /// The peer.
    Peer,
    /// Another host.
    Other,
    /// A group.
    Group,
    /// All hosts of this link.
    Broadcast,
    /// `AF_UNSPEC`.
    Unspec,
    /// Another family.
    V6,
    /// Four octets of an IPv4 address structure.
    Short,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// bind.
    Bind(To),
    /// connect.
    Connect(To),
    /// listen.
    Listen(i32),
    /// accept4.
    Accept(i32),
    /// recvmsg: octets, room for control messages, flags and their name.
    Recv(usize, usize, i32, &'static str),
    /// recvmsg to nowhere.
    RecvNull(i32),
    /// sendmsg: octets, flags and their name.
    Send(usize, i32, &'static str),
    /// sendmsg with an address.
    SendTo(To),
    /// sendmsg from nowhere.
    SendNull(usize),
    /// shutdown.
    Shutdown(i32),
    /// close.
    Close,
    /// close, having set SO_LINGER to no time at all.
    Abort,
    /// getsockname.
    SockName,
    /// getpeername.
    PeerName,
    /// ioctl.
    Ioctl(u64, i32, &'static str),
    /// fcntl(F_GETFL).
    Flags,
    /// poll for these events only.
    Poll(i16, &'static str),
    /// getsockopt with as much room.
    Get(&'static Opt, u32),
    /// setsockopt.
    Set(&'static Opt, Value),
    /// TCP_INFO.
    Info,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(to) => write!(f, "bind {to:?}"),
            Self::Connect(to) => write!(f, "connect {to:?}"),
            Self::Listen(backlog) => write!(f, "listen {backlog}"),
            Self::Accept(flags) => write!(f, "accept {flags:#x}"),
            Self::Recv(len, 0, _, flags) => write!(f, "recv {len} {flags}"),
            Self::Recv(len, room, _, flags) => write!(f, "recv {len} control {room} {flags}"),
            Self::RecvNull(_) => f.write_str("recv NULL"),
            Self::Send(len, _, flags) => write!(f, "send {len} {flags}"),
            Self::SendTo(to) => write!(f, "send to {to:?}"),
            Self::SendNull(len) => write!(f, "send NULL {len}"),
            Self::Shutdown(how) => write!(f, "shutdown {how}"),
            Self::Close => f.write_str("close"),
            Self::Abort => f.write_str("abort"),
            Self::SockName => f.write_str("getsockname"),
            Self::PeerName => f.write_str("getpeername"),
            Self::Ioctl(_, _, name) => write!(f, "ioctl {name}"),
            Self::Flags => f.write_str("fcntl F_GETFL"),
            Self::Poll(_, name) => write!(f, "poll {name}"),
            Self::Get(opt, room) if *room == opt.room => write!(f, "get {}", opt.name),
            Self::Get(opt, room) => write!(f, "get {} room {room}", opt.name),
            Self::Set(opt, Value::Int(value)) => write!(f, "set {} {value}", opt.name),
            Self::Set(opt, Value::Octets(octets)) => {
                write!(f, "set {} ", opt.name)?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
            Self::Info => f.write_str("TCP_INFO"),
        }
    }
}

/// Flags of recvmsg, and how much it asks for.
const RECV: &[(usize, usize, i32, &str)] = &[
    (4096, 0, 0, "0"),
    (4, 0, 0, "0"),
    (0, 0, 0, "0"),
    (4096, 64, 0, "0"),
    (4096, 0, libc::MSG_PEEK, "PEEK"),
    (4, 0, libc::MSG_PEEK, "PEEK"),
    (0, 0, libc::MSG_PEEK, "PEEK"),
    (4096, 0, libc::MSG_WAITALL, "WAITALL"),
    (4, 0, libc::MSG_WAITALL, "WAITALL"),
    (4096, 0, libc::MSG_WAITALL | libc::MSG_PEEK, "WAITALL|PEEK"),
    (4096, 0, libc::MSG_TRUNC, "TRUNC"),
    (4, 0, libc::MSG_TRUNC, "TRUNC"),
    (4, 0, libc::MSG_TRUNC | libc::MSG_PEEK, "TRUNC|PEEK"),
    (4096, 0, libc::MSG_DONTWAIT, "DONTWAIT"),
    (1, 0, libc::MSG_OOB, "OOB"),
    (0, 0, libc::MSG_OOB, "OOB"),
    (1, 0, libc::MSG_OOB | libc::MSG_PEEK, "OOB|PEEK"),
    (1, 0, libc::MSG_OOB | libc::MSG_TRUNC, "OOB|TRUNC"),
    (4096, 64, libc::MSG_ERRQUEUE, "ERRQUEUE"),
    (4096, 0, libc::MSG_NOSIGNAL, "NOSIGNAL"),
];

/// Flags of sendmsg, and how much it is given.
const SEND: &[(usize, i32, &str)] = &[
    (10, libc::MSG_NOSIGNAL, "NOSIGNAL"),
    (10, 0, "0"),
    (0, 0, "0"),
    (3000, libc::MSG_NOSIGNAL, "NOSIGNAL"),
    (10, libc::MSG_OOB | libc::MSG_NOSIGNAL, "OOB|NOSIGNAL"),
    (1, libc::MSG_OOB | libc::MSG_NOSIGNAL, "OOB|NOSIGNAL"),
    (0, libc::MSG_OOB | libc::MSG_NOSIGNAL, "OOB|NOSIGNAL"),
    (10, libc::MSG_MORE | libc::MSG_NOSIGNAL, "MORE|NOSIGNAL"),
    (1460, libc::MSG_MORE | libc::MSG_NOSIGNAL, "MORE|NOSIGNAL"),
    (0, libc::MSG_MORE | libc::MSG_NOSIGNAL, "MORE|NOSIGNAL"),
    (10, libc::MSG_EOR | libc::MSG_NOSIGNAL, "EOR|NOSIGNAL"),
    (
        10,
        libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        "DONTWAIT|NOSIGNAL",
    ),
    (
        10,
        libc::MSG_DONTROUTE | libc::MSG_NOSIGNAL,
        "DONTROUTE|NOSIGNAL",
    ),
    (
        10,
        libc::MSG_CONFIRM | libc::MSG_NOSIGNAL,
        "CONFIRM|NOSIGNAL",
    ),
    (
        10,
        libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL,
        "FASTOPEN|NOSIGNAL",
    ),
    (10, libc::MSG_PEEK | libc::MSG_NOSIGNAL, "PEEK|NOSIGNAL"),
];

/// Requests of ioctl.
const IOCTL: &[(u64, i32, &str)] = &[
    (0x541b, 77, "SIOCINQ"),
    (0x5411, 77, "SIOCOUTQ"),
    (0x894b, 77, "SIOCOUTQNSD"),
    (0x8905, 77, "SIOCATMARK"),
    (0x5421, 1, "FIONBIO"),
    (0x5499, 77, "unknown"),
];

/// Events of poll.
const POLL: &[(i16, &str)] = &[
    (0, "0"),
    (libc::POLLIN, "IN"),
    (libc::POLLOUT, "OUT"),
    (libc::POLLPRI, "PRI"),
    (libc::POLLRDHUP, "RDHUP"),
    (libc::POLLRDNORM | libc::POLLRDBAND, "RDNORM|RDBAND"),
    (libc::POLLWRNORM | libc::POLLWRBAND, "WRNORM|WRBAND"),
];

/// All of them.
pub fn all() -> Vec<Ask> {
    use To::{Broadcast, Foreign, Group, Other, Own, OwnAny, Peer, Short, Unspec, V6, Wildcard};
    let mut all = Vec::new();
    let binds = [Own, OwnAny, Wildcard, Foreign, Unspec, V6, Short];
    all.extend(binds.map(Ask::Bind));
    all.extend([Peer, Other, Group, Broadcast, Unspec, V6, Short].map(Ask::Connect));
    all.extend([0, 5, -1].map(Ask::Listen));
    all.extend([0, libc::SOCK_NONBLOCK, 1].map(Ask::Accept));
    all.extend(
        RECV.iter()
            .map(|&(n, room, flags, name)| Ask::Recv(n, room, flags, name)),
    );
    all.push(Ask::RecvNull(0));
    all.extend(
        SEND.iter()
            .map(|&(n, flags, name)| Ask::Send(n, flags, name)),
    );
    all.extend([Peer, Other, V6].map(Ask::SendTo));
    all.extend([0, 10].map(Ask::SendNull));
    all.extend([-1, libc::SHUT_RD, libc::SHUT_WR, libc::SHUT_RDWR, 3].map(Ask::Shutdown));
    all.extend([
        Ask::Close,
        Ask::Abort,
        Ask::SockName,
        Ask::PeerName,
        Ask::Flags,
        Ask::Info,
    ]);
    all.extend(
        IOCTL
            .iter()
            .map(|&(request, arg, name)| Ask::Ioctl(request, arg, name)),
    );
    all.extend(POLL.iter().map(|&(events, name)| Ask::Poll(events, name)));
    for opt in OPTIONS {
        all.push(Ask::Get(opt, opt.room));
        all.extend(opt.values.iter().map(|value| Ask::Set(opt, *value)));
    }
    all
}
