//! Timers of a connection: a deadline per kind, all fields of the socket (Linux `tcp_timer.c`). The wheel holds one
//! entry for the nearest of them.

mod keepalive;
mod retransmit;

use crate::core::Ctx;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::recovery::machine::{self, CaState};
use crate::tcp::rtt::INITIAL_RTO;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{AckState, Features, Want};
use core::time::Duration;
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;

pub(crate) use keepalive::{arm_fin_wait2, arm_keepalive};
pub(crate) use retransmit::arm_probe0;

const NANOS_PER_MS: u64 = 1_000_000;
const INITIAL_RTO_NS: u64 = INITIAL_RTO.as_nanos() as u64;

/// What the transmission timer stands for (Linux `icsk_pending`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rtx {
    /// Retransmission time-out.
    Timeout,
    /// Tail loss probe.
    LossProbe,
    /// RACK's reordering window.
    Reordering,
    /// Zero-window probe.
    WindowProbe,
}

/// How much longer than an estimate of the round trip is waited (Linux `TCP_TIMEOUT_MIN_US`).
const TIMEOUT_MIN: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Default)]
pub(crate) struct Timers {
    /// Delayed ACK.
    pub ack: Option<Instant>,
    /// Transmission timer.
    pub rtx: Option<(Instant, Rtx)>,
    /// Keepalive, or the end of FIN_WAIT2 of an orphan.
    pub keep: Option<Instant>,
    /// The application met a shortage of ring memory.
    pub memory: Option<Instant>,
    /// Times the RTO was doubled.
    pub backoff: u8,
    /// Window or keepalive probes without an answer.
    pub probes_out: u8,
    /// When the first of them went out.
    pub probes_since: Option<Instant>,
    /// The RTT round ends when this is acknowledged.
    pub rtt_seq: SeqNum,
}

impl Timers {
    /// The nearest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        let sooner = |a: Option<Instant>, b: Option<Instant>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, None) => a,
            (None, b) => b,
        };
        let transmission = sooner(self.ack, self.rtx.map(|r| r.0));
        sooner(transmission, sooner(self.keep, self.memory))
    }
}

pub(crate) fn arm_ack(sk: &mut TcpSock, _ctx: &mut Ctx, at: Instant) {
    sk.warm.timers.ack = Some(at);
}

/// RACK wants to look again; not later than an RTO (Linux `tcp_rack_mark_lost`).
pub(crate) fn arm_reordering(sk: &mut TcpSock, ctx: &mut Ctx, wait: Duration) {
    let wait = (wait + TIMEOUT_MIN).min(sk.warm.rtt.rto());
    sk.warm.timers.rtx = Some((ctx.now + wait, Rtx::Reordering));
}

/// The peer seems to renege: half a round trip for it to think better (Linux `tcp_check_sack_reneging`).
pub(crate) fn arm_reneging(sk: &mut TcpSock, ctx: &Ctx) {
    let wait = (sk.warm.rtt.srtt() / 2).max(Duration::from_millis(10));
    sk.warm.timers.rtx = Some((ctx.now + wait, Rtx::Timeout));
}

/// An ACK moved things: a loss probe if one may be sent, else the RTO (Linux `tcp_set_xmit_timer`).
pub(crate) fn set_xmit_timer(sk: &mut TcpSock, ctx: &mut Ctx) {
    if schedule_loss_probe(sk, ctx, Why::Acked) == Scheduled::No {
        rearm_rto(sk, ctx);
    }
}

/// Whether a tail loss probe is scheduled.
#[derive(PartialEq, Eq)]
pub(crate) enum Scheduled {
    Yes,
    No,
}

/// What the loss probe is scheduled for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// An ACK moved things on.
    Acked,
    /// New data went out.
    DataSent,
}

/// RFC 8985 §7.2 (Linux `tcp_schedule_loss_probe`).
pub(crate) fn schedule_loss_probe(sk: &mut TcpSock, ctx: &mut Ctx, why: Why) -> Scheduled {
    let possible = ctx.sysctl.tcp_early_retrans >= 3
        && !sk.records.is_empty()
        && sk.rx.features.contains(Features::SACK)
        && !sk.syn_is_out()
        && matches!(sk.warm.recovery.state, CaState::Open | CaState::Cwr)
        && sk.warm.recovery.tlp_high_seq.is_none();
    if !possible {
        return Scheduled::No;
    }
    let mut timeout = if sk.warm.rtt.has_sample() {
        let slack = if sk.records.len() == 1 {
            u64::from(ctx.sysctl.tcp_rto_min_us) * 1_000
        } else {
            TIMEOUT_MIN.as_nanos() as u64
        };
        sk.warm.rtt.srtt_ns() * 2 + slack
    } else {
        INITIAL_RTO_NS
    };
    // New data does not put off what the oldest segment waits for.
    let rto = sk.warm.rtt.rto_ns();
    let cap = match (why, sk.records.front()) {
        (Why::DataSent, Some(head)) => head.sent_at.plus_nanos(rto).nanos_since(ctx.now),
        _ => rto,
    };
    if cap != 0 {
        timeout = timeout.min(cap);
    }
    let longest = u64::from(ctx.sysctl.tcp_rto_max_ms) * NANOS_PER_MS;
    let at = ctx.now.plus_nanos(timeout.min(longest));
    sk.warm.timers.rtx = Some((at, Rtx::LossProbe));
    Scheduled::Yes
}

/// The RTO from now, or none when nothing is in the network (RFC 6298 §5.2, 5.3).
pub(crate) fn rearm_rto(sk: &mut TcpSock, ctx: &mut Ctx) {
    if sk.records.is_empty() {
        if !matches!(sk.warm.timers.rtx, Some((_, Rtx::WindowProbe))) {
            sk.warm.timers.rtx = None;
        }
        return;
    }
    let rto = sk.warm.rtt.rto_ns();
    let mut at = ctx.now.plus_nanos(rto);
    if let Some((_, Rtx::LossProbe | Rtx::Reordering)) = sk.warm.timers.rtx
        && let Some(head) = sk.records.front()
    {
        // Probes do not put the time-out off: it counts from the oldest segment.
        at = (head.sent_at.plus_nanos(rto)).max(ctx.now.plus_nanos(NANOS_PER_MS));
    }
    sk.warm.timers.rtx = Some((at, Rtx::Timeout)).filter(|_| !mutant!("rto_not_armed"));
}

/// Our SYN was answered by something of another connection: before the first time-out it goes out again at once, that
/// is, after two of the kernel's ticks (`TCP_TIMEOUT_MIN`).
pub(crate) fn hurry_syn(sk: &mut TcpSock, ctx: &mut Ctx) {
    if sk.warm.syn_timeouts == 0 && !sk.records.is_empty() {
        sk.warm.timers.rtx = Some((ctx.now + Duration::from_millis(8), Rtx::Timeout));
    }
}

/// The oldest segment went out again: the RTO counts anew, unless RACK wants to look before (Linux
/// `tcp_xmit_retransmit_queue`).
pub(crate) fn head_sent_again(sk: &mut TcpSock, ctx: &mut Ctx) {
    if !matches!(sk.warm.timers.rtx, Some((_, Rtx::Reordering))) {
        sk.warm.timers.rtx = None;
        rearm_rto(sk, ctx);
    }
}

/// A segment with new data went out: some timer must run.
pub(crate) fn on_data_sent(sk: &mut TcpSock, ctx: &mut Ctx) {
    match sk.warm.timers.rtx {
        Some((_, Rtx::Timeout | Rtx::LossProbe | Rtx::Reordering)) => {}
        _ => {
            sk.warm.timers.rtx = None;
            rearm_rto(sk, ctx);
        }
    }
}

/// With nothing in the network, unsent data waits for the window: probe, or not any more (Linux `tcp_ack_probe`).
pub(crate) fn ack_probe(sk: &mut TcpSock, ctx: &mut Ctx) {
    if !sk.records.is_empty() || !sk.has_unsent() {
        return;
    }
    let first = u32::from(sk.tx.mss_cache).min(sk.end_of_queue().bytes_since(sk.tx.snd_nxt));
    if (sk.tx.snd_nxt + first).at_or_before(sk.tx.wnd_end()) {
        sk.warm.timers.backoff = 0;
        sk.warm.timers.probes_since = None;
        if matches!(sk.warm.timers.rtx, Some((_, Rtx::WindowProbe))) {
            sk.warm.timers.rtx = None;
        }
    } else {
        arm_probe0(sk, ctx);
    }
}

/// The peer is alive: probes start from the beginning.
#[inline]
pub(crate) fn heard(sk: &mut TcpSock, ctx: &Ctx) {
    sk.warm.timers.probes_out = 0;
    sk.warm.counts.rcv_tstamp = ctx.now.as_millis() as u32;
}

/// The wheel says that something may be due.
pub(crate) fn fire(sk: &mut TcpSock, ctx: &mut Ctx) {
    let now = ctx.now;
    if sk.warm.timers.ack.is_some_and(|at| at <= now) {
        delayed_ack(sk, ctx);
    }
    if let Some((at, kind)) = sk.warm.timers.rtx
        && at <= now
    {
        match kind {
            Rtx::Timeout => retransmit::timeout(sk, ctx),
            Rtx::LossProbe => loss_probe(sk, ctx),
            Rtx::Reordering => reordering(sk, ctx),
            Rtx::WindowProbe => retransmit::window_probe(sk, ctx),
        }
    }
    if sk.warm.timers.memory.is_some_and(|at| at <= now) {
        sk.warm.timers.memory = None;
        sk.note(Readiness::OUT);
    }
    if sk.warm.timers.keep.is_some_and(|at| at <= now) {
        keepalive::fire(sk, ctx);
    }
}

/// Linux `tcp_delack_timer_handler`.
fn delayed_ack(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.warm.timers.ack = None;
    if !sk.rx.ack.contains(AckState::SCHED) {
        return;
    }
    sk.rx.ack.remove(AckState::TIMER);
    if sk.rx.pingpong == 0 {
        // The application was slow: the interval was too short to save an ACK.
        let rto = sk.warm.rtt.rto().as_millis().min(u128::from(u16::MAX)) as u16;
        sk.rx.ato = sk.rx.ato.saturating_mul(2).min(rto);
    } else {
        // It was taken for interactive and is not.
        sk.rx.pingpong = 0;
        sk.rx.ato = crate::tcp::input::acking::ATO_MIN;
    }
    if !mutant!("delayed_ack_not_sent") {
        sk.tx.want.insert(Want::ACK);
    }
    ctx.mib.inc(Counter::TcpExtDelayedACKs);
}

/// Linux `tcp_send_loss_probe`: the output side chooses new data or the last segment.
fn loss_probe(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.warm.timers.rtx = None;
    if sk.records.is_empty() || sk.warm.recovery.tlp_high_seq.is_some() {
        rearm_rto(sk, ctx);
        return;
    }
    sk.tx.want.insert(Want::TLP);
    ctx.mib.inc(Counter::TcpExtTCPLossProbes);
    // The time-out counts from the probe on.
    sk.warm.timers.rtx = Some((ctx.now + sk.warm.rtt.rto(), Rtx::Timeout));
}

/// Linux `tcp_rack_reo_timeout`. The time-out counts from the oldest segment on.
fn reordering(sk: &mut TcpSock, ctx: &mut Ctx) {
    machine::reordering_timeout(sk, ctx);
    rearm_rto(sk, ctx);
}
