//! ACKs without data (Linux `__tcp_send_ack`): merged ones, made when the device has room, and records of the
//! moment, one per segment that caused them.

use crate::core::Ctx;
use crate::qdisc::Ctl;
use crate::tcp::input::{acking, ecn};
use crate::tcp::md5;
use crate::tcp::output::segment::{self, Job, Path};
use crate::tcp::output::{Turn, urg, window};
use crate::tcp::sock::TcpSock;
use millrace_wire::frame::TxBatch;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;

/// The sequence number of a segment without data (Linux `tcp_acceptable_seq`).
pub(crate) fn acceptable_seq(sk: &TcpSock) -> SeqNum {
    let end = sk.tx.wnd_end();
    if sk.tx.snd_nxt.at_or_before(end) || sk.tx.snd_wnd == 0 {
        sk.tx.snd_nxt
    } else {
        end
    }
}

/// The ACK that is due.
pub(crate) fn send_pure(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    let job = Job {
        seq: acceptable_seq(sk),
        len: 0,
        flags: TcpFlags::ACK,
        last: TcpFlags::NONE,
    };
    match segment::transmit(sk, ctx, path, batch, &job) {
        (0, _) => Turn::Full,
        _ => Turn::Done,
    }
}

/// An ACK as of now, queued behind those before it: duplicates, SACKs and challenges must not merge.
pub(crate) fn send_record(sk: &mut TcpSock, ctx: &mut Ctx) {
    ctx.refresh_dst(sk);
    let options = segment::established_options(sk, ctx);
    let window = window::select(sk, ctx);
    let ip = segment::ip_fields(sk, ctx);
    let seq = acceptable_seq(sk);
    let (urg, urgent) = urg::pointer(sk, seq);
    let mut ctl = Ctl {
        tuple: sk.rx.tuple,
        seq,
        ack: sk.rx.rcv_nxt,
        flags: TcpFlags::ACK | ecn::echo(sk) | urg,
        window,
        urgent,
        options,
        dst: sk.warm.dst,
        tos: ip.tos,
        ttl: ip.ttl,
        id: ip.id,
    };
    md5::sign_own(sk, &mut ctl);
    ctx.push_ctl(ctl);
    sk.warm.counts.sent(1, 0);
    acking::event_ack_sent(sk);
}
