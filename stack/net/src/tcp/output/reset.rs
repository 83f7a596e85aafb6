//! RST: of a connection of ours, or in answer to a segment that belongs to none (Linux `tcp_send_active_reset`,
//! `tcp_v4_send_reset`; RFC 9293 §3.5.2).

use crate::core::{Ctx, Reply};
use crate::dst::Dst;
use crate::qdisc::Ctl;
use crate::stats::Counter;
use crate::tcp::demux::Tuple;
use crate::tcp::input::ecn;
use crate::tcp::md5;
use crate::tcp::output::{ack, segment, window};
use crate::tcp::segment::Segment;
use crate::tcp::sock::TcpSock;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{OptionsBuf, write_established};

/// Ends a connection of ours.
pub(crate) fn active(sk: &mut TcpSock, ctx: &mut Ctx) {
    ctx.refresh_dst(sk);
    let options = segment::established_options(sk, ctx);
    let window = window::select(sk, ctx);
    let ip = segment::ip_fields(sk, ctx);
    ctx.mib.inc(Counter::TcpOutRsts);
    let mut ctl = Ctl {
        tuple: sk.rx.tuple,
        seq: if mutant!("abort_at_una") {
            sk.tx.snd_una
        } else {
            ack::acceptable_seq(sk)
        },
        ack: sk.rx.rcv_nxt,
        flags: TcpFlags::RST | TcpFlags::ACK | ecn::echo(sk),
        window,
        urgent: 0,
        options,
        dst: sk.warm.dst,
        tos: ip.tos,
        ttl: ip.ttl,
        id: ip.id,
    };
    md5::sign_own(sk, &mut ctl);
    ctx.push_ctl(ctl);
    sk.warm.counts.sent(1, 0);
}

/// The RST for a segment: with its ACK as our number if it has one, else acknowledging all of it.
pub(crate) fn reply_to(seg: &Segment) -> Reply {
    let (seq, ack, flags) = if seg.has(TcpFlags::ACK) && !mutant!("reset_of_no_number") {
        (seg.ack, None, TcpFlags::RST)
    } else {
        (
            SeqNum::new(0),
            Some(seg.end_seq()),
            TcpFlags::RST | TcpFlags::ACK,
        )
    };
    Reply {
        seq,
        ack,
        flags,
        window: 0,
        options: write_established(None, &[]),
        tos: 0,
    }
}

/// A packet of no socket.
pub(crate) fn from_reply(tuple: Tuple, reply: &Reply, dst: Dst, ttl: u8) -> Ctl {
    Ctl {
        tuple,
        seq: reply.seq,
        ack: reply.ack.unwrap_or(SeqNum::new(0)),
        flags: reply.flags,
        window: reply.window,
        urgent: 0,
        options: OptionsBuf::clone(&reply.options),
        dst,
        tos: reply.tos,
        ttl,
        id: None,
    }
}
