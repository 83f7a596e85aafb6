//! Time-outs: retransmission, and probes of a closed window (Linux `tcp_retransmit_timer`, `tcp_probe_timer`).

use crate::core::Ctx;
use crate::sock::error::SockError;
use crate::stats::Counter;
use crate::tcp::TIMEWAIT_MS;
use crate::tcp::conn::close;
use crate::tcp::conn::synack::SYNACK_RTO;
use crate::tcp::fastopen;
use crate::tcp::output;
use crate::tcp::pressure;
use crate::tcp::recovery::machine::{self, CaState};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, INFINITE_SSTHRESH, Want};
use crate::tcp::state::{StateSet, TcpState};
use crate::tcp::timer::Rtx;
use core::time::Duration;

/// A stream with fewer segments in the network is thin, and this many of its time-outs are not doubled.
const THIN_SEGMENTS: u32 = 4;
const THIN_RETRIES: u8 = 6;

/// TCP_RTO_MAX_MS, or the setting of all.
fn rto_max(sk: &TcpSock, ctx: &Ctx) -> Duration {
    let own = sk.cold.opts.rto_max_ms;
    Duration::from_millis(u64::from(own.unwrap_or(ctx.sysctl.tcp_rto_max_ms)))
}

/// Few segments in the network and no slow start (Linux `tcp_stream_is_thin`): a time-out is then seldom congestion.
fn retries_linearly(sk: &TcpSock, ctx: &Ctx) -> bool {
    let wanted = sk.cold.opts.thin_linear_timeouts || ctx.sysctl.tcp_thin_linear_timeouts;
    wanted
        && sk.rx.state == TcpState::Established
        && sk.records.len() < THIN_SEGMENTS
        && sk.tx.snd_ssthresh < INFINITE_SSTHRESH
        && sk.warm.recovery.retransmits <= THIN_RETRIES
}

fn is_opening(sk: &TcpSock) -> bool {
    sk.rx
        .state
        .is_in(StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]))
}

/// The RTO passed without an ACK.
pub(crate) fn timeout(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.warm.timers.rtx = None;
    if sk.records.is_empty() {
        return;
    }
    if fastopen::server::is_pending(sk) {
        fast_open_child(sk, ctx);
        return;
    }
    if is_window_closed(sk) {
        closed_window(sk, ctx);
        return;
    }
    ctx.mib.inc(Counter::TcpExtTCPTimeouts);
    if orphan_must_go(sk, ctx) {
        return;
    }
    let over = is_over(sk, ctx);
    fastopen::client::detect_black_hole(sk, ctx, over);
    if over {
        give_up(sk, ctx);
        return;
    }
    count_failure(sk, ctx);
    machine::enter_loss(sk, ctx);
    let recovery = &mut sk.warm.recovery;
    sk.cold.events.timed_out(ctx.now, recovery.retransmits == 0);
    recovery.retransmits = recovery.retransmits.saturating_add(1);
    recovery.retrans_stamp.get_or_insert(ctx.now);
    if is_opening(sk) {
        sk.warm.syn_timeouts = sk.warm.syn_timeouts.saturating_add(1);
    }
    let linear = sk.rx.state == TcpState::SynSent
        && u32::from(sk.warm.recovery.retransmits) <= ctx.sysctl.tcp_syn_linear_timeouts;
    if retries_linearly(sk, ctx) {
        sk.warm.timers.backoff = 0;
        sk.warm.rtt.reset_rto();
    } else if !linear {
        sk.warm.timers.backoff = sk.warm.timers.backoff.saturating_add(1);
        let max = rto_max(sk, ctx);
        sk.warm.rtt.back_off(max);
    }
    if u32::from(sk.warm.recovery.retransmits) > ctx.sysctl.tcp_retries1 {
        // R1 (RFC 9293 §3.8.3): look for another way.
        sk.warm.dst.generation = 0;
    }
    sk.tx.want.insert(Want::RTX_HEAD);
    let rto = clamp_to_user_timeout(sk, ctx, sk.warm.rtt.rto());
    sk.warm.timers.rtx = Some((ctx.now + rto, Rtx::Timeout));
}

/// The first time-out of a row says that what was going on before did not help (Linux `tcp_retransmit_timer`).
fn count_failure(sk: &TcpSock, ctx: &mut Ctx) {
    let recovery = &sk.warm.recovery;
    if recovery.retransmits > 0 {
        return;
    }
    let sack = sk.rx.features.contains(Features::SACK);
    let counter = match recovery.state {
        CaState::Recovery if sack => Counter::TcpExtTCPSackRecoveryFail,
        CaState::Recovery => Counter::TcpExtTCPRenoRecoveryFail,
        CaState::Loss => Counter::TcpExtTCPLossFailures,
        CaState::Open | CaState::Cwr if sk.records.sacked() == 0 => return,
        _ if sack => Counter::TcpExtTCPSackFailures,
        _ => Counter::TcpExtTCPRenoFailures,
    };
    ctx.mib.inc(counter);
}

/// The SYN-ACK of a Fast Open child: its timer is that of a handshake, not of data.
fn fast_open_child(sk: &mut TcpSock, ctx: &mut Ctx) {
    if fastopen::server::synack_timeout(sk, ctx) {
        give_up(sk, ctx);
        return;
    }
    let shift = u32::from(sk.warm.recovery.retransmits).min(16);
    let wait = (SYNACK_RTO * (1 << shift)).min(rto_max(sk, ctx));
    sk.warm.timers.rtx = Some((ctx.now + wait, Rtx::Timeout));
}

/// The peer shrank its window to nothing over data in the network: retransmissions are window probes.
fn is_window_closed(sk: &TcpSock) -> bool {
    sk.tx.snd_wnd == 0 && !sk.rx.features.contains(Features::ORPHAN) && !is_opening(sk)
}

/// As long as such a peer answers it is alive (RFC 9293 MUST-37); a silent one is given up.
fn closed_window(sk: &mut TcpSock, ctx: &mut Ctx) {
    let silent = (ctx.now.as_millis() as u32).wrapping_sub(sk.warm.counts.rcv_tstamp);
    let silent = Duration::from_millis(u64::from(silent));
    if silent > rto_max(sk, ctx) || user_timeout_passed(sk, ctx) {
        give_up(sk, ctx);
        return;
    }
    machine::enter_loss(sk, ctx);
    sk.warm.recovery.retrans_stamp.get_or_insert(ctx.now);
    let max = rto_max(sk, ctx);
    sk.warm.rtt.back_off(max);
    sk.tx.want.insert(Want::RTX_HEAD);
    sk.warm.timers.rtx = Some((ctx.now + sk.warm.rtt.rto(), Rtx::Timeout));
}

/// R2: too many time-outs (Linux `tcp_write_timeout`).
fn is_over(sk: &TcpSock, ctx: &Ctx) -> bool {
    let count = u32::from(sk.warm.recovery.retransmits);
    let opts = &sk.cold.opts;
    if is_opening(sk) {
        let retries = opts.syncnt.unwrap_or(ctx.sysctl.tcp_syn_retries);
        let linear = if sk.rx.state == TcpState::SynSent {
            ctx.sysctl.tcp_syn_linear_timeouts
        } else {
            0
        };
        return count >= retries + linear || has_lasted(sk, ctx, retries);
    }
    if opts.user_timeout > 0 {
        return user_timeout_passed(sk, ctx);
    }
    let mut boundary = ctx.sysctl.tcp_retries2;
    if sk.rx.features.contains(Features::ORPHAN) {
        boundary = orphan_retries(sk, ctx, sk.warm.rtt.rto() < rto_max(sk, ctx));
    }
    has_lasted(sk, ctx, boundary)
}

/// Time-outs that an orphan has (Linux `tcp_orphan_retries`): none once ICMP has told of trouble, but some while the
/// time-outs have not grown to their bound (`alive`).
fn orphan_retries(sk: &TcpSock, ctx: &Ctx, alive: bool) -> u32 {
    match ctx.sysctl.tcp_orphan_retries {
        _ if sk.cold.soft_err.is_some() && !alive => 0,
        0 if alive => 8,
        retries => retries,
    }
}

/// A time-out of an orphan: whether it ends for want of room (Linux `tcp_write_timeout`).
fn orphan_must_go(sk: &mut TcpSock, ctx: &mut Ctx) -> bool {
    if !sk.rx.features.contains(Features::ORPHAN) || is_opening(sk) {
        return false;
    }
    let alive = sk.warm.rtt.rto() < rto_max(sk, ctx);
    let retries = orphan_retries(sk, ctx, alive);
    let talks = alive || !has_lasted(sk, ctx, retries);
    out_of_resources(
        sk,
        ctx,
        if talks {
            Farewell::Reset
        } else {
            Farewell::Recent
        },
    )
}

/// How an orphan that must go tells its peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// With a RST.
    Reset,
    /// Only if it has sent something lately, or waits for a window.
    Recent,
}

/// Orphans that have been silent for long, or of which ICMP tells no good, count twice against `tcp_max_orphans` (Linux
/// `tcp_out_of_resources`). One too many, or one when memory is out, ends.
fn out_of_resources(sk: &mut TcpSock, ctx: &mut Ctx, farewell: Farewell) -> bool {
    let silent = (ctx.now.as_millis() as u32).wrapping_sub(sk.tx.lsndtime);
    let silent = Duration::from_millis(u64::from(silent));
    let penalties = u32::from(silent > rto_max(sk, ctx) * 2 || farewell == Farewell::Recent)
        + u32::from(sk.cold.soft_err.is_some());
    let too_many = ctx.orphans << penalties > ctx.sysctl.tcp_max_orphans;
    if !too_many && !pressure::is_out_of_memory(sk, ctx) {
        return false;
    }
    let recent = silent <= Duration::from_millis(TIMEWAIT_MS);
    let shut = sk.tx.snd_wnd == 0 && sk.records.is_empty();
    ctx.mib.inc(Counter::TcpExtTCPAbortOnMemory);
    if farewell == Farewell::Reset || recent || shut {
        output::reset::active(sk, ctx);
    }
    close::done(sk, ctx);
    true
}

/// TCP_USER_TIMEOUT has passed, or, without one, as much time as `boundary` doublings take (Linux
/// `retransmits_timed_out`).
fn has_lasted(sk: &TcpSock, ctx: &Ctx, boundary: u32) -> bool {
    if sk.warm.recovery.retransmits == 0 {
        return false;
    }
    if sk.cold.opts.user_timeout > 0 {
        return user_timeout_passed(sk, ctx);
    }
    sk.warm
        .recovery
        .retrans_stamp
        .is_some_and(|since| ctx.now.since(since) >= model_timeout(sk, ctx, boundary))
}

/// How long `boundary` doublings of the least RTO take, of the initial one for a SYN (Linux `tcp_model_timeout`).
fn model_timeout(sk: &TcpSock, ctx: &Ctx, boundary: u32) -> Duration {
    let base = if is_opening(sk) {
        SYNACK_RTO
    } else {
        Duration::from_micros(u64::from(ctx.sysctl.tcp_rto_min_us.max(1)))
    };
    let max = rto_max(sk, ctx);
    let doublings = (max.as_micros() / base.as_micros()).max(1).ilog2();
    if boundary <= doublings {
        base * ((2u32 << boundary.min(30)) - 1)
    } else {
        base * ((2u32 << doublings.min(30)) - 1) + max * (boundary - doublings)
    }
}

fn user_timeout_passed(sk: &TcpSock, ctx: &Ctx) -> bool {
    let limit = Duration::from_millis(u64::from(sk.cold.opts.user_timeout));
    let since = sk
        .warm
        .recovery
        .retrans_stamp
        .or(sk.warm.timers.probes_since);
    !limit.is_zero() && since.is_some_and(|s| ctx.now.since(s) >= limit)
}

fn clamp_to_user_timeout(sk: &TcpSock, ctx: &Ctx, rto: Duration) -> Duration {
    let limit = Duration::from_millis(u64::from(sk.cold.opts.user_timeout));
    match sk
        .warm
        .recovery
        .retrans_stamp
        .or(sk.warm.timers.probes_since)
    {
        Some(since) if !limit.is_zero() => rto.min(
            limit
                .saturating_sub(ctx.now.since(since))
                .max(Duration::from_millis(1)),
        ),
        _ => rto,
    }
}

fn give_up(sk: &mut TcpSock, ctx: &mut Ctx) {
    ctx.mib.inc(Counter::TcpExtTCPAbortOnTimeout);
    let error = sk.cold.soft_err.unwrap_or(SockError::TimedOut);
    close::fail(sk, ctx, error);
}

/// The window is closed and nothing is in the network: ask when it opens (RFC 9293 §3.8.6.1).
pub(crate) fn arm_probe0(sk: &mut TcpSock, ctx: &mut Ctx) {
    if matches!(sk.warm.timers.rtx, Some((_, Rtx::WindowProbe))) {
        return;
    }
    let base = sk
        .warm
        .rtt
        .rto()
        .max(Duration::from_micros(u64::from(ctx.sysctl.tcp_rto_min_us)));
    let shift = u32::from(sk.warm.timers.backoff).min(20);
    let wait = (base * (1 << shift)).min(rto_max(sk, ctx));
    let wait = clamp_to_user_timeout(sk, ctx, wait);
    sk.warm.timers.rtx = Some((ctx.now + wait, Rtx::WindowProbe));
}

/// Linux `tcp_probe_timer` and `tcp_send_probe0`.
pub(crate) fn window_probe(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.warm.timers.rtx = None;
    if !sk.records.is_empty() || !sk.has_unsent() {
        sk.warm.timers.probes_out = 0;
        sk.warm.timers.backoff = 0;
        sk.warm.timers.probes_since = None;
        return;
    }
    let since = *sk.warm.timers.probes_since.get_or_insert(ctx.now);
    // As long as the peer answers (probes_out goes back to 0) the connection stays open (MUST-37).
    let orphan = sk.rx.features.contains(Features::ORPHAN);
    let (mut max_probes, mut over) = (ctx.sysctl.tcp_retries2, false);
    if orphan {
        // Nobody waits for its data: a peer that answers probes and never opens its window does not keep it for ever. The
        // back-off judges, which answers do not reset.
        let backoff = u32::from(sk.warm.timers.backoff);
        let alive = sk.warm.rtt.rto() * (1 << backoff.min(20)) < rto_max(sk, ctx);
        max_probes = orphan_retries(sk, ctx, alive);
        over = !alive && backoff >= max_probes;
    }
    let limit = Duration::from_millis(u64::from(sk.cold.opts.user_timeout));
    over |= !limit.is_zero() && ctx.now.since(since) >= limit;
    if orphan && !over && out_of_resources(sk, ctx, Farewell::Reset) {
        return;
    }
    if over || u32::from(sk.warm.timers.probes_out) >= max_probes {
        give_up(sk, ctx);
        return;
    }
    output::probe::wakeup(sk, ctx);
    if u32::from(sk.warm.timers.backoff) < ctx.sysctl.tcp_retries2 {
        sk.warm.timers.backoff += 1;
    }
    sk.warm.timers.probes_out = sk.warm.timers.probes_out.saturating_add(1);
    arm_probe0(sk, ctx);
}
