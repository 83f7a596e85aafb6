//! Merging the in-order segments of a flow within one poll (Linux GRO, `tcp_gro_receive`): TCP input runs once for a
//! train, which still counts as that many segments.

use crate::tcp::segment::{Part, Segment};
use arrayvec::ArrayVec;
use millrace_wire::tcp::TcpFlags;

/// Most segments of one poll.
pub(crate) const MAX: usize = 64;
/// Longest train, octets.
const MAX_TRAIN: u32 = 65_535;
const END: u8 = u8::MAX;
/// Buckets that flows are looked up by; a poll of many flows must not compare each with each.
const BUCKETS: usize = 64;

struct Train {
    first: u8,
    last: u8,
    /// The next older train of the same bucket.
    older: u8,
    open: bool,
    /// What the first segment said before others were merged into it; a shorter one than it ends the train.
    mss: u32,
    flags: TcpFlags,
}

/// The segments of one poll, sorted into trains in the order of their first segments.
pub(crate) struct Gro {
    /// The first of a train stands for all of it: longer, with the flags of all.
    segments: ArrayVec<(Segment, Part), MAX>,
    /// The next segment of the same train.
    next: [u8; MAX],
    trains: ArrayVec<Train, MAX>,
    /// The newest train of each bucket.
    buckets: [u8; BUCKETS],
    /// Segments that were merged into the one before.
    pub coalesced: u64,
}

impl Gro {
    pub(crate) fn new() -> Self {
        Self {
            segments: ArrayVec::new(),
            next: [END; MAX],
            trains: ArrayVec::new(),
            buckets: [END; BUCKETS],
            coalesced: 0,
        }
    }

    /// Adds a segment; the caller has seen to it that there is room.
    #[inline]
    pub(crate) fn push(&mut self, segment: Segment, payload: Part) {
        if self.segments.is_full() {
            return;
        }
        let index = self.segments.len();
        self.segments.push((segment, payload));
        let (before, this) = self.segments.split_at_mut(index);
        let segment = &this[0].0;
        let bucket = segment.hash as usize % BUCKETS;
        let newest = self.buckets[bucket];
        let mut at = newest;
        while let Some(train) = self.trains.get_mut(at as usize) {
            let head = &mut before[train.first as usize].0;
            if head.hash != segment.hash || head.tuple != segment.tuple {
                at = train.older;
                continue;
            }
            if !follows(train, head, segment) {
                train.open = false;
                break;
            }
            merge(train, head, segment);
            self.next[train.last as usize] = index as u8;
            train.last = index as u8;
            self.coalesced += 1;
            return;
        }
        self.buckets[bucket] = self.trains.len() as u8;
        self.trains.push(Train {
            first: index as u8,
            last: index as u8,
            older: newest,
            open: segment.simple && segment.len > 0 && segment.flags == TcpFlags::ACK,
            mss: segment.len,
            flags: segment.flags,
        });
    }

    pub(crate) fn trains(&self) -> usize {
        self.trains.len()
    }

    /// A train as one segment; `parts` becomes its payload's.
    #[inline]
    pub(crate) fn train(&self, index: usize, parts: &mut ArrayVec<Part, MAX>) -> &Segment {
        let train = &self.trains[index];
        parts.clear();
        let mut at = train.first;
        while at != END {
            parts.push(self.segments[at as usize].1);
            at = self.next[at as usize];
        }
        &self.segments[train.first as usize].0
    }

    /// The segments of a train one by one, as they came.
    pub(crate) fn members(&self, index: usize) -> impl Iterator<Item = (Segment, Part)> + '_ {
        let train = &self.trains[index];
        let mut at = train.first;
        core::iter::from_fn(move || {
            let mut entry = self.segments.get(at as usize).copied()?;
            if at == train.first {
                entry.0.len = train.mss;
                entry.0.segs = 1;
                entry.0.flags = train.flags;
            }
            at = self.next[at as usize];
            Some(entry)
        })
    }
}

/// The segment may ride on the train: nothing but sequence number, length and PSH differs.
fn follows(train: &Train, head: &Segment, seg: &Segment) -> bool {
    train.open
        && seg.flags.without(TcpFlags::PSH) == TcpFlags::ACK
        && seg.simple
        && seg.len > 0
        && seg.len <= train.mss
        && seg.seq == head.seq + head.len
        && seg.ack == head.ack
        && seg.window == head.window
        && seg.ts == head.ts
        && seg.tos == head.tos
        && head.len + seg.len <= MAX_TRAIN
}

fn merge(train: &mut Train, head: &mut Segment, seg: &Segment) {
    head.len += seg.len;
    head.segs += 1;
    head.flags |= seg.flags;
    train.open = seg.len == train.mss && !seg.flags.contains(TcpFlags::PSH);
}
