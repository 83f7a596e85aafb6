//! Congestion control: how many segments may be in flight.

pub(crate) mod reno;

use crate::core::Ctx;
use crate::tcp::recovery::machine::{self, AckFacts, CaState};
use crate::tcp::sock::TcpSock;

/// The threshold after a loss.
pub(crate) fn ssthresh(sk: &TcpSock) -> u32 {
    reno::ssthresh(sk)
}

/// Grows the window for what an ACK delivered (Linux `tcp_cong_control`).
pub(crate) fn on_ack(sk: &mut TcpSock, ctx: &Ctx, facts: &AckFacts) {
    // In fast recovery and after an echo the window stays where it was put.
    let reduced = matches!(sk.warm.recovery.state, CaState::Cwr | CaState::Recovery);
    if facts.delivered == 0 || reduced || !may_grow(sk, ctx, facts) || !is_cwnd_limited(sk) {
        return;
    }
    reno::grow(sk, facts.delivered);
}

/// SACKs alone let the window grow only where reordering is known: elsewhere they are a sign of loss (Linux
/// `tcp_may_raise_cwnd`).
fn may_grow(sk: &TcpSock, ctx: &Ctx, facts: &AckFacts) -> bool {
    facts.data_acked
        || (facts.data_sacked || facts.una_advanced)
            && machine::reordering(sk, ctx) > ctx.sysctl.tcp_reordering
}

/// The window only grows when it was what held sending back (RFC 7661; Linux `tcp_is_cwnd_limited`).
pub(crate) fn is_cwnd_limited(sk: &TcpSock) -> bool {
    sk.tx.cwnd_limited
        || sk.tx.snd_cwnd < sk.tx.snd_ssthresh && sk.tx.snd_cwnd < 2 * sk.tx.max_packets_out
}

/// After an idle time of one RTO the window halves per RTO, down to the initial one (RFC 2861).
pub(crate) fn restart_after_idle(sk: &mut TcpSock, ctx: &Ctx) {
    let idle_ms = (ctx.now.as_millis() as u32).wrapping_sub(sk.tx.lsndtime);
    let rto_ms = sk.warm.rtt.rto().as_millis() as u32;
    if !ctx.sysctl.tcp_slow_start_after_idle
        || !sk.records.is_empty()
        || idle_ms <= rto_ms
        || rto_ms == 0
    {
        return;
    }
    let restart = crate::tcp::INIT_CWND.min(sk.tx.snd_cwnd);
    let mut cwnd = sk.tx.snd_cwnd;
    let mut left = idle_ms;
    sk.tx.snd_ssthresh = sk.tx.snd_ssthresh.max((cwnd >> 1) + (cwnd >> 2));
    while left > rto_ms && cwnd > restart {
        left -= rto_ms;
        cwnd >>= 1;
    }
    sk.tx.snd_cwnd = cwnd.max(restart);
    sk.tx.snd_cwnd_cnt = 0;
}
