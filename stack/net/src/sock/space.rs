//! Room to send: when a writer may go on, and when it is told (Linux `sk_stream_memory_free`,
//! `sk_stream_is_writeable`, `sk_stream_write_space`).

use crate::core::{Ctx, Stack};
use crate::ids::SockId;
use crate::sock::readiness::Readiness;
use crate::sysctl::Sysctl;
use crate::tcp::chrono::Kind;
use crate::tcp::output::eor;
use crate::tcp::output::nagle::{self, Partial};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::state::CAN_QUEUE;

/// What autotuning multiplies a window's worth of data by (Linux `tcp_sndbuf_expand`).
const SNDBUF_FACTOR: u32 = 2;

/// Who asks whether there is room: a waiting writer is woken later than a running one is stopped, so that it is not
/// woken for every segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// A call that sends.
    Writer,
    /// poll, or a writer that waits.
    Waiter,
}

/// TCP_NOTSENT_LOWAT, or the setting for all sockets; octets.
fn notsent_lowat(sk: &TcpSock, sysctl: &Sysctl) -> u32 {
    match sk.cold.opts.notsent_lowat {
        0 => sysctl.tcp_notsent_lowat,
        own => own,
    }
}

/// Octets that are queued and could not go out now. Output is pulled: what the windows let through counts as sent.
fn notsent(sk: &TcpSock) -> u32 {
    let tx = &sk.tx;
    if !tx.snd_nxt.before(tx.write_seq) {
        return 0;
    }
    let cwnd = tx
        .snd_cwnd
        .saturating_sub(sk.in_flight())
        .saturating_mul(u32::from(tx.mss_cache));
    let window = if tx.wnd_end().after(tx.snd_nxt) {
        tx.wnd_end().bytes_since(tx.snd_nxt)
    } else {
        0
    };
    let queued = tx.write_seq.bytes_since(tx.snd_nxt);
    let waits = if nagle::test(sk) == Partial::Wait {
        queued % u32::from(tx.mss_cache).max(1)
    } else {
        0
    };
    queued.saturating_sub(cwnd.min(window).min(queued - waits))
}

/// TCP_NOTSENT_LOWAT leaves room (Linux `tcp_stream_memory_free`).
pub(crate) fn below_lowat(sk: &TcpSock, sysctl: &Sysctl, asks: Asks) -> bool {
    let lowat = notsent_lowat(sk, sysctl);
    if lowat == u32::MAX {
        return true;
    }
    let shift = u32::from(asks == Asks::Waiter);
    u64::from(notsent(sk)) << shift < u64::from(lowat)
}

/// TCP_NOTSENT_LOWAT is in force.
pub(crate) fn has_lowat(sk: &TcpSock, sysctl: &Sysctl) -> bool {
    notsent_lowat(sk, sysctl) != u32::MAX
}

/// poll says that the socket can be written (Linux `__sk_stream_is_writeable` with `wake` 1): a third of the buffer
/// is free, and little is unsent.
pub(crate) fn is_writeable(sk: &mut TcpSock, sysctl: &Sysctl) -> bool {
    let Some(rings) = &mut sk.rings else {
        return true;
    };
    let (free, limit) = (rings.snd_in.free(), rings.snd_in.limit());
    let used = limit.saturating_sub(free);
    free > 0
        && free >= used >> 1
        && below_lowat(sk, sysctl, Asks::Waiter)
        && (!eor::any(sk) || eor::has_room(sk))
}

/// A writer waits: tell it if there is room by now (Linux `tcp_check_space`).
#[inline]
pub(crate) fn check(sk: &mut TcpSock, ctx: &Ctx) {
    if sk.warm.no_space && !mutant!("writer_not_woken") {
        new_space(sk, ctx);
    }
}

fn new_space(sk: &mut TcpSock, ctx: &Ctx) {
    expand_sndbuf(sk, ctx);
    if is_writeable(sk, &ctx.sysctl) {
        sk.warm.no_space = false;
        sk.warm.chrono.stop(ctx.now, Kind::Buffer);
        sk.note(Readiness::OUT);
    }
}

/// The measure of room has changed: who waits for it is told, as the kernel does without looking whether there was
/// room before (Linux `sk_stream_write_space`).
pub(crate) fn changed(sk: &mut TcpSock, ctx: &Ctx) {
    if is_writeable(sk, &ctx.sysctl) {
        sk.warm.no_space = false;
        sk.note(Readiness::OUT);
    }
}

/// The send buffer follows the congestion window (Linux `tcp_sndbuf_expand`).
pub(crate) fn expand_sndbuf(sk: &mut TcpSock, ctx: &Ctx) {
    if sk.cold.opts.sndbuf_locked || ctx.pressure.is_on() {
        return;
    }
    let segments = sk.tx.snd_cwnd.max(crate::tcp::INIT_CWND);
    let wanted = segments
        .saturating_mul(u32::from(sk.tx.mss_cache))
        .saturating_mul(SNDBUF_FACTOR);
    let wanted = wanted.min(ctx.sysctl.tcp_wmem[2]);
    if wanted > sk.cold.opts.sndbuf
        && let Some(rings) = &mut sk.rings
    {
        sk.cold.opts.sndbuf = wanted;
        rings.snd_in.set_limit(u64::from(wanted));
    }
}

impl Stack {
    /// A writer met a full buffer, and there is no news for it yet.
    pub(crate) fn awaits_space(&self, s: SockId) -> bool {
        self.socks.tcp.get(s).is_some_and(|sk| {
            sk.warm.no_space
                && sk.warm.err.is_none()
                && sk.warm.timers.memory.is_none()
                && sk.rx.state.is_in(CAN_QUEUE)
                && !sk.rx.features.contains(Features::SEND_SHUTDOWN)
        })
    }
}
