//! New data (Linux `tcp_write_xmit`): as much as congestion window, peer's window, Nagle and the device allow, in
//! super-segments.

use crate::core::Ctx;
use crate::sock::space;
use crate::stats::Counter;
use crate::tcp::chrono::{self, Kind};
use crate::tcp::cong;
use crate::tcp::output::Turn;
use crate::tcp::output::eor;
use crate::tcp::output::nagle::{self, Partial};
use crate::tcp::output::segment::{self, Job, Path};
use crate::tcp::recovery::records::{Marks, TxRecord};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Nonagle;
use crate::tcp::timer;
use millrace_wire::frame::TxBatch;
use millrace_wire::tcp::TcpFlags;

/// Most segments of one flow before the next flow has its turn: 64 KiB of full ones, as a GSO packet.
pub(crate) const MAX_BURST: u32 = 44;

/// What one look at the queue allows.
#[derive(PartialEq, Eq, Debug)]
struct Allowed {
    /// Octets.
    len: u32,
    fin: bool,
    /// They end a record (MSG_EOR) that is to be pushed.
    ends_record: bool,
    /// They end a record.
    eor: bool,
}

/// What went out of it.
struct Sent {
    packets: u32,
    octets: u32,
    /// At which the packets were cut.
    mss: u32,
    fin: bool,
}

/// Sends new data until something forbids more, or the flow's share is used up.
pub(crate) fn xmit(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    if sk.records.is_empty() {
        cong::restart_after_idle(sk, ctx);
    }
    let mut share = MAX_BURST;
    let (mut cwnd_limited, mut window_limited) = (false, false);
    let turn = loop {
        if !sk.has_unsent() {
            break Turn::Done;
        }
        let room = batch.room() as u32;
        if room == 0 {
            break Turn::Full;
        }
        if share == 0 {
            break Turn::More;
        }
        let quota = sk.tx.snd_cwnd.saturating_sub(sk.in_flight());
        if quota == 0 {
            cwnd_limited = true;
            break Turn::Done;
        }
        // A train takes half of the window at most (Linux `tcp_cwnd_test`).
        let train = (sk.tx.snd_cwnd >> 1).max(1);
        let segs = quota.min(train).min(room).min(share);
        let Some(allowed) = short(sk, segs).or_else(|| look(sk, segs)) else {
            window_limited = is_window_shut(sk);
            break Turn::Done;
        };
        let sent = send(sk, ctx, path, batch, &allowed);
        if sent == 0 {
            break Turn::Full;
        }
        share = share.saturating_sub(sent);
    };
    if window_limited {
        sk.warm.chrono.start(ctx.now, Kind::Window);
    } else {
        sk.warm.chrono.stop(ctx.now, Kind::Window);
    }
    validate_cwnd(sk, cwnd_limited);
    if sk.warm.no_space && !cong::is_cwnd_limited(sk) {
        chrono::check_buffer(sk, ctx.now);
    }
    space::check(sk, ctx);
    if sk.records.is_empty()
        && sk.has_unsent()
        && turn == Turn::Done
        && sk.warm.timers.rtx.is_none()
        && !mutant!("closed_window_not_probed")
    {
        timer::arm_probe0(sk, ctx);
    }
    turn
}

/// The usual case of [`look`], a short answer: less than a segment is queued, nothing in the network, and nothing holds
/// it back.
#[inline]
fn short(sk: &mut TcpSock, segs: u32) -> Option<Allowed> {
    const UNUSUAL: Nonagle = Nonagle::CORK
        .union(Nonagle::MORE)
        .union(Nonagle::EOR)
        .union(Nonagle::URGENT);
    let tx = &sk.tx;
    if !sk.records.is_empty() || tx.fin_queued || tx.nonagle.intersects(UNUSUAL) {
        return None;
    }
    let len = tx.write_seq.bytes_since(tx.snd_nxt);
    if len >= u32::from(segment::current_mss(sk)) || (tx.snd_nxt + len).after(tx.wnd_end()) {
        return None;
    }
    let allowed = Some(Allowed {
        len,
        fin: false,
        ends_record: false,
        eor: false,
    });
    debug_assert_eq!(allowed, look(sk, segs));
    allowed
}

/// The next segment does not fit into the peer's window (Linux `tcp_snd_wnd_test`).
fn is_window_shut(sk: &TcpSock) -> bool {
    let unsent = sk.end_of_queue().bytes_since(sk.tx.snd_nxt);
    let next = unsent.min(u32::from(segment::current_mss(sk)));
    (sk.tx.snd_nxt + next).after(sk.tx.wnd_end())
}

/// How much may go out as one super-segment of at most `segs` packets.
fn look(sk: &mut TcpSock, segs: u32) -> Option<Allowed> {
    // Every segment has an urgent pointer of its own.
    let segs = if sk.tx.nonagle.contains(Nonagle::URGENT) {
        segs.min(1)
    } else {
        segs
    };
    let mss = u32::from(segment::current_mss(sk));
    let record = if eor::any(sk) {
        eor::end_of_record(sk, sk.tx.snd_nxt)
    } else {
        None
    };
    let tx = &sk.tx;
    let end = record.map_or(tx.write_seq, |mark| mark.end);
    let in_the_middle = end.before(tx.write_seq);
    let unsent = if tx.snd_nxt.before(end) {
        end.bytes_since(tx.snd_nxt)
    } else {
        0
    };
    let window = if tx.wnd_end().after(tx.snd_nxt) {
        tx.wnd_end().bytes_since(tx.snd_nxt)
    } else {
        0
    };
    let full = (unsent.min(window) / mss).min(segs);
    let mut len = full * mss;
    let rest = unsent - len;
    // Sender's silly-window avoidance: a partial segment only at the end of the queue, and only if it fits.
    if rest > 0
        && rest < mss
        && full < segs
        && unsent <= window
        // What nothing can be added to does not wait for more.
        && (in_the_middle || nagle::test(sk) == Partial::Go)
    {
        len = unsent;
    }
    // A FIN needs room in the window, except behind more than one segment (Linux `tcp_snd_wnd_test` looks at the first only).
    let room = len < window || len > mss;
    let fin = tx.fin_queued && len == unsent && !in_the_middle && room;
    (len > 0 || fin).then_some(Allowed {
        len,
        fin,
        ends_record: record.is_some_and(|mark| mark.push) && len == unsent,
        eor: record.is_some() && len == unsent,
    })
}

fn send(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
    allowed: &Allowed,
) -> u32 {
    let seq = sk.tx.snd_nxt;
    let mss = u32::from(segment::current_mss(sk));
    let ends_queue = seq + allowed.len == sk.tx.write_seq
        && !sk.tx.nonagle.contains(Nonagle::UNPUSHED)
        || allowed.ends_record;
    // PSH on the last octet queued, and at least every half window (Linux `forced_push`).
    let push = allowed.len > 0
        && (ends_queue || (seq + allowed.len).after(sk.tx.pushed_seq + (sk.tx.max_window >> 1)));
    // And on every train, so that a receiver hands on at once what it has put together of it (Linux `tcp_transmit_skb`).
    let train = allowed.len > mss;
    let mut last = if push || train {
        TcpFlags::PSH
    } else {
        TcpFlags::NONE
    };
    if allowed.fin {
        last |= TcpFlags::FIN;
    }
    let job = Job {
        seq,
        len: allowed.len,
        flags: TcpFlags::ACK,
        last,
    };
    let (packets, octets) = segment::transmit(sk, ctx, path, batch, &job);
    if packets == 0 {
        return 0;
    }
    let whole = octets == allowed.len;
    let fin = allowed.fin && whole;
    let mut marks = Marks::default();
    if push && whole {
        sk.tx.pushed_seq = seq + octets;
        marks = Marks::PUSHED;
    }
    if allowed.eor && whole {
        marks |= Marks::EOR;
    }
    let sent = Sent {
        packets,
        octets,
        mss,
        fin,
    };
    note_sent(sk, ctx, &sent, marks);
    packets
}

/// Records of what went out, one per packet; `last` marks the last one.
fn note_sent(sk: &mut TcpSock, ctx: &mut Ctx, sent: &Sent, last: Marks) {
    let Sent {
        packets,
        octets,
        mss,
        fin,
    } = *sent;
    let mut at = sk.tx.snd_nxt;
    let end = at + octets;
    let first_in_flight = sk.records.is_empty();
    let delivered = sk.warm.counts.delivered;
    let (snapshot, limited) = sk.warm.rate.on_sent(ctx.now, first_in_flight, delivered);
    while at.before(end) {
        let next = (at + mss).min(end);
        sk.records.push(TxRecord {
            seq: at,
            end: next,
            sent_at: ctx.now,
            snapshot,
            marks: if next == end { last | limited } else { limited },
        });
        if next.bytes_since(at) < mss {
            sk.tx.snd_sml = next;
        }
        at = next;
    }
    if fin {
        sk.records
            .append_fin(at, ctx.now, octets > 0, (snapshot, limited));
        at += 1;
    }
    sk.tx.snd_nxt = at;
    // A lone FIN answers nothing: it leaves the connection as quick to acknowledge as it was.
    if octets > 0 {
        event_data_sent(sk, ctx);
    }
    ctx.mib
        .add(Counter::TcpExtTCPOrigDataSent, u64::from(packets));
    if first_in_flight {
        sk.warm.timers.rtx = None;
    }
    if timer::schedule_loss_probe(sk, ctx, timer::Why::DataSent) == timer::Scheduled::No {
        timer::on_data_sent(sk, ctx);
    }
}

/// Data soon after data came: the application answers (Linux `tcp_event_data_sent`).
pub(crate) fn event_data_sent(sk: &mut TcpSock, ctx: &Ctx) {
    let now = ctx.now.as_millis() as u32;
    sk.tx.lsndtime = now;
    if sk.rx.ato > 0 && now.wrapping_sub(sk.rx.lrcvtime) < u32::from(sk.rx.ato) {
        sk.rx.pingpong = 1;
    }
}

/// Linux `tcp_cwnd_validate`: was the window what limited this round?
fn validate_cwnd(sk: &mut TcpSock, limited: bool) {
    let out = sk.records.len();
    let limited = limited || sk.in_flight() >= sk.tx.snd_cwnd;
    let round_over = sk.tx.snd_una.at_or_after(sk.warm.cwnd_usage_seq);
    if round_over || limited || !sk.tx.cwnd_limited && out > sk.tx.max_packets_out {
        sk.tx.cwnd_limited = limited;
        sk.tx.max_packets_out = out;
        sk.warm.cwnd_usage_seq = sk.tx.snd_nxt;
    }
}
