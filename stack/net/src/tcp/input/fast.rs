//! Header prediction (Linux `tcp_rcv_established`, first half; Van Jacobson): in-order data or a pure ACK on an
//! established connection, with nothing unusual. Takes a train wholly, or declines before its first write.

use crate::core::Ctx;
use crate::stats::Counter;
use crate::tcp::input::{ack, acking, data};
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::state::TcpState;
use crate::tcp::timer;
use millrace_wire::tcp::TcpFlags;

/// Whether the fast path was it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Fast {
    /// Done.
    Taken,
    /// Nothing was touched; the slow path decides.
    Declined,
}

/// Tries the fast path on a segment or train.
#[inline]
pub(crate) fn try_fast(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    payload: &Payload<'_, '_>,
) -> Fast {
    if !predicted(sk, seg) {
        return Fast::Declined;
    }
    if seg.len == 0 {
        pure_ack(sk, ctx, seg)
    } else {
        in_order(sk, ctx, seg, payload)
    }
}

/// The segment is what was foreseen: all that a look at its header can tell.
#[inline]
fn predicted(sk: &TcpSock, seg: &Segment) -> bool {
    let rx = &sk.rx;
    rx.predict
        && rx.state == TcpState::Established
        && seg.flags.without(TcpFlags::PSH) == TcpFlags::ACK
        && seg.window == rx.pred_window
        && seg.simple
        && seg.seq == rx.rcv_nxt
        && seg.ack.at_or_before(sk.tx.snd_nxt)
        && seg.ack.at_or_after(sk.tx.snd_una)
        && seg.ts.is_some() == rx.features.contains(Features::TIMESTAMPS)
        && seg
            .ts
            .is_none_or(|ts| ts.val.wrapping_sub(rx.ts_recent) as i32 >= 0)
}

/// What header prediction does that the slow path would not, for the comparison of the two: predicted data that
/// acknowledges nothing moves `SND.WL1`, be it back (Linux `tcp_rcv_established`; `window/prediction.pkt`).
#[cfg(test)]
pub(crate) fn move_window_mark(sk: &mut TcpSock, seg: &Segment) {
    if predicted(sk, seg)
        && seg.len > 0
        && seg.len <= sk.rx.receive_window()
        && seg.ack == sk.tx.snd_una
        && !sk.rx.features.contains(Features::RCV_SHUTDOWN)
    {
        sk.tx.snd_wl1 = seg.seq;
    }
}

fn pure_ack(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Fast {
    // A duplicate says something; the slow path listens.
    if seg.ack == sk.tx.snd_una {
        return Fast::Declined;
    }
    store_timestamp(sk, ctx, seg);
    ack::process_fast(sk, ctx, seg);
    ctx.mib.inc(Counter::TcpExtTCPHPAcks);
    Fast::Taken
}

fn in_order(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment, payload: &Payload<'_, '_>) -> Fast {
    if sk.rx.features.contains(Features::RCV_SHUTDOWN)
        || seg.len > sk.rx.receive_window()
        || data::reserve(sk, ctx, seg.len) == data::Memory::None
    {
        return Fast::Declined;
    }
    store_timestamp(sk, ctx, seg);
    ctx.mib.add(Counter::TcpExtTCPHPHits, u64::from(seg.segs));
    data::append(sk, ctx, payload, 0, seg.len);
    acking::event_data_recv(sk, ctx, seg);
    if seg.ack != sk.tx.snd_una {
        ack::process_fast(sk, ctx, seg);
    } else {
        // A bulk receiver's window updates must not look old one day.
        sk.tx.snd_wl1 = seg.seq;
        timer::heard(sk, ctx);
    }
    acking::ack_snd_check(sk, ctx);
    Fast::Taken
}

/// The segment is in order, so its timestamp counts (RFC 7323 §4.3).
fn store_timestamp(sk: &mut TcpSock, ctx: &Ctx, seg: &Segment) {
    if let Some(ts) = seg.ts
        && sk.rx.rcv_nxt == sk.rx.rcv_wup
    {
        sk.rx.ts_recent = ts.val;
        sk.rx.ts_recent_stamp = ctx.seconds();
    }
}

/// Header prediction works while all is regular (Linux `tcp_fast_path_check`).
pub(crate) fn check(sk: &mut TcpSock) {
    let wscale = sk.rx.snd_wscale;
    // What a SYN-ACK offers is not scaled: a smaller window that is would look the same (Linux `tcp_finish_connect`).
    let exact = sk.tx.snd_wnd.is_multiple_of(1 << wscale) || mutant!("synack_window_predicted");
    let on = (sk.warm.ofo.is_empty() || mutant!("fast_path_over_hole"))
        && exact
        && sk.rx.rcv_wnd > 0
        && sk.rx.state == TcpState::Established
        && !sk.rx.features.intersects(Features::URGENT | Features::MD5);
    sk.rx.predict = on;
    sk.rx.pred_window = (sk.tx.snd_wnd >> wscale).min(u32::from(u16::MAX)) as u16;
}
