//! Input in the states other than ESTABLISHED (Linux `tcp_rcv_state_process`, `tcp_rcv_synsent_state_process`).

use crate::core::Ctx;
use crate::drop::DropReason;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::conn::{active, close};
use crate::tcp::fastopen::{self, client::SynData};
use crate::tcp::input::validate::{self, Validity};
use crate::tcp::input::{Fate, ack, acking, data, reset, urg};
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{AckState, Features, Want};
use crate::tcp::state::{StateSet, TcpState, set_state};
use crate::tcp::timer;
use core::time::Duration;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{FastOpen, TcpOptions};

/// Longest time that the ACK of a SYN-ACK waits for data to ride on (Linux `TCP_DELACK_MAX`).
const DELACK_MAX: Duration = Duration::from_millis(200);

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
        // Something of an old connection: the peer may want our SYN again at once.
        timer::hurry_syn(sk, ctx);
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
    let mut syn_data = SynData::Settled;
    if sk.cold.fastopen.is_some() {
        let option = FastOpen::parse(payload.slice(&seg.options));
        let mss = options.mss.unwrap_or(crate::tcp::MSS_DEFAULT);
        syn_data = fastopen::client::on_syn_ack(sk, ctx, option, mss);
    }
    let talks_soon =
        sk.cold.opts.defer_accept > 0 || sk.rx.pingpong > 0 || fastopen::client::write_waits(sk);
    acking::enter_quickack(sk);
    // Data on a SYN-ACK is not taken (Linux; RFC 9293 §3.10.7.3 would have it): it comes again.
    if syn_data == SynData::Again {
        // The data that goes out again carries the ACK.
    } else if talks_soon {
        // So may data that is about to come.
        sk.rx.ack.insert(AckState::SCHED | AckState::TIMER);
        timer::arm_ack(sk, ctx, ctx.now + DELACK_MAX);
    } else {
        sk.tx.want.insert(Want::ACK);
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
    if !seg
        .flags
        .intersects(TcpFlags::ACK | TcpFlags::RST | TcpFlags::SYN)
    {
        return Fate::Dropped(DropReason::TcpNoAck);
    }
    let options = seg.parse_options(payload);
    if sk.rx.state == TcpState::SynRecv
        && is_crossing_syn_ack(sk, seg)
        && !validate::is_old(sk, ctx, seg, &options)
    {
        return crossed(sk, ctx, seg, &options);
    }
    if is_syn_of_fast_open(sk, seg) && !validate::is_old(sk, ctx, seg, &options) {
        if !validate::is_rate_limited(sk, ctx, Counter::TcpExtTCPACKSkippedSynRecv) {
            active::send_syn_ack(sk, ctx);
        }
        return Fate::Taken;
    }
    if let Validity::Invalid(fate) = validate::incoming(sk, ctx, seg, &options) {
        return fate;
    }
    let in_syn_recv = sk.rx.state == TcpState::SynRecv;
    match ack::process(sk, ctx, seg, &options) {
        ack::Verdict::Acceptable => validate::replace_ts_recent(sk, ctx, seg, &options),
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
    if is_past_fin(sk, seg) {
        acking::ack_snd_check(sk, ctx);
        return Fate::Dropped(DropReason::TcpClosed);
    }
    if nobody_reads(sk, seg) {
        // RFC 9293 SHLD-3.
        ctx.mib.inc(Counter::TcpExtTCPAbortOnData);
        reset::connection(sk, ctx);
        return Fate::Reset(DropReason::TcpClosed);
    }
    let fate = data::queue(sk, ctx, seg, payload);
    if sk.rx.state != TcpState::Close {
        acking::ack_snd_check(sk, ctx);
    }
    fate
}

/// The SYN that opened a Fast Open child came again: our SYN-ACK was lost.
fn is_syn_of_fast_open(sk: &TcpSock, seg: &Segment) -> bool {
    seg.has(TcpFlags::SYN)
        && !seg.flags.intersects(TcpFlags::ACK | TcpFlags::RST)
        && seg.seq == sk.warm.irs
        && sk.rx.state == TcpState::SynRecv
        && fastopen::server::is_pending(sk)
}

/// New octets after the peer's FIN are ignored without a word; old ones are answered.
fn is_past_fin(sk: &TcpSock, seg: &Segment) -> bool {
    let ended = StateSet::of(&[TcpState::CloseWait, TcpState::Closing, TcpState::LastAck]);
    sk.rx.state.is_in(ended) && !seg.seq.before(sk.rx.rcv_nxt)
}

/// New octets for an end that has closed, or has stopped reading and writing. One that opens only now takes them.
fn nobody_reads(sk: &TcpSock, seg: &Segment) -> bool {
    sk.rx.features.contains(Features::RCV_SHUTDOWN)
        && sk.rx.state != TcpState::Established
        && seg.seq != seg.end_seq()
        && (seg.seq + seg.len).after(sk.rx.rcv_nxt)
}

/// The peer's SYN-ACK of a simultaneous open, bare and of our SYN. Any other SYN draws a challenge.
fn is_crossing_syn_ack(sk: &TcpSock, seg: &Segment) -> bool {
    seg.has(TcpFlags::SYN | TcpFlags::ACK)
        && !seg.has(TcpFlags::RST)
        && seg.seq == sk.warm.irs
        && seg.end_seq() == seg.seq + 1
        && seg.ack == sk.tx.snd_nxt
}

fn crossed(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment, options: &TcpOptions) -> Fate {
    if let ack::Verdict::Acceptable = ack::process(sk, ctx, seg, options) {
        validate::replace_ts_recent(sk, ctx, seg, options);
        active::finish(sk, ctx);
        sk.cold.events.syn_acked = true;
    }
    // Its SYN has been received before, and is answered like all that was.
    data::old(sk, ctx, seg)
}

/// What the acknowledgement of our SYN or FIN does to the state.
fn on_acked(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Option<Fate> {
    let all = sk.tx.snd_una == sk.end_of_queue() && sk.tx.fin_queued;
    let fast_open = fastopen::server::is_pending(sk) && sk.tx.snd_una.after(sk.warm.iss);
    if fast_open {
        fastopen::server::established(sk, ctx);
    }
    match sk.rx.state {
        TcpState::SynRecv => {
            if !sk.tx.snd_una.after(sk.warm.iss) {
                return Some(Fate::Reset(DropReason::TcpInvalidAck));
            }
            if fast_open {
                active::open(sk, ctx);
            } else {
                active::finish(sk, ctx);
            }
            if fast_open || sk.cold.parent.is_some() {
                // The SYN-ACK was a mini-socket's, or counts as if.
                sk.warm.counts.delivered += 1;
            } else {
                sk.cold.events.syn_acked = true;
            }
            None
        }
        TcpState::FinWait1 if all => fin_wait2(sk, ctx, seg),
        TcpState::Closing if all && !mutant!("closing_stuck") => {
            close::enter_time_wait(sk, ctx);
            Some(Fate::Taken)
        }
        TcpState::LastAck if all && !mutant!("last_ack_stuck") => {
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
        // As the kernel counts it; `AbortOnLinger` is for a close in FIN_WAIT2.
        ctx.mib.inc(Counter::TcpExtTCPAbortOnData);
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
