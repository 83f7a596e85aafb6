//! SO_TIMESTAMPING and SO_TIMESTAMP: when octets were sent, acknowledged and received (Linux `tcp_tx_timestamp`,
//! `tcp_ack_tstamp`, `tcp_update_recv_tstamps`).

use crate::core::Ctx;
use crate::sock::error::SockError;
use crate::sock::errqueue::{self, Entry, ExtendedError};
use crate::sock::msg::SendMsg;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, Nonagle};
use crate::tcp::state::{StateSet, TcpState};
use bitflags::bitflags;
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;
use std::collections::VecDeque;

bitflags! {
    /// `SOF_TIMESTAMPING_*`, with the kernel's values. What concerns hardware is taken and has no effect, as on a
    /// device without it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Timestamping: u32 {
        /// Hardware send times.
        const TX_HARDWARE = 1;
        /// When a segment was handed to the device.
        const TX_SOFTWARE = 1 << 1;
        /// Hardware receive times.
        const RX_HARDWARE = 1 << 2;
        /// When data arrived.
        const RX_SOFTWARE = 1 << 3;
        /// Tell software times.
        const SOFTWARE = 1 << 4;
        /// Of no effect.
        const SYS_HARDWARE = 1 << 5;
        /// Tell hardware times.
        const RAW_HARDWARE = 1 << 6;
        /// Number the send times by octets.
        const OPT_ID = 1 << 7;
        /// When a segment entered the queue of the device.
        const TX_SCHED = 1 << 8;
        /// When the last octet of a call was acknowledged.
        const TX_ACK = 1 << 9;
        /// Of no effect on TCP.
        const OPT_CMSG = 1 << 10;
        /// Tell send times without the packet. Packets are never told: without this MSG_TRUNC says so.
        const OPT_TSONLY = 1 << 11;
        /// Statistics beside each send time: not there, EOPNOTSUPP.
        const OPT_STATS = 1 << 12;
        /// Of no effect without hardware times.
        const OPT_PKTINFO = 1 << 13;
        /// Of no effect without hardware times.
        const OPT_TX_SWHW = 1 << 14;
        /// A hardware clock: not there, EOPNOTSUPP.
        const BIND_PHC = 1 << 15;
        /// With OPT_ID: count from what is written, not from what is acknowledged.
        const OPT_ID_TCP = 1 << 16;
        /// Tell receive times only with RX_SOFTWARE.
        const OPT_RX_FILTER = 1 << 17;
        /// Of no effect on TCP.
        const TX_COMPLETION = 1 << 18;
    }
}

impl Timestamping {
    /// What a control message of one send may choose (`SOF_TIMESTAMPING_TX_RECORD_MASK`).
    pub const PER_CALL: Self = Self::TX_HARDWARE
        .union(Self::TX_SOFTWARE)
        .union(Self::TX_SCHED)
        .union(Self::TX_ACK)
        .union(Self::TX_COMPLETION);
}

/// `SO_EE_ORIGIN_TIMESTAMPING`, and its errno.
const ORIGIN: u8 = 4;
const ENOMSG: u32 = 42;
/// `SCM_TSTAMP_*`.
const SCM_SND: u32 = 0;
const SCM_SCHED: u32 = 1;
const SCM_ACK: u32 = 2;
/// Most calls whose times are awaited; later ones are not told.
const MAX_MARKS: usize = 1024;
/// Most arrivals that are told apart; later ones count as the last.
const MAX_ARRIVALS: usize = 1024;

/// Marks and arrivals of a connection.
#[derive(Default)]
pub(crate) struct Stamps {
    /// The last octets of calls that are to be told, and of what.
    marks: VecDeque<(SeqNum, Timestamping)>,
    /// Where arrivals end in the receive ring, and when they came.
    arrivals: VecDeque<(u64, Instant)>,
    /// The same by sequence number for what waits out of order, sorted.
    early: Vec<(SeqNum, Instant)>,
}

/// SO_TIMESTAMPING (Linux `sock_set_timestamping`).
pub(crate) fn set(sk: &mut TcpSock, bits: u32) -> Result<(), SockError> {
    let flags = Timestamping::from_bits(bits).ok_or(SockError::Invalid)?;
    if flags.contains(Timestamping::OPT_ID_TCP) && !flags.contains(Timestamping::OPT_ID) {
        return Err(SockError::Invalid);
    }
    let old = sk.cold.opts.timestamping;
    let numbers = flags.contains(Timestamping::OPT_ID) && !old.contains(Timestamping::OPT_ID);
    if numbers {
        let none = StateSet::of(&[TcpState::Close, TcpState::Listen]);
        if sk.rx.state.is_in(none) {
            return Err(SockError::Invalid);
        }
        sk.cold.tskey = if flags.contains(Timestamping::OPT_ID_TCP) {
            sk.tx.write_seq
        } else {
            sk.tx.snd_una
        };
    }
    if flags.contains(Timestamping::OPT_STATS) && !flags.contains(Timestamping::OPT_TSONLY) {
        return Err(SockError::Invalid);
    }
    if flags.intersects(Timestamping::OPT_STATS | Timestamping::BIND_PHC) {
        return Err(SockError::OpNotSupported);
    }
    sk.cold.opts.timestamping = flags;
    watch_arrivals(sk);
    Ok(())
}

/// Whether arrivals are noted follows the options.
pub(crate) fn watch_arrivals(sk: &mut TcpSock) {
    let opts = &sk.cold.opts;
    let on = opts.timestamp.is_some() || opts.timestamping.contains(Timestamping::RX_SOFTWARE);
    sk.rx.features.set(Features::RX_STAMPS, on);
    if !on && let Some(stamps) = &mut sk.cold.stamps {
        stamps.arrivals.clear();
        stamps.early.clear();
    }
}

/// A call queued octets: mark the last (Linux `tcp_tx_timestamp`).
pub(crate) fn queued(sk: &mut TcpSock, msg: &SendMsg) {
    let options = sk.cold.opts.timestamping;
    let flags = msg.timestamping.unwrap_or(options) & Timestamping::PER_CALL;
    let told = Timestamping::TX_SOFTWARE | Timestamping::TX_SCHED | Timestamping::TX_ACK;
    if !flags.intersects(told) {
        return;
    }
    let octet = sk.tx.write_seq - 1;
    let (unsent, whole) = (sk.tx.snd_nxt, u32::from(sk.tx.mss_cache));
    let marks = &mut sk.cold.stamps.get_or_insert_default().marks;
    // Octets that join a segment that has not left share its mark: the last call's number is told.
    if let Some((seq, bits)) = marks.back_mut()
        && seq.at_or_after(unsent)
        && octet.bytes_since(*seq) < whole
    {
        (*seq, *bits) = (octet, *bits | flags);
    } else if marks.len() < MAX_MARKS {
        marks.push_back((octet, flags));
    }
    sk.tx.nonagle.insert(Nonagle::STAMPS);
}

/// Octets left for the device, first time or again.
pub(crate) fn sent(sk: &mut TcpSock, ctx: &mut Ctx, from: SeqNum, len: u32) {
    let end = from + len;
    let marks = sk.cold.stamps.as_ref().map_or(0, |s| s.marks.len());
    for index in 0..marks {
        let Some((octet, flags)) = mark(sk, index) else {
            return;
        };
        if !octet.before(end) {
            return;
        }
        if octet.before(from) {
            continue;
        }
        if flags.contains(Timestamping::TX_SCHED) {
            tell(sk, ctx, octet, SCM_SCHED);
        }
        if flags.contains(Timestamping::TX_SOFTWARE) {
            tell(sk, ctx, octet, SCM_SND);
        }
    }
}

fn mark(sk: &TcpSock, index: usize) -> Option<(SeqNum, Timestamping)> {
    sk.cold.stamps.as_ref()?.marks.get(index).copied()
}

/// An ACK moved `snd_una`: marks below it are done with.
pub(crate) fn acked(sk: &mut TcpSock, ctx: &mut Ctx) {
    while let Some((octet, flags)) = mark(sk, 0) {
        if !octet.before(sk.tx.snd_una) {
            return;
        }
        if let Some(stamps) = &mut sk.cold.stamps {
            stamps.marks.pop_front();
        }
        if flags.contains(Timestamping::TX_ACK) {
            tell(sk, ctx, octet, SCM_ACK);
        }
    }
    sk.tx.nonagle.remove(Nonagle::STAMPS);
}

/// The connection is over: what was to be told of it never happens.
pub(crate) fn forget_marks(sk: &mut TcpSock) {
    if let Some(stamps) = &mut sk.cold.stamps {
        stamps.marks.clear();
    }
    sk.tx.nonagle.remove(Nonagle::STAMPS);
}

fn tell(sk: &mut TcpSock, ctx: &mut Ctx, octet: SeqNum, what: u32) {
    let options = sk.cold.opts.timestamping;
    let data = if options.contains(Timestamping::OPT_ID) {
        octet.raw().wrapping_sub(sk.cold.tskey.raw())
    } else {
        0
    };
    let entry = Entry {
        error: ExtendedError {
            errno: ENOMSG,
            origin: ORIGIN,
            info: what,
            data,
            ..ExtendedError::default()
        },
        at: ctx.now,
        without_packet: !options.contains(Timestamping::OPT_TSONLY),
    };
    errqueue::push(sk, ctx, entry);
}

/// Octets arrived in order; they end at `end` of the receive ring.
pub(crate) fn arrived(sk: &mut TcpSock, end: u64, now: Instant) {
    let arrivals = &mut sk.cold.stamps.get_or_insert_default().arrivals;
    if arrivals.len() < MAX_ARRIVALS {
        arrivals.push_back((end, now));
    } else if let Some(last) = arrivals.back_mut() {
        *last = (end, now);
    }
}

/// Octets up to `end` arrived behind a hole.
pub(crate) fn arrived_early(sk: &mut TcpSock, end: SeqNum, now: Instant) {
    let early = &mut sk.cold.stamps.get_or_insert_default().early;
    if early.len() < MAX_ARRIVALS {
        let at = early.partition_point(|(seq, _)| seq.before(end));
        early.insert(at, (end, now));
    }
}

/// What waited out of order up to `to` is readable, and ends at `tail` of the receive ring.
pub(crate) fn caught_up(sk: &mut TcpSock, to: SeqNum, tail: u64) {
    let Some(stamps) = &mut sk.cold.stamps else {
        return;
    };
    let ready = stamps
        .early
        .partition_point(|(seq, _)| seq.at_or_before(to));
    let ready: Vec<_> = stamps.early.drain(..ready).collect();
    for (end, at) in ready {
        arrived(sk, tail - u64::from(to.bytes_since(end)), at);
    }
}

/// The reader saw octets up to `end` of the receive ring, and took those up to `head`: when the last of them came.
pub(crate) fn seen(sk: &mut TcpSock, end: u64, head: u64) -> Option<Instant> {
    let arrivals = &mut sk.cold.stamps.as_mut()?.arrivals;
    let index = arrivals.partition_point(|(at, _)| *at < end);
    let when = arrivals.get(index).map(|(_, at)| *at);
    while arrivals.front().is_some_and(|(at, _)| *at <= head) {
        arrivals.pop_front();
    }
    when
}
