//! Arriving data: the five cases of `tcp_data_queue`, with out-of-order octets written to their final place in
//! the receive ring.

use crate::core::{Ctx, Lent};
use crate::drop::DropReason;
use crate::sock::readable;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::input::ofo::Added;
use crate::tcp::input::{Fate, acking, fast, fin};
use crate::tcp::output::ack as out_ack;
use crate::tcp::pressure;
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{AckState, Features, Want};
use crate::tcp::stamps;
use crate::tcp::state::{CAN_RECEIVE, TcpState};
use millrace_ring::{ChunkPool, NoMemory};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;

/// Whether there is memory for what arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Memory {
    /// Yes: it is reserved.
    Reserved,
    /// No.
    None,
}

/// Sees to it that `len` octets at `rcv_nxt` can be stored, before anything moves.
pub(crate) fn reserve(sk: &mut TcpSock, ctx: &mut Ctx, len: u32) -> Memory {
    let lend = is_lendable(sk);
    let lent = u64::from(sk.warm.lent);
    let Some(rings) = &mut sk.rings else {
        return Memory::None;
    };
    let pos = rings.rcv_in.tail() + lent;
    // The window bounds what is unread, but its edge creeps on when it is scaled and segments are small.
    let most = 2 * rings.rcv_in.limit().max(u64::from(u16::MAX));
    if pos + u64::from(len) > rings.rcv_out.head() + most {
        return Memory::None;
    }
    let kept = if lend {
        ctx.chunks.secure(ChunkPool::span(pos, len))
    } else {
        rings.rcv_in.reserve(pos, len as usize, &mut ctx.chunks)
    };
    match kept {
        Ok(()) => Memory::Reserved,
        Err(NoMemory) => Memory::None,
    }
}

/// What comes next in order can be lent to the service that owns the socket.
fn is_lendable(sk: &mut TcpSock) -> bool {
    let matter = Features::ATTACHED | Features::URGENT | Features::RX_STAMPS;
    sk.rx.features.intersection(matter) == Features::ATTACHED
        && sk.warm.ofo.is_empty()
        && ring_is_empty(sk)
}

/// Takes `len` octets from `skip` on, which are next in order and have memory reserved: lends them to the service
/// when that is possible, else writes them into the ring. Moves `rcv_nxt`.
pub(crate) fn append(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    payload: &Payload<'_, '_>,
    skip: u32,
    len: u32,
) {
    if is_lendable(sk) {
        lend(sk, ctx, payload, skip, len);
        // The service sees them anyway; it is woken for what it leaves.
        if sk.rx.features.contains(Features::WATCHED) {
            wake_reader(sk);
        }
    } else {
        flush_lent(sk, ctx, payload);
        let Some(rings) = &mut sk.rings else { return };
        let tail = rings.rcv_in.tail();
        for (at, bytes) in payload.slices(skip, len) {
            // The memory was reserved before.
            let _ = rings
                .rcv_in
                .write_at(tail + u64::from(at), bytes, &mut ctx.chunks);
        }
        rings.rcv_in.publish(tail + u64::from(len));
        ctx.mib.add(Counter::MillraceRingBytes, u64::from(len));
        if sk.rx.features.contains(Features::RX_STAMPS) {
            stamps::arrived(sk, tail + u64::from(len), ctx.now);
        }
        sk.rx.rcv_nxt += len;
        wake_reader(sk);
        return;
    }
    sk.rx.rcv_nxt += len;
}

/// There is something to read. Who polls is woken for SO_RCVLOWAT octets (Linux `tcp_data_ready`); others look for
/// themselves.
pub(crate) fn wake_reader(sk: &mut TcpSock) {
    let polled = sk.rx.features.contains(Features::WATCHED) && sk.warm.lent == 0;
    if !mutant!("reader_not_woken") && (!polled || sk.warm.fin_received || readable::is_ready(sk)) {
        sk.note(Readiness::IN);
    }
}

/// Lends octets for this poll. They take no memory, but some is promised in case that the service leaves a part.
#[inline]
fn lend(sk: &mut TcpSock, ctx: &mut Ctx, payload: &Payload<'_, '_>, skip: u32, len: u32) {
    let Some(rings) = &sk.rings else { return };
    let mut pos = rings.rcv_in.tail() + u64::from(sk.warm.lent);
    for part in cut(payload, skip, len) {
        let chunks = ChunkPool::span(pos, u32::from(part.len));
        ctx.chunks.promise(chunks);
        ctx.lent.push(Lent {
            sock: sk.warm.id,
            part,
            chunks: chunks as u16,
        });
        pos += u64::from(part.len);
    }
    sk.warm.lent += len;
}

/// Memory is short: what waits out of order goes, so that what is in order can come (Linux `tcp_prune_ofo_queue`;
/// RFC 2018 §8 allows it).
fn prune(sk: &mut TcpSock, ctx: &mut Ctx, len: u32) -> Memory {
    ctx.mib.inc(Counter::TcpExtPruneCalled);
    if ctx.pressure.is_on() {
        pressure::narrow_window(sk);
    }
    if !sk.warm.ofo.is_empty() {
        sk.warm.ofo.clear();
        ctx.mib.inc(Counter::TcpExtOfoPruned);
        let lent = u64::from(sk.warm.lent);
        if let Some(rings) = &mut sk.rings {
            let next = rings.rcv_in.tail() + lent;
            rings.rcv_in.discard(next, &mut ctx.chunks);
        }
    }
    if reserve(sk, ctx, len) == Memory::Reserved {
        return Memory::Reserved;
    }
    // The least buffer is promised to everybody (`tcp_rmem`).
    if sk.unread() < u64::from(ctx.sysctl.tcp_rmem[0])
        && let Ok(()) = ctx.promised(|ctx| match reserve(sk, ctx, len) {
            Memory::Reserved => Ok(()),
            Memory::None => Err(NoMemory),
        })
    {
        return Memory::Reserved;
    }
    ctx.mib.inc(Counter::TcpExtRcvPruned);
    Memory::None
}

/// Nothing waits to be read.
pub(crate) fn ring_is_empty(sk: &mut TcpSock) -> bool {
    sk.rings
        .as_mut()
        .is_some_and(|r| r.rcv_in.tail() == r.rcv_in.head())
}

/// Something must go to the ring behind octets that are lent: those go there first.
fn flush_lent(sk: &mut TcpSock, ctx: &mut Ctx, payload: &Payload<'_, '_>) {
    if sk.warm.lent == 0 {
        return;
    }
    let id = sk.warm.id;
    let mut mine = Vec::new();
    let chunks = &mut ctx.chunks;
    ctx.lent.retain(|l| {
        if l.sock == id {
            mine.push(l.part);
            chunks.redeem(l.chunks.into());
        }
        l.sock != id
    });
    let all = Payload {
        frames: payload.frames,
        parts: &mine,
    };
    let Some(rings) = &mut sk.rings else { return };
    let tail = rings.rcv_in.tail();
    for (at, bytes) in all.slices(0, sk.warm.lent) {
        let _ = rings
            .rcv_in
            .write_at(tail + u64::from(at), bytes, &mut ctx.chunks);
    }
    rings.rcv_in.publish(tail + u64::from(sk.warm.lent));
    ctx.mib
        .add(Counter::MillraceRingBytes, u64::from(sk.warm.lent));
    sk.warm.lent = 0;
    wake_reader(sk);
}

/// The parts of a payload, cut to `[skip, skip + len)`.
fn cut<'a>(
    payload: &'a Payload<'_, '_>,
    skip: u32,
    len: u32,
) -> impl Iterator<Item = crate::tcp::segment::Part> + 'a {
    let mut at = 0u32;
    let end = skip + len;
    payload.parts.iter().filter_map(move |p| {
        let (start, stop) = (at, at + u32::from(p.len));
        at = stop;
        let (from, to) = (start.max(skip), stop.min(end));
        (from < to).then(|| crate::tcp::segment::Part {
            frame: p.frame,
            offset: p.offset + (from - start) as u16,
            len: (to - from) as u16,
        })
    })
}

/// The data and FIN of one acceptable segment.
pub(crate) fn queue(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    payload: &Payload<'_, '_>,
) -> Fate {
    let has_fin = seg.has(TcpFlags::FIN);
    if seg.len == 0 && !has_fin {
        return Fate::Taken;
    }
    if seg.end_seq().at_or_before(sk.rx.rcv_nxt) {
        return old(sk, ctx, seg);
    }
    if !sk.rx.state.is_in(CAN_RECEIVE) {
        // After the peer's FIN there is no more data; what comes is a retransmission of it.
        sk.tx.want.insert(Want::ACK);
        return Fate::Dropped(DropReason::TcpClosed);
    }
    let rcv_nxt = sk.rx.rcv_nxt;
    let window_end = rcv_nxt + sk.rx.receive_window();
    // A bare FIN is taken even when the window is closed.
    let beyond = if seg.seq == rcv_nxt {
        window_end == rcv_nxt && seg.len > 0
    } else {
        seg.seq.at_or_after(window_end)
    };
    if beyond {
        acking::enter_quickack(sk);
        sk.tx.want.insert(Want::ACK);
        return Fate::Dropped(DropReason::TcpOutOfWindow);
    }
    if seg.seq.after(rcv_nxt) {
        out_of_order(sk, ctx, seg, payload)
    } else {
        in_order(sk, ctx, seg, payload)
    }
}

/// Case: everything was received before.
pub(crate) fn old(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Fate {
    ctx.mib.inc(Counter::TcpExtDelayedACKLost);
    set_dsack(
        sk,
        ctx,
        seg.seq,
        seg.end_seq(),
        Counter::TcpExtTCPDSACKOldSent,
    );
    acking::enter_quickack(sk);
    if !mutant!("old_data_unanswered") {
        out_ack::send_record(sk, ctx);
    }
    Fate::Taken
}

fn set_dsack(sk: &mut TcpSock, ctx: &mut Ctx, start: SeqNum, end: SeqNum, counter: Counter) {
    if sk.rx.features.contains(Features::SACK) && ctx.sysctl.tcp_dsack {
        ctx.mib.inc(counter);
        sk.warm.ofo.set_dsack(start, end);
    }
}

/// Cases: exactly next, or overlapping what was received; the part beyond the window is cut off.
fn in_order(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment, payload: &Payload<'_, '_>) -> Fate {
    let rcv_nxt = sk.rx.rcv_nxt;
    let skip = rcv_nxt.bytes_since(seg.seq).min(seg.len);
    let skip = if mutant!("overlap_not_cut") { 0 } else { skip };
    let window = sk.rx.receive_window();
    let take = (seg.len - skip).min(window);
    let fin = seg.has(TcpFlags::FIN) && skip + take == seg.len;
    if take == 0 && !fin {
        acking::enter_quickack(sk);
        sk.tx.want.insert(Want::ACK);
        return Fate::Dropped(DropReason::TcpOutOfWindow);
    }
    if take > 0 && reserve(sk, ctx, take) == Memory::None && prune(sk, ctx, take) == Memory::None {
        ctx.mib.inc(Counter::TcpExtTCPRcvQDrop);
        sk.rx.ack.insert(AckState::NOMEM);
        sk.tx.want.insert(Want::ACK);
        return Fate::Dropped(DropReason::NoMemory);
    }
    if skip > 0 {
        set_dsack(sk, ctx, seg.seq, rcv_nxt, Counter::TcpExtTCPDSACKOldSent);
    }
    let had_ofo = !sk.warm.ofo.is_empty();
    if take > 0 {
        append(sk, ctx, payload, skip, take);
        acking::event_data_recv(sk, ctx, seg);
    }
    if fin && sk.rx.rcv_nxt == seg.end_seq() - 1 {
        // What waits behind the end does not count (Linux `tcp_fin` purges it), and no gap was filled.
        fin::received(sk, ctx);
    } else if had_ofo && !mutant!("ofo_not_drained") {
        fill_gap(sk, ctx);
    }
    if sk.rx.state == TcpState::Established {
        fast::check(sk);
    }
    if skip > 0 && sk.rx.state != TcpState::Close {
        // What is partly new is acknowledged when new data would be, but what it repeats is reported by an ACK of its
        // own.
        acking::ack_snd_check(sk, ctx);
        if sk.tx.want.contains(Want::ACK) {
            out_ack::send_record(sk, ctx);
        }
    }
    Fate::Taken
}

/// In-order octets came in front of what waits (Linux `tcp_ofo_queue`).
fn fill_gap(sk: &mut TcpSock, ctx: &mut Ctx) {
    if let Some((from, to)) = sk.warm.ofo.duplicate_below(sk.rx.rcv_nxt) {
        set_dsack(sk, ctx, from, to, Counter::TcpExtTCPDSACKOldSent);
    }
    drain(sk);
    // RFC 5681 §4.2: an ACK at once when a gap fills.
    sk.rx.ack.insert(AckState::NOW);
    if sk.warm.ofo.fin_at(sk.rx.rcv_nxt) {
        fin::received(sk, ctx);
    }
}

/// What waited out of order and is next now becomes readable.
fn drain(sk: &mut TcpSock) {
    let to = sk.warm.ofo.advance(sk.rx.rcv_nxt);
    let more = to.bytes_since(sk.rx.rcv_nxt);
    if more > 0 {
        if let Some(rings) = &mut sk.rings {
            let tail = rings.rcv_in.tail();
            rings.rcv_in.publish(tail + u64::from(more));
            if sk.rx.features.contains(Features::RX_STAMPS) {
                stamps::caught_up(sk, to, tail + u64::from(more));
            }
        }
        sk.rx.rcv_nxt = to;
    }
}

/// Case: data after a hole, cut to the window.
fn out_of_order(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment, payload: &Payload<'_, '_>) -> Fate {
    let rcv_nxt = sk.rx.rcv_nxt;
    let room = (rcv_nxt + sk.rx.receive_window()).bytes_since(seg.seq);
    let take = seg.len.min(room);
    let (start, end) = (seg.seq, seg.seq + take);
    sk.cold.events.rcv_ooopack = sk.cold.events.rcv_ooopack.wrapping_add(1);
    let mut outcome = Fate::Taken;
    if !mutant!("lent_overtaken") {
        flush_lent(sk, ctx, payload);
    }
    if take > 0 {
        if sk.rx.features.contains(Features::RX_STAMPS) {
            stamps::arrived_early(sk, end, ctx.now);
        }
        outcome = store(sk, ctx, payload, start, end);
    }
    if outcome == Fate::Taken {
        ctx.mib.inc(Counter::TcpExtTCPOFOQueue);
    }
    if seg.has(TcpFlags::FIN) && take == seg.len && outcome == Fate::Taken {
        sk.warm.ofo.set_fin(end);
    }
    sk.rx.predict = false;
    acking::event_data_recv_ofo(sk, seg);
    if !mutant!("early_data_ack_delayed") {
        out_ack::send_record(sk, ctx);
    }
    outcome
}

/// Writes what is new of `[start, end)` to its place; octets that are there stay (the first copy wins).
fn store(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    payload: &Payload<'_, '_>,
    start: SeqNum,
    end: SeqNum,
) -> Fate {
    let rcv_nxt = sk.rx.rcv_nxt;
    let mut gaps = core::mem::take(&mut ctx.gaps);
    sk.warm.ofo.gaps(start, end, &mut gaps);
    let overlap = overlapped(&gaps, start, end);
    let outcome = match sk.warm.ofo.len() {
        n if n >= crate::tcp::input::ofo::MAX_RANGES && !gaps.is_empty() => {
            Err(DropReason::TcpOfoLimit)
        }
        _ => write_gaps(sk, ctx, payload, rcv_nxt, start, &gaps).map_err(|_| DropReason::NoMemory),
    };
    ctx.gaps = gaps;
    if let Err(reason) = outcome {
        ctx.mib.inc(Counter::TcpExtTCPOFODrop);
        return Fate::Dropped(reason);
    }
    match sk.warm.ofo.add(start, end) {
        Added::New { covers } => {
            ctx.mib.add(Counter::TcpExtTCPOFOMerge, u64::from(covers));
            if let Some((from, to)) = overlap {
                set_dsack(sk, ctx, from, to, Counter::TcpExtTCPDSACKOfoSent);
            }
        }
        Added::Duplicate => {
            ctx.mib.inc(Counter::TcpExtTCPOFOMerge);
            set_dsack(sk, ctx, start, end, Counter::TcpExtTCPDSACKOfoSent);
        }
        Added::Full => return Fate::Dropped(DropReason::TcpOfoLimit),
    }
    Fate::Taken
}

/// The first part of a segment that was there already: one block can be told (RFC 2883 §4), and Linux tells the lowest.
fn overlapped(gaps: &[(SeqNum, SeqNum)], start: SeqNum, end: SeqNum) -> Option<(SeqNum, SeqNum)> {
    let first = gaps.first()?;
    if first.0 != start {
        return Some((start, first.0));
    }
    (first.1 != end).then(|| (first.1, gaps.get(1).map_or(end, |second| second.0)))
}

fn write_gaps(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    payload: &Payload<'_, '_>,
    rcv_nxt: SeqNum,
    start: SeqNum,
    gaps: &[(SeqNum, SeqNum)],
) -> Result<(), millrace_ring::NoMemory> {
    let Some(rings) = &mut sk.rings else {
        return Ok(());
    };
    let tail = rings.rcv_in.tail();
    let place = |seq: SeqNum| tail + u64::from(seq.bytes_since(rcv_nxt));
    for gap in gaps {
        rings.rcv_in.reserve(
            place(gap.0),
            gap.1.bytes_since(gap.0) as usize,
            &mut ctx.chunks,
        )?;
    }
    for gap in gaps {
        for (at, bytes) in payload.slices(gap.0.bytes_since(start), gap.1.bytes_since(gap.0)) {
            rings
                .rcv_in
                .write_at(place(gap.0) + u64::from(at), bytes, &mut ctx.chunks)?;
            ctx.mib.add(Counter::MillraceRingBytes, bytes.len() as u64);
        }
    }
    Ok(())
}
