//! RST received (RFC 5961 §3; Linux `tcp_reset`).

use crate::core::Ctx;
use crate::drop::DropReason;
use crate::sock::error::SockError;
use crate::tcp::conn::close;
use crate::tcp::fastopen::server;
use crate::tcp::input::{Fate, validate};
use crate::tcp::segment::Segment;
use crate::tcp::sock::TcpSock;
use crate::tcp::state::{StateSet, TcpState};

/// A RST whose sequence number touches the window: exact, it ends the connection; else it draws a challenge.
pub(crate) fn received(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) -> Fate {
    let highest = sk.warm.ofo.highest();
    if mutant!("rst_in_window")
        || seg.seq == sk.rx.rcv_nxt
        || after_fin(sk, seg)
        || highest.is_some_and(|end| seg.seq == end)
    {
        connection(sk, ctx);
        return Fate::Taken;
    }
    validate::challenge(sk, ctx);
    Fate::Dropped(DropReason::TcpInvalidRst)
}

/// A peer that sent FIN and then RST counts its RST before the FIN (Linux `tcp_reset_check`).
pub(crate) fn after_fin(sk: &TcpSock, seg: &Segment) -> bool {
    let set = StateSet::of(&[TcpState::CloseWait, TcpState::LastAck, TcpState::Closing]);
    seg.seq + 1 == sk.rx.rcv_nxt && sk.rx.state.is_in(set)
}

/// The connection is gone: errno by state, everything queued for sending is forgotten.
pub(crate) fn connection(sk: &mut TcpSock, ctx: &mut Ctx) {
    let error = match sk.rx.state {
        TcpState::SynSent => SockError::Refused,
        TcpState::CloseWait => SockError::BrokenPipe,
        TcpState::Close => return,
        _ => SockError::Reset,
    };
    server::leave(sk, ctx, server::How::Reset);
    close::fail(sk, ctx, error);
}
