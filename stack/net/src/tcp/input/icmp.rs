//! ICMP errors about a connection (Linux `tcp_v4_err`; RFC 5927): believed only for data in flight, soft once the
//! connection is established.

use crate::core::Ctx;
use crate::sock::error::SockError;
use crate::stats::Counter;
use crate::tcp::conn::close;
use crate::tcp::fastopen::server;
use crate::tcp::output;
use crate::tcp::recovery::machine;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::state::{StateSet, TcpState};
use millrace_wire::seq::SeqNum;

/// An error that quotes a segment of ours.
pub(crate) fn error(sk: &mut TcpSock, ctx: &mut Ctx, seq: SeqNum, error: SockError) {
    if !seq.within(sk.tx.snd_una, sk.tx.snd_nxt) {
        ctx.mib.inc(Counter::TcpExtOutOfWindowIcmps);
        return;
    }
    local_error(sk, ctx, error);
}

/// An error of our own making: the neighbour does not answer.
pub(crate) fn local_error(sk: &mut TcpSock, ctx: &mut Ctx, error: SockError) {
    let opening = StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]);
    // A Fast Open child that was accepted counts as connected.
    let accepted = sk.cold.parent.is_none() && server::is_pending(sk);
    if sk.rx.state.is_in(opening) && !accepted {
        close::fail(sk, ctx, error);
    } else {
        sk.cold.soft_err = Some(error);
        sk.rx.features.insert(Features::SOFT_ERROR);
    }
}

/// Fragmentation needed: smaller segments from now on, and what was too large goes out again.
pub(crate) fn mtu_reduced(sk: &mut TcpSock, ctx: &mut Ctx, seq: SeqNum) {
    if !seq.within(sk.tx.snd_una, sk.tx.snd_nxt) {
        ctx.mib.inc(Counter::TcpExtOutOfWindowIcmps);
        return;
    }
    let before = sk.tx.mss_cache;
    sk.warm.dst.generation = 0;
    if !sk.cold.opts.mtu_discover.resends_at_once() {
        return;
    }
    output::sync_mss(sk, ctx);
    if sk.tx.mss_cache >= before {
        return;
    }
    // Linux `tcp_simple_retransmit`: no congestion, so the window stays.
    let mss = u32::from(sk.tx.mss_cache);
    let mut any = false;
    for index in 0..sk.records.len() as usize {
        let too_long = sk
            .records
            .get(index)
            .is_some_and(|r| r.end.bytes_since(r.seq) > mss);
        any |= too_long && sk.records.mark_lost(index);
    }
    if any {
        if !sk.rx.features.contains(Features::SACK) {
            // The duplicates so far told of nothing new.
            let _ = sk.records.limit_duplicates();
        }
        machine::lost_without_congestion(sk);
    }
}
