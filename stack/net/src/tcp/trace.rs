//! A record of state changes, off unless asked for (Linux tracepoint `sock:inet_sock_set_state`).

use crate::core::Stack;
use crate::tcp::state::TcpState;
use core::net::SocketAddrV4;
use millrace_wire::time::Instant;
use std::collections::VecDeque;

/// One move of a full socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateChange {
    /// When.
    pub at: Instant,
    /// Our side; port 0 before there is one.
    pub local: SocketAddrV4,
    /// The peer.
    pub remote: SocketAddrV4,
    /// The state before.
    pub old: TcpState,
    /// The state after.
    pub new: TcpState,
}

/// The latest changes, at most as many as asked for; the oldest give way, and are counted.
#[derive(Default)]
pub(crate) struct StateTrace {
    changes: VecDeque<StateChange>,
    capacity: usize,
    lost: u64,
}

impl StateTrace {
    pub(crate) fn push(&mut self, change: StateChange) {
        if self.changes.len() >= self.capacity {
            self.changes.pop_front();
            self.lost += 1;
        }
        self.changes.push_back(change);
    }
}

impl Stack {
    /// Keeps the latest `capacity` state changes from now on; 0 ends it. What was kept before is forgotten.
    pub fn trace_states(&mut self, capacity: usize) {
        self.ctx.trace = (capacity > 0).then(|| {
            Box::new(StateTrace {
                capacity,
                ..StateTrace::default()
            })
        });
    }

    /// Takes the changes kept since the last call, oldest first, and how many gave way to later ones.
    pub fn drain_state_changes(&mut self) -> (Vec<StateChange>, u64) {
        self.ctx.trace.as_mut().map_or_else(Default::default, |t| {
            (t.changes.drain(..).collect(), core::mem::take(&mut t.lost))
        })
    }
}
