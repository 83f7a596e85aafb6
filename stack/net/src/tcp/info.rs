//! TCP_INFO (Linux `struct tcp_info`, `tcp_get_info`): what a connection tells about itself.

use crate::core::{Ctx, Stack};
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::tcp::input::acking::DELACK_MAX;
use crate::tcp::recovery::machine::{self, CaState};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::counts;
use crate::tcp::sock::hot::{EcnFlags, Features};
use crate::tcp::state::TcpState;
use crate::tcp::{TIMESTAMPS_LEN, rtt};
use millrace_wire::time::Instant;

/// Bits of `tcpi_options`.
const OPT_TIMESTAMPS: u8 = 1;
const OPT_SACK: u8 = 2;
const OPT_WSCALE: u8 = 4;
const OPT_ECN: u8 = 8;
const OPT_ECN_SEEN: u8 = 16;
const OPT_SYN_DATA: u8 = 32;
/// Mean deviation before the first sample, microseconds (`TCP_TIMEOUT_INIT` / 4).
const INITIAL_RTTVAR: u32 = rtt::INITIAL_RTO.as_micros() as u32 / 4;

macro_rules! tcp_info {
    ($($(#[doc = $doc:literal])+ $name:ident: $ty:ty,)*) => {
        /// `struct tcp_info` of Linux 6.18, in its order; times in microseconds unless said otherwise.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct TcpInfo { $($(#[doc = $doc])+ pub $name: $ty,)* }

        impl TcpInfo {
            /// Names (Linux's, without `tcpi_`) and values.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), u64::from(self.$name)),)*].into_iter()
            }

            /// The bytes that `getsockopt(TCP_INFO)` gives on a little-endian machine (x86-64).
            pub fn to_bytes(&self) -> [u8; Self::LEN] {
                let mut bytes = [0; Self::LEN];
                let mut at = 0;
                $(
                    let field = self.$name.to_le_bytes();
                    bytes[at..at + field.len()].copy_from_slice(&field);
                    at += field.len();
                )*
                debug_assert_eq!(at, Self::LEN);
                bytes
            }
        }

        const _: () = assert!(0 $(+ size_of::<$ty>())* == TcpInfo::LEN);
    };
}

tcp_info! {
    /// State, as the kernel numbers them (1 is ESTABLISHED).
    state: u8,
    /// Open 0, Disorder 1, CWR 2, Recovery 3, Loss 4.
    ca_state: u8,
    /// Time-outs in a row.
    retransmits: u8,
    /// Unanswered probes.
    probes: u8,
    /// Times the timer was doubled.
    backoff: u8,
    /// `TCPI_OPT_*`.
    options: u8,
    /// Shift of the windows we are given (low four bits) and of those we give.
    wscale: u8,
    /// Bit 0: the delivery rate was limited by the application.
    delivery_rate_flags: u8,
    /// Retransmission time-out.
    rto: u32,
    /// Delayed-ACK interval.
    ato: u32,
    /// Octets of payload per segment sent.
    snd_mss: u32,
    /// Estimate of the peer's.
    rcv_mss: u32,
    /// Segments in the network; on a listener connections that wait for accept.
    unacked: u32,
    /// Of them reported by SACK; on a listener the backlog.
    sacked: u32,
    /// Of them taken for lost.
    lost: u32,
    /// Of them sent again.
    retrans: u32,
    /// Always 0, as in Linux.
    fackets: u32,
    /// Time since data was last sent, ms.
    last_data_sent: u32,
    /// Always 0, as in Linux.
    last_ack_sent: u32,
    /// Time since data last came, ms.
    last_data_recv: u32,
    /// Time since an acceptable segment last came, ms.
    last_ack_recv: u32,
    /// Path MTU.
    pmtu: u32,
    /// Bound of the receive window for now.
    rcv_ssthresh: u32,
    /// Smoothed round-trip time.
    rtt: u32,
    /// Its mean deviation.
    rttvar: u32,
    /// Slow-start threshold, segments.
    snd_ssthresh: u32,
    /// Congestion window, segments.
    snd_cwnd: u32,
    /// MSS that we advertised, less the options of every segment.
    advmss: u32,
    /// Segments of reordering that are not yet loss.
    reordering: u32,
    /// Always 0: the receiver does not estimate a round-trip time of its own.
    rcv_rtt: u32,
    /// Octets that the application takes per round trip.
    rcv_space: u32,
    /// Segments sent again in all.
    total_retrans: u32,
    /// Octets per second; all ones: nothing is paced.
    pacing_rate: u64,
    /// Its limit; all ones.
    max_pacing_rate: u64,
    /// Octets acknowledged, SYN and FIN included.
    bytes_acked: u64,
    /// Octets received in order, the FIN included.
    bytes_received: u64,
    /// Segments sent, a mini-socket's not included.
    segs_out: u32,
    /// Segments received.
    segs_in: u32,
    /// Octets queued and never sent, the FIN included.
    notsent_bytes: u32,
    /// Least round-trip time of the last minutes; all ones without a sample.
    min_rtt: u32,
    /// Segments received with payload.
    data_segs_in: u32,
    /// Segments sent with payload.
    data_segs_out: u32,
    /// Octets per second that the last sample saw delivered.
    delivery_rate: u64,
    /// Time with anything to send or to be acknowledged.
    busy_time: u64,
    /// Of it, held up by the peer's window.
    rwnd_limited: u64,
    /// Of it, held up by the send buffer.
    sndbuf_limited: u64,
    /// Segments delivered.
    delivered: u32,
    /// Of them with a congestion mark.
    delivered_ce: u32,
    /// Octets of payload sent, retransmissions included.
    bytes_sent: u64,
    /// Octets of payload sent again.
    bytes_retrans: u64,
    /// Segments that arrived twice.
    dsack_dups: u32,
    /// Times that reordering was seen.
    reord_seen: u32,
    /// Segments received out of order.
    rcv_ooopack: u32,
    /// The peer's window.
    snd_wnd: u32,
    /// The window that we advertised.
    rcv_wnd: u32,
    /// Always 0: paths are not re-hashed.
    rehash: u32,
    /// Time-outs.
    total_rto: u16,
    /// Rows of time-outs.
    total_rto_recoveries: u16,
    /// Time spent in them, ms.
    total_rto_time: u32,
    /// Always 0, as are all that follow: accurate ECN is not there.
    received_ce: u32,
    /// Always 0.
    delivered_e1_bytes: u32,
    /// Always 0.
    delivered_e0_bytes: u32,
    /// Always 0.
    delivered_ce_bytes: u32,
    /// Always 0.
    received_e1_bytes: u32,
    /// Always 0.
    received_e0_bytes: u32,
    /// Always 0.
    received_ce_bytes: u32,
    /// Always 0.
    accecn_fail_mode: u16,
    /// Always 0.
    accecn_opt_seen: u16,
}

impl TcpInfo {
    /// Octets of `struct tcp_info` of Linux 6.18.
    pub const LEN: usize = 280;

    /// What every socket has.
    fn of_any(sk: &TcpSock, ctx: &Ctx) -> Self {
        Self {
            state: sk.rx.state as u8,
            delivery_rate_flags: 0,
            snd_cwnd: sk.tx.snd_cwnd,
            reordering: ctx.sysctl.tcp_reordering,
            pacing_rate: u64::MAX,
            max_pacing_rate: u64::MAX,
            ..Self::default()
        }
    }

    /// Of any full socket (Linux `tcp_get_info`).
    pub(crate) fn of_sock(sk: &TcpSock, ctx: &Ctx, now: Instant) -> Self {
        if sk.rx.state != TcpState::Listen {
            return Self::of_connection(sk, ctx, now);
        }
        let mut info = Self::of_any(sk, ctx);
        if let Some(listen) = &sk.cold.listen {
            info.unacked = listen.accept.len() as u32;
            info.sacked = listen.backlog;
        }
        info
    }

    fn of_connection(sk: &TcpSock, ctx: &Ctx, now: Instant) -> Self {
        let mut info = Self::of_any(sk, ctx);
        info.reordering = machine::reordering(sk, ctx);
        info.add_peer(sk);
        info.add_sending(sk);
        info.add_times(sk, now);
        info.add_counts(sk, now);
        info
    }

    /// What was agreed with the peer, and both windows.
    fn add_peer(&mut self, sk: &TcpSock) {
        for (feature, option) in [
            (Features::TIMESTAMPS, OPT_TIMESTAMPS),
            (Features::SACK, OPT_SACK),
            (Features::WSCALE, OPT_WSCALE),
        ] {
            if sk.rx.features.contains(feature) {
                self.options |= option;
            }
        }
        if sk.rx.features.contains(Features::WSCALE) {
            self.wscale = sk.rx.snd_wscale | sk.rx.rcv_wscale << 4;
        }
        for (flag, option) in [(EcnFlags::OK, OPT_ECN), (EcnFlags::SEEN, OPT_ECN_SEEN)] {
            if sk.rx.ecn.contains(flag) {
                self.options |= option;
            }
        }
        if sk.cold.fastopen.as_ref().is_some_and(|f| f.syn_data_acked) {
            self.options |= OPT_SYN_DATA;
        }
        self.snd_mss = u32::from(sk.tx.mss_cache);
        self.snd_wnd = sk.tx.snd_wnd;
        self.rcv_wnd = sk.rx.rcv_wnd;
        self.rcv_ssthresh = sk.rx.rcv_ssthresh;
        self.rcv_space = sk.warm.drs.space;
        self.pmtu = u32::from(sk.warm.dst.mtu);
        if sk.rings.is_some() {
            self.rcv_mss = u32::from(sk.rx.rcv_mss);
            // When opens have crossed, the first acknowledgement settles it.
            let settled = sk.rx.state != TcpState::SynRecv;
            let options = if settled && sk.rx.features.contains(Features::TIMESTAMPS) {
                TIMESTAMPS_LEN
            } else {
                0
            };
            self.advmss = u32::from(sk.warm.advmss.saturating_sub(options));
        }
    }

    fn add_sending(&mut self, sk: &TcpSock) {
        let recovery = &sk.warm.recovery;
        self.ca_state = match recovery.state {
            CaState::Open => 0,
            CaState::Disorder => 1,
            CaState::Cwr => 2,
            CaState::Recovery => 3,
            CaState::Loss => 4,
        };
        let rate = &sk.warm.rate;
        self.delivery_rate_flags = u8::from(rate.is_app_limited());
        self.delivery_rate = rate.octets_per_second(sk.tx.mss_cache);
        self.retransmits = recovery.retransmits;
        self.probes = sk.warm.timers.probes_out;
        self.backoff = sk.warm.timers.backoff;
        self.unacked = sk.records.len();
        self.sacked = sk.records.sacked();
        self.lost = sk.records.lost();
        self.retrans = sk.records.retrans();
        self.snd_ssthresh = sk.tx.snd_ssthresh;
        if sk.has_unsent() {
            self.notsent_bytes = sk.end_of_queue().bytes_since(sk.tx.snd_nxt);
        }
    }

    fn add_times(&mut self, sk: &TcpSock, now: Instant) {
        let rtt = &sk.warm.rtt;
        self.rto = micros(rtt.rto());
        self.ato = u32::from(sk.rx.ato).min(DELACK_MAX) * 1000;
        self.rtt = micros(rtt.srtt());
        (self.rttvar, self.min_rtt) = if rtt.has_sample() {
            (micros(rtt.mdev()), micros(rtt.min()))
        } else {
            (INITIAL_RTTVAR, u32::MAX)
        };
        let [busy, window, buffer] = sk.warm.chrono.times(now).map(|ms| u64::from(ms) * 1000);
        self.busy_time = busy;
        self.rwnd_limited = window;
        self.sndbuf_limited = buffer;
        let now = now.as_millis() as u32;
        self.last_data_sent = now.wrapping_sub(sk.tx.lsndtime);
        self.last_data_recv = now.wrapping_sub(sk.rx.lrcvtime);
        self.last_ack_recv = now.wrapping_sub(sk.warm.counts.rcv_tstamp);
    }

    fn add_counts(&mut self, sk: &TcpSock, now: Instant) {
        let (counts, events) = (&sk.warm.counts, &sk.cold.events);
        self.bytes_acked = counts::bytes_acked(sk);
        self.bytes_received = counts::bytes_received(sk);
        self.bytes_sent = counts.bytes_sent;
        self.bytes_retrans = events.bytes_retrans;
        self.segs_in = counts.segs_in;
        self.segs_out = counts.segs_out;
        self.data_segs_in = counts.data_segs_in;
        self.data_segs_out = counts.data_segs_out;
        self.delivered = counts.delivered;
        self.delivered_ce = events.delivered_ce;
        self.total_retrans = events.total_retrans;
        self.dsack_dups = events.dsack_dups;
        self.reord_seen = events.reord_seen;
        self.rcv_ooopack = events.rcv_ooopack;
        self.total_rto = events.total_rto;
        self.total_rto_recoveries = events.total_rto_recoveries;
        self.total_rto_time = match events.rto_stamp {
            Some(since) => events.rto_time(now, since),
            None => events.total_rto_time,
        };
    }
}

fn micros(d: core::time::Duration) -> u32 {
    d.as_micros().min(u128::from(u32::MAX)) as u32
}

impl Stack {
    /// TCP_INFO. On a listener only state, congestion window, pacing rates, reordering, and the accept queue in
    /// `unacked` and `sacked`.
    ///
    /// # Errors
    /// EBADF.
    pub fn tcp_info(&mut self, now: Instant, s: SockId) -> Result<TcpInfo, SockError> {
        self.sock(s)?;
        let sk = self.socks.tcp.get(s).ok_or(SockError::BadSocket)?;
        Ok(TcpInfo::of_sock(sk, &self.ctx, now))
    }
}
