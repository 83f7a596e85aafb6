//! Socket options of socket(7), tcp(7) and ip(7): set and get as the kernel does.

mod kept;
mod mtu;
mod tcp;
#[cfg(test)]
mod tests;

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::readiness::Readiness;
use crate::sock::{readable, space};
use crate::tcp::conn::synack;
use crate::tcp::fastopen::{self, FastOpenKeys};
use crate::tcp::input::acking;
use crate::tcp::output;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::{Options, Resolution};
use crate::tcp::sock::hot::{Features, Nonagle};
use crate::tcp::stamps;
use crate::tcp::state::TcpState;
use crate::tcp::timer;
use core::time::Duration;
use millrace_wire::time::Instant;

pub use kept::Kept;
pub(crate) use kept::KeptValues;
pub(crate) use mtu::MtuDiscover;
pub use tcp::CongestionName;
pub(crate) use tcp::congestion;

/// Least SO_RCVBUF and SO_SNDBUF, octets as set (Linux doubles what is set; `getsockopt` shows the double).
const MIN_RCVBUF: u32 = 1152;
const MIN_SNDBUF: u32 = 2304;
/// Most that the forced ones may ask for (Linux: half of what an int holds).
const MAX_BUF: u32 = i32::MAX as u32 / 2;
/// Largest TCP_KEEPIDLE, TCP_KEEPINTVL, seconds, and TCP_KEEPCNT.
const MAX_KEEPALIVE: u32 = 32_767;
const MAX_KEEPCNT: u32 = 127;
/// Largest TCP_LINGER2, seconds (Linux `TCP_FIN_TIMEOUT_MAX`).
const MAX_LINGER2: i32 = 120;
/// Range of TCP_MAXSEG.
const MIN_MSS: u16 = 88;
const MAX_MSS: u16 = 32_767;
/// Range of TCP_RTO_MAX_MS.
const MIN_RTO_MAX: u32 = 1000;
const MAX_RTO_MAX: u32 = 120_000;
/// `SOCK_STREAM`, `AF_INET`, `IPPROTO_TCP`.
const SOCK_STREAM: i32 = 1;
const AF_INET: i32 = 2;
const IPPROTO_TCP: i32 = 6;

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

impl Stack {
    /// setsockopt.
    ///
    /// # Errors
    /// EINVAL for a value out of range, ENOPROTOOPT for an option that can only be read, ENOENT for a congestion control
    /// that there is not, EPERM for a timestamp, EBADF.
    pub fn set_option(&mut self, now: Instant, s: SockId, opt: SockOpt) -> Result<(), SockError> {
        self.ctx.now = now;
        let (rmem_max, wmem_max) = (self.ctx.sysctl.rmem_max, self.ctx.sysctl.wmem_max);
        self.sock(s)?;
        let sk = self.socks.tcp.get_mut(s).ok_or(SockError::BadSocket)?;
        let opts = &mut sk.cold.opts;
        match opt {
            SockOpt::ReuseAddr(on) => opts.reuse_addr = on,
            SockOpt::ReusePort(on) => opts.reuse_port = on,
            SockOpt::KeepAlive(on) => {
                opts.keepalive = on;
                timer::arm_keepalive(sk, &mut self.ctx);
            }
            SockOpt::Linger(on, time) => {
                opts.linger = on;
                if on {
                    opts.linger_time = time;
                }
            }
            SockOpt::SndBuf(bytes) => {
                set_sndbuf(sk, bytes.min(wmem_max));
                space::changed(sk, &self.ctx);
            }
            SockOpt::RcvBuf(bytes) => set_rcvbuf(sk, bytes.min(rmem_max)),
            SockOpt::RcvLowat(bytes) => readable::set_rcvlowat(sk, &self.ctx, bytes),
            SockOpt::NotSentLowat(octets) => {
                opts.notsent_lowat = octets;
                space::changed(sk, &self.ctx);
            }
            SockOpt::Inq(on) => opts.inq = on,
            SockOpt::OobInline(on) => opts.oob_inline = on,
            SockOpt::Timestamping(bits) => stamps::set(sk, bits)?,
            SockOpt::SoTimestamp(on) => {
                opts.timestamp = on.then_some(Resolution::Micros);
                stamps::watch_arrivals(sk);
            }
            SockOpt::SoTimestampNs(on) => {
                opts.timestamp = on.then_some(Resolution::Nanos);
                stamps::watch_arrivals(sk);
            }
            SockOpt::RcvTimeo(wait) => opts.rcvtimeo = wait,
            SockOpt::SndTimeo(wait) => opts.sndtimeo = wait,
            SockOpt::SndBufForce(bytes) => {
                set_sndbuf(sk, bytes.min(MAX_BUF));
                space::changed(sk, &self.ctx);
            }
            SockOpt::RcvBufForce(bytes) => set_rcvbuf(sk, bytes.min(MAX_BUF)),
            SockOpt::BufLock(bits) => lock_buffers(opts, within(bits, 0, 3)?),
            SockOpt::Kept(kept, value) => opts.kept.set(kept, value)?,
            SockOpt::Error(_)
            | SockOpt::Type(_)
            | SockOpt::Domain(_)
            | SockOpt::Protocol(_)
            | SockOpt::AcceptConn(_)
            | SockOpt::SndLowat(_)
            | SockOpt::Cookie(_)
            | SockOpt::MemInfo(_)
            | SockOpt::IsMptcp(_)
            | SockOpt::Mtu(_) => return Err(SockError::NoProtoOpt),
            SockOpt::NoDelay(on) => {
                opts.nodelay = on;
                output::apply_options(sk);
                if on {
                    // What is queued goes, even from a corked socket.
                    sk.tx.nonagle.insert(Nonagle::PUSH);
                }
            }
            SockOpt::Cork(on) => {
                opts.cork = on;
                output::apply_options(sk);
                if !on {
                    // What waits for more goes (MSG_MORE included).
                    sk.tx.nonagle.remove(Nonagle::MORE);
                    sk.tx.nonagle.set(Nonagle::PUSH, sk.cold.opts.nodelay);
                }
            }
            SockOpt::QuickAck(value) => acking::set_quickack(sk, &mut self.ctx, value),
            SockOpt::MaxSeg(0) => opts.user_mss = None,
            SockOpt::MaxSeg(mss) => opts.user_mss = Some(within(mss, MIN_MSS, MAX_MSS)?),
            SockOpt::KeepIdle(s) => {
                opts.keepidle = Some(within(s, 1, MAX_KEEPALIVE)?);
                timer::arm_keepalive(sk, &mut self.ctx);
            }
            SockOpt::KeepIntvl(s) => opts.keepintvl = Some(within(s, 1, MAX_KEEPALIVE)?),
            SockOpt::KeepCnt(n) => opts.keepcnt = Some(within(n, 1, MAX_KEEPCNT)?),
            SockOpt::UserTimeout(ms) => opts.user_timeout = within(ms, 0, i32::MAX as u32)?,
            SockOpt::SynCnt(n) => opts.syncnt = Some(within(n, 1, MAX_KEEPCNT)?),
            SockOpt::Linger2(0) => opts.linger2 = None,
            SockOpt::DeferAccept(s) => {
                opts.defer_accept =
                    synack::seconds_to_timeouts(s, self.ctx.sysctl.tcp_rto_max_ms / 1000);
            }
            SockOpt::FastOpen(n) => {
                idle(sk, true)?;
                let n = within(n, 0, i32::MAX as u32)?.min(self.ctx.sysctl.somaxconn);
                sk.cold.fastopen.get_or_insert_default().max_qlen = n;
            }
            SockOpt::FastOpenConnect(on) => {
                if self.ctx.sysctl.tcp_fastopen & fastopen::CLIENT == 0 {
                    return Err(SockError::OpNotSupported);
                }
                idle(sk, false)?;
                sk.cold.fastopen.get_or_insert_default().connect = on;
            }
            SockOpt::FastOpenNoCookie(on) => {
                idle(sk, true)?;
                sk.cold.fastopen.get_or_insert_default().no_cookie = on;
            }
            SockOpt::FastOpenKey(keys) => {
                let keys = keys.ok_or(SockError::Invalid)?;
                sk.cold.fastopen.get_or_insert_default().keys = Some(keys);
            }
            SockOpt::Linger2(s) => opts.linger2 = Some(s.clamp(-1, MAX_LINGER2)),
            SockOpt::Tos(tos) => {
                // The ECN bits belong to TCP (Linux `ip_sock_set_tos`).
                opts.tos = tos & !3;
                opts.kept.follow_tos(tos);
                output::apply_options(sk);
            }
            SockOpt::WindowClamp(octets) => tcp::set_window_clamp(sk, octets)?,
            SockOpt::Congestion(name) => tcp::set_congestion(&name)?,
            SockOpt::ThinLinearTimeouts(on) => opts.thin_linear_timeouts = on,
            SockOpt::RtoMaxMs(ms) => {
                opts.rto_max_ms = Some(within(ms, MIN_RTO_MAX, MAX_RTO_MAX)?);
            }
            SockOpt::Timestamp(_) => return Err(SockError::NotPermitted),
            SockOpt::Ttl(ttl) => opts.ttl = Some(within(ttl, 1, 255)?),
            SockOpt::DefaultTtl => opts.ttl = None,
            SockOpt::IpOptions => {}
            SockOpt::MtuDiscover(how) => opts.mtu_discover = MtuDiscover::new(how)?,
            SockOpt::FreeBind(on) => opts.freebind = on,
            SockOpt::BindAddressNoPort(on) => opts.bind_address_no_port = on,
            SockOpt::LocalPortRange(low, high) => {
                if low != 0 && high != 0 && low > high {
                    return Err(SockError::Invalid);
                }
                opts.local_port_range = (low, high);
            }
        }
        self.renew_claim(s);
        self.settle(s);
        Ok(())
    }

    /// getsockopt.
    ///
    /// # Errors
    /// EBADF.
    pub fn option(&self, s: SockId, name: OptName) -> Result<SockOpt, SockError> {
        let sk = self.socks.tcp.get(s).ok_or(SockError::BadSocket)?;
        let opts = &sk.cold.opts;
        let sysctl = &self.ctx.sysctl;
        let fastopen = sk.cold.fastopen.as_deref();
        Ok(match name {
            OptName::ReuseAddr => SockOpt::ReuseAddr(opts.reuse_addr),
            OptName::ReusePort => SockOpt::ReusePort(opts.reuse_port),
            OptName::KeepAlive => SockOpt::KeepAlive(opts.keepalive),
            OptName::Linger => SockOpt::Linger(opts.linger, opts.linger_time),
            OptName::SndBuf => SockOpt::SndBuf(sndbuf(opts)),
            OptName::RcvBuf => SockOpt::RcvBuf(opts.rcvbuf * 2),
            OptName::BufLock => {
                SockOpt::BufLock(u8::from(opts.sndbuf_locked) | u8::from(opts.rcvbuf_locked) << 1)
            }
            OptName::Kept(kept) => SockOpt::Kept(kept, opts.kept.get(kept)),
            OptName::Type => SockOpt::Type(SOCK_STREAM),
            OptName::Domain => SockOpt::Domain(AF_INET),
            OptName::Protocol => SockOpt::Protocol(IPPROTO_TCP),
            OptName::AcceptConn => SockOpt::AcceptConn(sk.rx.state == TcpState::Listen),
            OptName::SndLowat => SockOpt::SndLowat(1),
            OptName::Cookie => SockOpt::Cookie(s.to_u64()),
            OptName::MemInfo => SockOpt::MemInfo(mem_info(sk)),
            OptName::RcvLowat => SockOpt::RcvLowat(opts.rcvlowat),
            OptName::RcvTimeo => SockOpt::RcvTimeo(opts.rcvtimeo),
            OptName::SndTimeo => SockOpt::SndTimeo(opts.sndtimeo),
            OptName::Error => {
                SockOpt::Error(sk.warm.err.or(sk.cold.soft_err).map_or(0, SockError::errno))
            }
            OptName::NoDelay => SockOpt::NoDelay(opts.nodelay),
            OptName::Cork => SockOpt::Cork(opts.cork),
            OptName::QuickAck => SockOpt::QuickAck(i32::from(sk.rx.pingpong == 0)),
            // A connection that has ended still tells what it had.
            OptName::MaxSeg => SockOpt::MaxSeg(match opts.user_mss {
                Some(mss) if !connected(sk) => mss,
                _ => sk.tx.mss_cache,
            }),
            OptName::KeepIdle => {
                SockOpt::KeepIdle(opts.keepidle.unwrap_or(sysctl.tcp_keepalive_time))
            }
            OptName::KeepIntvl => {
                SockOpt::KeepIntvl(opts.keepintvl.unwrap_or(sysctl.tcp_keepalive_intvl))
            }
            OptName::KeepCnt => {
                SockOpt::KeepCnt(opts.keepcnt.unwrap_or(sysctl.tcp_keepalive_probes))
            }
            OptName::UserTimeout => SockOpt::UserTimeout(opts.user_timeout),
            OptName::SynCnt => SockOpt::SynCnt(opts.syncnt.unwrap_or(sysctl.tcp_syn_retries)),
            OptName::NotSentLowat => SockOpt::NotSentLowat(opts.notsent_lowat),
            OptName::Timestamping => SockOpt::Timestamping(opts.timestamping.bits()),
            OptName::SoTimestamp => {
                SockOpt::SoTimestamp(opts.timestamp == Some(Resolution::Micros))
            }
            OptName::SoTimestampNs => {
                SockOpt::SoTimestampNs(opts.timestamp == Some(Resolution::Nanos))
            }
            OptName::OobInline => SockOpt::OobInline(opts.oob_inline),
            OptName::Inq => SockOpt::Inq(opts.inq),
            OptName::DeferAccept => SockOpt::DeferAccept(synack::timeouts_to_seconds(
                opts.defer_accept,
                sysctl.tcp_rto_max_ms / 1000,
            )),
            OptName::FastOpen => SockOpt::FastOpen(fastopen.map_or(0, |f| f.max_qlen)),
            OptName::FastOpenConnect => {
                SockOpt::FastOpenConnect(fastopen.is_some_and(|f| f.connect))
            }
            OptName::FastOpenNoCookie => {
                SockOpt::FastOpenNoCookie(fastopen.is_some_and(|f| f.no_cookie))
            }
            OptName::FastOpenKey => SockOpt::FastOpenKey(fastopen.and_then(|f| f.keys)),
            OptName::Linger2 => {
                SockOpt::Linger2(opts.linger2.unwrap_or(sysctl.tcp_fin_timeout as i32))
            }
            OptName::WindowClamp => SockOpt::WindowClamp(tcp::window_clamp(sk)),
            OptName::Congestion => SockOpt::Congestion(tcp::congestion()),
            OptName::ThinLinearTimeouts => SockOpt::ThinLinearTimeouts(opts.thin_linear_timeouts),
            OptName::RtoMaxMs => {
                SockOpt::RtoMaxMs(opts.rto_max_ms.unwrap_or(sysctl.tcp_rto_max_ms))
            }
            OptName::Timestamp => SockOpt::Timestamp(self.ctx.ts_now(sk.rx.ts_offset)),
            OptName::IsMptcp => SockOpt::IsMptcp(false),
            OptName::Tos => SockOpt::Tos(opts.tos),
            OptName::IpOptions => SockOpt::IpOptions,
            OptName::MtuDiscover => SockOpt::MtuDiscover(opts.mtu_discover.value()),
            OptName::Mtu if sk.warm.dst.mtu == 0 => return Err(SockError::NotConnected),
            OptName::Mtu => SockOpt::Mtu(u32::from(sk.warm.dst.mtu)),
            OptName::FreeBind => SockOpt::FreeBind(opts.freebind),
            OptName::BindAddressNoPort => SockOpt::BindAddressNoPort(opts.bind_address_no_port),
            OptName::LocalPortRange => {
                SockOpt::LocalPortRange(opts.local_port_range.0, opts.local_port_range.1)
            }
            OptName::Ttl => SockOpt::Ttl(opts.ttl.unwrap_or(sysctl.ip_default_ttl as u8)),
        })
    }

    /// Gives the socket to an in-loop service: bytes and readiness go to [`crate::Service`] with this value. The
    /// children of a listener inherit it.
    ///
    /// # Errors
    /// EBADF.
    pub fn attach(&mut self, s: SockId, user: u64) -> Result<(), SockError> {
        let sk = self.sock(s)?;
        sk.rx.features.insert(Features::ATTACHED);
        sk.warm.user = user;
        self.settle(s);
        Ok(())
    }

    /// From now on every wake-up of the socket goes to [`crate::Service::ready`] with this value, as the kernel wakes
    /// those who wait on it: new data, room after a full buffer, an error, and [`Readiness::CHANGE`] for changes of
    /// state. Octets stay in the ring, and children of a listener are not watched.
    ///
    /// # Errors
    /// EBADF.
    pub fn watch(&mut self, s: SockId, user: u64) -> Result<(), SockError> {
        let sk = self.sock(s)?;
        if !sk.rx.features.intersects(Features::OWNED) {
            // What happened so far is to be seen by `readiness`.
            sk.warm.pending = Readiness::NONE;
            if let Some(listen) = &mut sk.cold.listen {
                listen.arrived = 0;
            }
        }
        sk.rx.features.insert(Features::WATCHED);
        sk.warm.user = user;
        Ok(())
    }

    /// Ends [`Stack::watch`].
    ///
    /// # Errors
    /// EBADF.
    pub fn unwatch(&mut self, s: SockId) -> Result<(), SockError> {
        self.sock(s)?.rx.features.remove(Features::WATCHED);
        Ok(())
    }
}

fn within<T: PartialOrd>(value: T, min: T, max: T) -> Result<T, SockError> {
    if value < min || value > max {
        Err(SockError::Invalid)
    } else {
        Ok(value)
    }
}

/// Linux takes these options before connect only, some on a listener too.
fn idle(sk: &TcpSock, or_listening: bool) -> Result<(), SockError> {
    match sk.rx.state {
        TcpState::Close => Ok(()),
        TcpState::Listen if or_listening => Ok(()),
        _ => Err(SockError::Invalid),
    }
}

fn connected(sk: &TcpSock) -> bool {
    !matches!(sk.rx.state, TcpState::Close | TcpState::Listen)
}

/// The send buffer as `getsockopt` shows it.
fn sndbuf(opts: &Options) -> u32 {
    if opts.sndbuf_locked {
        opts.sndbuf * 2
    } else {
        opts.sndbuf
    }
}

/// SO_BUF_LOCK changes who may change the buffers, not their sizes.
fn lock_buffers(opts: &mut Options, bits: u8) {
    let shown = sndbuf(opts);
    opts.sndbuf_locked = bits & 1 != 0;
    opts.rcvbuf_locked = bits & 2 != 0;
    opts.sndbuf = if opts.sndbuf_locked { shown / 2 } else { shown };
}

/// Linux `sk_get_meminfo`: received and unread, its limit, in the network, the send buffer, reserved, queued, options,
/// backlog, drops. What a device holds is its own, and nothing is reserved.
fn mem_info(sk: &TcpSock) -> [u32; 9] {
    let rings = sk.rings.as_ref();
    let unread = rings.map_or(0, |r| r.rcv_in.tail() - r.rcv_out.head());
    let queued = rings.map_or(0, |r| r.snd_in.tail() - r.snd_out.head());
    let octets = |n: u64| n.min(u64::from(u32::MAX)) as u32;
    let opts = &sk.cold.opts;
    let (rcvbuf, sndbuf) = (opts.rcvbuf * 2, sndbuf(opts));
    [
        octets(unread),
        rcvbuf,
        0,
        sndbuf,
        0,
        octets(queued),
        0,
        0,
        0,
    ]
}

fn set_sndbuf(sk: &mut TcpSock, bytes: u32) {
    let bytes = bytes.max(MIN_SNDBUF);
    sk.cold.opts.sndbuf = bytes;
    sk.cold.opts.sndbuf_locked = true;
    if let Some(rings) = &mut sk.rings {
        rings.snd_in.set_limit(u64::from(bytes));
    }
}

fn set_rcvbuf(sk: &mut TcpSock, bytes: u32) {
    let bytes = bytes.max(MIN_RCVBUF);
    sk.cold.opts.rcvbuf = bytes;
    sk.cold.opts.rcvbuf_locked = true;
    sk.warm.rcvbuf = sk.cold.opts.window_space();
    if let Some(rings) = &mut sk.rings {
        rings.rcv_in.set_limit(u64::from(bytes));
    }
}
