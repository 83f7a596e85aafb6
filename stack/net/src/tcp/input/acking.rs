//! When to acknowledge (Linux `__tcp_ack_snd_check`, `tcp_event_data_recv`): delayed, every second segment, quick.

use crate::core::Ctx;
use crate::tcp::input::ecn;
use crate::tcp::mem;
use crate::tcp::output::window;
use crate::tcp::segment::Segment;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{AckState, Want};
use crate::tcp::state::TcpState;
use crate::tcp::timer;
use core::time::Duration;
use millrace_wire::tcp::TcpFlags;

/// Shortest delayed-ACK interval, ms (Linux `TCP_ATO_MIN`, `TCP_DELACK_MIN`).
pub(crate) const ATO_MIN: u16 = 40;
/// Longest, ms (`TCP_DELACK_MAX`).
pub(crate) const DELACK_MAX: u32 = 200;
/// Most quick ACKs in a row (`TCP_MAX_QUICKACKS`).
const MAX_QUICKACKS: u8 = 16;
/// Data of at least this length lets the window grow (Linux).
const GROW_LEN: u32 = 128;

/// In-order data came: adapt the delayed-ACK interval to its rhythm. A train counts as its segments would.
pub(crate) fn event_data_recv(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) {
    let whole = u32::from(seg.segs.saturating_sub(1));
    for _ in 0..whole {
        one_segment(sk, ctx, seg.mss, TcpFlags::NONE);
    }
    let last = seg.len.saturating_sub(whole * u32::from(seg.mss));
    one_segment(sk, ctx, last.min(u32::from(u16::MAX)) as u16, seg.flags);
    // The segments of a train have the same mark.
    if !sk.rx.ecn.is_empty() {
        ecn::on_data(sk, seg.tos);
    }
}

fn one_segment(sk: &mut TcpSock, ctx: &Ctx, len: u16, flags: TcpFlags) {
    let now = ctx.now.as_millis() as u32;
    measure_rcv_mss(sk, len, flags);
    let rx = &mut sk.rx;
    rx.ack.insert(AckState::SCHED);
    if rx.ato == 0 {
        increase_quickack(sk, MAX_QUICKACKS);
        sk.rx.ato = ATO_MIN;
    } else {
        let gap = now.wrapping_sub(rx.lrcvtime);
        if gap <= u32::from(ATO_MIN) / 2 {
            rx.ato = rx.ato / 2 + ATO_MIN / 2;
        } else {
            adapt_to_gap(sk, gap);
        }
    }
    sk.rx.lrcvtime = now;
    if u32::from(len) >= GROW_LEN {
        mem::grow_window(sk, ctx, u32::from(len));
    }
}

fn adapt_to_gap(sk: &mut TcpSock, gap: u32) {
    let rto = sk.warm.rtt.rto().as_millis().min(u128::from(u16::MAX)) as u32;
    let ato = u32::from(sk.rx.ato);
    if gap < ato {
        sk.rx.ato = (ato / 2 + gap).min(rto) as u16;
    } else if gap > rto {
        // The sender was idle for long: it may be in slow start again.
        increase_quickack(sk, MAX_QUICKACKS);
    }
}

/// Data came out of order: the ACK is at once.
pub(crate) fn event_data_recv_ofo(sk: &mut TcpSock, seg: &Segment) {
    ecn::on_data(sk, seg.tos);
    sk.rx.ack.insert(AckState::SCHED);
}

/// Estimates the peer's segment size (Linux `tcp_measure_rcv_mss`).
fn measure_rcv_mss(sk: &mut TcpSock, len: u16, flags: TcpFlags) {
    if len >= sk.rx.rcv_mss {
        sk.rx.rcv_mss = len.min(sk.warm.advmss);
    } else if flags.contains(TcpFlags::PSH) {
        if sk.rx.ack.contains(AckState::PUSHED) {
            sk.rx.ack.insert(AckState::PUSHED2);
        }
        sk.rx.ack.insert(AckState::PUSHED);
    }
}

fn increase_quickack(sk: &mut TcpSock, max: u8) {
    let segments = sk.rx.rcv_wnd / (2 * u32::from(sk.rx.rcv_mss).max(1));
    let quick = segments.clamp(2, u32::from(max)) as u8;
    sk.rx.quick = sk.rx.quick.max(quick);
}

/// Something is wrong: acknowledge at once for a while (Linux `tcp_enter_quickack_mode`).
pub(crate) fn enter_quickack(sk: &mut TcpSock) {
    enter_quickack_for(sk, MAX_QUICKACKS);
}

/// The same for at most `max` ACKs.
pub(crate) fn enter_quickack_for(sk: &mut TcpSock, max: u8) {
    increase_quickack(sk, max);
    sk.rx.pingpong = 0;
    sk.rx.ato = ATO_MIN;
}

fn in_quickack(sk: &TcpSock) -> bool {
    sk.rx.quick > 0 && sk.rx.pingpong == 0
}

/// TCP_QUICKACK (Linux `__tcp_sock_set_quickack`): it does not last, for the next answer that carries data makes the
/// connection interactive again. What is owed is answered at once if the application has read everything.
pub(crate) fn set_quickack(sk: &mut TcpSock, ctx: &mut Ctx, value: i32) {
    sk.rx.pingpong = u8::from(value == 0);
    let connected = matches!(sk.rx.state, TcpState::Established | TcpState::CloseWait);
    if value == 0 || !connected || !sk.rx.ack.contains(AckState::SCHED) {
        return;
    }
    sk.rx.ack.insert(AckState::PUSHED);
    cleanup_rbuf(sk, ctx);
    if value & 1 == 0 {
        sk.rx.pingpong = 1;
    }
}

/// Decides about the ACK for what the segment brought.
pub(crate) fn ack_snd_check(sk: &mut TcpSock, ctx: &mut Ctx) {
    if !sk.rx.ack.contains(AckState::SCHED) {
        return;
    }
    let second = sk.rx.rcv_nxt.bytes_since(sk.rx.rcv_wup) > u32::from(sk.rx.rcv_mss)
        && window::candidate(sk) >= sk.rx.rcv_wnd;
    let hole = !sk.warm.ofo.is_empty() && !mutant!("early_data_ack_delayed");
    if second || in_quickack(sk) || sk.rx.ack.contains(AckState::NOW) || hole {
        sk.tx.want.insert(Want::ACK);
    } else {
        delay(sk, ctx);
    }
}

/// Arms the delayed-ACK timer (Linux `tcp_send_delayed_ack`).
fn delay(sk: &mut TcpSock, ctx: &mut Ctx) {
    let mut ato = u32::from(sk.rx.ato);
    if ato > u32::from(ATO_MIN) {
        let interactive = sk.rx.pingpong > 0 || sk.rx.ack.contains(AckState::PUSHED);
        let mut max = if interactive { DELACK_MAX } else { 500 };
        if sk.warm.rtt.has_sample() {
            max = max.min((sk.warm.rtt.srtt().as_millis() as u32).max(u32::from(ATO_MIN)));
        }
        ato = ato.min(max);
    }
    let ato = ato.min(DELACK_MAX) + if mutant!("delayed_ack_late") { 800 } else { 0 };
    let ato = Duration::from_millis(u64::from(ato));
    let mut at = ctx.now + ato;
    if let Some(set) = sk.warm.timers.ack {
        if set <= ctx.now + ato / 4 {
            sk.tx.want.insert(Want::ACK);
            return;
        }
        at = at.min(set);
    }
    sk.rx.ack.insert(AckState::TIMER);
    if !mutant!("delayed_ack_lost") {
        timer::arm_ack(sk, ctx, at);
    }
}

/// The application took data: does the peer need to know (Linux `__tcp_cleanup_rbuf`)?
pub(crate) fn cleanup_rbuf(sk: &mut TcpSock, ctx: &mut Ctx) {
    let mut now = false;
    if sk.rx.ack.contains(AckState::SCHED) {
        let emptied = sk.unread() == 0;
        let pushed = sk.rx.ack.contains(AckState::PUSHED2)
            || sk.rx.ack.contains(AckState::PUSHED) && sk.rx.pingpong == 0;
        now = sk.rx.rcv_nxt.bytes_since(sk.rx.rcv_wup) > u32::from(sk.rx.rcv_mss)
            || pushed && emptied;
    }
    if !now
        && !sk
            .rx
            .features
            .contains(crate::tcp::sock::hot::Features::RCV_SHUTDOWN)
    {
        // A window that at least doubles is worth telling.
        let left = sk.rx.receive_window();
        if 2 * left <= sk.warm.rcvbuf {
            let new = window::candidate(sk);
            now = new > 0 && new >= 2 * left && !mutant!("opened_window_kept");
        }
    }
    if now {
        sk.tx.want.insert(Want::ACK);
    }
    mem::adjust_rcvbuf(sk, ctx);
}

/// A segment with the current ACK went out (Linux `tcp_event_ack_sent`).
pub(crate) fn event_ack_sent(sk: &mut TcpSock) {
    if sk.rx.quick > 0 {
        sk.rx.quick -= 1;
        if sk.rx.quick == 0 {
            sk.rx.ato = ATO_MIN;
        }
    }
    sk.rx.ack = AckState::default();
    sk.warm.timers.ack = None;
    sk.tx.want.remove(Want::ACK);
}
