//! System calls as values, in Linux's numbers (x86-64): what a program asks, and what it gets.

use std::net::{SocketAddrV4, SocketAddrV6};

/// A file descriptor.
pub type Fd = i32;

/// A socket address as a call's argument or result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SockAddr {
    /// `struct sockaddr_in`.
    V4(SocketAddrV4),
    /// `struct sockaddr_in6`.
    V6(SocketAddrV6),
    /// `AF_UNSPEC`: dissolves an association in `connect`.
    Unspec,
    /// Any other bytes, `sa_family` first.
    Raw(Vec<u8>),
}

/// Memory that a call reads or fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Buffer<T> {
    /// There is some.
    Given(T),
    /// A null pointer with this length: EFAULT once it is touched.
    Null(usize),
}

/// One control message (`struct cmsghdr` and its data).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmsg {
    /// `cmsg_level`.
    pub level: i32,
    /// `cmsg_type`.
    pub ty: i32,
    /// The data, without the header and its padding.
    pub data: Vec<u8>,
}

/// One entry of `poll`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollFd {
    /// The descriptor; negative ones are skipped.
    pub fd: Fd,
    /// What is asked for, `POLL*`.
    pub events: i16,
}

/// `struct epoll_event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpollEvent {
    /// `EPOLL*`.
    pub events: u32,
    /// The program's own value.
    pub data: u64,
}

/// What a program asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// socket(2).
    Socket {
        /// `AF_*`.
        domain: i32,
        /// `SOCK_*`, with `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
        ty: i32,
        /// `IPPROTO_*`.
        protocol: i32,
    },
    /// bind(2).
    Bind {
        /// The socket.
        fd: Fd,
        /// The address.
        addr: SockAddr,
    },
    /// listen(2).
    Listen {
        /// The socket.
        fd: Fd,
        /// Most complete connections that wait; negative is very many, as in the kernel.
        backlog: i32,
    },
    /// accept4(2); gives [`Out::Addr`].
    Accept {
        /// The listener.
        fd: Fd,
        /// `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
        flags: i32,
    },
    /// connect(2).
    Connect {
        /// The socket.
        fd: Fd,
        /// The peer.
        addr: SockAddr,
    },
    /// shutdown(2).
    Shutdown {
        /// The socket.
        fd: Fd,
        /// `SHUT_*`.
        how: i32,
    },
    /// close(2).
    Close {
        /// The descriptor.
        fd: Fd,
    },
    /// read, readv, recv, recvfrom and recvmsg; gives [`Out::Msg`].
    Recv {
        /// The socket.
        fd: Fd,
        /// Room for data, octets.
        room: Buffer<usize>,
        /// Room for control messages, octets (`msg_controllen`).
        control_room: usize,
        /// `MSG_*`.
        flags: i32,
    },
    /// write, writev, send, sendto and sendmsg.
    Send {
        /// The socket.
        fd: Fd,
        /// What to send.
        data: Buffer<Vec<u8>>,
        /// Where to, if named.
        to: Option<SockAddr>,
        /// Control messages.
        control: Vec<Cmsg>,
        /// `MSG_*`.
        flags: i32,
    },
    /// getsockopt(2); gives [`Out::Value`].
    GetSockOpt {
        /// The socket.
        fd: Fd,
        /// `SOL_SOCKET`, `IPPROTO_TCP`, `IPPROTO_IP`.
        level: i32,
        /// The option.
        name: i32,
        /// Room for the value, octets (`*optlen`).
        room: u32,
    },
    /// setsockopt(2).
    SetSockOpt {
        /// The socket.
        fd: Fd,
        /// As for `GetSockOpt`.
        level: i32,
        /// The option.
        name: i32,
        /// The value.
        value: Vec<u8>,
    },
    /// getsockname(2); gives [`Out::Addr`].
    GetSockName {
        /// The socket.
        fd: Fd,
    },
    /// getpeername(2); gives [`Out::Addr`].
    GetPeerName {
        /// The socket.
        fd: Fd,
    },
    /// fcntl(2).
    Fcntl {
        /// The descriptor.
        fd: Fd,
        /// `F_GETFL`, `F_SETFL`, `F_GETFD`, `F_SETFD`.
        cmd: i32,
        /// The argument, if any.
        arg: i64,
    },
    /// ioctl(2) with an `int *` argument; gives [`Out::Int`].
    Ioctl {
        /// The socket.
        fd: Fd,
        /// `SIOCINQ`, `SIOCOUTQ`, `SIOCOUTQNSD`, `SIOCATMARK`, `FIONBIO`.
        request: u64,
        /// What stands in the argument.
        arg: i32,
    },
    /// poll(2); gives [`Out::Poll`].
    Poll {
        /// What to look at.
        fds: Vec<PollFd>,
        /// Milliseconds; negative waits for ever.
        timeout: i32,
    },
    /// epoll_create1(2).
    EpollCreate {
        /// `EPOLL_CLOEXEC`.
        flags: i32,
    },
    /// epoll_ctl(2).
    EpollCtl {
        /// The epoll.
        epfd: Fd,
        /// `EPOLL_CTL_*`.
        op: i32,
        /// The descriptor it watches.
        fd: Fd,
        /// Missing only for `EPOLL_CTL_DEL`.
        event: Option<EpollEvent>,
    },
    /// epoll_wait(2); gives [`Out::Epoll`].
    EpollWait {
        /// The epoll.
        epfd: Fd,
        /// Room for so many events.
        max: i32,
        /// Milliseconds; negative waits for ever.
        timeout: i32,
    },
    /// pipe2(2); gives [`Out::Fds`].
    Pipe {
        /// `O_NONBLOCK` and `O_CLOEXEC`.
        flags: i32,
    },
    /// splice(2) between a pipe and a socket.
    Splice {
        /// From.
        from: Fd,
        /// To.
        to: Fd,
        /// Most octets.
        len: usize,
        /// `SPLICE_F_*`.
        flags: u32,
    },
    /// sendfile(2) from a file of zeros.
    Sendfile {
        /// The socket.
        to: Fd,
        /// Opened by [`Call::Open`].
        from: Fd,
        /// Where to begin; none is the file's own position.
        offset: Option<u64>,
        /// Most octets.
        len: usize,
    },
    /// open(2).
    Open {
        /// The path.
        path: String,
        /// `O_*`.
        flags: i32,
    },
}

/// What comes back besides the number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Out {
    /// Nothing.
    #[default]
    None,
    /// An address.
    Addr(SockAddr),
    /// A message.
    Msg(Received),
    /// An option's value, as long as the kernel says it is.
    Value(Vec<u8>),
    /// What an ioctl wrote.
    Int(i32),
    /// `revents` of every entry, in order.
    Poll(Vec<i16>),
    /// Events.
    Epoll(Vec<EpollEvent>),
    /// Two descriptors.
    Fds([Fd; 2]),
}

/// What recvmsg fills in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// The data that was copied out (none with `MSG_TRUNC` on TCP).
    pub data: Vec<u8>,
    /// `msg_name`.
    pub name: Option<SockAddr>,
    /// `msg_flags`.
    pub flags: i32,
    /// Control messages, in order.
    pub control: Vec<Cmsg>,
}

/// What a program gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Return {
    /// The number returned; -1 is an error.
    pub value: i64,
    /// `errno`, 0 without an error.
    pub errno: i32,
    /// The rest.
    pub out: Out,
}

impl Return {
    /// Success without anything else.
    pub const fn ok(value: i64) -> Self {
        Self {
            value,
            errno: 0,
            out: Out::None,
        }
    }

    /// Success with more than a number.
    pub const fn with(value: i64, out: Out) -> Self {
        Self {
            value,
            errno: 0,
            out,
        }
    }

    /// Failure.
    pub const fn fail(errno: i32) -> Self {
        Self {
            value: -1,
            errno,
            out: Out::None,
        }
    }
}
