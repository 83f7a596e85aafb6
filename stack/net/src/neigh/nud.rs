//! The state machine: use, confirmation, timers, news (Linux `neigh_event_send`, `neigh_timer_handler`,
//! `neigh_update`; RFC 4861 §7.3.3).

use std::net::Ipv4Addr;

use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use super::entry::Key;
use super::table::Creator;
use super::{Effect, NeighTable, NudState, Resolution};
use crate::ids::IfaceId;
use crate::link;

/// How far a piece of news about an entry is to be trusted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// May replace a known address.
    Override,
    /// Fills an unknown address, does not replace a known one.
    Weak,
}

/// What came of a piece of news.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Updated {
    /// The entry took it.
    Taken,
    /// The entry kept what it knew.
    Refused,
}

impl<F: Copy + Eq> NeighTable<F> {
    /// Where frames for `ip` go. Creates the entry and starts resolution when needed; a use of a stale entry starts
    /// its check. Allocates nothing when the answer is [`Resolution::Ready`].
    #[inline]
    pub fn resolve(&mut self, now: Instant, iface: IfaceId, ip: Ipv4Addr) -> Resolution {
        let key = Key { iface, ip };
        let Some(slot) = self.find(key) else {
            return self.resolve_new(now, key);
        };
        let Some(entry) = self.entry_mut(slot) else {
            return Resolution::Failed;
        };
        entry.used = Some(now);
        match entry.state {
            NudState::Permanent | NudState::Reachable | NudState::Delay | NudState::Probe => {
                Resolution::Ready(entry.mac)
            }
            NudState::Stale => {
                let mac = entry.mac;
                self.start_delay(now, slot);
                Resolution::Ready(mac)
            }
            NudState::Incomplete => Resolution::Waiting,
            NudState::Failed => {
                self.start_resolution(now, slot);
                Resolution::Waiting
            }
        }
    }

    #[cold]
    fn resolve_new(&mut self, now: Instant, key: Key) -> Resolution {
        if key.ip.is_multicast() {
            return Resolution::Ready(link::multicast_mac(key.ip));
        }
        if key.ip.is_broadcast() {
            return Resolution::Ready(MacAddr::BROADCAST);
        }
        if key.ip.is_unspecified() || key.ip.is_loopback() {
            return Resolution::Failed;
        }
        let Some(slot) = self.create(now, key, NudState::Incomplete, Creator::Output) else {
            return Resolution::Failed;
        };
        if let Some(entry) = self.entry_mut(slot) {
            entry.used = Some(now);
        }
        self.refresh_age(slot);
        self.start_resolution(now, slot);
        Resolution::Waiting
    }

    /// A sign of life from above: TCP made progress through this neighbour (Linux `neigh_confirm`). It counts when
    /// the entry's timer next looks; an entry without known address is not confirmed by it.
    pub fn confirm(&mut self, now: Instant, iface: IfaceId, ip: Ipv4Addr) {
        let Some(slot) = self.find(Key { iface, ip }) else {
            return;
        };
        if let Some(entry) = self.entry_mut(slot)
            && entry.known_mac().is_some()
        {
            entry.confirmed = Some(now);
        }
    }

    /// The only writer of an entry's state.
    pub(super) fn set_state(&mut self, now: Instant, slot: u32, state: NudState) {
        let Some(entry) = self.entry_mut(slot) else {
            return;
        };
        if entry.state != state {
            entry.state = state;
            entry.updated = now;
        }
        self.refresh_age(slot);
    }

    fn start_resolution(&mut self, now: Instant, slot: u32) {
        self.set_state(now, slot, NudState::Incomplete);
        if let Some(entry) = self.entry_mut(slot) {
            entry.probes = 0;
        }
        self.solicit(now, slot);
    }

    fn start_delay(&mut self, now: Instant, slot: u32) {
        self.set_state(now, slot, NudState::Delay);
        self.arm(slot, now + self.config.delay_first_probe_time);
    }

    fn become_reachable(&mut self, now: Instant, slot: u32, confirmed: Instant) {
        self.set_state(now, slot, NudState::Reachable);
        let until = confirmed + self.reachable_time(now);
        self.arm(slot, until);
    }

    /// The timer of an entry has come.
    pub(super) fn timer(&mut self, now: Instant, slot: u32) {
        let reachable_time = self.reachable_time(now);
        let delay = self.config.delay_first_probe_time;
        let Some(entry) = self.entry_mut(slot) else {
            return;
        };
        let fresh_until = entry.confirmed.map(|at| at + reachable_time);
        match entry.state {
            NudState::Reachable => match fresh_until {
                Some(until) if now < until => self.arm(slot, until),
                _ if entry.used.is_some_and(|used| now < used + delay) => {
                    self.start_delay(now, slot)
                }
                _ => self.set_state(now, slot, NudState::Stale),
            },
            NudState::Delay => match entry.confirmed {
                Some(confirmed) if now <= confirmed + delay => {
                    self.become_reachable(now, slot, confirmed)
                }
                _ => {
                    entry.probes = 0;
                    self.set_state(now, slot, NudState::Probe);
                    self.solicit(now, slot);
                }
            },
            // RFC 4861 lets progress above end the probing; Linux looks at it in DELAY only.
            NudState::Probe => match entry.confirmed {
                Some(confirmed) if confirmed >= entry.updated => {
                    self.become_reachable(now, slot, confirmed)
                }
                _ => self.solicit(now, slot),
            },
            NudState::Incomplete => self.solicit(now, slot),
            NudState::Stale | NudState::Failed | NudState::Permanent => {}
        }
    }

    /// Sends the next solicitation of an entry in INCOMPLETE or PROBE, or gives up after the last.
    fn solicit(&mut self, now: Instant, slot: u32) {
        let (ucast_solicit, mcast_solicit) = (self.config.ucast_solicit, self.config.mcast_solicit);
        let Some(entry) = self.entry_mut(slot) else {
            return;
        };
        let to = entry.known_mac();
        let limit = if to.is_some() {
            ucast_solicit
        } else {
            mcast_solicit
        };
        if entry.probes >= limit {
            self.counters.res_failed += 1;
            self.set_state(now, slot, NudState::Failed);
            self.fail_parked(slot);
            return;
        }
        entry.probes += 1;
        let Key { iface, ip: target } = entry.key;
        self.effects.push(Effect::Solicit { iface, target, to });
        self.counters.solicits += 1;
        self.arm(slot, now + self.config.retrans_time);
    }

    /// News from ARP: `mac` claims the entry, which becomes `state` (REACHABLE or STALE).
    pub(super) fn update(
        &mut self,
        now: Instant,
        slot: u32,
        mac: MacAddr,
        state: NudState,
        trust: Trust,
    ) -> Updated {
        let Some(entry) = self.entry_mut(slot) else {
            return Updated::Refused;
        };
        if entry.state == NudState::Permanent {
            return Updated::Refused;
        }
        let known = entry.known_mac();
        if known.is_some_and(|old| old != mac) && trust == Trust::Weak {
            return Updated::Refused;
        }
        if known == Some(mac) && state == NudState::Stale {
            return Updated::Taken; // Nothing new, and no proof of life.
        }
        if known != Some(mac) {
            entry.mac = mac;
            entry.confirmed = None;
            entry.updated = now;
        }
        match state {
            NudState::Reachable => {
                entry.confirmed = Some(now);
                self.become_reachable(now, slot, now);
            }
            _ => {
                self.disarm(slot);
                self.set_state(now, slot, state);
            }
        }
        self.release(now, slot);
        Updated::Taken
    }

    /// Lets go what waited for an entry that is now usable.
    pub(super) fn release(&mut self, now: Instant, slot: u32) {
        let Some((flows, packets)) = self.unpark(slot) else {
            return;
        };
        let Some(entry) = self.entry_mut(slot) else {
            return;
        };
        let (Key { iface, ip }, mac) = (entry.key, entry.mac);
        entry.used = Some(now);
        if entry.state == NudState::Stale {
            self.start_delay(now, slot);
        }
        self.effects.push(Effect::Release {
            iface,
            ip,
            mac,
            flows,
            packets,
        });
    }
}
