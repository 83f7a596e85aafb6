//! Receive-buffer autotuning (dynamic right-sizing; Linux `tcp_rcv_space_adjust`, `tcp_grow_window`).

use crate::core::Ctx;
use crate::tcp::pressure;
use crate::tcp::sock::TcpSock;
use millrace_wire::time::Instant;

/// The running measure: how much the application takes per round trip.
#[derive(Clone, Copy, Default)]
pub(crate) struct Drs {
    /// Octets the application had taken when the measure began.
    pub copied: u64,
    /// When it began.
    pub since: Instant,
    /// Octets per round trip seen so far.
    pub space: u32,
}

/// Full-sized segments open the window towards the buffer's size, as slow start does for the sender.
pub(crate) fn grow_window(sk: &mut TcpSock, ctx: &Ctx, len: u32) {
    let limit = sk.warm.rcvbuf;
    if sk.rx.rcv_ssthresh < limit && len >= u32::from(sk.rx.rcv_mss) / 2 {
        if ctx.pressure.is_on() {
            pressure::narrow_window(sk);
            return;
        }
        let step = 2 * u32::from(sk.warm.advmss);
        sk.rx.rcv_ssthresh = sk
            .rx
            .rcv_ssthresh
            .saturating_add(step.max(2 * len))
            .min(limit);
    }
}

/// The application took data: once per round trip, let the buffer follow twice the rate.
pub(crate) fn adjust_rcvbuf(sk: &mut TcpSock, ctx: &Ctx) {
    let rtt = sk.warm.rtt.srtt_ns();
    let since = sk.warm.drs.since;
    if rtt == 0 || ctx.now.nanos_since(since) < rtt {
        return;
    }
    let drs = sk.warm.drs;
    let Some(rings) = &sk.rings else { return };
    let copied = rings.rcv_out.head();
    let taken = copied
        .saturating_sub(drs.copied)
        .min(u64::from(u32::MAX / 4)) as u32;
    sk.warm.drs = Drs {
        copied,
        since: ctx.now,
        space: drs.space.max(taken),
    };
    let automatic =
        ctx.sysctl.tcp_moderate_rcvbuf && !sk.cold.opts.rcvbuf_locked && !ctx.pressure.is_on();
    if taken <= drs.space || !automatic {
        return;
    }
    // Twice the rate, for slow start, and slack for the sender's burst (Linux: `copied << 1` plus 16 MSS).
    let wanted = taken
        .saturating_mul(2)
        .saturating_add(16 * u32::from(sk.warm.advmss));
    let wanted = wanted.min(ctx.sysctl.tcp_rmem[2] / 2);
    if wanted > sk.warm.rcvbuf {
        sk.warm.rcvbuf = wanted;
        sk.rx.rcv_ssthresh = sk.rx.rcv_ssthresh.max(wanted);
        if let Some(rings) = &mut sk.rings {
            rings.rcv_in.set_limit(u64::from(wanted));
        }
    }
}
