//! Socket options of socket(7), tcp(7) and ip(7): set and get as the kernel does.

mod buffers;
mod get;
mod kept;
mod mtu;
mod set;
mod tcp;
#[cfg(test)]
mod tests;

use crate::tcp::fastopen::FastOpenKeys;
use crate::tcp::sock::TcpSock;
use crate::tcp::state::TcpState;
use core::time::Duration;

pub use kept::Kept;
pub(crate) use kept::KeptValues;
pub(crate) use mtu::MtuDiscover;
pub use tcp::CongestionName;
pub(crate) use tcp::congestion;

/// An option and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SockOpt {
    /// SO_REUSEADDR.
    ReuseAddr(bool),
    /// SO_REUSEPORT.
    ReusePort(bool),
    /// SO_KEEPALIVE.
    KeepAlive(bool),
    /// SO_LINGER: whether close waits, and how long. Setting it off keeps the time.
    Linger(bool, Duration),
    /// SO_SNDBUF, octets.
    SndBuf(u32),
    /// SO_RCVBUF, octets.
    RcvBuf(u32),
    /// SO_RCVLOWAT, octets.
    RcvLowat(u32),
    /// SO_RCVTIMEO; none waits for ever.
    RcvTimeo(Option<Duration>),
    /// SO_SNDTIMEO; none waits for ever.
    SndTimeo(Option<Duration>),
    /// SO_SNDBUFFORCE and SO_RCVBUFFORCE, octets: not held to `wmem_max` and `rmem_max`. Set only.
    SndBufForce(u32),
    /// See [`SockOpt::SndBufForce`].
    RcvBufForce(u32),
    /// SO_BUF_LOCK: bit 0 for the send buffer and bit 1 for the receive buffer keep autotuning off.
    BufLock(u8),
    /// An option that is kept and read back: a `Kept` and its value.
    Kept(Kept, i32),
    /// SO_TYPE. Get only, as all up to [`SockOpt::MemInfo`].
    Type(i32),
    /// SO_DOMAIN.
    Domain(i32),
    /// SO_PROTOCOL.
    Protocol(i32),
    /// SO_ACCEPTCONN.
    AcceptConn(bool),
    /// SO_SNDLOWAT.
    SndLowat(i32),
    /// SO_COOKIE: different for every socket that the stack ever has.
    Cookie(u64),
    /// SO_MEMINFO: `SK_MEMINFO_*` in the kernel's order.
    MemInfo([u32; 9]),
    /// SO_ERROR: the pending error's errno, 0 when there is none. Get only; getting does not clear it
    /// (`Stack::take_error` does).
    Error(i32),
    /// TCP_NODELAY.
    NoDelay(bool),
    /// TCP_CORK.
    Cork(bool),
    /// TCP_QUICKACK: 0 makes the connection interactive (ACKs are delayed), another value not; an even one only answers
    /// what is owed. Read as 0 or 1.
    QuickAck(i32),
    /// TCP_MAXSEG, octets; setting 0 takes it back.
    MaxSeg(u16),
    /// TCP_KEEPIDLE, seconds.
    KeepIdle(u32),
    /// TCP_KEEPINTVL, seconds.
    KeepIntvl(u32),
    /// TCP_KEEPCNT.
    KeepCnt(u32),
    /// TCP_USER_TIMEOUT, ms; 0 is off.
    UserTimeout(u32),
    /// TCP_SYNCNT.
    SynCnt(u32),
    /// TCP_NOTSENT_LOWAT, octets not sent yet from which on a send takes no more; 0 is the setting of all sockets.
    NotSentLowat(u32),
    /// TCP_INQ: every message that is received says how much waits behind it.
    Inq(bool),
    /// SO_OOBINLINE: the urgent octet stays in the stream.
    OobInline(bool),
    /// SO_TIMESTAMPING, `SOF_TIMESTAMPING_*` (see [`crate::Timestamping`]).
    Timestamping(u32),
    /// SO_TIMESTAMP: every message that is received says when, in microseconds.
    SoTimestamp(bool),
    /// SO_TIMESTAMPNS: the same in nanoseconds, instead.
    SoTimestampNs(bool),
    /// TCP_DEFER_ACCEPT, seconds; 0 is off. Rounded up to time-outs of the SYN-ACK.
    DeferAccept(u32),
    /// TCP_FASTOPEN: most connections whose handshake is not complete, on a socket that listens or will; 0 is off.
    FastOpen(u32),
    /// TCP_FASTOPEN_CONNECT: connect returns at once, and the first data goes with the SYN.
    FastOpenConnect(bool),
    /// TCP_FASTOPEN_NO_COOKIE.
    FastOpenNoCookie(bool),
    /// TCP_FASTOPEN_KEY; none when the socket has no keys of its own, which cannot be set.
    FastOpenKey(Option<FastOpenKeys>),
    /// TCP_LINGER2, seconds; negative: no FIN_WAIT2.
    Linger2(i32),
    /// TCP_WINDOW_CLAMP, octets; 0 is none, and only for a socket in CLOSE.
    WindowClamp(u32),
    /// TCP_CONGESTION.
    Congestion(CongestionName),
    /// TCP_THIN_LINEAR_TIMEOUTS.
    ThinLinearTimeouts(bool),
    /// TCP_RTO_MAX_MS.
    RtoMaxMs(u32),
    /// TCP_TIMESTAMP: TSval now. Set only in repair, which there is not: EPERM.
    Timestamp(u32),
    /// TCP_IS_MPTCP. Get only.
    IsMptcp(bool),
    /// IP_TOS.
    Tos(u8),
    /// IP_TTL, 1 to 255.
    Ttl(u8),
    /// IP_TTL -1: the default again. Set only.
    DefaultTtl,
    /// IP_OPTIONS: none. Those of a packet are not sent by any socket.
    IpOptions,
    /// IP_MTU_DISCOVER: `IP_PMTUDISC_WANT` or `IP_PMTUDISC_DO`, which are one for TCP; ENOPROTOOPT for the others.
    MtuDiscover(u8),
    /// IP_MTU of a connection's path, octets. Get only.
    Mtu(u32),
    /// IP_FREEBIND: bind takes any address.
    FreeBind(bool),
    /// IP_BIND_ADDRESS_NO_PORT: bind with port 0 leaves the port to connect.
    BindAddressNoPort(bool),
    /// IP_LOCAL_PORT_RANGE: first and last port that may be chosen; 0 leaves that end to `ip_local_port_range`.
    LocalPortRange(u16, u16),
}

/// The name of an option, for getting it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum OptName {
    ReuseAddr,
    ReusePort,
    KeepAlive,
    Linger,
    SndBuf,
    RcvBuf,
    RcvLowat,
    RcvTimeo,
    SndTimeo,
    BufLock,
    Kept(Kept),
    Type,
    Domain,
    Protocol,
    AcceptConn,
    SndLowat,
    Cookie,
    MemInfo,
    Error,
    NoDelay,
    Cork,
    QuickAck,
    MaxSeg,
    KeepIdle,
    KeepIntvl,
    KeepCnt,
    UserTimeout,
    SynCnt,
    NotSentLowat,
    Inq,
    OobInline,
    Timestamping,
    SoTimestamp,
    SoTimestampNs,
    DeferAccept,
    FastOpen,
    FastOpenConnect,
    FastOpenNoCookie,
    FastOpenKey,
    Linger2,
    WindowClamp,
    Congestion,
    ThinLinearTimeouts,
    RtoMaxMs,
    Timestamp,
    IsMptcp,
    Tos,
    Ttl,
    IpOptions,
    MtuDiscover,
    Mtu,
    FreeBind,
    BindAddressNoPort,
    LocalPortRange,
}

fn connected(sk: &TcpSock) -> bool {
    !matches!(sk.rx.state, TcpState::Close | TcpState::Listen)
}
