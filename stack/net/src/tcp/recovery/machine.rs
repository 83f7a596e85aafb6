//! The recovery state machine (Linux `tcp_fastretrans_alert`, `tcp_enter_loss`): Open, Disorder, Recovery, Loss.

use crate::core::Ctx;
use crate::stats::Counter;
use crate::tcp::cong;
use crate::tcp::input::ecn;
use crate::tcp::rate::Sample;
use crate::tcp::recovery::rack::{self, Rack};
use crate::tcp::recovery::records::Marks;
use crate::tcp::recovery::scoreboard;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, Want};
use crate::tcp::timer;
use core::time::Duration;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::SackBlock;
use millrace_wire::time::Instant;

/// Linux `TCP_CA_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum CaState {
    /// Nothing unusual.
    #[default]
    Open,
    /// SACKs or duplicate ACKs, no loss believed yet.
    Disorder,
    /// The peer echoes congestion, nothing is lost: the window is halved, once per window of data (RFC 3168 §6.1.2).
    Cwr,
    /// Fast recovery: what was lost is sent again, at half the window.
    Recovery,
    /// After a time-out.
    Loss,
}

/// Recovery's part of a socket.
#[derive(Default)]
pub(crate) struct Recovery {
    pub state: CaState,
    /// `snd_nxt` when the episode began: it ends when this is acknowledged.
    pub high_seq: SeqNum,
    /// `snd_una` when the last loss was believed: duplicates before it say nothing of it (Linux `undo_marker`).
    pub undo_marker: Option<SeqNum>,
    /// Where the search for the next retransmission goes on.
    pub rtx_hint: u32,
    pub rack: Rack,
    /// Segments of reordering that were seen, when more than the setting.
    pub learned_reordering: Option<u32>,
    /// Where the highest segment reported by SACK ends, if there is one.
    pub highest_sacked: SeqNum,
    pub sack_cache: [SackBlock; 4],
    /// `snd_nxt` when the tail loss probe went out.
    pub tlp_high_seq: Option<SeqNum>,
    /// The probe was a retransmission.
    pub tlp_retrans: bool,
    /// Time-outs in a row.
    pub retransmits: u8,
    /// When the first retransmission of this run of time-outs went out.
    pub retrans_stamp: Option<Instant>,
}

/// Segments of reordering that are not yet loss (Linux `tp->reordering`).
pub(crate) fn reordering(sk: &TcpSock, ctx: &Ctx) -> u32 {
    let learned = sk.warm.recovery.learned_reordering;
    learned.unwrap_or(ctx.sysctl.tcp_reordering)
}

/// What one ACK brought, for the decisions after it (Linux `FLAG_*` of `tcp_ack`). Lives on the stack.
#[derive(Default)]
pub(crate) struct AckFacts {
    pub una_advanced: bool,
    /// Records went, one of data among them.
    pub data_acked: bool,
    /// A record was reported by SACK for the first time.
    pub data_sacked: bool,
    /// Segments delivered by this ACK, cumulatively, by SACK, or as a duplicate tells.
    pub delivered: u32,
    /// A duplicate SACK that is to be believed.
    pub dsack: bool,
    /// It is of the tail loss probe.
    pub dsack_of_probe: bool,
    /// The ACK echoes congestion (ECE).
    pub ece: bool,
    /// Neither data, nor window update, nor anything newly acknowledged.
    pub bare: bool,
    /// The transmission timer starts anew.
    pub rearm: bool,
    pub ecr: Option<u32>,
    /// What was sent last of all that it delivers.
    pub sample: Option<Sample>,
}

impl AckFacts {
    /// A duplicate, as those are counted that have no SACK.
    fn is_duplicate(&self) -> bool {
        self.bare && !self.una_advanced && !self.dsack
    }

    /// The ACK is no sign that all is well (Linux `tcp_ack_is_dubious`).
    pub(crate) fn is_dubious(&self, sk: &TcpSock) -> bool {
        self.bare
            || self.data_sacked
            || self.dsack
            || self.ece
            || sk.warm.recovery.state != CaState::Open
    }
}

fn is_reno(sk: &TcpSock) -> bool {
    !sk.rx.features.contains(Features::SACK)
}

/// After the records are up to date: is something lost, does an episode begin or end?
pub(crate) fn fast_retransmit_alert(sk: &mut TcpSock, ctx: &mut Ctx, facts: &mut AckFacts) {
    if check_reneging(sk, ctx, facts) {
        return;
    }
    let reno = is_reno(sk);
    let recovered = sk.tx.snd_una.at_or_after(sk.warm.recovery.high_seq);
    match sk.warm.recovery.state {
        // It lasts until something after the episode is acknowledged, so that CWR has reached the peer.
        CaState::Cwr if sk.tx.snd_una.after(sk.warm.recovery.high_seq) => end_reduction(sk),
        CaState::Recovery if recovered => {
            if reno {
                sk.records.clear_sacked();
            }
            if holds_on(sk) {
                return;
            }
            end_reduction(sk);
            forget_reordering(sk);
        }
        _ => {}
    }
    match sk.warm.recovery.state {
        CaState::Recovery => {
            if reno && !facts.una_advanced {
                add_duplicates(sk, ctx, facts);
            }
            detect(sk, ctx, facts);
            // A partial acknowledgement repeats the next hole whatever the pipe holds (RFC 6582 §3.2 step 3).
            if reno && facts.una_advanced && sk.records.lost() > 0 {
                sk.tx.want.insert(Want::RTX_HEAD);
            }
            return;
        }
        CaState::Loss => {
            go_on_after_timeout(sk, ctx, facts);
            let again = detect(sk, ctx, facts);
            if sk.warm.recovery.state == CaState::Loss && again == 0 {
                return;
            }
        }
        _ => {}
    }
    if reno {
        if facts.una_advanced {
            sk.records.clear_sacked();
        }
        add_duplicates(sk, ctx, facts);
    }
    detect(sk, ctx, facts);
    if sk.records.lost() > 0 {
        enter_recovery(sk, ctx);
    } else {
        try_to_open(sk, facts.ece);
    }
}

/// An episode more without a duplicate (Linux `tcp_try_undo_recovery`).
fn forget_reordering(sk: &mut TcpSock) {
    let persist = &mut sk.warm.recovery.rack.persist;
    *persist = persist.saturating_sub(1);
}

/// In Loss: is it over? (Linux `tcp_process_loss`.)
fn go_on_after_timeout(sk: &mut TcpSock, ctx: &mut Ctx, facts: &mut AckFacts) {
    let recovery = &sk.warm.recovery;
    if sk.tx.snd_una.at_or_after(recovery.high_seq) {
        if !holds_on(sk) {
            sk.warm.recovery.state = CaState::Open;
            sk.warm.recovery.retrans_stamp = None;
            forget_reordering(sk);
        }
    } else if is_reno(sk) {
        if sk.tx.snd_nxt.after(recovery.high_seq) && facts.is_duplicate() {
            add_duplicates(sk, ctx, facts);
        } else if facts.una_advanced {
            sk.records.clear_sacked();
        }
    }
}

/// Without SACK the state stays until something above the episode is acknowledged: duplicates of what was sent twice
/// must not begin another one (RFC 6582 §3.2 step 1; Linux `tcp_is_non_sack_preventing_reopen`).
fn holds_on(sk: &mut TcpSock) -> bool {
    let holds = is_reno(sk) && sk.tx.snd_una == sk.warm.recovery.high_seq;
    if holds && !sk.records.any_retransmitted() {
        sk.warm.recovery.retrans_stamp = None;
    }
    holds
}

/// A duplicate ACK without SACK: some segment after the first hole arrived (Linux `tcp_add_reno_sack`).
fn add_duplicates(sk: &mut TcpSock, ctx: &mut Ctx, facts: &mut AckFacts) {
    if !facts.is_duplicate() {
        return;
    }
    let before = sk.records.sacked();
    let limited = sk.records.add_duplicates(1);
    scoreboard::note_reno_reordering(sk, ctx, limited, 0);
    facts.delivered += sk.records.sacked().saturating_sub(before);
}

/// Open, or Disorder, or the halved window after an echo (Linux `tcp_try_to_open`).
fn try_to_open(sk: &mut TcpSock, ece: bool) {
    if ece && matches!(sk.warm.recovery.state, CaState::Open | CaState::Disorder) {
        // Congestion without loss (Linux `tcp_enter_cwr`).
        sk.warm.recovery.undo_marker = None;
        reduce_window(sk);
        sk.warm.recovery.state = CaState::Cwr;
    }
    if sk.warm.recovery.state != CaState::Cwr {
        keep_open(sk);
    }
}

/// Linux `tcp_try_keep_open`.
fn keep_open(sk: &mut TcpSock) {
    let quiet = sk.records.sacked() + sk.records.lost() == 0 && !sk.records.any_retransmitted();
    let state = if quiet {
        CaState::Open
    } else {
        CaState::Disorder
    };
    let recovery = &mut sk.warm.recovery;
    if recovery.state != state {
        recovery.state = state;
        recovery.high_seq = sk.tx.snd_nxt;
    }
}

/// Halves the window, and tells the peer with the next new data (Linux `tcp_init_cwnd_reduction`).
fn reduce_window(sk: &mut TcpSock) {
    let recovery = &mut sk.warm.recovery;
    recovery.high_seq = sk.tx.snd_nxt;
    recovery.tlp_high_seq = None;
    sk.tx.snd_ssthresh = cong::ssthresh(sk);
    sk.tx.snd_cwnd = sk.tx.snd_ssthresh;
    sk.tx.snd_cwnd_cnt = 0;
    ecn::queue_cwr(sk);
}

/// Marks what is lost now and arms the reordering timer for what may be lost soon. Returns how many retransmissions
/// are found lost (Linux `tcp_identify_packet_loss`).
fn detect(sk: &mut TcpSock, ctx: &mut Ctx, facts: &mut AckFacts) -> u32 {
    if sk.records.is_empty() {
        return 0;
    }
    if is_reno(sk) {
        let reordering = reordering(sk, ctx);
        scoreboard::newreno_mark_lost(sk, facts.una_advanced, reordering);
        return 0;
    }
    if !sk.warm.recovery.rack.advanced {
        return 0;
    }
    sk.warm.recovery.rack.advanced = false;
    let (again, more) = detect_by_time(sk, ctx);
    if let Some(wait) = more {
        timer::arm_reordering(sk, ctx, wait);
        facts.rearm = false;
    }
    again
}

/// Marks what is lost by RACK. Returns how many of these were retransmissions, and in what time more may follow.
fn detect_by_time(sk: &mut TcpSock, ctx: &mut Ctx) -> (u32, Option<Duration>) {
    let (lost, retrans) = (sk.records.lost(), sk.records.retrans());
    let more = rack::detect_loss(sk, ctx.now, reordering(sk, ctx));
    let again = retrans.saturating_sub(sk.records.retrans());
    ctx.mib
        .add(Counter::TcpExtTCPLostRetransmit, u64::from(again));
    if again > 0 || sk.records.lost() > lost {
        sk.warm.recovery.rtx_hint = 0;
    }
    (again, more)
}

fn enter_recovery(sk: &mut TcpSock, ctx: &mut Ctx) {
    let counter = if is_reno(sk) {
        Counter::TcpExtTCPRenoRecovery
    } else {
        Counter::TcpExtTCPSackRecovery
    };
    ctx.mib.inc(counter);
    // The window that an echo has just halved is not halved again (Linux `tcp_in_cwnd_reduction`).
    if sk.warm.recovery.state != CaState::Cwr {
        reduce_window(sk);
    }
    let recovery = &mut sk.warm.recovery;
    recovery.state = CaState::Recovery;
    recovery.undo_marker = Some(sk.tx.snd_una);
    recovery.rtx_hint = 0;
    // The first retransmission goes out whatever the pipe holds (RFC 6675 §5 step 4.3).
    sk.tx.want.insert(Want::RTX_HEAD);
}

/// The reordering timer: what is lost by now (Linux `tcp_rack_reo_timeout`)?
pub(crate) fn reordering_timeout(sk: &mut TcpSock, ctx: &mut Ctx) {
    let in_flight = sk.in_flight();
    let _ = detect_by_time(sk, ctx);
    if sk.in_flight() != in_flight && sk.warm.recovery.state != CaState::Recovery {
        enter_recovery(sk, ctx);
    }
}

/// Linux `tcp_end_cwnd_reduction`.
fn end_reduction(sk: &mut TcpSock) {
    sk.tx.snd_cwnd = sk.tx.snd_ssthresh;
    sk.tx.snd_cwnd_cnt = 0;
    sk.warm.recovery.state = CaState::Open;
    sk.warm.recovery.retrans_stamp = None;
}

/// The head is acknowledged up to a SACKed record: the peer seems to have taken back what it had. It is given a moment,
/// for the next ACK may tell otherwise, before the time-out that forgets all SACKs.
fn check_reneging(sk: &mut TcpSock, ctx: &Ctx, facts: &mut AckFacts) -> bool {
    let head = sk.records.front();
    if !facts.una_advanced || !head.is_some_and(|r| r.marks.contains(Marks::SACKED)) {
        return false;
    }
    timer::arm_reneging(sk, ctx);
    facts.rearm = false;
    true
}

/// A time-out: what was not reported by SACK is lost, but for what was sent just now; the window starts again.
pub(crate) fn enter_loss(sk: &mut TcpSock, ctx: &mut Ctx) {
    mark_lost_by_timeout(sk, ctx);
    let recovery = &mut sk.warm.recovery;
    // One loss episode reduces the threshold once.
    let reduce = match recovery.state {
        CaState::Open | CaState::Disorder => true,
        CaState::Cwr | CaState::Recovery => sk.tx.snd_una.at_or_after(recovery.high_seq),
        CaState::Loss => sk.tx.snd_una.at_or_after(recovery.high_seq) || recovery.retransmits == 0,
    };
    if matches!(recovery.state, CaState::Open | CaState::Disorder)
        && sk.records.sacked() >= ctx.sysctl.tcp_reordering
    {
        // With that many duplicates the reordering was overestimated.
        recovery.learned_reordering = None;
    }
    if reduce {
        recovery.undo_marker = Some(sk.tx.snd_una);
        sk.tx.snd_ssthresh = cong::ssthresh(sk);
    }
    let recovery = &mut sk.warm.recovery;
    recovery.state = CaState::Loss;
    recovery.high_seq = sk.tx.snd_nxt;
    recovery.rtx_hint = 0;
    recovery.tlp_high_seq = None;
    recovery.sack_cache = Default::default();
    sk.tx.snd_cwnd = sk.in_flight() + u32::from(!mutant!("cwnd_zero"));
    sk.tx.snd_cwnd_cnt = 0;
    ecn::queue_cwr(sk);
}

/// Linux `tcp_timeout_mark_lost`.
fn mark_lost_by_timeout(sk: &mut TcpSock, ctx: &mut Ctx) {
    let again = sk.records.retrans();
    let head = sk.records.front();
    let reneged = head.is_some_and(|r| r.marks.contains(Marks::SACKED));
    if reneged {
        ctx.mib.inc(Counter::TcpExtTCPSACKReneging);
    }
    if reneged || is_reno(sk) {
        sk.records.clear_sacked();
    }
    let recent = sk.warm.recovery.rack.rtt;
    for index in 0..sk.records.len() as usize {
        let fresh = sk
            .records
            .get(index)
            .is_some_and(|r| ctx.now.since(r.sent_at) < recent);
        if index == 0 || reneged || !fresh {
            sk.records.mark_lost(index);
        }
    }
    ctx.mib.add(
        Counter::TcpExtTCPLostRetransmit,
        u64::from(again.saturating_sub(sk.records.retrans())),
    );
}

/// What is lost was not lost to congestion: it goes out again as after a time-out, and the window stays (Linux
/// `tcp_non_congestion_loss_retransmit`).
pub(crate) fn lost_without_congestion(sk: &mut TcpSock) {
    let recovery = &mut sk.warm.recovery;
    recovery.rtx_hint = 0;
    if recovery.state == CaState::Loss {
        return;
    }
    let reducing = matches!(recovery.state, CaState::Cwr | CaState::Recovery);
    recovery.high_seq = sk.tx.snd_nxt;
    recovery.undo_marker = None;
    recovery.state = CaState::Loss;
    if !reducing {
        let cwnd = sk.tx.snd_cwnd;
        sk.tx.snd_ssthresh = sk.tx.snd_ssthresh.max((cwnd >> 1) + (cwnd >> 2));
    }
}

/// RFC 8985 §7.4: did the tail loss probe repair a loss that nobody else noticed?
pub(crate) fn process_tlp_ack(sk: &mut TcpSock, ctx: &mut Ctx, facts: &AckFacts) {
    let Some(high) = sk.warm.recovery.tlp_high_seq else {
        return;
    };
    if sk.tx.snd_una.before(high) {
        return;
    }
    if !sk.warm.recovery.tlp_retrans || facts.dsack_of_probe {
        // Nothing was lost: new data was acknowledged, or the probe is reported as a duplicate.
        sk.warm.recovery.tlp_high_seq = None;
    } else if sk.tx.snd_una.after(high) {
        // Data after the probe is acknowledged, and no duplicate was reported: the probe repaired a loss.
        reduce_window(sk);
        keep_open(sk);
        ctx.mib.inc(Counter::TcpExtTCPLossProbeRecovery);
    } else if facts.bare && !facts.una_advanced && !facts.data_sacked {
        // The original and the probe both arrived.
        sk.warm.recovery.tlp_high_seq = None;
    }
}
