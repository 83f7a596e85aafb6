//! setsockopt: what each option takes, and what it changes at once.

use super::buffers::{lock_buffers, set_rcvbuf, set_sndbuf};
use super::{MtuDiscover, SockOpt, tcp};
use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::{readable, space};
use crate::tcp::conn::synack;
use crate::tcp::fastopen;
use crate::tcp::input::acking;
use crate::tcp::output;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::Resolution;
use crate::tcp::sock::hot::Nonagle;
use crate::tcp::stamps;
use crate::tcp::state::TcpState;
use crate::tcp::timer;
use millrace_wire::time::Instant;

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
