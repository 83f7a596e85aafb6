//! The states of a connection and the moves between them (RFC 9293 §3.3.2). `set_state` is the only writer.

use crate::core::Ctx;
use crate::stats::Counter;
use crate::tcp::sock::TcpSock;
use crate::tcp::trace::StateChange;
use core::net::SocketAddrV4;

/// TCP states with the kernel's numbers (`include/net/tcp_states.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl TcpState {
    /// The name that `ss` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTAB",
            Self::SynSent => "SYN-SENT",
            Self::SynRecv => "SYN-RECV",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::TimeWait => "TIME-WAIT",
            Self::Close => "UNCONN",
            Self::CloseWait => "CLOSE-WAIT",
            Self::LastAck => "LAST-ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
        }
    }

    /// All states, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    /// The state's bit in a mask, as in the kernel's `TCPF_…`.
    pub const fn bit(self) -> u16 {
        1 << self as u8
    }

    /// Any of the states of a set.
    pub(crate) const fn is_in(self, set: StateSet) -> bool {
        self.bit() & set.0 != 0
    }
}

/// A set of states.
#[derive(Clone, Copy)]
pub(crate) struct StateSet(u16);

impl StateSet {
    pub(crate) const fn of(states: &[TcpState]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < states.len() {
            bits |= states[i].bit();
            i += 1;
        }
        Self(bits)
    }
}

use TcpState::*;

/// States in which the peer may still send us new data.
pub(crate) const CAN_RECEIVE: StateSet = StateSet::of(&[Established, FinWait1, FinWait2]);
/// States in which queued data goes out.
pub(crate) const CAN_SEND: StateSet =
    StateSet::of(&[Established, CloseWait, FinWait1, Closing, LastAck]);
/// States in which an application may queue data.
pub(crate) const CAN_QUEUE: StateSet = StateSet::of(&[Established, CloseWait]);
/// States that both sides have synchronised (RFC 9293 §3.3.2).
pub(crate) const SYNCHRONIZED: StateSet =
    StateSet::of(&[Established, FinWait1, FinWait2, CloseWait, Closing, LastAck]);

/// Legal moves. Every state may also go to CLOSE (reset, abort, time-out).
fn legal(from: TcpState, to: TcpState) -> bool {
    let next: &[TcpState] = match from {
        Close => &[SynSent, Listen, SynRecv, Established],
        SynSent => &[SynRecv, Established],
        SynRecv => &[Established, FinWait1],
        Established => &[FinWait1, CloseWait],
        FinWait1 => &[FinWait2, Closing, TimeWait],
        FinWait2 | Closing => &[TimeWait],
        CloseWait => &[LastAck],
        LastAck | TimeWait | Listen => &[],
    };
    to == Close || next.contains(&to)
}

/// Changes the state of a socket and keeps the gauges that depend on it (Linux `tcp_set_state`).
pub(crate) fn set_state(sk: &mut TcpSock, ctx: &mut Ctx, to: TcpState) {
    let from = sk.rx.state;
    debug_assert!(legal(from, to), "{from:?} -> {to:?}");
    let counted = StateSet::of(&[Established, CloseWait]);
    match (from.is_in(counted), to.is_in(counted)) {
        (false, true) => ctx.mib.inc(Counter::TcpCurrEstab),
        (true, false) => ctx.mib.dec(Counter::TcpCurrEstab),
        _ => {}
    }
    if to == Close && from.is_in(counted) {
        ctx.mib.inc(Counter::TcpEstabResets);
    }
    if let Some(trace) = &mut ctx.trace {
        let t = &sk.rx.tuple;
        trace.push(StateChange {
            at: ctx.now,
            local: SocketAddrV4::new(t.local, t.lport),
            remote: SocketAddrV4::new(t.remote, t.rport),
            old: from,
            new: to,
        });
    }
    sk.rx.state = to;
}
