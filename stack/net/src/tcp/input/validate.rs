//! Is the segment acceptable? PAWS, sequence, RST, SYN, in Linux's order (`tcp_validate_incoming`; RFC 9293
//! §3.10.7.4, RFC 5961, RFC 7323 §5).

use crate::core::Ctx;
use crate::drop::DropReason;
use crate::stats::Counter;
use crate::tcp::input::{Fate, acking, data, reset};
use crate::tcp::output::ack as out_ack;
use crate::tcp::segment::Segment;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::state::TcpState;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{TcpOptions, Timestamps};

/// Timestamps older than this are not trusted any more, seconds (RFC 7323 §5.5).
pub(crate) const PAWS_24DAYS: u32 = 24 * 86_400;

/// How much older a timestamp may be (Linux `TCP_PAWS_WINDOW`).
const PAWS_WINDOW: i32 = 1;

/// The outcome.
#[must_use]
pub(crate) enum Validity {
    /// Go on.
    Valid,
    /// It ends here.
    Invalid(Fate),
}

/// See the module.
pub(crate) fn incoming(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    options: &TcpOptions,
) -> Validity {
    let rst = seg.has(TcpFlags::RST);
    if is_old(sk, ctx, seg, options) && !rst {
        if seg.has(TcpFlags::SYN) {
            challenge_syn(sk, ctx);
            return drop(DropReason::TcpInvalidSyn);
        }
        if seg.seq == seg.end_seq() && seg.has(TcpFlags::ACK) && seg.seq.before(sk.rx.rcv_nxt) {
            // An ACK that was overtaken is common, and needs no answer.
            ctx.mib.inc(Counter::TcpExtPAWSOldAck);
            return drop(DropReason::TcpPaws);
        }
        ctx.mib.inc(Counter::TcpExtPAWSEstab);
        send_dupack(sk, ctx, seg, Counter::TcpExtTCPACKSkippedPAWS);
        return drop(DropReason::TcpPaws);
    }
    if !sequence_ok(sk, seg) {
        return out_of_window(sk, ctx, seg);
    }
    if rst {
        return Validity::Invalid(reset::received(sk, ctx, seg));
    }
    if seg.has(TcpFlags::SYN) {
        if mutant!("syn_resets") {
            reset::connection(sk, ctx);
        }
        // RFC 5961 §4: whatever its sequence number, a SYN only draws a challenge.
        challenge_syn(sk, ctx);
        return drop(DropReason::TcpInvalidSyn);
    }
    if !seg.has(TcpFlags::ACK) {
        return drop(DropReason::TcpNoAck);
    }
    Validity::Valid
}

fn drop(reason: DropReason) -> Validity {
    Validity::Invalid(Fate::Dropped(reason))
}

/// The segment's timestamp says that it is an old one.
pub(crate) fn is_old(sk: &TcpSock, ctx: &Ctx, seg: &Segment, options: &TcpOptions) -> bool {
    let on = sk.rx.features.contains(Features::TIMESTAMPS);
    let ts = options.timestamps.filter(|_| on);
    ts.is_some_and(|ts| paws_discard(sk, ctx, seg, ts))
}

/// The segment touches the window (Linux `tcp_sequence`). One that reaches past its end, not counting the FIN, is taken
/// only while nothing waits to be read.
fn sequence_ok(sk: &mut TcpSock, seg: &Segment) -> bool {
    let end = sk.rx.rcv_nxt + sk.rx.receive_window();
    if mutant!("any_sequence_number") {
        return true;
    }
    if seg.end_seq().before(sk.rx.rcv_wup) || seg.seq.after(end) {
        return false;
    }
    let fin = u32::from(seg.has(TcpFlags::FIN));
    if !(seg.end_seq() - fin).after(end) {
        return true;
    }
    // A FIN waits to be read too, unless the owner went after it came.
    let forgotten = sk.rx.state == TcpState::LastAck && sk.rx.features.contains(Features::ORPHAN);
    let ended = sk.warm.fin_received && !forgotten;
    !ended && data::ring_is_empty(sk)
}

/// A SYN only draws a challenge. On an ESTABLISHED socket Linux counts it as an error too (`syn_inerr`).
fn challenge_syn(sk: &mut TcpSock, ctx: &mut Ctx) {
    if sk.rx.state == TcpState::Established {
        ctx.mib.inc(Counter::TcpInErrs);
    }
    ctx.mib.inc(Counter::TcpExtTCPSYNChallenge);
    challenge(sk, ctx);
}

fn out_of_window(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Validity {
    if seg.has(TcpFlags::RST) {
        // RFC 9293 MUST-66 aside, Linux takes a RST right after a FIN that it has processed.
        if reset::after_fin(sk, seg) {
            reset::connection(sk, ctx);
            return Validity::Invalid(Fate::Taken);
        }
        return drop(DropReason::TcpInvalidRst);
    }
    if seg.has(TcpFlags::SYN) {
        challenge_syn(sk, ctx);
        return drop(DropReason::TcpInvalidSyn);
    }
    if !seg.end_seq().before(sk.rx.rcv_wup) {
        ctx.mib.inc(Counter::TcpExtBeyondWindow);
    }
    send_dupack(sk, ctx, seg, Counter::TcpExtTCPACKSkippedSeq);
    drop(DropReason::TcpOutOfWindow)
}

/// An older timestamp than one already seen (Linux `tcp_paws_discard`).
fn paws_discard(sk: &TcpSock, ctx: &Ctx, seg: &Segment, ts: Timestamps) -> bool {
    let age = sk.rx.ts_recent.wrapping_sub(ts.val) as i32;
    if mutant!("paws_off")
        || age <= PAWS_WINDOW
        || sk.rx.ts_recent == 0
        || ctx.seconds().wrapping_sub(sk.rx.ts_recent_stamp) >= PAWS_24DAYS
    {
        return false;
    }
    !is_disordered_ack(sk, seg, age)
}

/// A pure duplicate ACK that was overtaken is harmless (Linux `tcp_disordered_ack`).
fn is_disordered_ack(sk: &TcpSock, seg: &Segment, age: i32) -> bool {
    let rto = sk.warm.rtt.rto().as_millis() as i32;
    seg.flags.without(TcpFlags::PSH) == TcpFlags::ACK
        && seg.len == 0
        && seg.seq == sk.rx.rcv_nxt
        && seg.ack == sk.tx.snd_una
        && (u32::from(seg.window) << sk.rx.snd_wscale) == sk.tx.snd_wnd
        && age <= rto
}

/// RFC 7323 §4.3: the timestamp to echo is that of the segment that begins at or before the last ACK. Called once the
/// ACK field was found good.
pub(crate) fn replace_ts_recent(sk: &mut TcpSock, ctx: &Ctx, seg: &Segment, options: &TcpOptions) {
    let Some(ts) = options.timestamps else { return };
    let early = seg.seq.after(sk.rx.rcv_wup) && !mutant!("early_timestamp_echoed");
    if !sk.rx.features.contains(Features::TIMESTAMPS) || early {
        return;
    }
    // A peer may begin with zero and go on with its clock (Linux `tcp_paws_check`).
    let newer = sk.rx.ts_recent == 0 || ts.val.wrapping_sub(sk.rx.ts_recent) as i32 >= 0;
    if newer || ctx.seconds().wrapping_sub(sk.rx.ts_recent_stamp) >= PAWS_24DAYS {
        sk.rx.ts_recent = ts.val;
        sk.rx.ts_recent_stamp = ctx.seconds();
    }
}

/// A duplicate ACK for a segment that is not acceptable; it carries a DSACK for old data (Linux `tcp_send_dupack`).
fn send_dupack(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment, skipped: Counter) {
    let old = seg.end_seq() != seg.seq && seg.seq.before(sk.rx.rcv_nxt);
    if old {
        ctx.mib.inc(Counter::TcpExtDelayedACKLost);
        acking::enter_quickack(sk);
        if sk.rx.features.contains(Features::SACK) && ctx.sysctl.tcp_dsack {
            let end = seg.end_seq().min(sk.rx.rcv_nxt);
            sk.warm.ofo.set_dsack(seg.seq, end);
            ctx.mib.inc(Counter::TcpExtTCPDSACKOldSent);
        }
    }
    if !may_always_answer(seg) && is_rate_limited(sk, ctx, skipped) {
        return;
    }
    out_ack::send_record(sk, ctx);
}

/// What takes sequence space and is no SYN is hardly part of a loop of ACKs, so answers to it are not limited.
pub(crate) fn may_always_answer(seg: &Segment) -> bool {
    seg.seq != seg.end_seq() && !seg.has(TcpFlags::SYN)
}

/// Answers to other segments are limited per connection (Linux `tcp_oow_rate_limited`).
pub(crate) fn is_rate_limited(sk: &mut TcpSock, ctx: &mut Ctx, skipped: Counter) -> bool {
    let now = ctx.now.as_millis();
    let limit = u64::from(ctx.sysctl.tcp_invalid_ratelimit);
    if sk
        .cold
        .last_oow_ack
        .is_some_and(|last| now.saturating_sub(last) < limit)
        && !mutant!("challenges_unlimited")
    {
        ctx.mib.inc(skipped);
        return true;
    }
    sk.cold.last_oow_ack = Some(now);
    false
}

/// RFC 5961: tell the peer where we are, so that a real one can answer with an exact RST.
pub(crate) fn challenge(sk: &mut TcpSock, ctx: &mut Ctx) {
    if is_rate_limited(sk, ctx, Counter::TcpExtTCPACKSkippedChallenge) {
        return;
    }
    ctx.mib.inc(Counter::TcpExtTCPChallengeACK);
    out_ack::send_record(sk, ctx);
}
