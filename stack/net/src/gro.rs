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

struct Train {
    merged: Segment,
    first: u8,
    last: u8,
    /// Length of the first segment: a shorter one ends the train.
    mss: u32,
    open: bool,
}

/// The segments of one poll, sorted into trains in the order of their first segments.
#[derive(Default)]
pub(crate) struct Gro {
    segments: ArrayVec<(Segment, Part), MAX>,
    /// The next segment of the same train.
    next: ArrayVec<u8, MAX>,
    trains: ArrayVec<Train, MAX>,
    /// Segments that were merged into the one before.
    pub coalesced: u64,
}

impl Gro {
    /// Adds a segment; the caller has seen to it that there is room.
    pub(crate) fn push(&mut self, segment: Segment, payload: Part) {
        let index = self.segments.len() as u8;
        if self.segments.try_push((segment, payload)).is_err() {
            return;
        }
        self.next.push(END);
        let flow =
            |t: &&mut Train| t.merged.hash == segment.hash && t.merged.tuple == segment.tuple;
        let mut tail = None;
        if let Some(train) = self.trains.iter_mut().rev().find(flow) {
            if follows(train, &segment) {
                merge(train, &segment);
                tail = Some(train.last);
                train.last = index;
                self.coalesced += 1;
            } else {
                train.open = false;
            }
        }
        match tail {
            Some(last) => self.next[last as usize] = index,
            None => {
                let open = segment.simple && segment.len > 0 && segment.flags == TcpFlags::ACK;
                self.trains.push(Train {
                    merged: segment,
                    first: index,
                    last: index,
                    mss: segment.len,
                    open,
                });
            }
        }
    }

    pub(crate) fn trains(&self) -> usize {
        self.trains.len()
    }

    /// A train as one segment; `parts` becomes its payload's.
    pub(crate) fn train(&self, index: usize, parts: &mut ArrayVec<Part, MAX>) -> &Segment {
        let train = &self.trains[index];
        parts.clear();
        let mut at = train.first;
        while at != END {
            parts.push(self.segments[at as usize].1);
            at = self.next[at as usize];
        }
        &train.merged
    }

    /// The segments of a train, one by one.
    pub(crate) fn members(&self, index: usize) -> impl Iterator<Item = (Segment, Part)> + '_ {
        let mut at = self.trains[index].first;
        core::iter::from_fn(move || {
            let entry = self.segments.get(at as usize).copied();
            if entry.is_some() {
                at = self.next[at as usize];
            }
            entry
        })
    }
}

/// The segment may ride on the train: nothing but sequence number, length and PSH differs.
fn follows(train: &Train, seg: &Segment) -> bool {
    let head = &train.merged;
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

fn merge(train: &mut Train, seg: &Segment) {
    train.merged.len += seg.len;
    train.merged.segs += 1;
    train.merged.flags |= seg.flags;
    train.open = seg.len == train.mss && !seg.flags.contains(TcpFlags::PSH);
}
