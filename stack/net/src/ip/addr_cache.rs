//! A bounded map by address: facts about single hosts that come and go with traffic.
//!
//! Full, it forgets the entry that was written longest ago. Ordered by address and time, so nothing depends on a
//! hash and no sender can slow it down by choosing addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use millrace_wire::time::Instant;

/// What [`AddrCache::insert`] had to do for its entry.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inserted {
    /// There was room, or the address was known.
    Fits,
    /// The oldest entry was forgotten.
    Evicted,
}

/// At most `capacity` values by address.
#[derive(Clone, Debug)]
pub(crate) struct AddrCache<V> {
    capacity: usize,
    entries: BTreeMap<Ipv4Addr, (Instant, V)>,
    by_age: BTreeSet<(Instant, Ipv4Addr)>,
}

impl<V> AddrCache<V> {
    /// An empty cache for at least one entry.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: BTreeMap::new(),
            by_age: BTreeSet::new(),
        }
    }

    /// The value of `addr`, and when it was written.
    pub(crate) fn get(&self, addr: Ipv4Addr) -> Option<(Instant, &V)> {
        self.entries.get(&addr).map(|(at, value)| (*at, value))
    }

    /// Writes the value of `addr`.
    pub(crate) fn insert(&mut self, now: Instant, addr: Ipv4Addr, value: V) -> Inserted {
        if let Some((old, _)) = self.entries.insert(addr, (now, value)) {
            self.by_age.remove(&(old, addr));
        }
        self.by_age.insert((now, addr));
        if self.entries.len() <= self.capacity {
            return Inserted::Fits;
        }
        if let Some((_, oldest)) = self.by_age.pop_first() {
            self.entries.remove(&oldest);
        }
        Inserted::Evicted
    }

    /// Forgets `addr`.
    pub(crate) fn remove(&mut self, addr: Ipv4Addr) {
        if let Some((at, _)) = self.entries.remove(&addr) {
            self.by_age.remove(&(at, addr));
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.by_age.clear();
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
