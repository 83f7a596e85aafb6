//! TCP input (Linux `tcp_input.c`): a segment has found its full socket; what now? The fast path takes it whole or
//! declines; the slow path goes through RFC 9293 §3.10.7.4 step by step.

pub(crate) mod ack;
pub(crate) mod acking;
pub(crate) mod data;
pub(crate) mod ecn;
pub(crate) mod established;
pub(crate) mod fast;
pub(crate) mod fin;
pub(crate) mod icmp;
pub(crate) mod ofo;
pub(crate) mod other_states;
pub(crate) mod reset;
pub(crate) mod urg;
pub(crate) mod validate;

#[cfg(test)]
mod tests;

use crate::core::Ctx;
use crate::drop::DropReason;
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::state::TcpState;

/// What becomes of the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Fate {
    /// Used.
    Taken,
    /// Refused, for this reason.
    Dropped(DropReason),
    /// Refused; the peer gets a RST (RFC 9293 §3.10.7).
    Reset(DropReason),
}

/// A segment (never a train) on its full socket (Linux `tcp_v4_do_rcv`).
pub(crate) fn segment(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    seg: &Segment,
    payload: &Payload<'_, '_>,
) -> Fate {
    match sk.rx.state {
        TcpState::Established => established::input(sk, ctx, seg, payload),
        TcpState::SynSent => other_states::syn_sent(sk, ctx, seg, payload),
        TcpState::Close | TcpState::Listen | TcpState::TimeWait => {
            Fate::Dropped(DropReason::TcpClosed)
        }
        _ => other_states::input(sk, ctx, seg, payload),
    }
}
