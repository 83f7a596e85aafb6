//! One connection of the peer.

use std::net::SocketAddrV4;
use std::time::Duration;

use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpOptions;
use millrace_wire::time::Instant;

use super::super::dice::Dice;
use super::super::packet::Packet;
use super::super::pattern::Pattern;
use super::Habits;
use crate::model::{Place, Ranges};

/// Who begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// It calls, at this time.
    Calls(Instant),
    /// It is called.
    Waits,
}

/// How its end stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Outcome {
    /// Everything was sent, acknowledged, and received, the ends included.
    Complete,
    /// It had received everything, and was reset: its last ACK was lost, or the node's was.
    Closed,
    /// It is gone: reset by one of both.
    Reset,
    /// It goes on; octets acknowledged and received.
    Open(i64, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// Its SYN is out.
    Opening,
    /// Both SYNs have come and the own one is acknowledged.
    Open,
    Gone,
}

/// First and longest time before something is sent again.
pub(super) const RTO: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(3));

/// How often it does what keeps a connection from its end.
const MISCHIEF: u32 = 8;

/// See the module. Places count from the SYN, which is 0.
#[derive(Debug)]
pub(super) struct Line {
    pub habits: Habits,
    pub dice: Dice,
    role: Role,
    node: usize,
    pub writes: Pattern,
    pub reads: Pattern,
    /// Octets that it writes.
    pub total: i64,
    flow: Option<(SocketAddrV4, SocketAddrV4)>,
    pub phase: Phase,
    pub iss: SeqNum,
    pub irs: Option<SeqNum>,
    /// What the node's SYN offered.
    pub theirs: TcpOptions,
    pub una: Place,
    pub nxt: Place,
    /// The right edge of the node's window.
    pub edge: Place,
    pub got: Ranges,
    /// The place behind the node's FIN.
    pub end: Option<Place>,
    pub recent: u32,
    /// The highest ACK that it has sent.
    pub acked: Place,
    pub unacked: u64,
    pub ack_now: u32,
    pub ack_due: Option<Instant>,
    pub again_at: Option<Instant>,
    pub rto: Duration,
    pub closed_until: Option<Instant>,
    mischief: u32,
    pub packets: Vec<Packet>,
}

impl Line {
    pub(super) fn new(
        habits: Habits,
        mut dice: Dice,
        role: Role,
        node: usize,
        (writes, reads): (Pattern, Pattern),
        total: i64,
    ) -> Self {
        let iss = SeqNum::new(dice.range(0..=u64::from(u32::MAX)) as u32);
        Self {
            habits,
            dice,
            role,
            node,
            writes,
            reads,
            total,
            flow: None,
            phase: Phase::Idle,
            iss,
            irs: None,
            theirs: TcpOptions::default(),
            una: 0,
            nxt: 0,
            edge: 0,
            got: Ranges::default(),
            end: None,
            recent: 0,
            acked: 0,
            unacked: 0,
            ack_now: 0,
            ack_due: None,
            again_at: None,
            rto: RTO.0,
            closed_until: None,
            mischief: MISCHIEF,
            packets: Vec::new(),
        }
    }

    /// The addresses of a call, the own one first; `None` while there is none.
    pub(super) fn flow(&self) -> Option<(SocketAddrV4, SocketAddrV4)> {
        self.flow
    }

    pub(super) fn node(&self) -> usize {
        self.node
    }

    /// Whether it has these addresses, the own one first.
    pub(super) fn is(&self, flow: (SocketAddrV4, SocketAddrV4)) -> bool {
        self.flow == Some(flow)
    }

    /// The node has called, perhaps again from another port.
    pub(super) fn called(&mut self, (from, to): (SocketAddrV4, SocketAddrV4)) {
        if self.flow != Some((to, from)) {
            let dice = self.dice.clone();
            let patterns = (self.writes, self.reads);
            *self = Self::new(
                self.habits.clone(),
                dice,
                self.role,
                self.node,
                patterns,
                self.total,
            );
            self.flow = Some((to, from));
        }
    }

    /// The node to call, when it is time.
    pub(super) fn calls_now(&self, now: Instant) -> Option<usize> {
        let due = matches!(self.role, Role::Calls(at) if at <= now);
        (due && self.flow.is_none()).then_some(self.node)
    }

    pub(super) fn call(&mut self, flow: (SocketAddrV4, SocketAddrV4)) {
        self.flow = Some(flow);
        self.phase = Phase::Opening;
        self.say_syn(false);
    }

    pub(super) fn take_packets(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.packets)
    }

    /// Something that must not happen for ever.
    pub(super) fn mischief(&mut self, ppm: u32) -> bool {
        let does = self.mischief > 0 && self.dice.chance(ppm);
        self.mischief -= u32::from(does);
        does
    }

    /// The place behind its FIN.
    pub(super) fn last(&self) -> Place {
        self.total + 2
    }

    /// What it expects next.
    pub(super) fn next(&self) -> Place {
        self.got.next_missing(1)
    }

    pub(super) fn outcome(&self) -> Outcome {
        let received = self.next();
        if self.end == Some(received) && self.una == self.last() {
            Outcome::Complete
        } else if self.end == Some(received) && self.phase == Phase::Gone {
            Outcome::Closed
        } else if self.phase == Phase::Gone {
            Outcome::Reset
        } else {
            Outcome::Open(self.una - 1, received - 1)
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let calls = match self.role {
            Role::Calls(at) if self.flow.is_none() => Some(at),
            _ => None,
        };
        let timers = [calls, self.ack_due, self.again_at, self.closed_until];
        timers.into_iter().flatten().min()
    }
}
