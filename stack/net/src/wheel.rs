//! The shard's timer wheel: an index from time to sockets (Linux `kernel/time/timer.c`).
//!
//! Deadlines are fields of the sockets; the wheel holds at most one entry per socket and may fire early, so a
//! deadline that moves away costs nothing: the socket looks again when its entry comes up. Only a deadline that
//! moves *nearer* than the entry re-files it.
//!
//! Four levels of 64 slots, 1 ms apart at the bottom: 4.6 hours. What lies further is filed at the end and fires
//! early.

use crate::ids::SockId;
use core::time::Duration;
use millrace_wire::time::Instant;
use std::collections::VecDeque;

const LEVELS: usize = 4;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_MASK: u64 = SLOTS as u64 - 1;
/// The furthest tick that can be filed, from now.
const HORIZON: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;
const TICK: Duration = Duration::from_millis(1);
const NONE: u32 = u32::MAX;
/// The list of a node that came up and was not handed out yet.
const DUE: u16 = u16::MAX;

/// A socket's place in the wheel; a field of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerEntry {
    node: u32,
    /// Low bits of the tick at which it comes up, so that the common case does not touch the node.
    tick: u32,
}

impl Default for TimerEntry {
    fn default() -> Self {
        Self {
            node: NONE,
            tick: 0,
        }
    }
}

struct Node {
    key: SockId,
    tick: u64,
    prev: u32,
    next: u32,
    /// Level and slot, as one number: where the list's head is.
    list: u16,
}

/// See the module.
pub(crate) struct Wheel {
    now: u64,
    heads: [u32; LEVELS * SLOTS],
    busy: [u64; LEVELS],
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// Entries that are due and not handed out yet.
    due: VecDeque<u32>,
}

fn tick_at_or_after(at: Instant) -> u64 {
    at.as_nanos().div_ceil(TICK.as_nanos() as u64)
}

fn tick_reached(now: Instant) -> u64 {
    now.as_nanos() / TICK.as_nanos() as u64
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            heads: [NONE; LEVELS * SLOTS],
            busy: [0; LEVELS],
            nodes: Vec::new(),
            free: Vec::new(),
            due: VecDeque::new(),
        }
    }

    /// Entries filed.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Sees to it that `key` comes up at `deadline` or earlier.
    #[inline]
    pub(crate) fn arm(&mut self, entry: &mut TimerEntry, key: SockId, deadline: Instant) {
        // Nothing that is filed lies behind, and the horizon is far less than the circle of 2^32 ticks.
        let filed = self.now + u64::from(entry.tick.wrapping_sub(self.now as u32));
        if entry.node == NONE || tick_reached(deadline) < filed {
            self.file_by(entry, key, deadline);
        }
    }

    /// The entry comes up at `deadline` or earlier; for the lab's invariants.
    pub(crate) fn fires_by(&self, entry: &TimerEntry, deadline: Instant) -> bool {
        let tick = tick_at_or_after(deadline).clamp(self.now + 1, self.now + HORIZON);
        self.nodes
            .get(entry.node as usize)
            .is_some_and(|node| node.list == DUE || node.tick <= tick)
    }

    #[inline(never)]
    fn file_by(&mut self, entry: &mut TimerEntry, key: SockId, deadline: Instant) {
        let tick = tick_at_or_after(deadline).clamp(self.now + 1, self.now + HORIZON);
        if entry.node == NONE {
            entry.node = self.allocate(key, tick);
        } else {
            let node = &self.nodes[entry.node as usize];
            if node.list == DUE || node.tick <= tick {
                return;
            }
            self.unlink(entry.node);
            self.nodes[entry.node as usize].tick = tick;
        }
        entry.tick = tick as u32;
        self.link(entry.node);
    }

    /// Takes the entry out; for sockets that go away.
    pub(crate) fn cancel(&mut self, entry: &mut TimerEntry) {
        if entry.node == NONE {
            return;
        }
        if self.nodes[entry.node as usize].list == DUE {
            self.due.retain(|n| *n != entry.node);
        } else {
            self.unlink(entry.node);
        }
        self.free.push(entry.node);
        *entry = TimerEntry::default();
    }

    fn allocate(&mut self, key: SockId, tick: u64) -> u32 {
        let node = Node {
            key,
            tick,
            prev: NONE,
            next: NONE,
            list: DUE,
        };
        match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        }
    }

    fn link(&mut self, index: u32) {
        let tick = self.nodes[index as usize].tick;
        let delta = tick.saturating_sub(self.now).max(1);
        let level = ((63 - delta.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1);
        let slot = (tick >> (level * SLOT_BITS)) & SLOT_MASK;
        let list = level as usize * SLOTS + slot as usize;
        let head = self.heads[list];
        let node = &mut self.nodes[index as usize];
        node.prev = NONE;
        node.next = head;
        node.list = list as u16;
        if head != NONE {
            self.nodes[head as usize].prev = index;
        }
        self.heads[list] = index;
        self.busy[level as usize] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Node {
            prev, next, list, ..
        } = self.nodes[index as usize];
        if prev == NONE {
            self.heads[list as usize] = next;
            if next == NONE {
                self.busy[list as usize / SLOTS] &= !(1 << (list as usize % SLOTS));
            }
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].prev = prev;
        }
    }

    /// Moves the wheel to `now`; what came up is then handed out by [`Wheel::pop_due`].
    pub(crate) fn advance(&mut self, now: Instant) {
        let target = tick_reached(now);
        while self.now < target {
            let Some(next) = self.next_busy_tick() else {
                self.now = target;
                return;
            };
            if next > target {
                self.now = target;
                return;
            }
            self.now = next;
            self.turn();
        }
    }

    /// Empties the slots that begin at the current tick: into `due` from the bottom level, downwards from the others.
    fn turn(&mut self) {
        for level in (0..LEVELS).rev() {
            let shift = level as u32 * SLOT_BITS;
            if level > 0 && self.now & ((1 << shift) - 1) != 0 {
                continue;
            }
            let slot = (self.now >> shift) & SLOT_MASK;
            let list = level * SLOTS + slot as usize;
            let mut index = core::mem::replace(&mut self.heads[list], NONE);
            self.busy[level] &= !(1 << slot);
            while index != NONE {
                let next = self.nodes[index as usize].next;
                if self.nodes[index as usize].tick <= self.now {
                    self.nodes[index as usize].list = DUE;
                    self.due.push_back(index);
                } else {
                    self.link(index);
                }
                index = next;
            }
        }
    }

    /// The next socket that came up; its entry is gone: set the field to `TimerEntry::default()` and look.
    pub(crate) fn pop_due(&mut self) -> Option<SockId> {
        let index = self.due.pop_front()?;
        self.free.push(index);
        Some(self.nodes[index as usize].key)
    }

    /// The first tick after `now` at which a slot begins that is not empty.
    fn next_busy_tick(&self) -> Option<u64> {
        (0..LEVELS)
            .filter(|level| self.busy[*level] != 0)
            .map(|level| {
                let shift = level as u32 * SLOT_BITS;
                let here = self.now >> shift;
                let ahead = self.busy[level]
                    .rotate_right(((here + 1) & SLOT_MASK) as u32)
                    .trailing_zeros();
                (here + 1 + u64::from(ahead)) << shift
            })
            .min()
    }

    /// When to call `advance` next; may be earlier than any socket's deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if !self.due.is_empty() {
            return Some(Instant::from_nanos(self.now * TICK.as_nanos() as u64));
        }
        self.next_busy_tick()
            .map(|tick| Instant::from_nanos(tick * TICK.as_nanos() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Place, SockKind};
    use proptest::prelude::*;

    fn key(i: u32) -> SockId {
        SockId::new(Place::new(SockKind::Tcp, i), 1)
    }

    proptest! {
        /// Whatever is armed comes up exactly once, in the tick of its deadline, however the clock steps.
        #[test]
        fn fires_in_time(delays in prop::collection::vec(1u64..20_000_000, 1..60), step in 1u64..3_000_000) {
            let mut wheel = Wheel::new();
            let mut entries = vec![TimerEntry::default(); delays.len()];
            for (i, d) in delays.iter().enumerate() {
                wheel.arm(&mut entries[i], key(i as u32), Instant::from_nanos(d * 1_000_000));
            }
            let mut fired = vec![None; delays.len()];
            let mut now = 0;
            while wheel.len() > 0 {
                let next = wheel.next_deadline().unwrap().as_millis();
                now = next.max(now + step).min(next.max(now) + step);
                wheel.advance(Instant::from_nanos(now * 1_000_000));
                while let Some(k) = wheel.pop_due() {
                    let i = k.index() as usize;
                    if delays[i].min(HORIZON) <= now {
                        prop_assert!(fired[i].is_none());
                        fired[i] = Some(now);
                    } else {
                        entries[i] = TimerEntry::default();
                        wheel.arm(&mut entries[i], k, Instant::from_nanos(delays[i] * 1_000_000));
                    }
                }
            }
            for (i, d) in delays.iter().enumerate() {
                let at = fired[i].unwrap();
                prop_assert!(at >= (*d).min(HORIZON) && at <= d + 2 * step, "{i}: {d} fired at {at}");
            }
        }
    }

    #[test]
    fn nearer_refiles_further_does_not() {
        let mut wheel = Wheel::new();
        let mut e = TimerEntry::default();
        wheel.arm(&mut e, key(1), Instant::from_nanos(100_000_000));
        wheel.arm(&mut e, key(1), Instant::from_nanos(900_000_000));
        wheel.arm(&mut e, key(1), Instant::from_nanos(5_000_000));
        assert_eq!(wheel.len(), 1);
        assert_eq!(wheel.next_deadline().unwrap().as_millis(), 5);
        wheel.advance(Instant::from_nanos(5_000_000));
        assert_eq!(wheel.pop_due(), Some(key(1)));
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn cancel_of_a_due_entry() {
        let mut wheel = Wheel::new();
        let mut e = TimerEntry::default();
        wheel.arm(&mut e, key(1), Instant::from_nanos(1));
        wheel.advance(Instant::from_nanos(10_000_000));
        wheel.cancel(&mut e);
        assert_eq!(wheel.pop_due(), None);
        assert_eq!(wheel.len(), 0);
    }
}
