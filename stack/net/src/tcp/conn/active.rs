//! Active open, and what both sides learn from the other's SYN (Linux `tcp_connect`, `tcp_finish_connect`).

use crate::core::Ctx;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::fastopen::server;
use crate::tcp::input::{ecn, fast};
use crate::tcp::md5;
use crate::tcp::output::{self, window};
use crate::tcp::segment::Segment;
use crate::tcp::sock::hot::{Features, Want};
use crate::tcp::sock::{Rings, TcpSock};
use crate::tcp::state::{TcpState, set_state};
use crate::tcp::{INIT_CWND, MSS_DEFAULT, TIMESTAMPS_LEN, isn, mem, timer};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::TcpOptions;

/// Least guess at the peer's segment size (Linux `TCP_MIN_MSS`).
const MIN_MSS: u16 = 88;

/// What a connection takes over from the one in TIME_WAIT whose tuple it gets (Linux `tcp_twsk_unique`), or from the last
/// one of its own socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resume {
    /// Beyond every number of the old connection.
    pub iss: SeqNum,
    /// The peer's last timestamp and when it came: old duplicates are known by it.
    pub ts_recent: u32,
    pub ts_recent_stamp: u32,
}

/// The tuple and route are set: choose numbers and windows, and let the SYN go out.
pub(crate) fn start(sk: &mut TcpSock, ctx: &mut Ctx, resume: Option<Resume>) {
    let tuple = sk.tuple();
    let iss = resume.map_or_else(|| isn::initial(ctx, &tuple), |old| old.iss);
    if let Some(old) = resume {
        sk.rx.ts_recent = old.ts_recent;
        sk.rx.ts_recent_stamp = old.ts_recent_stamp;
    }
    sk.rx.ts_offset = isn::ts_offset(ctx, &tuple);
    sk.rings = Some(Rings::new(sk.cold.opts.rcvbuf, sk.cold.opts.sndbuf));
    sk.warm.rcvbuf = sk.cold.opts.window_space();
    sk.warm.advmss = output::advmss(sk);
    // Until its SYN says more.
    sk.rx.rcv_mss = MIN_MSS;
    sk.warm.mss_clamp = MSS_DEFAULT;
    let initial = window::initial(&sk.cold.opts, sk.warm.advmss, &ctx.sysctl);
    sk.rx.rcv_wnd = initial.wnd;
    sk.rx.rcv_ssthresh = initial.wnd;
    sk.rx.rcv_wscale = initial.wscale;
    set_numbers(sk, iss);
    sk.rx.ecn = Default::default();
    md5::refresh(sk);
    output::sync_mss(sk, ctx);
    if ctx.sysctl.tcp_timestamps != 0 {
        // They will most likely be agreed upon.
        sk.tx.mss_cache = sk.tx.mss_cache.saturating_sub(TIMESTAMPS_LEN);
    }
    set_state(sk, ctx, TcpState::SynSent);
    ctx.mib.inc(Counter::TcpActiveOpens);
    // A SYN's time counts from the first (Linux `tcp_connect`), not from the first that is repeated.
    sk.warm.recovery.retrans_stamp = Some(ctx.now);
    sk.tx.want.insert(Want::SYN);
}

/// Everything on the send side begins at the initial sequence number.
pub(crate) fn set_numbers(sk: &mut TcpSock, iss: SeqNum) {
    sk.warm.iss = iss;
    sk.tx.snd_una = iss;
    sk.tx.snd_nxt = iss;
    sk.tx.snd_sml = iss;
    sk.tx.pushed_seq = iss;
    sk.tx.write_seq = iss + 1;
    sk.warm.timers.rtt_seq = iss;
}

/// Takes over what the peer's SYN says: numbers, options, window.
pub(crate) fn negotiate(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment, options: &TcpOptions) {
    sk.warm.irs = seg.seq;
    sk.rx.rcv_nxt = seg.seq + 1;
    sk.rx.rcv_wup = sk.rx.rcv_nxt;
    sk.tx.snd_wl1 = seg.seq;
    sk.tx.snd_wnd = u32::from(seg.window);
    sk.tx.max_window = sk.tx.snd_wnd;
    if let Some(ts) = options
        .timestamps
        .filter(|_| ctx.sysctl.tcp_timestamps != 0)
    {
        sk.rx.features.insert(Features::TIMESTAMPS);
        sk.rx.ts_recent = ts.val;
        sk.rx.ts_recent_stamp = ctx.seconds();
    }
    if options.sack_permitted && ctx.sysctl.tcp_sack {
        sk.rx.features.insert(Features::SACK);
    }
    ecn::negotiate(sk, seg);
    match options.wscale.filter(|_| ctx.sysctl.tcp_window_scaling) {
        Some(shift) => {
            sk.rx.features.insert(Features::WSCALE);
            // RFC 7323 §2.3: more than 14 is an error that counts as 14.
            sk.rx.snd_wscale = shift.min(14);
        }
        None => {
            sk.rx.snd_wscale = 0;
            sk.rx.rcv_wscale = 0;
            sk.rx.rcv_wnd = sk.rx.rcv_wnd.min(u32::from(u16::MAX));
        }
    }
    sk.warm.mss_clamp = options
        .mss
        .unwrap_or(if mutant!("missing_mss_is_large") {
            1_460
        } else {
            MSS_DEFAULT
        })
        .min(sk.cold.opts.user_mss.unwrap_or(u16::MAX));
    output::sync_mss(sk, ctx);
    init_rcv_mss(sk);
}

/// First guess at the peer's segment size (Linux `tcp_initialize_rcv_mss`).
pub(crate) fn init_rcv_mss(sk: &mut TcpSock) {
    let half = (sk.rx.rcv_wnd / 2).min(u32::from(u16::MAX)) as u16;
    sk.rx.rcv_mss = sk
        .warm
        .advmss
        .min(sk.tx.mss_cache)
        .min(half)
        .clamp(MIN_MSS, MSS_DEFAULT);
}

/// Our SYN is acknowledged (Linux `tcp_finish_connect`, and the SYN_RECV part of `tcp_rcv_state_process`).
pub(crate) fn finish(sk: &mut TcpSock, ctx: &mut Ctx) {
    init_transfer(sk, ctx);
    open(sk, ctx);
}

/// What sending begins with (Linux `tcp_init_transfer`).
pub(crate) fn init_transfer(sk: &mut TcpSock, ctx: &Ctx) {
    // RFC 6928 §2: a SYN lost more than once says that the path is full.
    sk.tx.snd_cwnd = if sk.warm.syn_timeouts > 1 {
        1
    } else {
        INIT_CWND
    };
    if sk.warm.syn_timeouts > 0 && !sk.warm.rtt.has_sample() {
        sk.warm.rtt.fall_back();
    }
    sk.tx.snd_ssthresh = crate::tcp::sock::hot::INFINITE_SSTHRESH;
    // A handshake that timed out leaves Loss as data would: without SACK not before something later is acknowledged.
    sk.warm.recovery.retrans_stamp = None;
    sk.tx.lsndtime = ctx.now.as_millis() as u32;
    sk.rx.lrcvtime = sk.tx.lsndtime;
    sk.warm.drs = mem::Drs {
        copied: 0,
        since: ctx.now,
        space: sk.rx.rcv_wnd,
    };
}

/// The connection is there.
pub(crate) fn open(sk: &mut TcpSock, ctx: &mut Ctx) {
    set_state(sk, ctx, TcpState::Established);
    if !mutant!("acked_syn_sent_again") {
        // A SYN-ACK that still waits for its turn has been answered: the opens crossed within one batch.
        sk.tx.want.remove(Want::SYN);
    }
    sk.note(Readiness::OUT | Readiness::CHANGE);
    fast::check(sk);
    timer::arm_keepalive(sk, ctx);
    if sk.rx.features.contains(Features::SEND_SHUTDOWN) {
        // shutdown came before.
        sk.tx.fin_queued = true;
        set_state(sk, ctx, TcpState::FinWait1);
    }
}

/// Simultaneous open: our SYN goes out again, with an ACK, which is no retransmission (Linux `tcp_send_synack`). The
/// SYN-ACK of a Fast Open child is one when it is not the first.
pub(crate) fn send_syn_ack(sk: &mut TcpSock, ctx: &mut Ctx) {
    debug_assert!(sk.rx.state == TcpState::SynRecv);
    if sk.records.is_empty() || !server::is_pending(sk) {
        sk.tx.want.insert(Want::SYN);
    } else {
        sk.records.mark_lost(0);
        sk.tx.want.insert(Want::RTX_HEAD);
    }
    timer::rearm_rto(sk, ctx);
}
