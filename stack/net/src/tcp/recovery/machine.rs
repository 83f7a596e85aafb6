//! The recovery state machine (Linux `tcp_fastretrans_alert`, `tcp_enter_loss`): Open, Disorder, Recovery, Loss.

use crate::core::Ctx;
use crate::stats::Counter;
use crate::tcp::cong;
use crate::tcp::input::ecn;
use crate::tcp::recovery::rack::{self, Rack};
use crate::tcp::recovery::records::Marks;
use crate::tcp::recovery::scoreboard;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, Want};
use crate::tcp::timer;
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
    /// Where the search for the next retransmission goes on.
    pub rtx_hint: u32,
    pub rack: Rack,
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

impl Recovery {
    pub(crate) fn in_recovery(&self) -> bool {
        matches!(self.state, CaState::Recovery | CaState::Loss)
    }
}

/// What one ACK brought, for the decisions after it. Lives on the stack.
#[derive(Default)]
pub(crate) struct AckFacts {
    pub una_advanced: bool,
    /// Records delivered by this ACK, cumulatively or by SACK.
    pub delivered: u32,
    pub dsack: bool,
    /// The ACK echoes congestion (ECE).
    pub ece: bool,
    /// Neither data, nor window update, nor anything new: a duplicate.
    pub duplicate: bool,
    /// The same, whether or not something is in the network.
    pub pure_duplicate: bool,
    pub ecr: Option<u32>,
}

/// After the records are up to date: is something lost, does an episode begin or end?
pub(crate) fn fast_retransmit_alert(sk: &mut TcpSock, ctx: &mut Ctx, facts: &AckFacts) {
    process_tlp_ack(sk, ctx, facts);
    if check_reneging(sk, ctx) {
        return;
    }
    let sack = sk.rx.features.contains(Features::SACK);
    if !sack {
        if facts.una_advanced {
            sk.records.clear_sacked();
        } else if facts.duplicate {
            scoreboard::infer_from_duplicate(sk);
        }
    }
    if is_over(sk) {
        end_episode(sk);
    }
    let lost = detect(sk, ctx, facts.una_advanced);
    match sk.warm.recovery.state {
        CaState::Open | CaState::Disorder | CaState::Cwr if lost > 0 => enter_recovery(sk, ctx),
        CaState::Open | CaState::Disorder if facts.ece => enter_cwr(sk),
        CaState::Open | CaState::Disorder => {
            let quiet = sk.records.sacked() == 0;
            sk.warm.recovery.state = if quiet {
                CaState::Open
            } else {
                CaState::Disorder
            };
        }
        // A partial acknowledgement repeats the next hole whatever the pipe holds (RFC 6582 §3.2 step 3).
        CaState::Recovery if !sack && lost > 0 && facts.una_advanced => {
            sk.tx.want.insert(Want::RTX_HEAD);
        }
        CaState::Cwr | CaState::Recovery | CaState::Loss => {}
    }
}

/// The episode's data is acknowledged. The one after an echo lasts until something after it is, so that CWR has reached
/// the peer.
fn is_over(sk: &TcpSock) -> bool {
    let high = sk.warm.recovery.high_seq;
    match sk.warm.recovery.state {
        CaState::Open | CaState::Disorder => false,
        CaState::Cwr => sk.tx.snd_una.after(high),
        CaState::Recovery | CaState::Loss => sk.tx.snd_una.at_or_after(high),
    }
}

/// Congestion without loss (Linux `tcp_enter_cwr`).
fn enter_cwr(sk: &mut TcpSock) {
    sk.warm.recovery.state = CaState::Cwr;
    reduce_window(sk);
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

/// Marks what is lost now and arms the reordering timer for what may be lost soon.
pub(crate) fn detect(sk: &mut TcpSock, ctx: &mut Ctx, una_advanced: bool) -> u32 {
    let reordering = ctx.sysctl.tcp_reordering;
    if sk.records.is_empty() {
        return 0;
    }
    if !sk.rx.features.contains(Features::SACK) {
        return scoreboard::newreno_mark_lost(sk, una_advanced, reordering);
    }
    if sk.records.sacked() == 0 && sk.records.retrans() == 0 {
        return 0;
    }
    let before = sk.records.retrans();
    let (lost, soonest) = rack::detect_loss(sk, ctx.now, reordering);
    ctx.mib.add(
        Counter::TcpExtTCPLostRetransmit,
        u64::from(before.saturating_sub(sk.records.retrans())),
    );
    if lost > 0 {
        sk.warm.recovery.rtx_hint = 0;
    }
    if let Some(wait) = soonest {
        timer::arm_reordering(sk, ctx, wait);
    }
    lost
}

fn enter_recovery(sk: &mut TcpSock, ctx: &mut Ctx) {
    let counter = if sk.rx.features.contains(Features::SACK) {
        Counter::TcpExtTCPSackRecovery
    } else {
        Counter::TcpExtTCPRenoRecovery
    };
    ctx.mib.inc(counter);
    // The window that an echo has just halved is not halved again (Linux `tcp_in_cwnd_reduction`).
    let reduced = sk.warm.recovery.state == CaState::Cwr;
    let recovery = &mut sk.warm.recovery;
    recovery.state = CaState::Recovery;
    recovery.high_seq = sk.tx.snd_nxt;
    recovery.rtx_hint = 0;
    recovery.tlp_high_seq = None;
    if !reduced {
        reduce_window(sk);
    }
    // The first retransmission goes out whatever the pipe holds (RFC 6675 §5 step 4.3).
    sk.tx.want.insert(Want::RTX_HEAD);
}

/// The reordering timer found losses.
pub(crate) fn lost_by_timer(sk: &mut TcpSock, ctx: &mut Ctx) {
    if !sk.warm.recovery.in_recovery() {
        enter_recovery(sk, ctx);
    }
}

fn end_episode(sk: &mut TcpSock) {
    if matches!(sk.warm.recovery.state, CaState::Cwr | CaState::Recovery) {
        sk.tx.snd_cwnd = sk.tx.snd_ssthresh;
        sk.tx.snd_cwnd_cnt = 0;
    }
    sk.warm.recovery.state = CaState::Open;
    sk.warm.recovery.retrans_stamp = None;
}

/// The peer took back what it had selectively acknowledged: the head is acknowledged up to a SACKed record.
fn check_reneging(sk: &mut TcpSock, ctx: &mut Ctx) -> bool {
    let reneged = sk.rx.features.contains(Features::SACK)
        && sk
            .records
            .front()
            .is_some_and(|r| r.marks.contains(Marks::SACKED));
    if reneged {
        ctx.mib.inc(Counter::TcpExtTCPSACKReneging);
        enter_loss(sk, ctx);
        sk.tx.want.insert(Want::RTX_HEAD);
    }
    reneged
}

/// A time-out: what was not reported by SACK is lost, but for what was sent just now; the window starts again.
pub(crate) fn enter_loss(sk: &mut TcpSock, ctx: &mut Ctx) {
    let again = sk.records.retrans();
    let reneged = sk
        .records
        .front()
        .is_some_and(|r| r.marks.contains(Marks::SACKED));
    if reneged || !sk.rx.features.contains(Features::SACK) {
        sk.records.clear_sacked();
    }
    let recent = rack::patience(sk, ctx.sysctl.tcp_reordering);
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
    let recovery = &sk.warm.recovery;
    // One loss episode reduces the threshold once.
    let reduce = match recovery.state {
        CaState::Open | CaState::Disorder => true,
        CaState::Cwr | CaState::Recovery => sk.tx.snd_una.at_or_after(recovery.high_seq),
        CaState::Loss => sk.tx.snd_una.at_or_after(recovery.high_seq) || recovery.retransmits == 0,
    };
    if reduce {
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

/// RFC 8985 §7.4: did the tail loss probe repair a loss that nobody else noticed?
fn process_tlp_ack(sk: &mut TcpSock, ctx: &mut Ctx, facts: &AckFacts) {
    let Some(high) = sk.warm.recovery.tlp_high_seq else {
        return;
    };
    if sk.tx.snd_una.before(high) {
        return;
    }
    if !sk.warm.recovery.tlp_retrans || facts.dsack {
        // Nothing was lost: new data was acknowledged, or the probe is reported as a duplicate.
        sk.warm.recovery.tlp_high_seq = None;
    } else if sk.tx.snd_una.after(high) {
        // Data after the probe is acknowledged, and no duplicate was reported: the probe repaired a loss.
        sk.warm.recovery.tlp_high_seq = None;
        if !sk.warm.recovery.in_recovery() {
            ctx.mib.inc(Counter::TcpExtTCPLossProbeRecovery);
            sk.tx.snd_ssthresh = cong::ssthresh(sk);
            sk.tx.snd_cwnd = sk.tx.snd_ssthresh;
            ecn::queue_cwr(sk);
        }
    } else if facts.pure_duplicate {
        // The original and the probe both arrived.
        sk.warm.recovery.tlp_high_seq = None;
    }
}
