//! The active side: data in the SYN (Linux `tcp_send_syn_data`, `tcp_rcv_fastopen_synack`), by MSG_FASTOPEN or by
//! TCP_FASTOPEN_CONNECT, and what is learnt when middleboxes swallow it.

use crate::core::{Ctx, Stack};
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::fastopen::cache::Pair;
use crate::tcp::fastopen::{CLIENT, CLIENT_NO_COOKIE, SockFastOpen};
use crate::tcp::output;
use crate::tcp::recovery::machine;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Want;
use crate::tcp::state::TcpState;
use core::net::SocketAddrV4;
use core::time::Duration;
use millrace_wire::tcp::options::FastOpen;
use millrace_wire::time::Instant;

/// Left free in a SYN with data, for options that middleboxes add (Linux `MAX_TCP_OPTION_SPACE`).
const OPTION_SPACE: u32 = 40;
/// The pause after black holes doubles this many times.
const MOST_DOUBLINGS: u32 = 6;

/// A connect with Fast Open.
#[derive(Default)]
pub(crate) struct Active {
    /// connect has returned, and the SYN waits for data (Linux `defer_connect`).
    pub deferred: bool,
    /// The SYN carried the option (Linux `syn_fastopen`).
    pub offered: bool,
    /// … under the experimental number.
    pub experimental: bool,
    /// Octets in the SYN.
    pub syn_data: u32,
    /// A call waits for the end of the handshake with more data (Linux `sk_write_pending`).
    pub write_waits: bool,
    /// A connection after a pause: when it works the pauses are forgotten (Linux `syn_fastopen_ch`).
    pub trial: bool,
}

/// Paths that swallow Fast Open: it pauses for all connections (Linux `tfo_active_disable_stamp` and `_times`).
#[derive(Default)]
pub(crate) struct BlackHole {
    since: Instant,
    times: u32,
}

impl BlackHole {
    fn pauses(&self, now: Instant, seconds: u32) -> bool {
        let factor = 1 << self.times.saturating_sub(1).min(MOST_DOUBLINGS);
        let pause = Duration::from_secs(u64::from(seconds)) * factor;
        self.times > 0 && now.since(self.since) < pause
    }
}

/// Time-outs tell of a black hole (Linux `tcp_fastopen_active_detect_blackhole`): the third in a row, or the last.
pub(crate) fn detect_black_hole(sk: &TcpSock, ctx: &mut Ctx, expired: bool) {
    let Some(fastopen) = &sk.cold.fastopen else {
        return;
    };
    let timeouts = sk.warm.recovery.retransmits;
    let used = fastopen.active.offered || fastopen.active.syn_data > 0;
    let paused = ctx.sysctl.tcp_fastopen_blackhole_timeout_sec > 0;
    if used && paused && (timeouts == 2 || timeouts < 2 && expired) {
        ctx.fastopen.black_hole.since = ctx.now;
        ctx.fastopen.black_hole.times = ctx.fastopen.black_hole.times.saturating_add(1);
        ctx.mib.inc(Counter::TcpExtTCPFastOpenBlackhole);
    }
}

/// What may go into the SYN.
enum Permit {
    /// Data, with this option or without any.
    Data(Option<FastOpen>),
    /// No data, but perhaps the wish for a cookie.
    Bare(Option<FastOpen>),
}

/// Linux `tcp_fastopen_cookie_check`; a MSS that is known goes into the socket.
fn permit(sk: &mut TcpSock, ctx: &mut Ctx) -> Permit {
    let pair = pair(sk);
    let known = ctx.fastopen.cache.get(pair);
    let Some(fastopen) = &mut sk.cold.fastopen else {
        return Permit::Bare(None);
    };
    let pause = ctx.sysctl.tcp_fastopen_blackhole_timeout_sec;
    if pause > 0 && ctx.fastopen.black_hole.pauses(ctx.now, pause) {
        return Permit::Bare(None);
    }
    fastopen.active.trial = pause > 0 && ctx.fastopen.black_hole.times > 0;
    sk.warm.mss_clamp = match known.mss {
        // As if the peer took what we take.
        0 => sk.warm.advmss,
        mss => mss.min(sk.cold.opts.user_mss.unwrap_or(u16::MAX)),
    };
    if ctx.sysctl.tcp_fastopen & CLIENT_NO_COOKIE != 0 || fastopen.no_cookie {
        return Permit::Data(None);
    }
    match known.cookie {
        Some(cookie) => Permit::Data(Some(cookie)),
        None => Permit::Bare(Some(FastOpen::request(known.try_experimental == 1))),
    }
}

fn pair(sk: &TcpSock) -> Pair {
    Pair {
        local: sk.rx.tuple.local,
        remote: sk.rx.tuple.remote,
    }
}

/// Prepares the SYN: its option, and as much of `data` as goes with it. Returns how much.
fn prepare(sk: &mut TcpSock, ctx: &mut Ctx, data: &[u8]) -> usize {
    sk.tx.want.insert(Want::SYN);
    let permit = permit(sk, ctx);
    output::sync_mss(sk, ctx);
    let (option, taken) = match permit {
        Permit::Data(option) => (option, queue(sk, ctx, data)),
        Permit::Bare(option) => (option, 0),
    };
    if let Some(fastopen) = &mut sk.cold.fastopen {
        fastopen.option = option;
        fastopen.active.deferred = false;
        fastopen.active.offered = option.is_some();
        fastopen.active.experimental = option.is_some_and(|o| o.experimental);
        fastopen.active.syn_data = taken;
    }
    taken as usize
}

/// Queues what fits into one SYN, octets.
fn queue(sk: &mut TcpSock, ctx: &mut Ctx, data: &[u8]) -> u32 {
    let path = sk.warm.dst.mtu.saturating_sub(crate::tcp::HEADERS);
    let space = u32::from(path.min(sk.warm.mss_clamp)).saturating_sub(OPTION_SPACE);
    let len = data.len().min(space as usize);
    let Some(rings) = &mut sk.rings else { return 0 };
    // Without memory the data follows later, as without a cookie.
    let taken = rings.snd_in.write(&data[..len], &mut ctx.chunks);
    let taken = taken.unwrap_or(0) as u32;
    sk.tx.write_seq += taken;
    taken
}

/// What became of the SYN's data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SynData {
    /// There was none, or it has arrived.
    Settled,
    /// It goes out again now.
    Again,
}

/// The SYN-ACK has come and its ACK was processed (Linux `tcp_rcv_fastopen_synack`); `mss` is its option.
pub(crate) fn on_syn_ack(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    option: Option<FastOpen>,
    mss: u16,
) -> SynData {
    let pair = pair(sk);
    let unacked = !sk.records.is_empty();
    let timed_out = sk.warm.syn_timeouts > 0;
    let Some(fastopen) = &mut sk.cold.fastopen else {
        return SynData::Settled;
    };
    let active = &mut fastopen.active;
    if !active.offered && active.syn_data == 0 {
        return SynData::Settled;
    }
    // A cookie that was not asked for is no cookie.
    let cookie = option.filter(|o| active.offered && !o.is_request());
    let ignored = active.offered && !timed_out && cookie.is_none() && active.syn_data == 0;
    let try_experimental = match (ignored, active.experimental) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    };
    let again = active.syn_data > 0 && unacked;
    fastopen.syn_data_acked = active.syn_data > 0 && !unacked;
    if fastopen.syn_data_acked {
        ctx.mib.inc(Counter::TcpExtTCPFastOpenActive);
        if active.trial {
            ctx.fastopen.black_hole = BlackHole::default();
        }
    }
    ctx.fastopen
        .cache
        .learn(pair, mss, cookie, try_experimental);
    if !again {
        return SynData::Settled;
    }
    ctx.mib.inc(Counter::TcpExtTCPFastOpenActiveFail);
    retransmit(sk);
    SynData::Again
}

/// The server took the SYN without its data, which is no sign of congestion.
fn retransmit(sk: &mut TcpSock) {
    for index in 0..sk.records.len() as usize {
        sk.records.mark_lost(index);
    }
    machine::lost_without_congestion(sk);
}

/// More data is sent as soon as the handshake ends, which can carry its ACK.
pub(crate) fn write_waits(sk: &TcpSock) -> bool {
    sk.cold
        .fastopen
        .as_ref()
        .is_some_and(|f| f.active.write_waits)
}

/// The SYN of this socket waits for data.
pub(crate) fn is_deferred(sk: &TcpSock) -> bool {
    sk.rx.state == TcpState::SynSent && sk.cold.fastopen.as_ref().is_some_and(|f| f.active.deferred)
}

impl Stack {
    /// sendto or sendmsg with MSG_FASTOPEN: connects, with as much of `data` in the SYN as fits. Never waits; the rest
    /// is for [`Stack::send`] when the connection is there.
    ///
    /// # Errors
    /// EINPROGRESS when the SYN carries no data (there is no cookie of the server yet: the SYN asks for one; or `data`
    /// is empty), EOPNOTSUPP without bit 1 of `tcp_fastopen`, EALREADY, EISCONN, and those of [`Stack::connect`].
    pub fn send_fastopen(
        &mut self,
        now: Instant,
        s: SockId,
        to: SocketAddrV4,
        data: &[u8],
    ) -> Result<usize, SockError> {
        self.ctx.now = now;
        if self.ctx.sysctl.tcp_fastopen & CLIENT == 0 {
            return Err(SockError::OpNotSupported);
        }
        if !is_deferred(self.sock(s)?) {
            match self.connect(now, s, to) {
                Err(SockError::InProgress) => {}
                Ok(()) if is_deferred(self.sock(s)?) => {}
                Ok(()) => return Err(SockError::IsConnected),
                Err(error) => return Err(error),
            }
        }
        self.send_syn_data(s, data)
    }

    /// A socket in SYN_SENT whose SYN is still to come.
    pub(crate) fn send_syn_data(&mut self, s: SockId, data: &[u8]) -> Result<usize, SockError> {
        let sk = self.socks.tcp.get_mut(s).ok_or(SockError::BadSocket)?;
        sk.cold.fastopen.get_or_insert_default();
        let taken = prepare(sk, &mut self.ctx, data);
        self.settle(s);
        if taken == 0 {
            return Err(SockError::InProgress);
        }
        Ok(taken)
    }

    /// Whether the call that opens this connection waits for the end of the handshake with more data.
    pub(crate) fn set_write_waits(&mut self, s: SockId, waits: bool) {
        let fastopen = self
            .socks
            .tcp
            .get_mut(s)
            .and_then(|sk| sk.cold.fastopen.as_mut());
        if let Some(fastopen) = fastopen {
            fastopen.active.write_waits = waits;
        }
    }

    /// connect with TCP_FASTOPEN_CONNECT, after the tuple was found (Linux `tcp_fastopen_defer_connect`): with a cookie
    /// the SYN waits for data, and connect returns; without one it goes and asks.
    pub(crate) fn defer_connect(&mut self, s: SockId) -> Result<(), SockError> {
        let sk = self.socks.tcp.get_mut(s).ok_or(SockError::BadSocket)?;
        let wanted = sk.cold.fastopen.as_ref().is_some_and(|f| f.connect);
        if !wanted {
            return Err(SockError::InProgress);
        }
        let permit = permit(sk, &mut self.ctx);
        let Some(fastopen) = &mut sk.cold.fastopen else {
            return Err(SockError::InProgress);
        };
        match permit {
            Permit::Data(_) => {
                fastopen.active.deferred = true;
                sk.tx.want.remove(Want::SYN);
                sk.note(Readiness::OUT);
                self.settle(s);
                Ok(())
            }
            Permit::Bare(option) => {
                fastopen.option = option;
                fastopen.active.offered = option.is_some();
                fastopen.active.experimental = option.is_some_and(|o| o.experimental);
                Err(SockError::InProgress)
            }
        }
    }
}

/// As after socket(): a connect begins or a connection is forgotten; what setsockopt said stays.
pub(crate) fn reset(fastopen: &mut Option<Box<SockFastOpen>>) {
    if let Some(fastopen) = fastopen {
        fastopen.active = Active::default();
        fastopen.option = None;
    }
}
