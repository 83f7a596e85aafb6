//! How a connection ends: orderly, by the application's close, or at once (Linux `tcp_close`, `tcp_shutdown`,
//! `tcp_done`, `tcp_disconnect`).

use crate::core::Ctx;
use crate::sock::error::SockError;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::TIMEWAIT_MS;
use crate::tcp::chrono::Kind;
use crate::tcp::fastopen::server;
use crate::tcp::input::Fate;
use crate::tcp::output;
use crate::tcp::pressure;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::counts;
use crate::tcp::sock::hot::{Features, Nonagle, Want};
use crate::tcp::sock::timewait::Substate;
use crate::tcp::stamps;
use crate::tcp::state::{SYNCHRONIZED, StateSet, TcpState, set_state};
use crate::tcp::timer;
use core::time::Duration;
use millrace_wire::time::Instant;

/// The connection is over: nothing more is sent, timers stop, the owner hears of it (Linux `tcp_done`).
pub(crate) fn done(sk: &mut TcpSock, ctx: &mut Ctx) {
    let opening = StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]);
    if sk.rx.state.is_in(opening) {
        ctx.mib.inc(Counter::TcpAttemptFails);
    }
    end(sk, ctx);
}

/// The same by its owner's will: an attempt that is called off has not failed.
pub(crate) fn end(sk: &mut TcpSock, ctx: &mut Ctx) {
    if sk.rx.state == TcpState::Close {
        return;
    }
    server::leave(sk, ctx, server::How::Quietly);
    set_state(sk, ctx, TcpState::Close);
    purge(sk, ctx);
    sk.rx.features.insert(Features::RCV_SHUTDOWN);
    sk.rx.features.insert(Features::SEND_SHUTDOWN);
    sk.rx.predict = false;
    let all = Readiness::IN | Readiness::OUT | Readiness::RDHUP | Readiness::HUP;
    sk.note(all | Readiness::CHANGE);
}

/// Forgets what was queued for sending and what waits out of order.
fn purge(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.cold.events.acked_at_end = Some(counts::bytes_acked(sk));
    sk.records.clear();
    sk.warm.chrono.idle(ctx.now);
    sk.warm.timers.ack = None;
    sk.warm.timers.rtx = None;
    sk.warm.timers.keep = None;
    sk.warm.timers.memory = None;
    sk.tx.want = Want::default();
    sk.tx.fin_queued = false;
    if sk.tx.nonagle.contains(Nonagle::STAMPS) {
        stamps::forget_marks(sk);
    }
    if output::eor::any(sk) {
        output::eor::forget(sk);
    }
    sk.tx.snd_una = sk.tx.snd_nxt;
    sk.tx.write_seq = sk.tx.snd_nxt;
    sk.warm.ofo.clear();
    if let Some(rings) = &mut sk.rings {
        let tail = rings.snd_out.tail();
        rings.snd_out.advance(tail);
        rings.snd_in.reclaim(&mut ctx.chunks);
        let next = rings.rcv_in.tail() + u64::from(sk.warm.lent);
        rings.rcv_in.discard(next, &mut ctx.chunks);
    }
}

/// The connection is over because of `error`, which the owner's next call returns.
pub(crate) fn fail(sk: &mut TcpSock, ctx: &mut Ctx, error: SockError) {
    sk.warm.err = Some(error);
    done(sk, ctx);
    sk.note(Readiness::ERR);
}

/// Ends the connection with a RST (RFC 9293 §3.10.5 ABORT; Linux `tcp_disconnect`).
pub(crate) fn abort(sk: &mut TcpSock, ctx: &mut Ctx) {
    let needs_reset = SYNCHRONIZED;
    if sk.rx.state.is_in(needs_reset) || sk.rx.state == TcpState::SynRecv {
        output::reset::active(sk, ctx);
    }
    done(sk, ctx);
}

/// Ends the connection at once by its owner's will, with a RST where the peer would otherwise wait (Linux
/// `tcp_disconnect`): not once both sides have said that they are through. Whether a RST goes out.
pub(crate) fn dissolve(sk: &mut TcpSock, ctx: &mut Ctx) -> bool {
    let open = StateSet::of(&[
        TcpState::Established,
        TcpState::CloseWait,
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::SynRecv,
    ]);
    let through = StateSet::of(&[TcpState::Closing, TcpState::LastAck]);
    let resets = sk.rx.state.is_in(open) || sk.has_unsent() && sk.rx.state.is_in(through);
    if resets {
        abort(sk, ctx);
    } else {
        end(sk, ctx);
    }
    resets
}

/// The states that close moves on, and to where (Linux `new_state`).
fn after_close(state: TcpState) -> Option<TcpState> {
    match state {
        TcpState::Established | TcpState::SynRecv => Some(TcpState::FinWait1),
        TcpState::CloseWait => Some(TcpState::LastAck),
        _ => None,
    }
}

/// Queues our FIN behind the last octet.
fn send_fin(sk: &mut TcpSock, now: Instant) {
    sk.tx.fin_queued = true;
    sk.warm.chrono.start(now, Kind::Busy);
    sk.rx.features.insert(Features::SEND_SHUTDOWN);
}

/// shutdown(SHUT_WR). In a handshake the FIN waits for the handshake's end (Linux `tcp_shutdown`); close does not wait.
pub(crate) fn shutdown_send(sk: &mut TcpSock, ctx: &mut Ctx) {
    if sk.rx.state == TcpState::SynRecv {
        sk.rx.features.insert(Features::SEND_SHUTDOWN);
    } else {
        shutdown_write(sk, ctx);
    }
}

/// The send side ends after what is queued.
pub(crate) fn shutdown_write(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.rx.features.insert(Features::SEND_SHUTDOWN);
    if sk.rx.state == TcpState::SynSent {
        sk.tx.fin_queued = true;
        return;
    }
    if let Some(next) = after_close(sk.rx.state) {
        set_state(sk, ctx, next);
        send_fin(sk, ctx.now);
        sk.rx.predict = false;
    }
}

/// The application lets go of a connected socket (Linux `__tcp_close`). Afterwards it is an orphan, or CLOSE.
pub(crate) fn close(sk: &mut TcpSock, ctx: &mut Ctx) {
    let unread = sk.unread() > 0;
    sk.rx.features.insert(Features::ORPHAN);
    sk.rx.features.remove(Features::OWNED);
    release_receive(sk, ctx);
    if sk.rx.state == TcpState::Close {
        return;
    }
    if sk.rx.state == TcpState::SynSent {
        end(sk, ctx);
        return;
    }
    if unread && sk.rx.state != TcpState::Close && !mutant!("unread_data_forgotten") {
        // RFC 9293 SHLD-3, RFC 2525 §2.17.
        ctx.mib.inc(Counter::TcpExtTCPAbortOnClose);
        abort(sk, ctx);
        return;
    }
    if sk.cold.opts.linger && sk.cold.opts.linger_time.is_zero() {
        // Linux counts it so; `AbortOnLinger` is for TCP_LINGER2.
        ctx.mib.inc(Counter::TcpExtTCPAbortOnData);
        dissolve(sk, ctx);
        return;
    }
    sk.rx.features.insert(Features::RCV_SHUTDOWN);
    shutdown_write(sk, ctx);
    sk.warm.timers.keep = None;
    orphan_limits(sk, ctx);
    if sk.rx.state == TcpState::FinWait2 {
        let _ = wait_for_fin(sk, ctx, false);
    }
}

fn release_receive(sk: &mut TcpSock, ctx: &mut Ctx) {
    sk.warm.lent = 0;
    if let Some(rings) = &mut sk.rings {
        let tail = rings.rcv_in.tail();
        rings.rcv_out.advance(tail);
        rings.rcv_in.reclaim(&mut ctx.chunks);
    }
}

/// Too many orphans: this one ends at once (Linux `tcp_check_oom`).
fn orphan_limits(sk: &mut TcpSock, ctx: &mut Ctx) {
    if ctx.orphans >= ctx.sysctl.tcp_max_orphans || pressure::is_out_of_memory(sk, ctx) {
        ctx.mib.inc(Counter::TcpExtTCPAbortOnMemory);
        abort(sk, ctx);
    }
}

/// How long an orphan stays in FIN_WAIT2 (Linux `tcp_fin_time`).
pub(crate) fn fin_time(sk: &TcpSock, ctx: &Ctx) -> Duration {
    let configured = match sk.cold.opts.linger2 {
        Some(s) if s > 0 => s as u32,
        _ => ctx.sysctl.tcp_fin_timeout,
    };
    let rto = sk.warm.rtt.rto();
    Duration::from_secs(u64::from(configured)).max(rto * 4 - rto / 2)
}

/// An orphan in FIN_WAIT2: a mini-socket waits for the FIN, or the full one when the time is long or the FIN is
/// about to be processed.
pub(crate) fn wait_for_fin(sk: &mut TcpSock, ctx: &mut Ctx, fin_follows: bool) -> Option<Fate> {
    if sk.cold.opts.linger2.is_some_and(|s| s < 0) {
        ctx.mib.inc(Counter::TcpExtTCPAbortOnLinger);
        abort(sk, ctx);
        return Some(Fate::Taken);
    }
    let wait = fin_time(sk, ctx);
    let time_wait = Duration::from_millis(TIMEWAIT_MS);
    if wait > time_wait {
        timer::arm_fin_wait2(sk, ctx, wait - time_wait);
    } else if fin_follows {
        timer::arm_fin_wait2(sk, ctx, wait);
    } else {
        become_mini(sk, ctx, Substate::FinWait2, wait.as_millis() as u64);
        return Some(Fate::Taken);
    }
    None
}

/// Both FINs are through: 2 MSL remain.
pub(crate) fn enter_time_wait(sk: &mut TcpSock, ctx: &mut Ctx) {
    become_mini(sk, ctx, Substate::TimeWait, TIMEWAIT_MS);
}

/// A mini-socket takes over (Linux `tcp_time_wait`); the full one is CLOSE and waits for its owner, if it has one.
pub(crate) fn become_mini(sk: &mut TcpSock, ctx: &mut Ctx, substate: Substate, ms: u64) {
    sk.warm.leaving = Some((substate, ms));
    let ack_due = sk.tx.want.contains(Want::ACK) || sk.rx.rcv_nxt != sk.rx.rcv_wup;
    let legal = StateSet::of(&[TcpState::FinWait1, TcpState::FinWait2, TcpState::Closing]);
    if substate == Substate::TimeWait && sk.rx.state.is_in(legal) {
        set_state(sk, ctx, TcpState::TimeWait);
    }
    if ack_due {
        output::ack::send_record(sk, ctx);
    }
    done(sk, ctx);
}
