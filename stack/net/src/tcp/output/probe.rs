//! Probes: of the tail (RFC 8985 §7), of a closed window, of an idle peer (Linux `tcp_send_loss_probe`,
//! `tcp_write_wakeup`, `tcp_xmit_probe_skb`).

use crate::core::Ctx;
use crate::stats::Counter;
use crate::tcp::output::segment::{self, Job, Path};
use crate::tcp::output::{Turn, rtx, urg};
use crate::tcp::recovery::records::{Marks, TxRecord};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Want;
use millrace_wire::frame::TxBatch;
use millrace_wire::tcp::TcpFlags;

/// When a segment outside of the ordinary flow carries PSH.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Push {
    /// Its last octet is the last one queued.
    AtEnd,
    /// A window probe: the reader is to make room.
    Always,
}

/// One segment to learn whether the tail was lost: new data if there is room, else the last segment again.
pub(crate) fn tail_loss(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    if sk.records.is_empty() {
        // Acknowledged between the timer and the flow's turn.
        sk.tx.want.remove(Want::TLP);
        return Turn::Done;
    }
    sk.warm.recovery.tlp_retrans = false;
    let mss = u32::from(segment::current_mss(sk));
    let unsent = if sk.has_unsent() {
        sk.tx.write_seq.bytes_since(sk.tx.snd_nxt)
    } else {
        0
    };
    let window = if sk.tx.wnd_end().after(sk.tx.snd_nxt) {
        sk.tx.wnd_end().bytes_since(sk.tx.snd_nxt)
    } else {
        0
    };
    let len = unsent.min(mss);
    if len > 0 && len <= window && sk.tx.write_seq.at_or_after(sk.tx.snd_nxt) {
        if send_new(sk, ctx, path, batch, len, Push::AtEnd) == Turn::Full {
            return Turn::Full;
        }
    } else if let Some(last) = (sk.records.len() as usize).checked_sub(1) {
        match rtx::one(sk, ctx, path, batch, last, rtx::Copy::Probe) {
            rtx::Sent::DeviceFull => return Turn::Full,
            rtx::Sent::Yes => sk.warm.recovery.tlp_retrans = true,
            rtx::Sent::OutOfWindow => {}
        }
    }
    sk.warm.recovery.tlp_high_seq = Some(sk.tx.snd_nxt);
    if mutant!("loss_probe_repeats") {
        return Turn::Done;
    }
    sk.tx.want.remove(Want::TLP);
    Turn::Done
}

/// New data outside the congestion window's count; it gets a record like any.
fn send_new(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
    len: u32,
    push: Push,
) -> Turn {
    let seq = sk.tx.snd_nxt;
    let (last, marks) = if push == Push::Always || seq + len == sk.tx.write_seq {
        (TcpFlags::PSH, Marks::PUSHED)
    } else {
        (TcpFlags::NONE, Marks::default())
    };
    let job = Job {
        seq,
        len,
        flags: TcpFlags::ACK,
        last,
    };
    let (packets, octets) = segment::transmit(sk, ctx, path, batch, &job);
    if packets == 0 {
        return Turn::Full;
    }
    let (idle, delivered) = (sk.records.is_empty(), sk.warm.counts.delivered);
    let (snapshot, limited) = sk.warm.rate.on_sent(ctx.now, idle, delivered);
    sk.records.push(TxRecord {
        seq,
        end: seq + octets,
        sent_at: ctx.now,
        snapshot,
        marks: marks | limited,
    });
    sk.tx.snd_nxt = seq + octets;
    ctx.mib.inc(Counter::TcpExtTCPOrigDataSent);
    Turn::Done
}

/// The window-probe timer: what fits into the window goes, else an empty probe (Linux `tcp_write_wakeup`).
pub(crate) fn wakeup(sk: &mut TcpSock, ctx: &mut Ctx) {
    if sk.tx.wnd_end().after(sk.tx.snd_nxt) {
        sk.tx.want.insert(Want::WAKEUP);
    } else {
        ctx.mib.inc(Counter::TcpExtTCPWinProbe);
        sk.tx.want.insert(Want::PROBE);
    }
}

/// Less than a segment fits, and nothing is in the network: send that much.
pub(crate) fn send_wakeup(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    sk.tx.want.remove(Want::WAKEUP);
    if !sk.has_unsent() || !sk.tx.wnd_end().after(sk.tx.snd_nxt) {
        return Turn::Done;
    }
    let window = sk.tx.wnd_end().bytes_since(sk.tx.snd_nxt);
    let unsent = sk.tx.write_seq.bytes_since(sk.tx.snd_nxt);
    let len = unsent.min(window).min(u32::from(segment::current_mss(sk)));
    if len == 0 || sk.tx.snd_nxt.after(sk.tx.write_seq) {
        return Turn::Done;
    }
    let turn = send_new(sk, ctx, path, batch, len, Push::Always);
    if turn == Turn::Full {
        sk.tx.want.insert(Want::WAKEUP);
    } else {
        crate::tcp::timer::rearm_rto(sk, ctx);
    }
    turn
}

/// An octet that the peer has already acknowledged: it must answer with an ACK (RFC 9293 SHLD-12: without data).
pub(crate) fn send(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    let mut job = Job {
        seq: sk.tx.snd_una,
        len: 0,
        flags: TcpFlags::ACK,
        last: TcpFlags::NONE,
    };
    if urg::wants_probe(sk) && segment::transmit(sk, ctx, path, batch, &job).0 == 0 {
        return Turn::Full;
    }
    job.seq = sk.tx.snd_una - 1;
    if segment::transmit(sk, ctx, path, batch, &job).0 == 0 {
        return Turn::Full;
    }
    sk.tx.want.remove(Want::PROBE);
    Turn::Done
}
