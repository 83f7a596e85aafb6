//! The two cache lines that every segment touches. No statistics, floats or options here.

use crate::tcp::demux::Tuple;
use crate::tcp::state::TcpState;
use bitflags::bitflags;
use core::net::Ipv4Addr;
use millrace_wire::seq::SeqNum;

/// What an arriving segment needs.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct RxHot {
    /// Who talks to whom; compared on lookup.
    pub tuple: Tuple,
    /// Next octet expected.
    pub rcv_nxt: SeqNum,
    /// `rcv_nxt` when the window was last advertised.
    pub rcv_wup: SeqNum,
    /// Window advertised then, octets.
    pub rcv_wnd: u32,
    /// The peer's latest timestamp that may be echoed.
    pub ts_recent: u32,
    /// When it came, seconds (24-day expiry, RFC 7323 §5.5).
    pub ts_recent_stamp: u32,
    /// Added to our millisecond clock to make TSval.
    pub ts_offset: u32,
    /// Window field that header prediction expects; meaningful with `predict`.
    pub pred_window: u16,
    /// Estimate of the peer's segment size (Linux `icsk_ack.rcv_mss`).
    pub rcv_mss: u16,
    /// Upper bound of the window for now, octets (slow start of the receive window).
    pub rcv_ssthresh: u32,
    /// When data last came, ms (low 32 bits).
    pub lrcvtime: u32,
    /// Delayed-ACK interval, ms; 0 before the first data.
    pub ato: u16,
    /// State; written by `set_state` only.
    pub state: TcpState,
    /// Header prediction is on.
    pub predict: bool,
    /// Negotiated and set features.
    pub features: Features,
    /// Shift of the windows we advertise.
    pub rcv_wscale: u8,
    /// Shift of the windows we are given.
    pub snd_wscale: u8,
    /// What is due in ACKs.
    pub ack: AckState,
    /// ACKs still to be sent at once (quick ACK mode).
    pub quick: u8,
    /// 1 when the application answers, so that ACKs can ride on data.
    pub pingpong: u8,
    /// Congestion notification; empty without it.
    pub ecn: EcnFlags,
}

bitflags! {
    /// Bits that the data path asks for.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub(crate) struct Features: u16 {
        /// Timestamps agreed.
        const TIMESTAMPS = 1;
        /// SACK agreed.
        const SACK = 2;
        /// Window scaling agreed.
        const WSCALE = 4;
        /// An in-loop service owns the socket: bytes may be lent to it.
        const ATTACHED = 8;
        /// No application owns the socket any more.
        const ORPHAN = 16;
        /// No more receiving (shutdown, or FIN came).
        const RCV_SHUTDOWN = 32;
        /// No more sending.
        const SEND_SHUTDOWN = 64;
        /// There is an urgent mark in front of the reader, or to come: no header prediction, nothing is lent.
        const URGENT = 256;
        /// Somebody polls the socket and wants to hear of every wake-up.
        const WATCHED = 128;
        /// The times of arrivals are kept for the reader.
        const RX_STAMPS = 512;
        /// Segments are signed (RFC 2385); header prediction is off.
        const MD5 = 1024;
        /// An ICMP error was noted (`soft_err`); the next ACK forgets it.
        const SOFT_ERROR = 2048;
    }
}

// Every feature has a bit of its own.
const _: () = assert!(
    Features::all().bits().count_ones() as usize == <Features as bitflags::Flags>::FLAGS.len()
);

impl Features {
    /// Somebody hears of readiness.
    pub(crate) const OWNED: Self = Self::ATTACHED.union(Self::WATCHED);
}

bitflags! {
    /// Linux `tp->ecn_flags`.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub(crate) struct EcnFlags: u8 {
        /// Agreed, or offered by our SYN.
        const OK = 1;
        /// The next new data carries CWR.
        const QUEUE_CWR = 2;
        /// A CE mark came: ECE is sent until CWR comes.
        const DEMAND_CWR = 4;
        /// Data with a mark was seen.
        const SEEN = 8;
    }
}

bitflags! {
    /// Linux `icsk_ack.pending`, as bits.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub(crate) struct AckState: u8 {
        /// Data came that is not acknowledged yet.
        const SCHED = 1;
        /// The delayed-ACK timer runs.
        const TIMER = 2;
        /// The next ACK decision is "now".
        const NOW = 4;
        /// A small segment with PSH came.
        const PUSHED = 8;
        /// A second one.
        const PUSHED2 = 16;
        /// In-order data was refused for want of memory: the next ACK closes the window (Linux `ICSK_ACK_NOMEM`).
        const NOMEM = 32;
    }
}

impl Default for RxHot {
    fn default() -> Self {
        Self {
            tuple: Tuple {
                local: Ipv4Addr::UNSPECIFIED,
                remote: Ipv4Addr::UNSPECIFIED,
                lport: 0,
                rport: 0,
            },
            rcv_nxt: SeqNum::default(),
            rcv_wup: SeqNum::default(),
            rcv_wnd: 0,
            ts_recent: 0,
            ts_recent_stamp: 0,
            ts_offset: 0,
            pred_window: 0,
            rcv_mss: 536,
            rcv_ssthresh: 0,
            lrcvtime: 0,
            ato: 0,
            state: TcpState::Close,
            predict: false,
            features: Features::default(),
            rcv_wscale: 0,
            snd_wscale: 0,
            ack: AckState::default(),
            quick: 0,
            pingpong: 0,
            ecn: EcnFlags::empty(),
        }
    }
}

impl RxHot {
    /// Octets of the window that we advertised and the peer has not used (Linux `tcp_receive_window`).
    #[inline]
    pub(crate) fn receive_window(&self) -> u32 {
        let end = self.rcv_wup + self.rcv_wnd;
        if end.after(self.rcv_nxt) {
            end.bytes_since(self.rcv_nxt)
        } else {
            0
        }
    }
}

/// What a leaving segment needs.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct TxHot {
    /// Oldest octet not acknowledged.
    pub snd_una: SeqNum,
    /// Next octet to send.
    pub snd_nxt: SeqNum,
    /// Sequence number of the segment that last updated the window.
    pub snd_wl1: SeqNum,
    /// Window that the peer gives, octets.
    pub snd_wnd: u32,
    /// Largest window that the peer ever gave.
    pub max_window: u32,
    /// Sequence number after the last octet the application queued.
    pub write_seq: SeqNum,
    /// End of the last small segment sent (Minshall's variant of Nagle).
    pub snd_sml: SeqNum,
    /// Octets before this one are to be pushed (Linux `pushed_seq`).
    pub pushed_seq: SeqNum,
    /// Congestion window, segments.
    pub snd_cwnd: u32,
    /// Slow-start threshold, segments.
    pub snd_ssthresh: u32,
    /// Segments acknowledged since cwnd last grew (Linux `snd_cwnd_cnt`).
    pub snd_cwnd_cnt: u32,
    /// Most segments in flight in this window of data.
    pub max_packets_out: u32,
    /// When data was last sent, ms (low 32 bits).
    pub lsndtime: u32,
    /// Payload per segment now, options of data segments taken off.
    pub mss_cache: u16,
    /// What must go out besides data.
    pub want: Want,
    /// Nagle and cork bits.
    pub nonagle: Nonagle,
    /// The application closed its side: a FIN follows the last octet.
    pub fin_queued: bool,
    /// Stands in a qdisc or is parked at a neighbour.
    pub queued: bool,
    /// Sending stopped at the congestion window, so that it may grow.
    pub cwnd_limited: bool,
    /// TOS byte of the packets.
    pub tos: u8,
}

bitflags! {
    /// Control output that is due; a bit each.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub(crate) struct Want: u8 {
        /// A pure ACK, unless data carries it.
        const ACK = 1;
        /// A tail loss probe.
        const TLP = 2;
        /// A window probe or keepalive: an old sequence number that makes the peer answer.
        const PROBE = 4;
        /// Retransmission of the first record, whatever the congestion window says (RTO).
        const RTX_HEAD = 8;
        /// The SYN, first time.
        const SYN = 16;
        /// A window probe that may carry what fits.
        const WAKEUP = 32;
    }
}

bitflags! {
    /// Linux `tp->nonagle`.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub(crate) struct Nonagle: u8 {
        /// TCP_NODELAY.
        const OFF = 1;
        /// TCP_CORK.
        const CORK = 2;
        /// MSG_MORE on the last send, and no ACK since.
        const MORE = 4;
        /// The last octets were queued with MSG_MORE: they are not to be pushed.
        const UNPUSHED = 8;
        /// A writer waits for room: what is queued goes, however little it is.
        const PUSH = 16;
        /// Records end in the queue (MSG_EOR).
        const EOR = 32;
        /// Urgent data is not acknowledged yet.
        const URGENT = 64;
        /// Times of octets in the queue or the network are to be told.
        const STAMPS = 128;
    }
}

/// No threshold yet (Linux `TCP_INFINITE_SSTHRESH`).
pub(crate) const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

impl Default for TxHot {
    fn default() -> Self {
        Self {
            snd_una: SeqNum::default(),
            snd_nxt: SeqNum::default(),
            snd_wl1: SeqNum::default(),
            snd_wnd: 0,
            max_window: 0,
            write_seq: SeqNum::default(),
            snd_sml: SeqNum::default(),
            pushed_seq: SeqNum::default(),
            snd_cwnd: crate::tcp::INIT_CWND,
            snd_ssthresh: INFINITE_SSTHRESH,
            snd_cwnd_cnt: 0,
            max_packets_out: 0,
            lsndtime: 0,
            mss_cache: 536,
            want: Want::default(),
            nonagle: Nonagle::default(),
            fin_queued: false,
            queued: false,
            cwnd_limited: false,
            tos: 0,
        }
    }
}

impl TxHot {
    /// Sequence number after the peer's window (Linux `tcp_wnd_end`).
    #[inline]
    pub(crate) fn wnd_end(&self) -> SeqNum {
        self.snd_una + self.snd_wnd
    }
}
