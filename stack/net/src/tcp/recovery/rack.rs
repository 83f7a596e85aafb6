//! RACK: a record is lost when something sent sufficiently later was delivered (RFC 8985; Linux `tcp_recovery.c`).

use crate::tcp::recovery::machine::CaState;
use crate::tcp::recovery::records::Marks;
use crate::tcp::sock::TcpSock;
use core::time::Duration;
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;

/// What is known of the latest delivery.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rack {
    /// When the most recently sent of all delivered segments was sent.
    pub sent_at: Instant,
    /// Its end.
    pub end_seq: SeqNum,
    /// Its round-trip time.
    pub rtt: Duration,
    /// It moved since the last detection.
    pub advanced: bool,
    /// Reordering was seen on this connection.
    pub reordering_seen: bool,
    /// A duplicate SACK told since the last change that something was repeated too early.
    pub duplicate_seen: bool,
    /// Steps of the reordering window beyond the first, and for how many recoveries without a duplicate they stay.
    pub extra_steps: u8,
    pub persist: u8,
    /// Segments delivered when it last grew.
    pub grown_at: u32,
}

/// Recoveries for which a larger reordering window stays (RFC 8985 §6.2 step 4; Linux `TCP_RACK_RECOVERY_THRESH`).
const PERSIST: u8 = 16;

/// Once per round trip in which duplicates were reported, the reordering window grows by a step (Linux
/// `tcp_rack_update_reo_wnd`). `prior` segments had been delivered when the last of those that this ACK delivers was sent.
pub(crate) fn update_reo_wnd(rack: &mut Rack, prior: Option<u32>, delivered: u32) {
    let Some(prior) = prior.filter(|prior| *prior > 0) else {
        return;
    };
    if (prior.wrapping_sub(rack.grown_at) as i32) < 0 {
        // Of the round in which it grew.
        rack.duplicate_seen = false;
    }
    if rack.duplicate_seen {
        rack.extra_steps = rack.extra_steps.saturating_add(1).min(u8::MAX - 1);
        rack.duplicate_seen = false;
        rack.grown_at = delivered;
        rack.persist = PERSIST;
    } else if rack.persist == 0 {
        rack.extra_steps = 0;
    }
}

/// `a` was sent after `b` (RFC 8985 §6.2 `RACK_sent_after`).
fn sent_after(a: (Instant, SeqNum), b: (Instant, SeqNum)) -> bool {
    a.0 > b.0 || a.0 == b.0 && a.1.after(b.1)
}

/// A segment that was sent at `sent_at` and ended at `end` has been delivered.
pub(crate) fn delivered(
    sk: &mut TcpSock,
    now: Instant,
    sent_at: Instant,
    end: SeqNum,
    retransmitted: Retransmitted,
) {
    let rtt = now.since(sent_at);
    // An ACK faster than the path can be belongs to the original, not to the retransmission.
    if retransmitted == Retransmitted::Yes && rtt < sk.warm.rtt.min() {
        return;
    }
    let rack = &mut sk.warm.recovery.rack;
    rack.rtt = rtt;
    rack.advanced = true;
    if sent_after((sent_at, end), (rack.sent_at, rack.end_seq)) {
        rack.sent_at = sent_at;
        rack.end_seq = end;
    }
}

/// Whether the delivered copy may have been a retransmission.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retransmitted {
    /// Some copy of it was.
    Yes,
    /// It was sent once.
    No,
}

/// How much later than a delivered segment's a loss is believed (Linux `tcp_rack_reo_wnd`).
fn reo_wnd(sk: &TcpSock, reordering: u32) -> Duration {
    let recovery = &sk.warm.recovery;
    if !recovery.rack.reordering_seen
        && (matches!(recovery.state, CaState::Recovery | CaState::Loss)
            || sk.records.sacked() >= reordering)
    {
        return Duration::ZERO;
    }
    let steps = u32::from(recovery.rack.extra_steps) + 1;
    (sk.warm.rtt.min() / 4 * steps).min(sk.warm.rtt.srtt())
}

/// Marks what is lost. Returns in what time more may follow (Linux `tcp_rack_detect_loss`).
pub(crate) fn detect_loss(sk: &mut TcpSock, now: Instant, reordering: u32) -> Option<Duration> {
    let rack = sk.warm.recovery.rack;
    let wait = rack.rtt + reo_wnd(sk, reordering);
    let mut last: Option<Duration> = None;
    for index in 0..sk.records.len() as usize {
        let Some(r) = sk.records.get(index).copied() else {
            break;
        };
        let dormant = r.marks.contains(Marks::SACKED)
            || r.marks.contains(Marks::LOST) && !r.marks.contains(Marks::RETRANS);
        if dormant || !sent_after((rack.sent_at, rack.end_seq), (r.sent_at, r.end)) {
            continue;
        }
        let remaining = wait.saturating_sub(now.since(r.sent_at));
        if remaining.is_zero() {
            sk.records.mark_lost(index);
        } else {
            last = Some(last.map_or(remaining, |l| l.max(remaining)));
        }
    }
    last
}
