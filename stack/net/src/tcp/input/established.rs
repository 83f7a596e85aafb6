//! The slow path of an established connection (Linux `tcp_rcv_established`, second half): validate, ACK, data.

use crate::core::Ctx;
use crate::drop::DropReason;
use crate::tcp::input::validate::{self, Validity};
use crate::tcp::input::{Fate, ack, acking, data, urg};
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use millrace_wire::tcp::TcpFlags;

/// One segment on an ESTABLISHED socket.
pub(crate) fn input(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    payload: &Payload<'_, '_>,
) -> Fate {
    if !seg
        .flags
        .intersects(TcpFlags::ACK | TcpFlags::RST | TcpFlags::SYN)
    {
        return Fate::Dropped(DropReason::TcpNoAck);
    }
    let options = seg.parse_options(payload);
    if let Validity::Invalid(fate) = validate::incoming(sk, ctx, seg, &options) {
        return fate;
    }
    match ack::process(sk, ctx, seg, &options) {
        ack::Verdict::Acceptable => validate::replace_ts_recent(sk, ctx, seg, &options),
        ack::Verdict::Old => {}
        ack::Verdict::Invalid(reason) => return Fate::Dropped(reason),
    }
    if seg.has(TcpFlags::URG) || sk.rx.features.contains(Features::URGENT) {
        urg::segment(sk, ctx, seg, payload);
    }
    let fate = data::queue(sk, ctx, seg, payload);
    acking::ack_snd_check(sk, ctx);
    fate
}
