//! What a call can fail with: the kernel's errno values.

use core::fmt;

macro_rules! errors {
    ($($variant:ident = $errno:literal $name:literal $text:literal,)*) => {
        /// A failed call.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum SockError { $(#[doc = $text] $variant,)* }

        impl SockError {
            /// The errno value of Linux on x86-64.
            pub const fn errno(self) -> i32 {
                match self { $(Self::$variant => $errno,)* }
            }

            /// The errno's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The errno in words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

errors! {
    NotPermitted = 1 "EPERM" "operation not permitted",
    NoEntry = 2 "ENOENT" "no such entry",
    Interrupted = 4 "EINTR" "interrupted system call",
    BadSocket = 9 "EBADF" "bad socket",
    WouldBlock = 11 "EAGAIN" "resource temporarily unavailable",
    NoMemory = 12 "ENOMEM" "out of memory",
    AccessDenied = 13 "EACCES" "permission denied",
    Invalid = 22 "EINVAL" "invalid argument",
    TooManyFiles = 23 "ENFILE" "too many open sockets",
    BrokenPipe = 32 "EPIPE" "broken pipe",
    Domain = 33 "EDOM" "argument out of domain",
    NotOnNetwork = 64 "ENONET" "machine is not on the network",
    Protocol = 71 "EPROTO" "protocol error",
    DestAddrRequired = 89 "EDESTADDRREQ" "destination address required",
    MsgSize = 90 "EMSGSIZE" "message too long",
    NoProtoOpt = 92 "ENOPROTOOPT" "protocol not available",
    ProtocolNotSupported = 93 "EPROTONOSUPPORT" "protocol not supported",
    TypeNotSupported = 94 "ESOCKTNOSUPPORT" "socket type not supported",
    OpNotSupported = 95 "EOPNOTSUPP" "operation not supported",
    AfNotSupported = 97 "EAFNOSUPPORT" "address family not supported",
    AddrInUse = 98 "EADDRINUSE" "address already in use",
    AddrNotAvailable = 99 "EADDRNOTAVAIL" "cannot assign requested address",
    NetUnreachable = 101 "ENETUNREACH" "network is unreachable",
    Aborted = 103 "ECONNABORTED" "connection aborted",
    Reset = 104 "ECONNRESET" "connection reset by peer",
    NoBuffers = 105 "ENOBUFS" "no buffer space available",
    IsConnected = 106 "EISCONN" "already connected",
    NotConnected = 107 "ENOTCONN" "not connected",
    TimedOut = 110 "ETIMEDOUT" "connection timed out",
    Refused = 111 "ECONNREFUSED" "connection refused",
    HostDown = 112 "EHOSTDOWN" "host is down",
    HostUnreachable = 113 "EHOSTUNREACH" "no route to host",
    Already = 114 "EALREADY" "operation already in progress",
    InProgress = 115 "EINPROGRESS" "operation now in progress",
}

impl fmt::Display for SockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.name())
    }
}

impl std::error::Error for SockError {}
