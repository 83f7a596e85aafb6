//! What the peer's ACKs and SACKs say about the records (Linux `tcp_sacktag_write_queue`).

use crate::core::Ctx;
use crate::stats::Counter;
use crate::tcp::recovery::rack::{self, Retransmitted};
use crate::tcp::recovery::records::Marks;
use crate::tcp::sock::TcpSock;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::SackBlock;
use millrace_wire::time::Instant;

/// What a set of SACK blocks brought.
#[derive(Default)]
pub(crate) struct Sacked {
    /// Records newly reported.
    pub segments: u32,
    /// The first block was a duplicate SACK (RFC 2883).
    pub dsack: bool,
    /// When the earliest newly reported record that was sent once was sent.
    pub first_sent: Option<Instant>,
}

/// Applies the SACK blocks of one ACK.
pub(crate) fn tag(sk: &mut TcpSock, ctx: &mut Ctx, blocks: &[SackBlock], ack: SeqNum) -> Sacked {
    let mut out = Sacked::default();
    let Some(first) = blocks.first() else {
        return out;
    };
    let rest = &blocks[1..];
    out.dsack = is_dsack(first, rest.first(), ack);
    if out.dsack {
        ctx.mib.inc(Counter::TcpExtTCPDSACKRecv);
        sk.cold.events.dsack_dups += duplicates(sk, first);
    }
    if sk.records.sacked() == 0 {
        sk.warm.recovery.highest_sacked = sk.tx.snd_una;
    }
    // In order of sequence, so that a newer block in front of an older one is not taken for reordering.
    let mut order = [0usize, 1, 2, 3];
    order.sort_by_key(|i| {
        blocks
            .get(*i)
            .map_or(u32::MAX, |b| b.start.bytes_since(sk.tx.snd_una))
    });
    let skip = usize::from(out.dsack);
    for i in order {
        let Some(block) = blocks.get(i).filter(|_| i >= skip) else {
            continue;
        };
        if valid(sk, block) && sk.warm.recovery.sack_cache.get(i) != Some(block) {
            tag_block(sk, ctx.now, block, &mut out);
        }
    }
    let mut cache = [SackBlock::default(); 4];
    for (slot, block) in cache.iter_mut().zip(blocks) {
        *slot = *block;
    }
    sk.warm.recovery.sack_cache = cache;
    out
}

/// A first block below the ACK, or inside the second block, reports a duplicate.
fn is_dsack(first: &SackBlock, second: Option<&SackBlock>, ack: SeqNum) -> bool {
    first.start.before(ack)
        || second.is_some_and(|s| first.start.at_or_after(s.start) && first.end.at_or_before(s.end))
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

/// Only what is in the network can be acknowledged (Linux `tcp_is_sackblock_valid`).
fn valid(sk: &TcpSock, block: &SackBlock) -> bool {
    block.start.before(block.end)
        && block.end.at_or_before(sk.tx.snd_nxt)
        && block.start.at_or_after(sk.tx.snd_una)
        && block.start.before(sk.tx.snd_nxt)
}

fn tag_block(sk: &mut TcpSock, now: Instant, block: &SackBlock, out: &mut Sacked) {
    let mut index = sk.records.index_after(block.start);
    while let Some(r) = sk.records.get(index).copied() {
        if r.end.after(block.end) {
            break;
        }
        // A record that the block covers in part is not counted until it is covered whole.
        if r.seq.at_or_after(block.start) && !r.marks.contains(Marks::SACKED) {
            note_reordering(sk, &r.marks, r.seq);
            sk.records.mark_sacked(index);
            out.segments += 1;
            let copy = if r.marks.contains(Marks::EVER_RETRANS) {
                Retransmitted::Yes
            } else {
                Retransmitted::No
            };
            if copy == Retransmitted::No {
                out.first_sent = Some(out.first_sent.map_or(r.sent_at, |f| f.min(r.sent_at)));
            }
            rack::delivered(sk, now, r.sent_at, r.end, copy);
            sk.warm.recovery.highest_sacked = sk.warm.recovery.highest_sacked.max(r.end);
        }
        index += 1;
    }
}

/// A hole below the highest SACK that fills without a retransmission was reordered.
fn note_reordering(sk: &mut TcpSock, marks: &Marks, seq: SeqNum) {
    if !marks.contains(Marks::EVER_RETRANS)
        && sk.records.sacked() > 0
        && seq.before(sk.warm.recovery.highest_sacked)
    {
        sk.warm.recovery.rack.reordering_seen = true;
        sk.cold.events.reord_seen += 1;
    }
}

/// A duplicate ACK from a peer without SACK: some segment after the first hole arrived. The record that follows
/// those already inferred is taken for it, so that all of recovery reads one scoreboard (Linux `tcp_add_reno_sack`).
pub(crate) fn infer_from_duplicate(sk: &mut TcpSock) {
    let next = (1..sk.records.len() as usize).find(|i| {
        sk.records
            .get(*i)
            .is_some_and(|r| !r.marks.contains(Marks::SACKED))
    });
    if let Some(index) = next {
        sk.records.mark_sacked(index);
    }
}

/// Loss without SACK: the first record, once enough duplicates were counted (Linux `tcp_newreno_mark_lost`).
pub(crate) fn newreno_mark_lost(sk: &mut TcpSock, una_advanced: bool, reordering: u32) -> u32 {
    if sk
        .records
        .front()
        .is_some_and(|r| r.marks.contains(Marks::LOST))
    {
        // Its retransmission is on the way, or about to be.
        return 0;
    }
    let recovery = &sk.warm.recovery;
    let enough = sk.records.sacked() >= reordering;
    if !recovery.in_recovery() && enough || recovery.in_recovery() && una_advanced {
        sk.warm.recovery.rtx_hint = 0;
        return u32::from(sk.records.mark_lost(0));
    }
    0
}
