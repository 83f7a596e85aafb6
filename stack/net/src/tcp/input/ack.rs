//! The ACK field (RFC 9293 §3.10.7.4 fifth; Linux `tcp_ack`): window, scoreboard, RTT, recovery, congestion window.

use crate::core::Ctx;
use crate::drop::DropReason;
use crate::sock::space;
use crate::stats::Counter;
use crate::tcp::cong;
use crate::tcp::fastopen::server;
use crate::tcp::input::{ecn, fast, validate};
use crate::tcp::output;
use crate::tcp::recovery::machine::{self, AckFacts, CaState};
use crate::tcp::recovery::rack::{self, Retransmitted};
use crate::tcp::recovery::records::{Cleaned, Marks};
use crate::tcp::recovery::scoreboard;
use crate::tcp::segment::Segment;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::PortOrigin;
use crate::tcp::sock::hot::{Features, Nonagle};
use crate::tcp::stamps;
use crate::tcp::state::TcpState;
use crate::tcp::timer;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::TcpOptions;
use millrace_wire::time::Instant;

/// What the ACK field is worth.
#[must_use]
pub(crate) enum Verdict {
    /// It acknowledges what is in the network, or nothing new.
    Acceptable,
    /// Older than what is known; its data may still be good.
    Old,
    /// The segment is refused.
    Invalid(DropReason),
}

/// The slow path.
pub(crate) fn process(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    options: &TcpOptions,
) -> Verdict {
    let (una, ack) = (sk.tx.snd_una, seg.ack);
    if ack.before(una) {
        // RFC 5961 §5.2: far too old is a blind injection.
        if ack.before(una - oldest_ack(sk)) && !mutant!("blind_data") {
            if sk.rx.state != TcpState::SynRecv {
                validate::challenge(sk, ctx);
            }
            return Verdict::Invalid(DropReason::TcpOldAck);
        }
        // Its SACK blocks still tell something.
        if !options.sack.is_empty() {
            let mut facts = AckFacts {
                bare: is_bare(seg),
                ..AckFacts::default()
            };
            apply_sack(sk, ctx, options, ack, &mut facts);
            machine::fast_retransmit_alert(sk, ctx, &mut facts);
        }
        return Verdict::Old;
    }
    if ack.after(sk.tx.snd_nxt) && !mutant!("ack_of_unsent") {
        if sk.rx.state != TcpState::SynRecv {
            validate::challenge(sk, ctx);
        }
        return Verdict::Invalid(DropReason::TcpAckUnsent);
    }
    if seg.end_seq() == seg.seq {
        ctx.mib.inc(Counter::TcpExtTCPPureAcks);
    }
    let window = update_window(sk, ctx, seg);
    let in_network = !sk.records.is_empty();
    let mut facts = AckFacts {
        ece: in_network && ecn::is_echo(sk, seg),
        ecr: options
            .timestamps
            .map(|ts| ts.ecr)
            .filter(|_| sk.rx.features.contains(Features::TIMESTAMPS)),
        ..AckFacts::default()
    };
    facts.bare = is_bare(seg) && window == Window::Same;
    let highest = scoreboard::highest(sk, una);
    let sacked_at = apply_sack(sk, ctx, options, ack, &mut facts);
    if ack.after(una) {
        advance_una(sk, ctx, ack, sacked_at, highest, &mut facts);
    } else if let Some(sent) = sacked_at {
        take_rtt(sk, ctx, ctx.now.nanos_since(sent));
        // What was sent after the head may go on arriving: only what was sent before it puts the time-out off.
        let head = sk.records.front();
        facts.rearm = head.is_some_and(|head| sent < head.sent_at);
    }
    forget_soft_error(sk);
    ecn::accept_cwr(sk, seg);
    timer::heard(sk, ctx);
    after_ack(sk, ctx, facts, in_network);
    Verdict::Acceptable
}

/// Neither data nor SYN nor FIN.
fn is_bare(seg: &Segment) -> bool {
    seg.len == 0 && !seg.flags.intersects(TcpFlags::SYN | TcpFlags::FIN)
}

/// The peer answers, so that what ICMP told of the way to it is history.
#[inline]
fn forget_soft_error(sk: &mut TcpSock) {
    if sk.rx.features.contains(Features::SOFT_ERROR) {
        sk.rx.features.remove(Features::SOFT_ERROR);
        sk.cold.soft_err = None;
    }
}

/// How far back an ACK may lie: no further than the peer's largest window (RFC 5961 §5.2), nor than all that it has
/// acknowledged so far, a SYN by which we connected and a FIN included (Linux `bytes_acked`).
fn oldest_ack(sk: &TcpSock) -> u32 {
    let Some(rings) = &sk.rings else {
        return sk.tx.max_window;
    };
    let syn = sk.cold.port_origin != PortOrigin::Inherited && sk.tx.snd_una.after(sk.warm.iss);
    let fin = sk.tx.fin_queued && sk.tx.snd_una == sk.end_of_queue();
    let acked = rings.snd_out.head() + u64::from(syn) + u64::from(fin);
    acked.min(u64::from(sk.tx.max_window)) as u32
}

/// The fast path's ACK: the window stands, there is no SACK, and the number lies in `(snd_una, snd_nxt]`.
pub(crate) fn process_fast(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) {
    let mut facts = AckFacts {
        ecr: seg.ts.map(|ts| ts.ecr),
        ..AckFacts::default()
    };
    sk.tx.snd_wl1 = seg.seq;
    let (in_network, highest) = (
        !sk.records.is_empty(),
        scoreboard::highest(sk, sk.tx.snd_una),
    );
    advance_una(sk, ctx, seg.ack, None, highest, &mut facts);
    forget_soft_error(sk);
    timer::heard(sk, ctx);
    after_ack(sk, ctx, facts, in_network);
}

fn after_ack(sk: &mut TcpSock, ctx: &mut Ctx, mut facts: AckFacts, in_network: bool) {
    if sk.warm.recovery.tlp_high_seq.is_some() {
        machine::process_tlp_ack(sk, ctx, &facts);
    }
    let rack = &mut sk.warm.recovery.rack;
    if rack.duplicate_seen || rack.extra_steps > 0 {
        let prior = facts.sample.map(|sample| sample.prior_delivered());
        rack::update_reo_wnd(rack, prior, sk.warm.counts.delivered);
    }
    if in_network && facts.is_dubious(sk) || facts.dsack {
        machine::fast_retransmit_alert(sk, ctx, &mut facts);
    }
    if facts.rearm {
        timer::set_xmit_timer(sk, ctx);
    }
    count_delivered(sk, ctx, &facts);
    cong::on_ack(sk, ctx, &facts);
    // MSG_MORE holds back what the call brought, not what an ACK lets through.
    sk.tx.nonagle.remove(Nonagle::MORE | Nonagle::PUSH);
    if sk.tx.nonagle.intersects(Nonagle::URGENT | Nonagle::STAMPS) {
        output::urg::acked(sk);
        stamps::acked(sk, ctx);
    }
    space::check(sk, ctx);
    timer::ack_probe(sk, ctx);
}

/// Linux `tcp_newly_delivered`.
fn count_delivered(sk: &mut TcpSock, ctx: &mut Ctx, facts: &AckFacts) {
    let delivered = u64::from(facts.delivered);
    ctx.mib.add(Counter::TcpExtTCPDelivered, delivered);
    sk.warm.counts.delivered = sk.warm.counts.delivered.wrapping_add(facts.delivered);
    if facts.delivered > 0 {
        let (total, min_rtt) = (sk.warm.counts.delivered, sk.warm.rtt.min_us());
        sk.warm.rate.on_ack(ctx.now, total, facts.sample, min_rtt);
    }
    if facts.ece {
        ctx.mib.add(Counter::TcpExtTCPDeliveredCE, delivered);
        let sum = &mut sk.cold.events.delivered_ce;
        *sum = sum.wrapping_add(facts.delivered);
    }
}

/// Whether the segment's window counts, be it another one or not.
#[derive(PartialEq, Eq)]
enum Window {
    Same,
    Updated,
}

/// RFC 9293 §3.10.7.4: a newer segment's window counts (Linux `tcp_ack_update_window`).
fn update_window(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Window {
    let window = u32::from(seg.window)
        << if seg.has(TcpFlags::SYN) && !mutant!("wscale_on_syn") {
            0
        } else {
            sk.rx.snd_wscale
        };
    let tx = &mut sk.tx;
    let newer = seg.ack.after(tx.snd_una)
        || seg.seq.after(tx.snd_wl1) && !mutant!("window_update_lost")
        || seg.seq == tx.snd_wl1 && (window > tx.snd_wnd || window == 0);
    if !newer {
        return Window::Same;
    }
    tx.snd_wl1 = seg.seq;
    if tx.snd_wnd == window {
        return Window::Updated;
    }
    tx.snd_wnd = window;
    if window > tx.max_window {
        tx.max_window = window;
        output::sync_mss(sk, ctx);
    }
    fast::check(sk);
    Window::Updated
}

fn apply_sack(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    options: &TcpOptions,
    ack: SeqNum,
    facts: &mut AckFacts,
) -> Option<Instant> {
    if options.sack.is_empty() || !sk.rx.features.contains(Features::SACK) {
        return None;
    }
    let sacked = scoreboard::tag(sk, ctx, options.sack.as_slice(), ack);
    facts.sample = sacked.sample;
    facts.dsack = sacked.duplicates > 0;
    facts.dsack_of_probe = sacked.of_probe;
    facts.data_sacked = sacked.segments > 0;
    facts.delivered += sacked.segments + sacked.duplicates;
    sacked.first_sent
}

/// New data is acknowledged: records go, the ring gives room, RTT is sampled. `highest` is where the highest segment
/// reported by SACK ended before this ACK.
fn advance_una(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    ack: SeqNum,
    sacked_at: Option<Instant>,
    highest: SeqNum,
    facts: &mut AckFacts,
) {
    facts.una_advanced = true;
    release_ring(sk, ctx, ack);
    sk.tx.snd_una = ack;
    let cleaned = sk.records.acknowledge(ack);
    facts.bare = false;
    if cleaned.segments > 0 {
        facts.rearm = true;
        facts.data_acked = cleaned.segments > u32::from(cleaned.syn);
        count_cleaned(sk, ctx, &cleaned, highest, facts);
    }
    sk.warm.recovery.rtx_hint = sk.warm.recovery.rtx_hint.saturating_sub(cleaned.segments);
    if sk.warm.recovery.retransmits > 0 {
        sk.warm.recovery.retransmits = 0;
        sk.cold.events.recovered(ctx.now);
    }
    if sk.warm.recovery.state != CaState::Loss {
        sk.warm.recovery.retrans_stamp = None;
    }
    if let Some(newest) = &cleaned.newest {
        let copy = if newest.marks.contains(Marks::EVER_RETRANS) {
            Retransmitted::Yes
        } else {
            Retransmitted::No
        };
        rack::delivered(sk, ctx.now, newest.sent_at, newest.end, copy);
        sk.warm.rate.on_delivered(&mut facts.sample, newest);
    }
    if sk.records.is_empty() && !sk.has_unsent() {
        sk.warm.chrono.idle(ctx.now);
    }
    sample_rtt(sk, ctx, &cleaned, sacked_at, facts);
    ctx.confirm_neighbour(sk);
}

/// What the records that went tell about delivery and reordering.
fn count_cleaned(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    cleaned: &Cleaned,
    highest: SeqNum,
    facts: &mut AckFacts,
) {
    if sk.rx.features.contains(Features::SACK) {
        facts.delivered += cleaned.newly_delivered;
        if cleaned.syn && server::is_pending(sk) {
            // The SYN-ACK of a Fast Open child is the request's, as that of any child.
            facts.delivered -= 1;
        }
        if let Some(low) = cleaned.lowest_original
            && low.before(highest)
        {
            scoreboard::note_reordering(sk, ctx, low, sk.tx.snd_una);
        }
    } else {
        facts.delivered += sk.records.take_duplicates(cleaned.segments);
        let limited = sk.records.limit_duplicates();
        scoreboard::note_reno_reordering(sk, ctx, limited, cleaned.segments);
    }
}

/// Gives back the part of the send ring that the peer has.
fn release_ring(sk: &mut TcpSock, ctx: &mut Ctx, ack: SeqNum) {
    let end = ack.min(sk.tx.write_seq);
    if !end.after(sk.ring_seq()) {
        return;
    }
    let to = sk.send_pos(end);
    if let Some(rings) = &mut sk.rings {
        rings.snd_out.advance(to);
        rings.snd_in.reclaim(&mut ctx.chunks);
    }
}

/// One sample per ACK, by Karn's rule from what was sent once, else from the echoed timestamp (RFC 6298 §3).
fn sample_rtt(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    cleaned: &Cleaned,
    sacked_at: Option<Instant>,
    facts: &AckFacts,
) {
    let sample = if cleaned.retransmitted {
        None
    } else {
        cleaned.first_sent
    }
    .or(sacked_at);
    let rtt = match (sample, facts.ecr) {
        (Some(sent), _) => Some(ctx.now.nanos_since(sent)),
        (None, Some(ecr)) if ecr != 0 && cleaned.segments > 0 => {
            let delta = ctx.ts_now(sk.rx.ts_offset).wrapping_sub(ecr);
            (delta < 1 << 20).then(|| u64::from(delta.max(1)) * 1_000_000)
        }
        _ => None,
    };
    if let Some(rtt) = rtt {
        take_rtt(sk, ctx, rtt);
    }
}

/// A sample of the round-trip time, nanoseconds.
pub(crate) fn take_rtt(sk: &mut TcpSock, ctx: &Ctx, rtt: u64) {
    sk.warm.rtt.sample(ctx.now, rtt, ctx.sysctl.tcp_rto_min_us);
    sk.warm.rtt.bound(ctx.sysctl.tcp_rto_max_ms);
    if sk.tx.snd_una.after(sk.warm.timers.rtt_seq) {
        sk.warm.timers.rtt_seq = sk.tx.snd_nxt;
        sk.warm.rtt.end_round(ctx.sysctl.tcp_rto_min_us);
    }
    sk.warm.timers.backoff = 0;
}
