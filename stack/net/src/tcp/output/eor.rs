//! Record ends (MSG_EOR): what is sent later never shares a segment with what was sent before the mark. Linux ends an
//! skb there; here a mark is the sequence number after the record.

use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Nonagle;
use millrace_wire::seq::SeqNum;
use std::collections::VecDeque;

/// What a record costs of the send buffer besides its octets (an skb of Linux): it bounds the marks.
const RECORD_COST: u64 = 1280;

/// Where a record ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub end: SeqNum,
    /// Its last segment carries PSH: it was not queued with MSG_MORE.
    pub push: bool,
}

/// Ends of records that were not sent yet, in order.
pub(crate) type Marks = VecDeque<Mark>;

/// There are marks.
#[inline]
pub(crate) fn any(sk: &TcpSock) -> bool {
    sk.tx.nonagle.contains(Nonagle::EOR)
}

/// The send buffer has room for another record.
pub(crate) fn has_room(sk: &TcpSock) -> bool {
    let limit = sk.rings.as_ref().map_or(0, |r| r.snd_in.limit());
    let marks = sk.cold.eor.as_ref().map_or(0, |m| m.len() as u64);
    marks * RECORD_COST < limit
}

/// The queue ends with the end of a record.
pub(crate) fn ends_queue(sk: &TcpSock) -> bool {
    let last = sk.cold.eor.as_ref().and_then(|marks| marks.back());
    last.is_some_and(|mark| mark.end == sk.tx.write_seq)
}

/// A record ends with what was queued last.
pub(crate) fn mark(sk: &mut TcpSock) {
    let mark = Mark {
        end: sk.tx.write_seq,
        push: !sk.tx.nonagle.contains(Nonagle::UNPUSHED),
    };
    sk.cold.eor.get_or_insert_default().push_back(mark);
    sk.tx.nonagle.insert(Nonagle::EOR);
}

/// Where the record at `from` ends; none when no mark lies after it. Marks that were passed go.
pub(crate) fn end_of_record(sk: &mut TcpSock, from: SeqNum) -> Option<Mark> {
    let marks = sk.cold.eor.as_mut()?;
    while marks
        .front()
        .is_some_and(|mark| mark.end.at_or_before(from))
    {
        marks.pop_front();
    }
    let next = marks.front().copied();
    if next.is_none() {
        forget(sk);
    }
    next
}

/// All marks go: sent, or the connection is over.
pub(crate) fn forget(sk: &mut TcpSock) {
    sk.cold.eor = None;
    sk.tx.nonagle.remove(Nonagle::EOR);
}
