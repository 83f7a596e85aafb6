//! How many ICMP messages we send: a global bucket and one per destination (Linux `icmpv4_xrlim_allow`,
//! `icmp_global_allow`, `inet_peer_xrlim_allow`).
//!
//! What the destination's bucket refuses takes nothing from the global one, so that one host cannot use up the credit
//! of all; and the global one gives a random amount, so that nobody can count other hosts' messages by watching it
//! (CVE-2020-25705, "SAD DNS").

use core::time::Duration;
use std::net::Ipv4Addr;

use millrace_wire::icmpv4::icmp_type;
use millrace_wire::time::Instant;

use super::ErrorKind;
use crate::ip::{AddrCache, Inserted};

/// A destination may save up this many messages (Linux `XRLIM_BURST_FACTOR`).
const PEER_BURST: u32 = 6;

/// The global bucket is refilled in steps of at least this (Linux `HZ / 50`).
const REFILL_STEP: Duration = Duration::from_millis(20);

/// Settings (`net.ipv4.icmp_*`) with Linux's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpConfig {
    /// Messages per second to all destinations (`icmp_msgs_per_sec`).
    pub msgs_per_sec: u32,
    /// Messages that may go at once (`icmp_msgs_burst`).
    pub msgs_burst: u32,
    /// Time between messages to one destination (`icmp_ratelimit`); zero: no limit.
    pub ratelimit: Duration,
    /// Bit per ICMP type that is limited (`icmp_ratemask`).
    pub ratemask: u32,
    /// Destinations that are remembered.
    pub peers: usize,
}

impl Default for IcmpConfig {
    fn default() -> Self {
        Self {
            msgs_per_sec: 1000,
            msgs_burst: 50,
            ratelimit: Duration::from_millis(1000),
            ratemask: 1 << icmp_type::DEST_UNREACHABLE
                | 1 << icmp_type::SOURCE_QUENCH
                | 1 << icmp_type::TIME_EXCEEDED
                | 1 << icmp_type::PARAMETER_PROBLEM,
            peers: 1024,
        }
    }
}

/// May the message go?
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Send it.
    Send,
    /// Do not; count it as [`IcmpRateLimited`](crate::drop::DropReason::IcmpRateLimited).
    Limited,
}

/// What the limits did (Linux `IcmpOutRateLimitGlobal`, `IcmpOutRateLimitHost`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LimitCounters {
    /// Messages not sent for the global limit.
    pub global: u64,
    /// Messages not sent for the limit of their destination.
    pub host: u64,
    /// Destinations forgotten to make room.
    pub evicted: u64,
}

/// The buckets.
#[derive(Clone, Debug)]
pub struct IcmpLimits {
    config: IcmpConfig,
    credit: u32,
    refilled: Instant,
    /// What destinations have saved up, as time, when they were last asked about.
    peers: AddrCache<Duration>,
    random: u64,
    counters: LimitCounters,
}

impl IcmpLimits {
    /// Full buckets. `seed` drives the random part.
    pub fn new(config: IcmpConfig, seed: u64) -> Self {
        Self {
            config,
            credit: config.msgs_burst,
            refilled: Instant::ZERO,
            peers: AddrCache::new(config.peers),
            random: seed | 1,
            counters: LimitCounters::default(),
        }
    }

    /// Asks to send an error to `dst`. Fragmentation needed is never limited: path MTU discovery depends on it.
    pub fn allow_error(&mut self, now: Instant, dst: Ipv4Addr, kind: ErrorKind) -> Verdict {
        match kind {
            ErrorKind::FragNeeded { .. } => Verdict::Send,
            _ => self.allow(now, dst, kind.type_and_code().0),
        }
    }

    /// Asks to send a message of type `ty` to `dst`. Types outside the mask, echo replies among them, always may.
    pub fn allow(&mut self, now: Instant, dst: Ipv4Addr, ty: u8) -> Verdict {
        if self.config.ratemask.checked_shr(u32::from(ty)).unwrap_or(0) & 1 == 0 {
            return Verdict::Send;
        }
        self.refill(now);
        if self.credit == 0 {
            self.counters.global += 1;
            return Verdict::Limited;
        }
        if self.peer_allows(now, dst) == Verdict::Limited {
            self.counters.host += 1;
            return Verdict::Limited;
        }
        let cost = self.draw_cost();
        self.credit = self.credit.saturating_sub(cost);
        Verdict::Send
    }

    /// The counters.
    pub fn counters(&self) -> &LimitCounters {
        &self.counters
    }

    /// A token is worth `ratelimit` of time; a destination not seen before has the whole burst.
    fn peer_allows(&mut self, now: Instant, dst: Ipv4Addr) -> Verdict {
        let cost = self.config.ratelimit;
        if cost.is_zero() {
            return Verdict::Send;
        }
        let full = cost * PEER_BURST;
        let saved = match self.peers.get(dst) {
            Some((at, &saved)) => (saved + now.since(at)).min(full),
            None => full,
        };
        let (verdict, left) = match saved.checked_sub(cost) {
            Some(left) => (Verdict::Send, left),
            None => (Verdict::Limited, saved),
        };
        if self.peers.insert(now, dst, left) == Inserted::Evicted {
            self.counters.evicted += 1;
        }
        verdict
    }

    /// Adds to the global bucket what the time since the last refill is worth, in whole messages.
    fn refill(&mut self, now: Instant) {
        let elapsed = now.since(self.refilled).min(Duration::from_secs(1));
        let refill = u128::from(self.config.msgs_per_sec) * elapsed.as_nanos() / 1_000_000_000;
        let refill = u32::try_from(refill).unwrap_or(u32::MAX);
        if elapsed >= REFILL_STEP && refill > 0 {
            self.credit = self
                .credit
                .saturating_add(refill)
                .min(self.config.msgs_burst);
            self.refilled = now;
        }
    }

    /// 0, 1 or 2 messages' worth, 1 on average (xorshift64).
    fn draw_cost(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 32) % 3) as u32
    }
}
