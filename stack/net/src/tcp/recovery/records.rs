//! Transmission records: what Linux keeps in the skbs of the retransmission queue besides bytes. One record per
//! segment sent and not acknowledged, in order of sequence number.

use crate::tcp::rate::Snapshot;
use bitflags::bitflags;
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;
use std::collections::VecDeque;

/// Records that an idle connection may keep room for.
const IDLE_CAPACITY: usize = 8;

bitflags! {
    /// Marks of a record (Linux `TCPCB_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub(crate) struct Marks: u16 {
        /// The peer reported it by SACK.
        const SACKED = 1;
        /// Taken for lost.
        const LOST = 2;
        /// A retransmission of it is in the network.
        const RETRANS = 4;
        /// It was retransmitted at some time: no RTT sample (Karn).
        const EVER_RETRANS = 8;
        /// Carries SYN.
        const SYN = 16;
        /// Carries FIN.
        const FIN = 32;
        /// Ends what was pushed: it carries PSH whenever it is sent.
        const PUSHED = 64;
        /// The application was what limited the rate when it was sent.
        const APP_LIMITED = 128;
        /// Ends a record (MSG_EOR): nothing is joined to it.
        const EOR = 256;
    }
}

/// One segment in the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TxRecord {
    pub seq: SeqNum,
    pub end: SeqNum,
    /// When it was sent last.
    pub sent_at: Instant,
    /// What had been delivered then.
    pub snapshot: Snapshot,
    pub marks: Marks,
}

/// What a cumulative ACK removed.
#[derive(Default, Debug)]
pub(crate) struct Cleaned {
    /// Records removed.
    pub segments: u32,
    /// Of them, our SYN.
    pub syn: bool,
    /// Where the lowest of them that was sent once and not reported by SACK begins.
    pub lowest_original: Option<SeqNum>,
    /// Of them, those that the peer had not reported by SACK before.
    pub newly_delivered: u32,
    /// When the first and last removed record that was never retransmitted was sent.
    pub first_sent: Option<Instant>,
    pub last_sent: Option<Instant>,
    /// One of them had been retransmitted.
    pub retransmitted: bool,
    /// The last sent of the removed records that had not been reported.
    pub newest: Option<TxRecord>,
}

/// Whether duplicate ACKs told of more than can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Limited {
    No,
    Yes,
}

/// See the module. The counters are kept with every mark, so that they always equal a recount; but without SACK nobody
/// knows which segments the duplicate ACKs tell of, so that `sacked` is a number only (Linux `sacked_out`).
#[derive(Default)]
pub(crate) struct Records {
    queue: VecDeque<TxRecord>,
    sacked: u32,
    lost: u32,
    retrans: u32,
}

impl Records {
    /// Segments not acknowledged (Linux `packets_out`).
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.queue.len() as u32
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn sacked(&self) -> u32 {
        self.sacked
    }

    pub(crate) fn lost(&self) -> u32 {
        self.lost
    }

    pub(crate) fn retrans(&self) -> u32 {
        self.retrans
    }

    /// Linux `tcp_packets_in_flight`.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        self.len() + self.retrans - self.sacked - self.lost
    }

    pub(crate) fn front(&self) -> Option<&TxRecord> {
        self.queue.front()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&TxRecord> {
        self.queue.get(index)
    }

    pub(crate) fn push(&mut self, record: TxRecord) {
        self.queue.push_back(record);
    }

    /// A FIN went out at `seq`: with the last record when it carried data (`with_data`), else alone.
    pub(crate) fn append_fin(
        &mut self,
        seq: SeqNum,
        now: Instant,
        with_data: bool,
        (snapshot, limited): (Snapshot, Marks),
    ) {
        if with_data && let Some(last) = self.queue.back_mut() {
            last.end = seq + 1;
            last.marks.insert(Marks::FIN);
        } else {
            self.push(TxRecord {
                seq,
                end: seq + 1,
                sent_at: now,
                snapshot,
                marks: Marks::FIN | limited,
            });
        }
    }

    /// Index of the first record that ends after `seq`.
    pub(crate) fn index_after(&self, seq: SeqNum) -> usize {
        self.queue.partition_point(|r| r.end.at_or_before(seq))
    }

    /// Removes what lies before `una`; a record that is acknowledged in part keeps its rest.
    pub(crate) fn acknowledge(&mut self, una: SeqNum) -> Cleaned {
        let mut cleaned = Cleaned::default();
        while let Some(r) = self.queue.front_mut() {
            if r.end.after(una) && !mutant!("partial_ack_takes_all") {
                if r.seq.before(una) {
                    r.seq = una;
                    r.marks.remove(Marks::SYN);
                }
                break;
            }
            let r = *r;
            self.queue.pop_front();
            self.uncount(r.marks);
            cleaned.segments += 1;
            cleaned.syn |= r.marks.contains(Marks::SYN);
            cleaned.newly_delivered += u32::from(!r.marks.contains(Marks::SACKED));
            if r.marks.contains(Marks::EVER_RETRANS) {
                cleaned.retransmitted = true;
            } else if !r.marks.contains(Marks::SACKED) {
                cleaned.lowest_original = cleaned.lowest_original.or(Some(r.seq));
                cleaned.first_sent = cleaned.first_sent.or(Some(r.sent_at));
                cleaned.last_sent = Some(r.sent_at);
            }
            if !r.marks.contains(Marks::SACKED)
                && cleaned
                    .newest
                    .as_ref()
                    .is_none_or(|newest| r.sent_at >= newest.sent_at)
            {
                cleaned.newest = Some(r);
            }
        }
        if self.queue.is_empty() && self.queue.capacity() > IDLE_CAPACITY {
            self.queue = VecDeque::new();
        }
        cleaned
    }

    fn uncount(&mut self, marks: Marks) {
        self.sacked -= u32::from(marks.contains(Marks::SACKED));
        self.lost -= u32::from(marks.contains(Marks::LOST));
        self.retrans -= u32::from(marks.contains(Marks::RETRANS));
    }

    /// Marks a record as received by the peer; it is neither lost nor in the network any more.
    pub(crate) fn mark_sacked(&mut self, index: usize) {
        let Some(r) = self.queue.get_mut(index) else {
            return;
        };
        if r.marks.contains(Marks::SACKED) {
            return;
        }
        let before = r.marks;
        r.marks.remove(Marks::LOST);
        r.marks.remove(Marks::RETRANS);
        r.marks.insert(Marks::SACKED);
        if !mutant!("sacked_stays_lost") {
            self.uncount(before);
        }
        self.sacked += 1;
    }

    /// Marks a record as lost, and its retransmission too. True when that is news.
    pub(crate) fn mark_lost(&mut self, index: usize) -> bool {
        let Some(r) = self.queue.get_mut(index) else {
            return false;
        };
        if r.marks.contains(Marks::SACKED) && !mutant!("sacked_marked_lost")
            || r.marks.contains(Marks::LOST) && !r.marks.contains(Marks::RETRANS)
        {
            return false;
        }
        let before = r.marks;
        r.marks.remove(Marks::RETRANS);
        r.marks.insert(Marks::LOST);
        self.uncount(before);
        self.lost += 1;
        true
    }

    /// Marks the first record as lost, unless it is already: its retransmission is on the way, or about to be.
    pub(crate) fn mark_first_lost(&mut self) -> bool {
        self.front().is_some_and(|r| !r.marks.contains(Marks::LOST)) && self.mark_lost(0)
    }

    /// Something that is in the network was sent again (Linux `tcp_any_retrans_done`).
    pub(crate) fn any_retransmitted(&self) -> bool {
        self.retrans > 0
            || self
                .front()
                .is_some_and(|r| r.marks.contains(Marks::EVER_RETRANS))
    }

    /// A copy of the record goes out now.
    pub(crate) fn mark_retransmitted(&mut self, index: usize, now: Instant) {
        let Some(r) = self.queue.get_mut(index) else {
            return;
        };
        if !r.marks.contains(Marks::RETRANS) && !r.marks.contains(Marks::SACKED) {
            r.marks.insert(Marks::RETRANS);
            self.retrans += 1;
        }
        r.marks.insert(Marks::EVER_RETRANS);
        r.sent_at = now;
    }

    /// What was known when the record was sent last.
    pub(crate) fn set_snapshot(&mut self, index: usize, snapshot: Snapshot, limited: Marks) {
        if let Some(r) = self.queue.get_mut(index) {
            r.snapshot = snapshot;
            r.marks.remove(Marks::APP_LIMITED);
            r.marks.insert(limited);
        }
    }

    /// The first record, a SYN, went out in another form.
    pub(crate) fn sent_anew(&mut self, now: Instant) {
        if let Some(first) = self.queue.front_mut() {
            first.sent_at = now;
        }
    }

    /// A copy of the record goes out as a probe: it does not count as in the network (Linux `__tcp_retransmit_skb`).
    pub(crate) fn mark_probed(&mut self, index: usize, now: Instant) {
        if let Some(r) = self.queue.get_mut(index) {
            r.marks.insert(Marks::EVER_RETRANS);
            r.sent_at = now;
        }
    }

    /// Duplicate ACKs without SACK: as many segments arrived, which ones is not known. Limited when they would be more than
    /// can have arrived, which reordering explains (Linux `tcp_add_reno_sack`, `tcp_limit_reno_sacked`).
    pub(crate) fn add_duplicates(&mut self, count: u32) -> Limited {
        self.sacked += count;
        self.limit_duplicates()
    }

    /// A cumulative ACK without SACK removed `segments`: one filled the hole, the rest had been told by duplicates.
    /// Returns how many of them are newly delivered (Linux `tcp_remove_reno_sacks`).
    pub(crate) fn take_duplicates(&mut self, segments: u32) -> u32 {
        let delivered = segments.saturating_sub(self.sacked).max(1);
        self.sacked = self.sacked.saturating_sub(segments - 1);
        delivered
    }

    /// No more segments arrived than are not missing (Linux `tcp_limit_reno_sacked`).
    pub(crate) fn limit_duplicates(&mut self) -> Limited {
        let holes = self.lost.max(1).min(self.len());
        if self.sacked + holes <= self.len() {
            return Limited::No;
        }
        self.sacked = self.len() - holes;
        Limited::Yes
    }

    /// Forgets all that the peer said by SACK (reneging) or by duplicate ACKs.
    pub(crate) fn clear_sacked(&mut self) {
        for r in &mut self.queue {
            r.marks.remove(Marks::SACKED);
        }
        self.sacked = 0;
    }

    /// The first record at or after `from` that is lost and not on its way again.
    pub(crate) fn next_to_retransmit(&self, from: usize) -> Option<usize> {
        if self.lost == 0 {
            return None;
        }
        (from..self.queue.len()).find(|i| {
            let m = self.queue[*i].marks;
            m.contains(Marks::LOST) && !m.contains(Marks::RETRANS)
        })
    }

    /// Cuts a record at `at`, so that its first part can be sent alone.
    pub(crate) fn split(&mut self, index: usize, at: SeqNum) {
        let Some(r) = self.queue.get(index).copied() else {
            return;
        };
        if !(r.seq.before(at) && at.before(r.end)) {
            return;
        }
        let mut first = r;
        first.end = at;
        first.marks.remove(Marks::FIN | Marks::PUSHED | Marks::EOR);
        let mut rest = r;
        rest.seq = at;
        rest.marks.remove(Marks::SYN);
        self.queue[index] = first;
        self.queue.insert(index + 1, rest);
        self.sacked += u32::from(r.marks.contains(Marks::SACKED));
        self.lost += u32::from(r.marks.contains(Marks::LOST));
        self.retrans += u32::from(r.marks.contains(Marks::RETRANS));
    }

    /// Joins a record with the one behind it, which the peer has not reported: one segment less is in the network
    /// (Linux `tcp_collapse_retrans`). Without SACK one duplicate less can have told of it.
    pub(crate) fn join_next(&mut self, index: usize, with_sack: bool) {
        let Some(next) = self.queue.remove(index + 1) else {
            return;
        };
        self.uncount(next.marks);
        if !with_sack {
            self.sacked = self.sacked.saturating_sub(1);
        }
        if let Some(r) = self.queue.get_mut(index) {
            r.end = next.end;
            let kept = Marks::FIN | Marks::PUSHED | Marks::EOR | Marks::EVER_RETRANS;
            r.marks.insert(next.marks & kept);
        }
    }

    /// Forgets everything: the connection ends.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The counters equal a recount, with SACK or without; for the lab's invariants.
    pub(crate) fn is_consistent(&self, with_sack: bool) -> bool {
        let count = |mark| self.queue.iter().filter(|r| r.marks.contains(mark)).count() as u32;
        count(Marks::SACKED) == if with_sack { self.sacked } else { 0 }
            && self.lost == count(Marks::LOST)
            && self.retrans == count(Marks::RETRANS)
            && self
                .queue
                .iter()
                .zip(self.queue.iter().skip(1))
                .all(|(a, b)| a.end == b.seq)
    }
}
