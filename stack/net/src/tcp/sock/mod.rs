//! A full TCP socket (Linux `struct tcp_sock`): two hot cache lines, one for what arrives and one for what leaves,
//! then what is touched now and then, then what is touched seldom.

pub(crate) mod cold;
pub(crate) mod counts;
pub(crate) mod hot;
pub(crate) mod listen;
pub(crate) mod request;
pub(crate) mod timewait;
pub(crate) mod warm;

use crate::ids::SockId;
use crate::sock::readiness::Readiness;
use crate::tcp::demux::Tuple;
use crate::tcp::recovery::records::{Marks, Records};
use crate::tcp::state::{StateSet, TcpState};
use cold::Cold;
use hot::{RxHot, TxHot};
use millrace_ring::{ByteConsumer, ByteProducer, ChunkPool, byte_ring};
use millrace_wire::seq::SeqNum;
use warm::Warm;

/// The byte rings of a connection, both ends. `rcv_in` and `snd_out` are the stack's, the others the application's.
pub(crate) struct Rings {
    /// Stack writes what arrived; its tail is at `rcv_nxt`.
    pub rcv_in: ByteProducer,
    /// Application reads.
    pub rcv_out: ByteConsumer,
    /// Application writes; its tail is at `write_seq`.
    pub snd_in: ByteProducer,
    /// Stack reads; its head is at `snd_una`. This is the retransmission buffer.
    pub snd_out: ByteConsumer,
}

impl Rings {
    /// Gives all memory back to the pool: with the readers gone nothing is unread.
    pub(crate) fn release(self, chunks: &mut ChunkPool) {
        let Self {
            mut rcv_in,
            rcv_out,
            mut snd_in,
            snd_out,
        } = self;
        drop((rcv_out, snd_out));
        let _ = rcv_in.release(chunks);
        let _ = snd_in.release(chunks);
    }

    pub(crate) fn new(rcvbuf: u32, sndbuf: u32) -> Self {
        let (rcv_in, rcv_out) = byte_ring(u64::from(rcvbuf));
        let (snd_in, snd_out) = byte_ring(u64::from(sndbuf));
        Self {
            rcv_in,
            rcv_out,
            snd_in,
            snd_out,
        }
    }
}

/// See the module.
#[repr(C)]
pub(crate) struct TcpSock {
    pub rx: RxHot,
    pub tx: TxHot,
    pub warm: Warm,
    pub records: Records,
    /// Absent in LISTEN and before connect.
    pub rings: Option<Rings>,
    pub cold: Box<Cold>,
}

const _: () = assert!(size_of::<RxHot>() == 64 && size_of::<TxHot>() == 64);

impl TcpSock {
    pub(crate) fn new(id: SockId, cold: Box<Cold>) -> Self {
        Self {
            rx: RxHot::default(),
            tx: TxHot::default(),
            warm: Warm::new(id),
            records: Records::default(),
            rings: None,
            cold,
        }
    }

    pub(crate) fn id(&self) -> SockId {
        self.warm.id
    }

    pub(crate) fn tuple(&self) -> Tuple {
        self.rx.tuple
    }

    /// Bytes received in order that the application has not taken yet.
    #[inline]
    pub(crate) fn unread(&mut self) -> u64 {
        let lent = u64::from(self.warm.lent);
        match &mut self.rings {
            Some(r) => r.rcv_in.tail() - r.rcv_in.head() + lent,
            None => lent,
        }
    }

    /// The sequence number of the byte at the head of the send ring.
    #[inline]
    pub(crate) fn ring_seq(&self) -> SeqNum {
        // Before the SYN is acknowledged the first byte comes after it. (The number alone does not tell: after 4 GiB
        // it comes round again.)
        let opening = StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]);
        if self.tx.snd_una == self.warm.iss
            && (self.rx.state.is_in(opening)
                || self.rx.state == TcpState::FinWait1 && self.syn_is_out())
        {
            self.warm.iss + 1
        } else {
            self.tx.snd_una
        }
    }

    /// Our SYN is the oldest segment in the network.
    pub(crate) fn syn_is_out(&self) -> bool {
        let head = self.records.front();
        head.is_some_and(|r| r.marks.contains(Marks::SYN))
    }

    /// Position in the send ring of a sequence number at or after `snd_una`.
    #[inline]
    pub(crate) fn send_pos(&self, seq: SeqNum) -> u64 {
        let head = self.rings.as_ref().map_or(0, |r| r.snd_out.head());
        head + u64::from(seq.bytes_since(self.ring_seq()))
    }

    /// Segments in the network (Linux `tcp_packets_in_flight`).
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        self.records.in_flight()
    }

    /// Data (or FIN) that was never sent.
    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        self.tx.snd_nxt.before(self.end_of_queue())
    }

    /// Sequence number after the last queued byte and FIN.
    #[inline]
    pub(crate) fn end_of_queue(&self) -> SeqNum {
        self.tx.write_seq + u32::from(self.tx.fin_queued)
    }

    /// Remembers what changed for the application.
    pub(crate) fn note(&mut self, ready: Readiness) {
        self.warm.pending |= ready;
    }
}
