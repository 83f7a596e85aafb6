//! One neighbour, and the place it has in the order of eviction.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use super::{Neighbour, NudState};
use crate::ids::IfaceId;

/// What an entry is found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) iface: IfaceId,
    pub(super) ip: Ipv4Addr,
}

/// How readily an entry is given up; the least goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    /// Did not answer.
    Failed,
    /// Learnt from somebody's request, never used by us.
    Unused,
    /// Being resolved for us.
    Incomplete,
    /// In use.
    Used,
}

/// A place in the order of eviction: rank, last use, slot.
pub(super) type Age = (Rank, Instant, u32);

/// One neighbour.
#[derive(Debug)]
pub(super) struct Entry<F> {
    pub(super) key: Key,
    /// Meaningful in the valid states only.
    pub(super) mac: MacAddr,
    /// Written by `NeighTable::set_state` alone.
    pub(super) state: NudState,
    /// Solicitations sent in this round.
    pub(super) probes: u8,
    /// Last use by us.
    pub(super) used: Option<Instant>,
    /// Last confirmation; `None` when there was none, or for another hardware address.
    pub(super) confirmed: Option<Instant>,
    /// Last change of state or address.
    pub(super) updated: Instant,
    /// The deadline as it stands in the timers.
    pub(super) deadline: Option<Instant>,
    /// The place as it stands in the order of eviction, refreshed lazily; `None` for permanent entries.
    pub(super) age: Option<Age>,
    /// Flows that wait.
    pub(super) flows: Vec<F>,
    /// Packets that wait, oldest first.
    pub(super) packets: VecDeque<Vec<u8>>,
    /// Bytes of `packets`.
    pub(super) packet_bytes: usize,
}

impl<F> Entry<F> {
    /// A new entry without place or timer.
    pub(super) fn new(key: Key, state: NudState, now: Instant) -> Self {
        Self {
            key,
            mac: MacAddr::ZERO,
            state,
            probes: 0,
            used: None,
            confirmed: None,
            updated: now,
            deadline: None,
            age: None,
            flows: Vec::new(),
            packets: VecDeque::new(),
            packet_bytes: 0,
        }
    }

    /// The place that the entry ought to have.
    pub(super) fn true_age(&self, slot: u32) -> Option<Age> {
        let rank = match self.state {
            NudState::Permanent => return None,
            NudState::Failed => Rank::Failed,
            NudState::Incomplete => Rank::Incomplete,
            _ if self.used.is_none() => Rank::Unused,
            _ => Rank::Used,
        };
        Some((rank, self.used.unwrap_or(self.updated), slot))
    }

    /// The hardware address is known (Linux `NUD_VALID`).
    pub(super) fn known_mac(&self) -> Option<MacAddr> {
        match self.state {
            NudState::Incomplete | NudState::Failed => None,
            _ => Some(self.mac),
        }
    }

    /// The entry as dumps show it.
    pub(super) fn view(&self) -> Neighbour {
        Neighbour {
            iface: self.key.iface,
            ip: self.key.ip,
            mac: self.known_mac(),
            state: self.state,
            used: self.used,
            confirmed: self.confirmed,
            updated: self.updated,
        }
    }
}
