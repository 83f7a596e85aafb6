//! Socket options of socket(7), tcp(7) and ip(7): set and get as the kernel does.

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::{readable, space};
use crate::tcp::output;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::sock::hot::Want;
use crate::tcp::state::TcpState;
use crate::tcp::timer;
use core::time::Duration;
use millrace_wire::time::Instant;

/// Least SO_RCVBUF and SO_SNDBUF, octets as set (Linux doubles what is set; `getsockopt` shows the double).
const MIN_RCVBUF: u32 = 1152;
const MIN_SNDBUF: u32 = 2304;
/// Largest TCP_KEEPIDLE, TCP_KEEPINTVL, seconds, and TCP_KEEPCNT.
const MAX_KEEPALIVE: u32 = 32_767;
const MAX_KEEPCNT: u32 = 127;
/// Largest TCP_LINGER2, seconds (Linux `TCP_FIN_TIMEOUT_MAX`).
const MAX_LINGER2: i32 = 120;
/// Range of TCP_MAXSEG.
const MIN_MSS: u16 = 88;
const MAX_MSS: u16 = 32_767;

/// An option and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SockOpt {
    /// SO_REUSEADDR.
    ReuseAddr(bool),
    /// SO_REUSEPORT.
    ReusePort(bool),
    /// SO_KEEPALIVE.
    KeepAlive(bool),
    /// SO_LINGER; none is off.
    Linger(Option<Duration>),
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
    /// SO_ERROR: the pending error's errno, 0 when there is none. Get only; getting does not clear it
    /// (`Stack::take_error` does).
    Error(i32),
    /// TCP_NODELAY.
    NoDelay(bool),
    /// TCP_CORK.
    Cork(bool),
    /// TCP_QUICKACK.
    QuickAck(bool),
    /// TCP_MAXSEG, octets.
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
    /// TCP_LINGER2, seconds; negative: no FIN_WAIT2.
    Linger2(i32),
    /// IP_TOS.
    Tos(u8),
    /// IP_TTL, 1 to 255.
    Ttl(u8),
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
    Linger2,
    Tos,
    Ttl,
}

impl Stack {
    /// setsockopt.
    ///
    /// # Errors
    /// EINVAL for a value out of range, ENOPROTOOPT for an option that can only be read, EBADF.
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
            SockOpt::Linger(wait) => opts.linger = wait,
            SockOpt::SndBuf(bytes) => {
                set_sndbuf(sk, bytes.min(wmem_max));
                space::check(sk, &self.ctx);
            }
            SockOpt::RcvBuf(bytes) => set_rcvbuf(sk, bytes.min(rmem_max)),
            SockOpt::RcvLowat(bytes) => readable::set_rcvlowat(sk, &self.ctx, bytes),
            SockOpt::NotSentLowat(octets) => {
                opts.notsent_lowat = octets;
                space::check(sk, &self.ctx);
            }
            SockOpt::Inq(on) => opts.inq = on,
            SockOpt::RcvTimeo(wait) => opts.rcvtimeo = wait,
            SockOpt::SndTimeo(wait) => opts.sndtimeo = wait,
            SockOpt::Error(_) => return Err(SockError::NoProtoOpt),
            SockOpt::NoDelay(on) => {
                opts.nodelay = on;
                output::apply_options(sk);
            }
            SockOpt::Cork(on) => {
                opts.cork = on;
                output::apply_options(sk);
            }
            SockOpt::QuickAck(on) => {
                sk.cold.quickack = Some(on);
                sk.rx.pingpong = u8::from(!on);
                if on && sk.rx.rcv_nxt != sk.rx.rcv_wup && sk.rx.state == TcpState::Established {
                    sk.tx.want.insert(Want::ACK);
                }
            }
            SockOpt::MaxSeg(mss) => opts.user_mss = Some(within(mss, MIN_MSS, MAX_MSS)?),
            SockOpt::KeepIdle(s) => {
                opts.keepidle = Some(within(s, 1, MAX_KEEPALIVE)?);
                timer::arm_keepalive(sk, &mut self.ctx);
            }
            SockOpt::KeepIntvl(s) => opts.keepintvl = Some(within(s, 1, MAX_KEEPALIVE)?),
            SockOpt::KeepCnt(n) => opts.keepcnt = Some(within(n, 1, MAX_KEEPCNT)?),
            SockOpt::UserTimeout(ms) => opts.user_timeout = within(ms, 0, i32::MAX as u32)?,
            SockOpt::SynCnt(n) => opts.syncnt = Some(within(n, 1, MAX_KEEPCNT)?),
            SockOpt::Linger2(s) => opts.linger2 = Some(s.clamp(-1, MAX_LINGER2)),
            SockOpt::Tos(tos) => {
                // The ECN bits belong to TCP (Linux `ip_sock_set_tos`).
                opts.tos = tos & !3;
                output::apply_options(sk);
            }
            SockOpt::Ttl(ttl) => opts.ttl = Some(within(ttl, 1, 255)?),
        }
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
        Ok(match name {
            OptName::ReuseAddr => SockOpt::ReuseAddr(opts.reuse_addr),
            OptName::ReusePort => SockOpt::ReusePort(opts.reuse_port),
            OptName::KeepAlive => SockOpt::KeepAlive(opts.keepalive),
            OptName::Linger => SockOpt::Linger(opts.linger),
            OptName::SndBuf => SockOpt::SndBuf(if opts.sndbuf_locked {
                opts.sndbuf * 2
            } else {
                opts.sndbuf
            }),
            OptName::RcvBuf => SockOpt::RcvBuf(opts.rcvbuf * 2),
            OptName::RcvLowat => SockOpt::RcvLowat(opts.rcvlowat),
            OptName::RcvTimeo => SockOpt::RcvTimeo(opts.rcvtimeo),
            OptName::SndTimeo => SockOpt::SndTimeo(opts.sndtimeo),
            OptName::Error => SockOpt::Error(sk.warm.err.map_or(0, SockError::errno)),
            OptName::NoDelay => SockOpt::NoDelay(opts.nodelay),
            OptName::Cork => SockOpt::Cork(opts.cork),
            OptName::QuickAck => SockOpt::QuickAck(sk.rx.pingpong == 0),
            OptName::MaxSeg => SockOpt::MaxSeg(if connected(sk) {
                sk.tx.mss_cache
            } else {
                opts.user_mss.unwrap_or(crate::tcp::MSS_DEFAULT)
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
            OptName::Inq => SockOpt::Inq(opts.inq),
            OptName::Linger2 => {
                SockOpt::Linger2(opts.linger2.unwrap_or(sysctl.tcp_fin_timeout as i32))
            }
            OptName::Tos => SockOpt::Tos(opts.tos),
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
}

fn within<T: PartialOrd>(value: T, min: T, max: T) -> Result<T, SockError> {
    if value < min || value > max {
        Err(SockError::Invalid)
    } else {
        Ok(value)
    }
}

fn connected(sk: &TcpSock) -> bool {
    !matches!(sk.rx.state, TcpState::Close | TcpState::Listen)
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
    sk.warm.rcvbuf = bytes;
    if let Some(rings) = &mut sk.rings {
        rings.rcv_in.set_limit(u64::from(bytes));
    }
}
