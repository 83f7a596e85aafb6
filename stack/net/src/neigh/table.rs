//! Storage: slots, the index, the order of eviction, garbage collection.

use core::hash::Hasher;
use core::time::Duration;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use hashbrown::HashTable;
use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;
use siphasher::sip::SipHasher13;

use super::entry::{Age, Entry, Key, Rank};
use super::timers::Timers;
use super::{Effect, NeighConfig, NeighCounters, Neighbour, NudState};
use crate::ids::IfaceId;

/// How long a random reachable time is kept (Linux redraws every 300 s).
const REDRAW_REACHABLE: Duration = Duration::from_secs(300);

/// Who wants an entry, and so what may be evicted for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Creator {
    /// We want to send.
    Output,
    /// Somebody asked for us: worth remembering, not worth an entry in use.
    Input,
}

/// The neighbour table of one worker. `F` names a flow that can wait for a neighbour.
#[derive(Debug)]
pub struct NeighTable<F> {
    pub(super) config: NeighConfig,
    pub(super) counters: NeighCounters,
    pub(super) effects: Vec<Effect<F>>,
    pub(super) slots: Vec<Option<Entry<F>>>,
    free: Vec<u32>,
    /// Slots by key; looked up, never iterated.
    index: HashTable<u32>,
    hash_keys: [u64; 2],
    /// The slot that was found last: one peer or one gateway takes most packets.
    last: u32,
    pub(super) timers: Timers,
    /// Dynamic entries in the order of eviction, refreshed lazily: the stored place is never later than the true one.
    ages: BTreeSet<Age>,
    gc_at: Option<Instant>,
    reachable_time: Duration,
    redraw_at: Instant,
    random: u64,
    /// Bytes of packets parked on all entries.
    pub(super) parked_bytes: usize,
}

/// The next value of a splitmix64 sequence.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Keyed hash of an entry's key.
#[inline]
fn hash_key(keys: [u64; 2], key: Key) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(keys[0], keys[1]);
    hasher.write_u64(u64::from(key.iface.0) << 32 | u64::from(key.ip.to_bits()));
    hasher.finish()
}

impl<F: Copy + Eq> NeighTable<F> {
    /// An empty table. `seed` keys the index and draws the reachable times.
    pub fn new(config: NeighConfig, seed: u64) -> Self {
        let mut random = seed;
        let hash_keys = [splitmix64(&mut random), splitmix64(&mut random)];
        Self {
            config,
            counters: NeighCounters::default(),
            effects: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hash_keys,
            last: 0,
            timers: Timers::default(),
            ages: BTreeSet::new(),
            gc_at: None,
            reachable_time: config.base_reachable_time,
            redraw_at: Instant::ZERO,
            random,
            parked_bytes: 0,
        }
    }

    /// Something is to be done: call [`take_effects`](Self::take_effects).
    #[inline]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Moves all pending effects to the end of `out`.
    pub fn take_effects(&mut self, out: &mut Vec<Effect<F>>) {
        out.append(&mut self.effects);
    }

    /// When [`NeighTable::tick`] has something to do.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        match (self.timers.first(), self.gc_at) {
            (Some(timer), Some(gc)) => Some(timer.min(gc)),
            (timer, gc) => timer.or(gc),
        }
    }

    /// Does all that is due: probes, changes of state, failures, collection. Not bounded but by the table's size.
    pub fn tick(&mut self, now: Instant) {
        while let Some(slot) = self.timers.due(now) {
            self.disarm(slot);
            self.timer(now, slot);
        }
        if self.gc_at.is_some_and(|at| at <= now) {
            self.periodic_gc(now);
        }
    }

    /// All entries, for dumps, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = Neighbour> + '_ {
        self.slots.iter().flatten().map(Entry::view)
    }

    /// The flows that wait for any neighbour.
    pub fn parked_flows(&self) -> impl Iterator<Item = &F> {
        self.slots.iter().flatten().flat_map(|entry| &entry.flows)
    }

    /// The entry of `ip` on `iface`.
    pub fn get(&self, iface: IfaceId, ip: Ipv4Addr) -> Option<Neighbour> {
        let slot = self.find_by_hash(Key { iface, ip })?;
        self.entry(slot).map(Entry::view)
    }

    /// Number of entries, permanent ones included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// There are no entries.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The counters.
    pub fn counters(&self) -> &NeighCounters {
        &self.counters
    }

    /// Sets `ip` to `mac` for good (`ip neigh replace … nud permanent`); releases what waited.
    pub fn add_permanent(&mut self, now: Instant, iface: IfaceId, ip: Ipv4Addr, mac: MacAddr) {
        let key = Key { iface, ip };
        let slot = self
            .find_by_hash(key)
            .unwrap_or_else(|| self.insert(Entry::new(key, NudState::Permanent, now)));
        if let Some(entry) = self.entry_mut(slot) {
            entry.mac = mac;
        }
        self.set_state(now, slot, NudState::Permanent);
        self.disarm(slot);
        self.release(now, slot);
    }

    /// Removes the entry of `ip`, permanent or not; what waited fails.
    pub fn remove(&mut self, iface: IfaceId, ip: Ipv4Addr) {
        if let Some(slot) = self.find_by_hash(Key { iface, ip }) {
            self.destroy(slot);
        }
    }

    /// Removes all entries of an interface that goes down (Linux `neigh_ifdown`); what waited fails.
    pub fn flush_iface(&mut self, iface: IfaceId) {
        for slot in 0..self.slots.len() as u32 {
            if self
                .entry(slot)
                .is_some_and(|entry| entry.key.iface == iface)
            {
                self.destroy(slot);
            }
        }
    }

    /// The entry in `slot`.
    #[inline]
    pub(super) fn entry(&self, slot: u32) -> Option<&Entry<F>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The entry in `slot`, to be changed.
    #[inline]
    pub(super) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<F>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The slot of `key`; remembers it for the next time.
    #[inline]
    pub(super) fn find(&mut self, key: Key) -> Option<u32> {
        if self.entry(self.last).is_some_and(|entry| entry.key == key) {
            return Some(self.last);
        }
        let slot = self.find_by_hash(key)?;
        self.last = slot;
        Some(slot)
    }

    fn find_by_hash(&self, key: Key) -> Option<u32> {
        let hash = hash_key(self.hash_keys, key);
        self.index
            .find(hash, |&slot| {
                self.entry(slot).is_some_and(|entry| entry.key == key)
            })
            .copied()
    }

    /// Creates an entry, evicting another when the table is full. `None` when nothing may be evicted for it.
    pub(super) fn create(
        &mut self,
        now: Instant,
        key: Key,
        state: NudState,
        by: Creator,
    ) -> Option<u32> {
        if self.ages.len() >= self.config.gc_thresh3 {
            let victim = self.victim(by);
            if victim.is_none() {
                self.counters.table_fulls += 1;
            }
            self.destroy(victim?);
            self.counters.forced_gc_runs += 1;
        }
        let slot = self.insert(Entry::new(key, state, now));
        if self.gc_at.is_none() && self.ages.len() >= self.config.gc_thresh1 {
            self.gc_at = Some(now + self.gc_interval());
        }
        Some(slot)
    }

    fn insert(&mut self, entry: Entry<F>) -> u32 {
        let key = entry.key;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        self.slots[slot as usize] = Some(entry);
        let (slots, hash_keys) = (&self.slots, self.hash_keys);
        self.index
            .insert_unique(hash_key(hash_keys, key), slot, |&other| {
                slots[other as usize]
                    .as_ref()
                    .map_or(0, |entry| hash_key(hash_keys, entry.key))
            });
        self.counters.allocs += 1;
        self.refresh_age(slot);
        slot
    }

    /// Removes an entry; what waited on it fails.
    pub(super) fn destroy(&mut self, slot: u32) {
        self.fail_parked(slot);
        self.disarm(slot);
        let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        if let Some(age) = entry.age {
            self.ages.remove(&age);
        }
        let hash = hash_key(self.hash_keys, entry.key);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
        self.counters.destroys += 1;
    }

    /// The entry to give up for a new one: the least place, once it is known to be true.
    fn victim(&mut self, by: Creator) -> Option<u32> {
        // Each entry is refreshed at most once per call, and only if it was used since it was last looked at.
        loop {
            let &(rank, at, slot) = self.ages.first()?;
            if self.entry(slot)?.true_age(slot) != Some((rank, at, slot)) {
                self.refresh_age(slot);
                continue;
            }
            return match by {
                Creator::Output => Some(slot),
                Creator::Input => (rank <= Rank::Unused).then_some(slot),
            };
        }
    }

    /// Puts the entry to its true place in the order of eviction.
    pub(super) fn refresh_age(&mut self, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let age = entry.true_age(slot);
        if age == entry.age {
            return;
        }
        if let Some(old) = core::mem::replace(&mut entry.age, age) {
            self.ages.remove(&old);
        }
        self.ages.extend(age);
    }

    /// Sets the timer of an entry.
    pub(super) fn arm(&mut self, slot: u32, at: Instant) {
        self.disarm(slot);
        if let Some(entry) = self.entry_mut(slot) {
            entry.deadline = Some(at);
            self.timers.insert(at, slot);
        }
    }

    /// Stops the timer of an entry.
    pub(super) fn disarm(&mut self, slot: u32) {
        if let Some(at) = self.entry_mut(slot).and_then(|entry| entry.deadline.take()) {
            self.timers.remove(at, slot);
        }
    }

    fn gc_interval(&self) -> Duration {
        self.config.base_reachable_time / 2
    }

    /// Collects what failed and what is stale and long unused (Linux `neigh_periodic_work`).
    fn periodic_gc(&mut self, now: Instant) {
        self.counters.periodic_gc_runs += 1;
        let unused_since = |at: Instant, time| now.since(at) >= time;
        let staletime = self.config.gc_staletime;
        // Places are never later than true, so a young place needs no look at its entry.
        let candidates: Vec<u32> = self
            .ages
            .iter()
            .filter(|&&(rank, at, _)| rank == Rank::Failed || unused_since(at, staletime))
            .map(|&(_, _, slot)| slot)
            .collect();
        for slot in candidates {
            self.refresh_age(slot);
            let Some(entry) = self.entry(slot) else {
                continue;
            };
            let last = entry.used.max(entry.confirmed).unwrap_or(entry.updated);
            let collect = match entry.state {
                NudState::Failed => true,
                NudState::Stale => unused_since(last, staletime),
                _ => false,
            };
            if collect {
                self.destroy(slot);
            }
        }
        self.gc_at = (self.ages.len() >= self.config.gc_thresh1).then(|| now + self.gc_interval());
    }

    /// How long a confirmation lasts now: uniform in 0.5 to 1.5 times the base (RFC 4861 §6.3.2).
    pub(super) fn reachable_time(&mut self, now: Instant) -> Duration {
        if now >= self.redraw_at {
            let base =
                u64::try_from(self.config.base_reachable_time.as_nanos()).unwrap_or(u64::MAX / 2);
            let draw = splitmix64(&mut self.random) % base.max(1);
            self.reachable_time = Duration::from_nanos((base / 2).saturating_add(draw));
            self.redraw_at = now + REDRAW_REACHABLE;
        }
        self.reachable_time
    }
}
