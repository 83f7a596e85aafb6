//! Retransmission (Linux `tcp_xmit_retransmit_queue`): what the records say is lost, as far as the window allows.

use crate::core::Ctx;
use crate::stats::Counter;
use crate::tcp::output::segment::{self, Job, Path};
use crate::tcp::output::{Turn, write};
use crate::tcp::rate;
use crate::tcp::recovery::machine::CaState;
use crate::tcp::recovery::records::{Marks, TxRecord};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, Want};
use crate::tcp::timer;
use millrace_wire::frame::TxBatch;
use millrace_wire::tcp::TcpFlags;

/// Sends lost records again.
pub(crate) fn retransmit(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    let mut forced = sk.tx.want.contains(Want::RTX_HEAD);
    // The time-out that sends the head again has set the next one.
    let by_timer = is_by_timer(sk);
    let mut head = false;
    loop {
        let from = if forced {
            0
        } else {
            sk.warm.recovery.rtx_hint as usize
        };
        let Some(index) = sk.records.next_to_retransmit(from) else {
            break;
        };
        if !forced && sk.in_flight() >= sk.tx.snd_cwnd {
            break;
        }
        if batch.room() == 0 {
            return Turn::Full;
        }
        match one(sk, ctx, path, batch, index, Copy::Repair) {
            Sent::Yes => {
                head |= index == 0 && !by_timer;
                count(sk, ctx, forced);
            }
            Sent::DeviceFull => return Turn::Full,
            Sent::OutOfWindow => break,
        }
        forced = false;
        sk.tx.want.remove(Want::RTX_HEAD);
        sk.warm.recovery.rtx_hint = index as u32 + 1;
    }
    sk.tx.want.remove(Want::RTX_HEAD);
    if head {
        timer::head_sent_again(sk, ctx);
    }
    Turn::Done
}

/// The first retransmission is the time-out's own (Linux `tcp_retransmit_timer`), not recovery's
/// (`tcp_xmit_retransmit_queue`).
fn is_by_timer(sk: &TcpSock) -> bool {
    sk.tx.want.contains(Want::RTX_HEAD)
        && !matches!(sk.warm.recovery.state, CaState::Cwr | CaState::Recovery)
}

/// In which state it was sent again. The timer's own retransmission is neither (Linux `tcp_xmit_retransmit_queue`
/// against `tcp_retransmit_timer`).
fn count(sk: &TcpSock, ctx: &mut Ctx, forced: bool) {
    match sk.warm.recovery.state {
        CaState::Loss if !forced => ctx.mib.inc(Counter::TcpExtTCPSlowStartRetrans),
        CaState::Recovery => ctx.mib.inc(Counter::TcpExtTCPFastRetrans),
        _ => {}
    }
}

/// What became of one record.
#[derive(PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    DeviceFull,
    /// The peer shrank its window.
    OutOfWindow,
}

/// Why a record is sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copy {
    /// It is taken for lost.
    Repair,
    /// As a tail loss probe.
    Probe,
}

/// Sends one record again, cut to the MSS of now.
pub(crate) fn one(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
    index: usize,
    copy: Copy,
) -> Sent {
    let Some(record) = sk.records.get(index).copied() else {
        return Sent::OutOfWindow;
    };
    // RFC 9293 SHLD-16: not beyond a shrunk window, but the head always, as a probe.
    if record.seq.at_or_after(sk.tx.wnd_end()) && record.seq != sk.tx.snd_una {
        return Sent::OutOfWindow;
    }
    if record.marks.contains(Marks::SYN) {
        if segment::emit_syn(sk, ctx, path, batch) == Turn::Full {
            return Sent::DeviceFull;
        }
        ctx.mib.inc(Counter::TcpExtTCPSynRetrans);
        account(sk, ctx, index, 0, copy);
        return Sent::Yes;
    }
    let mss = u32::from(segment::current_mss(sk));
    let data = payload(&record);
    if data > mss {
        sk.records.split(index, record.seq + mss);
    } else if ctx.sysctl.tcp_retrans_collapse {
        collapse(sk, index, mss);
    }
    let Some(record) = sk.records.get(index).copied() else {
        return Sent::OutOfWindow;
    };
    let len = payload(&record);
    let mut last = if record.marks.contains(Marks::PUSHED) {
        TcpFlags::PSH
    } else {
        TcpFlags::NONE
    };
    if record.marks.contains(Marks::FIN) {
        last |= TcpFlags::FIN;
    }
    let job = Job {
        seq: record.seq,
        len,
        flags: TcpFlags::ACK,
        last,
    };
    let (packets, _) = segment::transmit(sk, ctx, path, batch, &job);
    if packets == 0 {
        return Sent::DeviceFull;
    }
    account(sk, ctx, index, len, copy);
    Sent::Yes
}

/// A short segment takes those behind it with it, as many as fit into one (Linux `tcp_retrans_try_collapse`).
fn collapse(sk: &mut TcpSock, index: usize, mss: u32) {
    let with_sack = sk.rx.features.contains(Features::SACK);
    let edge = sk.tx.wnd_end();
    let Some(first) = sk.records.get(index) else {
        return;
    };
    let room = if edge.after(first.seq) {
        edge.bytes_since(first.seq).min(mss)
    } else {
        mss
    };
    let mut last = *first;
    let mut len = payload(&last);
    while let Some(next) = sk.records.get(index + 1).copied() {
        len += payload(&next);
        let ends = last.marks.contains(Marks::EOR) || next.marks.contains(Marks::SACKED);
        if ends || len > room || next.end.after(edge) {
            return;
        }
        sk.records.join_next(index, with_sack);
        last = next;
    }
}

/// Octets of data in a record.
fn payload(record: &TxRecord) -> u32 {
    let fin = record.marks.contains(Marks::FIN) && !mutant!("retransmission_past_fin");
    record.end.bytes_since(record.seq) - u32::from(fin)
}

fn account(sk: &mut TcpSock, ctx: &mut Ctx, index: usize, len: u32, copy: Copy) {
    sk.cold.events.total_retrans += 1;
    sk.cold.events.bytes_retrans += u64::from(len);
    ctx.mib.inc(Counter::TcpRetransSegs);
    rate::sent_again(sk, ctx, index);
    if len > 0 {
        write::event_data_sent(sk, ctx);
    }
    if copy == Copy::Probe {
        sk.records.mark_probed(index, ctx.now);
    } else {
        sk.records.mark_retransmitted(index, ctx.now);
        sk.warm.recovery.retrans_stamp.get_or_insert(ctx.now);
    }
}
