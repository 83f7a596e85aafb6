//! The invariants of one socket.

use super::Broken;
use crate::core::Ctx;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{AckState, Features, Want};
use crate::tcp::state::{CAN_SEND, SYNCHRONIZED, StateSet, TcpState};
use core::time::Duration;

/// States after the peer's FIN, which takes a sequence number and no place in the ring.
const AFTER_FIN: StateSet = StateSet::of(&[
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::Closing,
    TcpState::TimeWait,
]);

fn holds(condition: bool, what: &str) -> Broken {
    if condition {
        Ok(())
    } else {
        Err(what.to_owned())
    }
}

pub(super) fn audit(sk: &TcpSock, ctx: &Ctx) -> Broken {
    records(sk)?;
    send_side(sk)?;
    if sk.rx.state.is_in(SYNCHRONIZED) {
        receive_side(sk)?;
        positions(sk)?;
    }
    timers(sk, ctx)
}

/// The records of what is in the network add up (RFC 6675 §2, Linux `tcp_verify_left_out`).
fn records(sk: &TcpSock) -> Broken {
    let records = &sk.records;
    holds(
        records.is_consistent(sk.rx.features.contains(Features::SACK)),
        "record counters differ from a recount, or the records have gaps",
    )?;
    holds(
        records.sacked() + records.lost() <= records.len() && records.retrans() <= records.len(),
        "more is delivered, lost or sent again than is in the network",
    )?;
    let Some(first) = records.front() else {
        return Ok(());
    };
    holds(
        first.seq == sk.tx.snd_una,
        "the first record does not begin at snd_una",
    )?;
    let last = records.get(records.len() as usize - 1);
    holds(
        last.is_some_and(|last| last.end == sk.tx.snd_nxt),
        "the last record does not end at snd_nxt",
    )
}

fn send_side(sk: &TcpSock) -> Broken {
    let tx = &sk.tx;
    let closed = sk.rx.state == TcpState::Close;
    holds(
        tx.snd_una.at_or_before(tx.snd_nxt)
            && (closed || tx.snd_nxt.at_or_before(sk.end_of_queue())),
        "snd_una <= snd_nxt <= end of queue does not hold",
    )?;
    holds(tx.snd_cwnd >= 1, "cwnd is zero")?;
    holds(tx.snd_ssthresh >= 2, "ssthresh is less than two segments")?;
    holds(
        tx.snd_wnd <= tx.max_window,
        "the peer's window is larger than its largest",
    )?;
    if sk.rx.state.is_in(SYNCHRONIZED) {
        // A FIN goes with more than a segment of data whether or not the window has room for it (`output/write.rs`).
        let fin = u32::from(tx.snd_nxt.after(tx.write_seq));
        let out = tx.snd_nxt.bytes_since(tx.snd_una);
        holds(
            out <= tx.max_window.max(1) + fin,
            "more is in the network than the peer ever had room for",
        )?;
    }
    Ok(())
}

fn receive_side(sk: &TcpSock) -> Broken {
    holds(
        sk.warm.ofo.is_consistent(sk.rx.rcv_nxt),
        "out-of-order ranges overlap, or lie at or before rcv_nxt",
    )?;
    holds(
        sk.rx.rcv_wup.at_or_before(sk.rx.rcv_nxt),
        "more was acknowledged than received",
    )?;
    let Some(rings) = &sk.rings else {
        return Ok(());
    };
    let unread = rings.rcv_in.tail() - rings.rcv_out.head() + u64::from(sk.warm.lent);
    let most = sk.warm.rcvbuf.max(u32::from(u16::MAX));
    // A scaled window is rounded up, so that its edge creeps on when segments are small: hence twice.
    holds(
        unread <= 2 * u64::from(most),
        "more is unread than the buffer may hold",
    )?;
    holds(
        sk.rx.receive_window() <= most + (1 << sk.rx.rcv_wscale),
        "the window promises more than the buffer holds",
    )
}

/// Sequence numbers and ring positions tell the same story.
fn positions(sk: &TcpSock) -> Broken {
    let Some(rings) = &sk.rings else {
        return Ok(());
    };
    let fin = u32::from(sk.rx.state.is_in(AFTER_FIN));
    let received = sk.rx.rcv_nxt.bytes_since(sk.warm.irs + 1 + fin);
    let stored = (rings.rcv_in.tail() as u32).wrapping_add(sk.warm.lent);
    holds(received == stored, "rcv_nxt and the receive ring disagree")?;
    let first = sk.ring_seq().min(sk.tx.write_seq);
    let queued = rings.snd_in.tail() - rings.snd_out.head();
    holds(
        queued == u64::from(sk.tx.write_seq.bytes_since(first)),
        "what is queued and the send ring disagree",
    )
}

/// Whatever is owed or awaited has a timer, and the wheel knows of the nearest.
fn timers(sk: &TcpSock, ctx: &Ctx) -> Broken {
    if sk.rx.state == TcpState::Close {
        return holds(
            sk.records.is_empty() && sk.tx.want == Want::default(),
            "a closed socket has something to send",
        );
    }
    let timers = &sk.warm.timers;
    let (waits_for_device, opening) = (
        sk.tx.queued,
        sk.rx
            .state
            .is_in(StateSet::of(&[TcpState::SynSent, TcpState::SynRecv])),
    );
    holds(
        sk.records.is_empty() || timers.rtx.is_some() || waits_for_device,
        "segments are in the network and no timer runs",
    )?;
    let waits = sk.rx.state.is_in(CAN_SEND) && sk.has_unsent() && sk.records.is_empty();
    holds(
        !waits || timers.rtx.is_some() || waits_for_device,
        "data waits, nothing is in the network, and no timer runs",
    )?;
    holds(
        !sk.rx.ack.contains(AckState::SCHED)
            || timers.ack.is_some()
            || sk.tx.want.contains(Want::ACK)
            || opening,
        "an ACK is owed and nothing will send it",
    )?;
    let longest = Duration::from_millis(u64::from(ctx.sysctl.tcp_rto_max_ms)) + TICK;
    holds(
        timers.rtx.is_none_or(|(at, _)| at <= ctx.now + longest),
        "the transmission timer runs longer than the longest RTO",
    )?;
    holds(
        timers
            .next()
            .is_none_or(|at| ctx.wheel.fires_by(&sk.warm.wheel, at)),
        "a deadline that the wheel does not know",
    )
}

/// Deadlines are rounded up to the wheel's ticks.
const TICK: Duration = Duration::from_millis(1);
