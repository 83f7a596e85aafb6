//! getsockopt: what each option says.

use super::buffers::{mem_info, sndbuf};
use super::{OptName, SockOpt, connected, tcp};
use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::tcp::conn::synack;
use crate::tcp::sock::cold::Resolution;
use crate::tcp::state::TcpState;

/// `SOCK_STREAM`, `AF_INET`, `IPPROTO_TCP`.
const SOCK_STREAM: i32 = 1;
const AF_INET: i32 = 2;
const IPPROTO_TCP: i32 = 6;

impl Stack {
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
}
