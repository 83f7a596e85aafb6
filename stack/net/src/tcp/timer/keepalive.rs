//! Keepalive, and the end of FIN_WAIT2 of orphans, which share a timer (Linux `tcp_keepalive_timer`).

use crate::core::Ctx;
use crate::sock::error::SockError;
use crate::stats::Counter;
use crate::tcp::TIMEWAIT_MS;
use crate::tcp::conn::close;
use crate::tcp::output;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, Want};
use crate::tcp::sock::timewait::Substate;
use crate::tcp::state::{SYNCHRONIZED, TcpState};
use core::time::Duration;

/// Starts the keepalive timer if the option is on, stops it otherwise.
pub(crate) fn arm_keepalive(sk: &mut TcpSock, ctx: &mut Ctx) {
    if sk.rx.features.contains(Features::ORPHAN) || !sk.rx.state.is_in(SYNCHRONIZED) {
        return;
    }
    sk.warm.timers.keep = sk
        .cold
        .opts
        .keepalive
        .then(|| ctx.now + idle_limit(sk, ctx));
}

/// Lets an orphan in FIN_WAIT2 live for `wait` as a full socket.
pub(crate) fn arm_fin_wait2(sk: &mut TcpSock, ctx: &mut Ctx, wait: Duration) {
    sk.warm.timers.keep = Some(ctx.now + wait);
}

fn idle_limit(sk: &TcpSock, ctx: &Ctx) -> Duration {
    Duration::from_secs(u64::from(
        sk.cold
            .opts
            .keepidle
            .unwrap_or(ctx.sysctl.tcp_keepalive_time),
    ))
}

pub(super) fn fire(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.warm.timers.keep = None;
    if sk.rx.state == TcpState::FinWait2 && sk.rx.features.contains(Features::ORPHAN) {
        let left = close::fin_time(sk, ctx).saturating_sub(Duration::from_millis(TIMEWAIT_MS));
        if sk.cold.opts.linger2.is_none_or(|s| s >= 0) && !left.is_zero() {
            close::become_mini(sk, ctx, Substate::FinWait2, left.as_millis() as u64);
        } else {
            close::abort(sk, ctx);
        }
        return;
    }
    if sk.cold.opts.keepalive && sk.rx.state.is_in(SYNCHRONIZED) {
        probe(sk, ctx);
    }
}

fn probe(sk: &mut TcpSock, ctx: &mut Ctx) {
    let idle_limit = idle_limit(sk, ctx);
    if !sk.records.is_empty() || sk.has_unsent() {
        // Data in flight has timers of its own (RFC 9293 MUST-26).
        sk.warm.timers.keep = Some(ctx.now + idle_limit);
        return;
    }
    let idle = (ctx.now.as_millis() as u32).wrapping_sub(sk.warm.counts.rcv_tstamp);
    let idle = Duration::from_millis(u64::from(idle));
    if idle < idle_limit {
        sk.warm.timers.keep = Some(ctx.now + (idle_limit - idle));
        return;
    }
    let opts = &sk.cold.opts;
    let probes = opts.keepcnt.unwrap_or(ctx.sysctl.tcp_keepalive_probes);
    let user_timeout = Duration::from_millis(u64::from(opts.user_timeout));
    let out = u32::from(sk.warm.timers.probes_out);
    let over = if user_timeout.is_zero() {
        out >= probes
    } else {
        idle >= user_timeout && out > 0
    };
    if over && !mutant!("keepalive_never_ends") {
        output::reset::active(sk, ctx);
        ctx.mib.inc(Counter::TcpExtTCPAbortOnTimeout);
        let error = sk.cold.soft_err.unwrap_or(SockError::TimedOut);
        close::fail(sk, ctx, error);
        return;
    }
    ctx.mib.inc(Counter::TcpExtTCPKeepAlive);
    sk.tx.want.insert(Want::PROBE);
    sk.warm.timers.probes_out = sk.warm.timers.probes_out.saturating_add(1);
    let interval = sk
        .cold
        .opts
        .keepintvl
        .unwrap_or(ctx.sysctl.tcp_keepalive_intvl);
    sk.warm.timers.keep = Some(ctx.now + Duration::from_secs(u64::from(interval)));
}
