//! What the peer's ACKs and SACKs say about the records (Linux `tcp_sacktag_write_queue`).

use crate::core::Ctx;
use crate::stats::Counter;
use crate::tcp::rate::Sample;
use crate::tcp::recovery::machine::{self, CaState};
use crate::tcp::recovery::rack::{self, Retransmitted};
use crate::tcp::recovery::records::{Limited, Marks};
use crate::tcp::sock::TcpSock;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::SackBlock;
use millrace_wire::time::Instant;

/// What a set of SACK blocks brought.
#[derive(Default)]
pub(crate) struct Sacked {
    /// Records newly reported.
    pub segments: u32,
    /// Segments that a duplicate SACK (RFC 2883) tells to have arrived twice.
    pub duplicates: u32,
    /// The duplicate is the tail loss probe.
    pub of_probe: bool,
    /// When the earliest newly reported record that was sent once was sent.
    pub first_sent: Option<Instant>,
    /// What was sent last of the newly reported.
    pub sample: Option<Sample>,
}

/// Applies the SACK blocks of one ACK.
pub(crate) fn tag(sk: &mut TcpSock, ctx: &mut Ctx, blocks: &[SackBlock], ack: SeqNum) -> Sacked {
    let mut out = Sacked::default();
    take_duplicate(sk, ctx, blocks, ack, &mut out);
    if sk.records.is_empty() {
        return out;
    }
    // What this ACK acknowledges is not in the network any more.
    let una = sk.tx.snd_una.max(ack);
    if sk.records.sacked() == 0 {
        sk.warm.recovery.highest_sacked = una;
    }
    // In order of sequence, so that a newer block in front of an older one is not taken for reordering.
    let mut order = [0usize, 1, 2, 3];
    order.sort_by_key(|i| {
        blocks
            .get(*i)
            .map_or(u32::MAX, |b| b.start.bytes_since(sk.tx.snd_una))
    });
    let duplicate = out.duplicates > 0;
    let mut lowest = None;
    for i in order {
        let Some(block) = blocks.get(i) else {
            continue;
        };
        if i == 0 && duplicate {
            judge_duplicate(sk, ctx, block, una);
        } else if !is_in_network(sk, block, una) {
            // An ACK that was overtaken brings blocks of what is acknowledged meanwhile.
            if ack == una || block.end.after(una) {
                ctx.mib.inc(Counter::TcpExtTCPSACKDiscard);
            }
        } else if sk.warm.recovery.sack_cache.get(i) != Some(block) {
            tag_block(sk, ctx.now, block, &mut out, &mut lowest);
        }
    }
    let mut cache = [SackBlock::default(); 4];
    for (slot, block) in cache.iter_mut().zip(blocks) {
        *slot = *block;
    }
    let recovery = &mut sk.warm.recovery;
    recovery.sack_cache = cache;
    if let Some(lowest) = lowest
        && (recovery.state != CaState::Loss || recovery.undo_marker.is_some())
    {
        note_reordering(sk, ctx, lowest, una);
    }
    out
}

/// A first block below the ACK, or inside the second block, reports a duplicate (Linux `tcp_check_dsack`).
fn take_duplicate(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    blocks: &[SackBlock],
    ack: SeqNum,
    out: &mut Sacked,
) {
    let Some(first) = blocks.first() else {
        return;
    };
    let counter = if first.start.before(ack) {
        Counter::TcpExtTCPDSACKRecv
    } else if blocks
        .get(1)
        .is_some_and(|s| first.start.at_or_after(s.start) && first.end.at_or_before(s.end))
    {
        Counter::TcpExtTCPDSACKOfoRecv
    } else {
        return;
    };
    ctx.mib.inc(counter);
    let segments = duplicates(sk, first);
    sk.cold.events.dsack_dups += segments;
    // What was never sent again cannot have arrived twice because of us.
    if segments == 0 || sk.cold.events.dsack_dups > sk.cold.events.total_retrans {
        ctx.mib.inc(Counter::TcpExtTCPDSACKIgnoredDubious);
        return;
    }
    ctx.mib
        .add(Counter::TcpExtTCPDSACKRecvSegs, u64::from(segments));
    out.duplicates = segments;
    out.of_probe = segments == 1 && sk.warm.recovery.tlp_high_seq == Some(first.end);
    if sk.cold.events.reord_seen > 0 && !out.of_probe {
        sk.warm.recovery.rack.duplicate_seen = true;
    }
}

/// Segments that a duplicate SACK reports (Linux `tcp_dsack_seen`).
fn duplicates(sk: &TcpSock, block: &SackBlock) -> u32 {
    if !block.start.before(block.end) {
        return 0;
    }
    match block.end.bytes_since(block.start) {
        len if len > sk.tx.max_window => 0,
        len => len.div_ceil(u32::from(sk.tx.mss_cache).max(1)),
    }
}

/// Only what is in the network can be acknowledged, and not its first octet (Linux `tcp_is_sackblock_valid`).
fn is_in_network(sk: &TcpSock, block: &SackBlock, una: SeqNum) -> bool {
    block.start.before(block.end)
        && block.end.at_or_before(sk.tx.snd_nxt)
        && block.start.after(una)
        && block.start.before(sk.tx.snd_nxt)
}

/// A duplicate tells something of the last recovery if it lies in what that began with (Linux
/// `tcp_is_sackblock_valid`).
fn judge_duplicate(sk: &TcpSock, ctx: &mut Ctx, block: &SackBlock, una: SeqNum) {
    if is_in_network(sk, block, una) {
        return;
    }
    let Some(marker) = sk.warm.recovery.undo_marker else {
        ctx.mib.inc(Counter::TcpExtTCPDSACKIgnoredNoUndo);
        return;
    };
    let whole = block.start.before(block.end) && block.end.at_or_before(una);
    let reaches = block.start.at_or_after(marker)
        || block.end.after(marker) && block.start.at_or_after(block.end - sk.tx.max_window);
    if !(whole && reaches) {
        ctx.mib.inc(Counter::TcpExtTCPDSACKIgnoredOld);
    }
}

/// Marks what a block covers. `lowest` is where the lowest record begins that was sent once and lies below another that
/// was reported.
fn tag_block(
    sk: &mut TcpSock,
    now: Instant,
    block: &SackBlock,
    out: &mut Sacked,
    lowest: &mut Option<SeqNum>,
) {
    let mut index = sk.records.index_after(block.start);
    while let Some(r) = sk.records.get(index).copied() {
        if r.end.after(block.end) {
            break;
        }
        // A record that the block covers in part is not counted until it is covered whole.
        if r.seq.at_or_after(block.start) && !r.marks.contains(Marks::SACKED) {
            let copy = if r.marks.contains(Marks::EVER_RETRANS) {
                Retransmitted::Yes
            } else {
                Retransmitted::No
            };
            if copy == Retransmitted::No {
                if r.seq.before(sk.warm.recovery.highest_sacked) {
                    *lowest = Some(lowest.map_or(r.seq, |l| l.min(r.seq)));
                }
                out.first_sent = Some(out.first_sent.map_or(r.sent_at, |f| f.min(r.sent_at)));
            }
            sk.warm.rate.on_delivered(&mut out.sample, &r);
            sk.records.mark_sacked(index);
            out.segments += 1;
            rack::delivered(sk, now, r.sent_at, r.end, copy);
            sk.warm.recovery.highest_sacked = sk.warm.recovery.highest_sacked.max(r.end);
        }
        index += 1;
    }
}

/// Where the highest segment that was reported ends; `una` when none is (Linux `tcp_highest_sack_seq`).
pub(crate) fn highest(sk: &TcpSock, una: SeqNum) -> SeqNum {
    if sk.records.sacked() == 0 {
        una
    } else {
        sk.warm.recovery.highest_sacked
    }
}

/// A hole that begins at `low` filled without a retransmission: it was reordered (Linux `tcp_check_sack_reordering`).
pub(crate) fn note_reordering(sk: &mut TcpSock, ctx: &mut Ctx, low: SeqNum, una: SeqNum) {
    let high = highest(sk, una);
    if !low.before(high) {
        return;
    }
    let segments = high
        .bytes_since(low)
        .div_ceil(u32::from(sk.tx.mss_cache).max(1));
    if segments > machine::reordering(sk, ctx) {
        learn_reordering(sk, ctx, segments);
    }
    seen_reordering(sk);
    ctx.mib.inc(Counter::TcpExtTCPSACKReorder);
}

/// Duplicate ACKs told of more segments than can have arrived (Linux `tcp_check_reno_reordering`); `acked` segments
/// were acknowledged with them.
pub(crate) fn note_reno_reordering(sk: &mut TcpSock, ctx: &mut Ctx, limited: Limited, acked: u32) {
    if limited == Limited::No {
        return;
    }
    learn_reordering(sk, ctx, sk.records.len() + acked);
    seen_reordering(sk);
    ctx.mib.inc(Counter::TcpExtTCPRenoReorder);
}

fn learn_reordering(sk: &mut TcpSock, ctx: &Ctx, segments: u32) {
    sk.warm.recovery.learned_reordering = Some(segments.min(ctx.sysctl.tcp_max_reordering));
}

fn seen_reordering(sk: &mut TcpSock) {
    sk.warm.recovery.rack.reordering_seen = true;
    sk.cold.events.reord_seen += 1;
}

/// Loss without SACK: the first record, once enough duplicates were counted (Linux `tcp_newreno_mark_lost`).
pub(crate) fn newreno_mark_lost(sk: &mut TcpSock, una_advanced: bool, reordering: u32) {
    let recovery = &sk.warm.recovery;
    let lost = match recovery.state {
        CaState::Recovery => una_advanced,
        CaState::Loss => false,
        _ => sk.records.sacked() >= reordering,
    };
    if lost && sk.records.mark_first_lost() {
        sk.warm.recovery.rtx_hint = 0;
    }
}
