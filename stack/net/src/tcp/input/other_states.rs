//! Input in the states other than ESTABLISHED (Linux `tcp_rcv_state_process`, `tcp_rcv_synsent_state_process`).

use crate::core::Ctx;
use crate::drop::DropReason;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::conn::{active, close};
use crate::tcp::input::validate::{self, Validity};
use crate::tcp::input::{Fate, ack, acking, data, reset, urg};
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, Want};
use crate::tcp::state::{TcpState, set_state};
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::TcpOptions;

/// SYN_SENT: the answer to our SYN, or the peer's own SYN.
pub(crate) fn syn_sent(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    payload: &Payload<'_, '_>,
) -> Fate {
    let options = seg.parse_options(payload);
    let has_ack = seg.has(TcpFlags::ACK);
    if has_ack && !(seg.ack.after(sk.tx.snd_una) && seg.ack.at_or_before(sk.tx.snd_nxt)) {
        return if seg.has(TcpFlags::RST) {
            Fate::Dropped(DropReason::TcpInvalidAck)
        } else {
            Fate::Reset(DropReason::TcpInvalidAck)
        };
    }
    if seg.has(TcpFlags::RST) {
        if has_ack {
            reset::connection(sk, ctx);
            return Fate::Taken;
        }
        return Fate::Dropped(DropReason::TcpInvalidRst);
    }
    if !seg.has(TcpFlags::SYN) {
        return Fate::Dropped(DropReason::TcpBadFlags);
    }
    active::negotiate(sk, ctx, seg, &options);
    if has_ack {
        return established_by_syn_ack(sk, ctx, seg, payload, &options);
    }
    // Simultaneous open (RFC 9293 MUST-10).
    set_state(sk, ctx, TcpState::SynRecv);
    active::send_syn_ack(sk, ctx);
    Fate::Taken
}

fn established_by_syn_ack(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    payload: &Payload<'_, '_>,
    options: &TcpOptions,
) -> Fate {
    let bare = TcpOptions {
        sack: Default::default(),
        ..*options
    };
    if let ack::Verdict::Invalid(reason) = ack::process(sk, ctx, seg, &bare) {
        return Fate::Dropped(reason);
    }
    active::finish(sk, ctx);
    sk.cold.events.syn_acked = true;
    acking::enter_quickack(sk);
    sk.tx.want.insert(Want::ACK);
    if seg.len > 0 {
        // Data on a SYN-ACK counts like any other (RFC 9293 §3.10.7.3).
        let mut rest = *seg;
        rest.seq += 1;
        rest.flags = seg.flags.without(TcpFlags::SYN);
        return data::queue(sk, ctx, &rest, payload);
    }
    Fate::Taken
}

/// SYN_RECV of a full socket, and all states after ESTABLISHED.
pub(crate) fn input(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    payload: &Payload<'_, '_>,
) -> Fate {
    let options = seg.parse_options(payload);
    if sk.rx.state == TcpState::SynRecv && is_own_syn_again(sk, seg) {
        // The SYN of a simultaneous open, or the SYN-ACK that crossed ours.
        return syn_again(sk, ctx, seg);
    }
    if let Validity::Invalid(fate) = validate::incoming(sk, ctx, seg, &options) {
        return fate;
    }
    let in_syn_recv = sk.rx.state == TcpState::SynRecv;
    match ack::process(sk, ctx, seg, &options) {
        ack::Verdict::Acceptable => {}
        _ if in_syn_recv => return Fate::Reset(DropReason::TcpInvalidAck),
        ack::Verdict::Old => {}
        ack::Verdict::Invalid(reason) => return Fate::Dropped(reason),
    }
    if let Some(fate) = on_acked(sk, ctx, seg) {
        return fate;
    }
    if seg.has(TcpFlags::URG) || sk.rx.features.contains(Features::URGENT) {
        urg::segment(sk, ctx, seg, payload);
    }
    let fate = data::queue(sk, ctx, seg, payload);
    if sk.rx.state != TcpState::Close {
        acking::ack_snd_check(sk, ctx);
    }
    fate
}

fn is_own_syn_again(sk: &TcpSock, seg: &Segment) -> bool {
    seg.has(TcpFlags::SYN) && seg.seq == sk.warm.irs
}

fn syn_again(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Fate {
    if seg.has(TcpFlags::ACK) && seg.ack == sk.tx.snd_nxt {
        let options = TcpOptions::default();
        if let ack::Verdict::Acceptable = ack::process(sk, ctx, seg, &options) {
            active::finish(sk, ctx);
            sk.cold.events.syn_acked = true;
        }
        sk.tx.want.insert(Want::ACK);
        return Fate::Taken;
    }
    active::send_syn_ack(sk, ctx);
    Fate::Taken
}

/// What the acknowledgement of our SYN or FIN does to the state.
fn on_acked(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Option<Fate> {
    let all = sk.tx.snd_una == sk.end_of_queue() && sk.tx.fin_queued;
    match sk.rx.state {
        TcpState::SynRecv => {
            if !sk.tx.snd_una.after(sk.warm.iss) {
                return Some(Fate::Reset(DropReason::TcpInvalidAck));
            }
            active::finish(sk, ctx);
            if sk.cold.parent.is_some() {
                // The SYN-ACK was a mini-socket's.
                sk.warm.counts.delivered += 1;
            } else {
                sk.cold.events.syn_acked = true;
            }
            None
        }
        TcpState::FinWait1 if all => fin_wait2(sk, ctx, seg),
        TcpState::Closing if all => {
            close::enter_time_wait(sk, ctx);
            Some(Fate::Taken)
        }
        TcpState::LastAck if all => {
            close::done(sk, ctx);
            Some(Fate::Taken)
        }
        _ => None,
    }
}

/// Our FIN is acknowledged: an orphan does not wait for the peer's for ever.
fn fin_wait2(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Option<Fate> {
    set_state(sk, ctx, TcpState::FinWait2);
    if !sk.rx.features.contains(Features::ORPHAN) {
        sk.note(Readiness::OUT | Readiness::CHANGE);
        return None;
    }
    let data_end = seg.seq + seg.len;
    if sk.cold.opts.linger2.is_some_and(|s| s < 0) {
        close::done(sk, ctx);
        return Some(Fate::Reset(DropReason::TcpClosed));
    }
    if seg.len > 0 && data_end.after(sk.rx.rcv_nxt) {
        ctx.mib.inc(Counter::TcpExtTCPAbortOnData);
        close::done(sk, ctx);
        return Some(Fate::Reset(DropReason::TcpClosed));
    }
    close::wait_for_fin(sk, ctx, seg.has(TcpFlags::FIN))
}
