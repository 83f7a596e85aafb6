//! Deadlines of the table's entries, least first.
//!
//! An entry has at most one deadline. Ties are broken by slot, so the order never depends on a hash.

use std::collections::BTreeSet;

use millrace_wire::time::Instant;

/// Deadlines by (time, slot); the least is cached because every pass of the worker asks for it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Instant, u32)>,
    first: Option<(Instant, u32)>,
}

impl Timers {
    /// The least deadline.
    #[inline]
    pub(super) fn first(&self) -> Option<Instant> {
        self.first.map(|(at, _)| at)
    }

    /// Adds the deadline of `slot`, which has none.
    pub(super) fn insert(&mut self, at: Instant, slot: u32) {
        self.set.insert((at, slot));
        if self.first.is_none_or(|first| (at, slot) < first) {
            self.first = Some((at, slot));
        }
    }

    /// Removes the deadline of `slot`, which is `at`.
    pub(super) fn remove(&mut self, at: Instant, slot: u32) {
        self.set.remove(&(at, slot));
        if self.first == Some((at, slot)) {
            self.first = self.set.first().copied();
        }
    }

    /// The slot of the least deadline, if it has come. It stays in the set until it is removed.
    pub(super) fn due(&self, now: Instant) -> Option<u32> {
        self.first
            .filter(|&(at, _)| at <= now)
            .map(|(_, slot)| slot)
    }
}
