//! Out-of-order data: the bytes lie at their final place in the receive ring; here are only the ranges, and what
//! SACK says of them (Linux `out_of_order_queue`, `selective_acks`, `duplicate_sack`).

use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::SackBlock;

/// Most ranges of one connection: a peer that leaves a hole after every octet meets this limit.
pub(crate) const MAX_RANGES: usize = 256;
/// Blocks that are remembered for SACK, newest first.
const MAX_BLOCKS: usize = 4;

/// What a new range was to the ranges already there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Added {
    /// Some of it is new; this many ranges lie wholly in it.
    New { covers: u32 },
    /// Nothing of it is new.
    Duplicate,
    /// Too many ranges: nothing was noted.
    Full,
}

/// See the module. Boxed when there is something, so that an orderly connection pays a pointer.
#[derive(Default)]
pub(crate) struct Ofo(Option<Box<Ranges>>);

#[derive(Default)]
struct Ranges {
    /// Disjoint, not touching, in order.
    ranges: Vec<(SeqNum, SeqNum)>,
    recent: Vec<SackBlock>,
    dsack: Option<SackBlock>,
    /// Sequence number of a FIN that came early.
    fin: Option<SeqNum>,
}

impl Ofo {
    /// No data waits out of order.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|o| o.ranges.is_empty() && o.fin.is_none())
    }

    /// Nothing is told any more, not even a duplicate (Linux `tcp_sack_reset`).
    pub(crate) fn reset(&mut self) {
        self.0 = None;
    }

    /// Forgets the ranges; a duplicate is still told.
    pub(crate) fn clear(&mut self) {
        let dsack = self.0.as_ref().and_then(|o| o.dsack);
        self.0 = dsack.map(|d| {
            Box::new(Ranges {
                dsack: Some(d),
                ..Ranges::default()
            })
        });
    }

    /// End of the highest range.
    pub(crate) fn highest(&self) -> Option<SeqNum> {
        self.0.as_ref()?.ranges.last().map(|r| r.1)
    }

    /// A FIN at `seq` waits for what is missing before it.
    pub(crate) fn set_fin(&mut self, seq: SeqNum) {
        let o = self.0.get_or_insert_default();
        let seq = seq + u32::from(mutant!("early_fin_off_by_one"));
        o.fin = Some(seq);
        let start = o.ranges.last().filter(|r| r.1 == seq).map_or(seq, |r| r.0);
        o.remember(SackBlock {
            start,
            end: seq + 1,
        });
    }

    /// The FIN is next.
    pub(crate) fn fin_at(&self, rcv_nxt: SeqNum) -> bool {
        self.0.as_ref().is_some_and(|o| {
            o.fin == Some(rcv_nxt) || mutant!("fin_before_data") && o.fin.is_some()
        })
    }

    pub(crate) fn set_dsack(&mut self, start: SeqNum, end: SeqNum) {
        self.0.get_or_insert_default().dsack = Some(SackBlock { start, end });
    }

    /// What of the lowest range lies before `rcv_nxt`: it came twice. `None` if an earlier duplicate is still to be told
    /// (Linux `tcp_dsack_extend` joins only what touches, and disjoint ranges do not).
    pub(crate) fn duplicate_below(&self, rcv_nxt: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let o = self.0.as_ref().filter(|o| o.dsack.is_none())?;
        let &(start, end) = o.ranges.first()?;
        start.before(rcv_nxt).then(|| (start, end.min(rcv_nxt)))
    }

    /// The blocks for the next ACK: a DSACK once, then the newest ranges (RFC 2018 §4, RFC 2883).
    pub(crate) fn take_blocks(&mut self, out: &mut [SackBlock; MAX_BLOCKS]) -> usize {
        let Some(o) = &mut self.0 else { return 0 };
        // A FIN has a sequence number too: it counts with the range it ends.
        let fin = o.fin;
        let with_fin = |b: &SackBlock| SackBlock {
            start: b.start,
            end: if fin == Some(b.end) { b.end + 1 } else { b.end },
        };
        let blocks = o
            .dsack
            .take()
            .into_iter()
            .chain(o.recent.iter().map(with_fin));
        let mut n = 0;
        for (slot, block) in out.iter_mut().zip(blocks) {
            *slot = block;
            if mutant!("sack_edges_swapped") {
                core::mem::swap(&mut slot.start, &mut slot.end);
            }
            n += 1;
        }
        if o.ranges.is_empty() && o.fin.is_none() {
            self.0 = None;
        }
        n
    }

    /// How many blocks the next ACK has to say.
    pub(crate) fn blocks(&self) -> usize {
        self.0.as_ref().map_or(0, |o| {
            (usize::from(o.dsack.is_some()) + o.recent.len()).min(MAX_BLOCKS)
        })
    }

    /// There is something for an ACK to say.
    #[inline]
    pub(crate) fn has_blocks(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|o| o.dsack.is_some() || !o.recent.is_empty())
    }

    /// The parts of `[start, end)` that no range covers yet.
    pub(crate) fn gaps(&self, start: SeqNum, end: SeqNum, out: &mut Vec<(SeqNum, SeqNum)>) {
        out.clear();
        let mut at = start;
        for &(s, e) in self.0.iter().flat_map(|o| &o.ranges) {
            if e.at_or_before(at) {
                continue;
            }
            if s.at_or_after(end) {
                break;
            }
            if at.before(s) {
                out.push((at, s));
            }
            at = e;
        }
        if at.before(end) {
            out.push((at, end));
        }
    }

    /// Notes a range and makes it the newest SACK block.
    pub(crate) fn add(&mut self, start: SeqNum, end: SeqNum) -> Added {
        let o = self.0.get_or_insert_default();
        // The first range that touches [start, end], and the one after the last that does.
        let first = o.ranges.partition_point(|r| r.1.before(start));
        let last = first
            + o.ranges[first..].partition_point(|r| {
                r.0.at_or_before(end + u32::from(mutant!("ofo_merge_off_by_one")))
            });
        if last - first == 1 {
            let (s, e) = o.ranges[first];
            if s.at_or_before(start) && e.at_or_after(end) {
                o.remember(o.block(s, e));
                return Added::Duplicate;
            }
        }
        if first == last && o.ranges.len() >= MAX_RANGES {
            return Added::Full;
        }
        let covered = |r: &&(SeqNum, SeqNum)| r.0.at_or_after(start) && r.1.at_or_before(end);
        let covers = o.ranges[first..last].iter().filter(covered).count() as u32;
        let mut merged = (start, end);
        if first < last {
            merged = (
                merged.0.min(o.ranges[first].0),
                merged.1.max(o.ranges[last - 1].1),
            );
        }
        o.ranges.splice(first..last, [merged]);
        o.remember(o.block(merged.0, merged.1));
        Added::New { covers }
    }

    /// `rcv_nxt` moved: ranges that it reached are in order now. Returns where it can go.
    pub(crate) fn advance(&mut self, rcv_nxt: SeqNum) -> SeqNum {
        let Some(o) = &mut self.0 else { return rcv_nxt };
        let mut at = rcv_nxt;
        let mut used = 0;
        for r in &o.ranges {
            if r.0.after(at) {
                break;
            }
            at = at.max(r.1);
            used += 1;
        }
        o.ranges.drain(..used);
        o.recent.retain(|b| b.start.at_or_after(at));
        if o.ranges.is_empty() && o.fin.is_none() && o.dsack.is_none() {
            self.0 = None;
        }
        at
    }

    /// The ranges lie apart, in order, after `rcv_nxt`; for the lab's invariants.
    pub(crate) fn is_consistent(&self, rcv_nxt: SeqNum) -> bool {
        let mut at = rcv_nxt;
        self.0.iter().flat_map(|o| &o.ranges).all(|&(start, end)| {
            let apart = start.after(at) && end.after(start);
            at = end;
            apart
        })
    }

    /// Ranges held, for checks.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |o| o.ranges.len())
    }
}

impl Ranges {
    /// A range as SACK reports it: a FIN right behind it counts.
    fn block(&self, start: SeqNum, end: SeqNum) -> SackBlock {
        let fin = u32::from(self.fin == Some(end));
        SackBlock {
            start,
            end: end + fin,
        }
    }

    fn remember(&mut self, block: SackBlock) {
        self.recent
            .retain(|b| b.start.before(block.start) || b.end.after(block.end));
        self.recent.insert(0, block);
        self.recent.truncate(MAX_BLOCKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Ranges and gaps are what a set of octets says, and SACK blocks are whole ranges, the newest first.
        #[test]
        fn is_a_set(base in any::<u32>(), adds in prop::collection::vec((1u32..300, 1u32..40), 1..40)) {
            let base = SeqNum::new(base);
            let mut ofo = Ofo::default();
            let mut set = std::collections::BTreeSet::new();
            let mut gaps = Vec::new();
            for (off, len) in adds {
                let (start, end) = (base + off, base + off + len);
                ofo.gaps(start, end, &mut gaps);
                let missing: u32 = gaps.iter().map(|g| g.1.bytes_since(g.0)).sum();
                prop_assert_eq!(missing as usize, (off..off + len).filter(|i| !set.contains(i)).count());
                let added = ofo.add(start, end);
                prop_assert_eq!(added == Added::Duplicate, missing == 0);
                set.extend(off..off + len);
                let mut blocks = [SackBlock::default(); 4];
                let n = ofo.take_blocks(&mut blocks);
                prop_assert!(n >= 1 && blocks[0].start.at_or_before(start) && blocks[0].end.at_or_after(end));
                for b in &blocks[..n] {
                    let (s, e) = (b.start.bytes_since(base), b.end.bytes_since(base));
                    prop_assert!((s..e).all(|i| set.contains(&i)) && !set.contains(&e) && !set.contains(&(s - 1)));
                }
            }
            let start = *set.first().unwrap();
            let mut end = start;
            while set.contains(&end) { end += 1; }
            prop_assert_eq!(ofo.advance(base + start), base + end);
            prop_assert_eq!(ofo.advance(base + 1000), base + 1000);
            prop_assert!(ofo.is_empty());
        }
    }
}
