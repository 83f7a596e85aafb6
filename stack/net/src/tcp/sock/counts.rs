//! What a connection counts, for TCP_INFO (the counters of Linux's `tcp_sock`).

use crate::tcp::sock::TcpSock;
use millrace_wire::time::Instant;

/// Counters that segments move: half a cache line, so that one segment touches one line of them.
#[derive(Clone, Copy, Default)]
#[repr(C, align(32))]
pub(crate) struct Counts {
    /// Octets of payload sent, retransmissions included.
    pub bytes_sent: u64,
    /// When anything acceptable last came, ms (low 32 bits).
    pub rcv_tstamp: u32,
    /// Segments received, and those of them with payload; refused ones too.
    pub segs_in: u32,
    pub data_segs_in: u32,
    /// Segments sent, and those of them with payload; retransmissions too.
    pub segs_out: u32,
    pub data_segs_out: u32,
    /// Segments delivered, a SYN or SYN-ACK of ours included.
    pub delivered: u32,
}

const _: () = assert!(size_of::<Counts>() == 32);

impl Counts {
    /// Segments arrived: a train, or one.
    #[inline]
    pub(crate) fn received(&mut self, segments: u32, payload: u32) {
        self.segs_in = self.segs_in.wrapping_add(segments);
        if payload > 0 {
            self.data_segs_in = self.data_segs_in.wrapping_add(segments);
        }
    }

    /// Segments left with `payload` octets in all.
    #[inline]
    pub(crate) fn sent(&mut self, segments: u32, payload: u32) {
        self.segs_out = self.segs_out.wrapping_add(segments);
        if payload > 0 {
            self.data_segs_out = self.data_segs_out.wrapping_add(segments);
            self.bytes_sent += u64::from(payload);
        }
    }
}

/// Counters of what goes wrong, and of ends.
#[derive(Clone, Copy, Default)]
pub(crate) struct Events {
    /// Octets of payload sent again, and segments.
    pub bytes_retrans: u64,
    pub total_retrans: u32,
    /// Segments whose delivery an ACK with ECE reported.
    pub delivered_ce: u32,
    /// Segments that arrived twice, as DSACK told.
    pub dsack_dups: u32,
    /// Times that reordering was seen.
    pub reord_seen: u32,
    /// Segments received out of order.
    pub rcv_ooopack: u32,
    /// Time-outs, episodes of them, their whole time in ms, and when the running one began.
    pub total_rto: u16,
    pub total_rto_recoveries: u16,
    pub total_rto_time: u32,
    pub rto_stamp: Option<Instant>,
    /// Our SYN was acknowledged by an ACK (not in a handshake that a mini-socket did).
    pub syn_acked: bool,
    /// Octets acknowledged when the connection ended and its queue was thrown away.
    pub acked_at_end: Option<u64>,
}

impl Events {
    /// A retransmission time-out (Linux `tcp_update_rto_stats`); `first` of a row.
    pub(crate) fn timed_out(&mut self, now: Instant, first: bool) {
        if first {
            self.total_rto_recoveries = self.total_rto_recoveries.saturating_add(1);
            self.rto_stamp = Some(now);
        }
        self.total_rto = self.total_rto.saturating_add(1);
    }

    /// Something new was acknowledged after time-outs (Linux `tcp_update_rto_time`).
    pub(crate) fn recovered(&mut self, now: Instant) {
        if let Some(since) = self.rto_stamp.take() {
            self.total_rto_time = self.rto_time(now, since);
        }
    }

    /// The time with an episode that began at `since`.
    pub(crate) fn rto_time(&self, now: Instant, since: Instant) -> u32 {
        self.total_rto_time
            .saturating_add(now.since(since).as_millis() as u32)
    }
}

/// Octets acknowledged in all, SYN and FIN of ours included (Linux `bytes_acked`).
pub(crate) fn bytes_acked(sk: &TcpSock) -> u64 {
    let events = &sk.cold.events;
    if let Some(acked) = events.acked_at_end {
        return acked;
    }
    let stream = sk.rings.as_ref().map_or(0, |r| r.snd_out.head());
    let fin = sk.tx.fin_queued && sk.tx.snd_una.after(sk.tx.write_seq);
    stream + u64::from(fin) + u64::from(events.syn_acked)
}

/// Octets received in order in all, the FIN included (Linux `bytes_received`).
pub(crate) fn bytes_received(sk: &TcpSock) -> u64 {
    let stream = sk.rings.as_ref().map_or(0, |r| r.rcv_in.tail());
    stream + u64::from(sk.warm.lent) + u64::from(sk.warm.fin_received)
}
