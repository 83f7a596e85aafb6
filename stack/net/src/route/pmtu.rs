//! What paths told us: the largest packet to single destinations (RFC 1191; Linux route exceptions, `fnhe`).
//!
//! The caller has validated the ICMP message first (RFC 5927 §7: the quoted segment is in flight). Here a lie is
//! contained: values only go down, never below `min_pmtu`, are forgotten after `mtu_expires`, and their number is
//! bounded.

use core::time::Duration;
use std::net::Ipv4Addr;

use millrace_wire::time::Instant;

use crate::ip::{AddrCache, Inserted};

/// Destinations that are remembered.
const CAPACITY: usize = 4096;

/// `net.ipv4.route.min_pmtu`: less is not believed.
const MIN_PMTU: u16 = 552;

/// `net.ipv4.route.mtu_expires`: after this time we try the full size again (RFC 1191 §6.3).
const MTU_EXPIRES: Duration = Duration::from_secs(600);

/// What happened to the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PmtuCounters {
    /// Path MTUs lowered.
    pub lowered: u64,
    /// Messages that did not lower anything.
    pub ignored: u64,
    /// Messages with less than the minimum, taken as the minimum.
    pub floored: u64,
    /// Destinations forgotten to make room.
    pub evicted: u64,
}

/// Path MTUs by destination.
#[derive(Clone, Debug)]
pub struct PmtuCache {
    paths: AddrCache<u16>,
    min_pmtu: u16,
    expires: Duration,
    counters: PmtuCounters,
}

impl Default for PmtuCache {
    fn default() -> Self {
        Self::new(CAPACITY, MIN_PMTU, MTU_EXPIRES)
    }
}

impl PmtuCache {
    /// Changes `min_pmtu` and `mtu_expires`, for what is learnt from now on and for how long all of it counts.
    pub fn set_limits(&mut self, min_pmtu: u16, expires: Duration) {
        self.min_pmtu = min_pmtu;
        self.expires = expires;
    }

    /// An empty cache for `capacity` destinations, with `net.ipv4.route.min_pmtu` (bytes) and `.mtu_expires`.
    pub fn new(capacity: usize, min_pmtu: u16, expires: Duration) -> Self {
        Self {
            paths: AddrCache::new(capacity),
            min_pmtu,
            expires,
            counters: PmtuCounters::default(),
        }
    }

    /// A router says that packets to `dst` may have `mtu` bytes; `route_mtu` is what the route allows
    /// ([`Hop::mtu`](super::Hop::mtu)). Returns the new path MTU when that is less than the one in use.
    pub fn update(&mut self, now: Instant, dst: Ipv4Addr, route_mtu: u16, mtu: u16) -> Option<u16> {
        let known = self.get(now, dst);
        let current = known.unwrap_or(route_mtu).min(route_mtu);
        if mtu < self.min_pmtu {
            self.counters.floored += 1;
        }
        let mtu = mtu.max(self.min_pmtu);
        if mtu > current || (mtu == current && known.is_none()) {
            self.counters.ignored += 1;
            return None;
        }
        // Hearing the known value again keeps it alive.
        if self.paths.insert(now, dst, mtu) == Inserted::Evicted {
            self.counters.evicted += 1;
        }
        if mtu == current {
            self.counters.ignored += 1;
            return None;
        }
        self.counters.lowered += 1;
        Some(mtu)
    }

    /// The path MTU to `dst` in bytes, if a router has told us one that still counts.
    #[inline]
    pub fn get(&self, now: Instant, dst: Ipv4Addr) -> Option<u16> {
        let (at, &mtu) = self.paths.get(dst)?;
        (now.since(at) < self.expires).then_some(mtu)
    }

    /// Forgets `dst`.
    pub fn forget(&mut self, dst: Ipv4Addr) {
        self.paths.remove(dst);
    }

    /// Forgets everything (`ip route flush cache`).
    pub fn clear(&mut self) {
        self.paths.clear();
    }

    /// Destinations remembered, expired ones included.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.paths.len() == 0
    }

    /// The counters.
    pub fn counters(&self) -> &PmtuCounters {
        &self.counters
    }
}
