//! One direction of an impaired queue: takes frames in, decides their fate from the seed, gives them out when due.
//!
//! Linux counterpart: `sch_netem`. Fates are drawn in a fixed order per frame (loss, duplication, then per copy
//! corruption, truncation, reordering, jitter), so the same seed and the same frames give the same result.

use core::cmp::{Ordering, Reverse};
use core::time::Duration;
use std::collections::BinaryHeap;

use millrace_wire::ethernet::{EtherType, EthernetView};
use millrace_wire::frame::{RxCsum, RxMeta};
use millrace_wire::time::Instant;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// An Ethernet header: truncation leaves at least this.
const ETH_HLEN: usize = 14;

fn is_arp(frame: &[u8]) -> bool {
    EthernetView::parse(frame).is_ok_and(|view| view.ethertype() == EtherType::ARP)
}

/// What happens to frames in one direction. The default is nothing. Probabilities are in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Frames lost.
    pub loss_ppm: u32,
    /// Frames that arrive twice.
    pub duplicate_ppm: u32,
    /// Frames with one flipped bit, ARP aside.
    pub corrupt_ppm: u32,
    /// Frames cut to a random shorter length, at least 14 bytes, ARP aside.
    pub truncate_ppm: u32,
    /// Frames held back until [`Faults::reorder_distance`] later ones have overtaken them.
    pub reorder_ppm: u32,
    /// How many frames overtake one that is held back (at least 1).
    pub reorder_distance: u32,
    /// The longest time a frame is held back when nothing overtakes it.
    pub reorder_hold: Duration,
    /// Constant delay of every frame.
    pub delay: Duration,
    /// Additional delay, uniform from zero to this. Like netem's it reorders frames closer than that.
    pub jitter: Duration,
    /// Line rate in bits per second, counting frame bytes; frames queue for the line.
    pub rate_bps: Option<u64>,
    /// Frames that may wait (for the line, for their delay, held back) before the next one is dropped.
    pub queue_limit: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            loss_ppm: 0,
            duplicate_ppm: 0,
            corrupt_ppm: 0,
            truncate_ppm: 0,
            reorder_ppm: 0,
            reorder_distance: 3,
            reorder_hold: Duration::from_millis(10),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate_bps: None,
            queue_limit: 1000,
        }
    }
}

impl Faults {
    /// Whether frames can pass as they are.
    pub(super) fn kind(&self) -> LaneKind {
        // Named one by one: a new fault must be considered here.
        let Self {
            loss_ppm,
            duplicate_ppm,
            corrupt_ppm,
            truncate_ppm,
            reorder_ppm,
            reorder_distance: _,
            reorder_hold: _,
            delay,
            jitter,
            rate_bps,
            queue_limit: _,
        } = *self;
        let never = [
            loss_ppm,
            duplicate_ppm,
            corrupt_ppm,
            truncate_ppm,
            reorder_ppm,
        ] == [0; 5];
        if never && delay.is_zero() && jitter.is_zero() && rate_bps.is_none() {
            LaneKind::Clear
        } else {
            LaneKind::Faulty
        }
    }
}

/// Whether a direction changes anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LaneKind {
    Clear,
    Faulty,
}

/// What happened to frames in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultCounters {
    /// Frames lost by chance.
    pub lost: u64,
    /// Extra copies made.
    pub duplicated: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// Frames cut short.
    pub truncated: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames dropped because [`Faults::queue_limit`] were waiting.
    pub overflowed: u64,
}

/// A frame on its way through the lane.
pub(super) struct Held {
    due: Instant,
    /// Unique, in the order in which frames were given to the line.
    seq: u64,
    pub(super) data: Vec<u8>,
    pub(super) meta: RxMeta,
}

impl Ord for Held {
    /// By when it is due, then in the order of the line.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.seq).cmp(&(other.due, other.seq))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Held {}

/// A frame that others are to overtake.
struct HeldBack {
    overtakers: u32,
    until: Instant,
    frame: Held,
}

/// One direction.
pub(super) struct Lane {
    pub(super) faults: Faults,
    rng: ChaCha8Rng,
    pub(super) counters: FaultCounters,
    /// The clock at the last visit.
    pub(super) now: Instant,
    /// When the line has sent what was given to it.
    line_free: Instant,
    queue: BinaryHeap<Reverse<Held>>,
    held_back: Vec<HeldBack>,
    pool: Vec<Vec<u8>>,
    seq: u64,
}

impl Lane {
    pub(super) fn new(faults: Faults, seed: u64, stream: u64) -> Self {
        let queue_limit = match faults.kind() {
            LaneKind::Clear => usize::MAX,
            LaneKind::Faulty => faults.queue_limit,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self {
            faults: Faults {
                queue_limit,
                ..faults
            },
            rng,
            counters: FaultCounters::default(),
            now: Instant::ZERO,
            line_free: Instant::ZERO,
            queue: BinaryHeap::new(),
            held_back: Vec::new(),
            pool: Vec::new(),
            seq: 0,
        }
    }

    /// Takes a frame in.
    pub(super) fn input(&mut self, data: &[u8], meta: &RxMeta) {
        if self.chance(self.faults.loss_ppm) == Fate::Strikes {
            self.counters.lost += 1;
            return;
        }
        let twice = self.chance(self.faults.duplicate_ppm);
        self.admit(data, meta);
        if twice == Fate::Strikes {
            self.counters.duplicated += 1;
            self.admit(data, meta);
        }
    }

    /// The next frame that is due, in order of release.
    pub(super) fn pop_due(&mut self) -> Option<Held> {
        self.release_stale();
        if self.queue.peek()?.0.due > self.now {
            return None;
        }
        self.queue.pop().map(|Reverse(frame)| frame)
    }

    /// Puts a frame back that could not be passed on; it stays the first.
    pub(super) fn put_back(&mut self, frame: Held) {
        self.queue.push(Reverse(frame));
    }

    /// Gives a frame's memory back.
    pub(super) fn recycle(&mut self, frame: Held) {
        self.pool.push(frame.data);
    }

    /// When the next frame is due.
    pub(super) fn next_release(&self) -> Option<Instant> {
        let queued = self.queue.peek().map(|Reverse(frame)| frame.due);
        let held = self.held_back.iter().map(|held| held.until).min();
        queued.into_iter().chain(held).min()
    }

    /// One copy of a frame: limit, damage, then its place in time.
    fn admit(&mut self, data: &[u8], meta: &RxMeta) {
        if self.queue.len() + self.held_back.len() >= self.faults.queue_limit {
            self.counters.overflowed += 1;
            return;
        }
        let mut copy = self.pool.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(data);
        let mut meta = *meta;
        if self.damage(&mut copy) == Fate::Strikes {
            // The device would not have vouched for it.
            meta.csum = RxCsum::None;
        }
        let frame = Held {
            due: self.now,
            seq: 0,
            data: copy,
            meta,
        };

        if self.chance(self.faults.reorder_ppm) == Fate::Strikes {
            self.counters.reordered += 1;
            let until = self.now + self.faults.reorder_hold;
            self.held_back.push(HeldBack {
                overtakers: self.faults.reorder_distance.max(1),
                until,
                frame,
            });
        } else {
            self.schedule(frame);
            self.overtake();
        }
    }

    /// Flips a bit and cuts the end off, as chance has it. ARP is spared: it has no checksum and relies on the link's,
    /// by which a real link drops what was damaged.
    fn damage(&mut self, data: &mut Vec<u8>) -> Fate {
        let mut fate = Fate::Spares;
        if is_arp(data) {
            return fate;
        }
        if self.chance(self.faults.corrupt_ppm) == Fate::Strikes && !data.is_empty() {
            let bit = self.below(data.len() as u64 * 8) as usize;
            data[bit / 8] ^= 1 << (bit % 8);
            self.counters.corrupted += 1;
            fate = Fate::Strikes;
        }
        if self.chance(self.faults.truncate_ppm) == Fate::Strikes && data.len() > ETH_HLEN {
            let len = ETH_HLEN + self.below((data.len() - ETH_HLEN) as u64) as usize;
            data.truncate(len);
            self.counters.truncated += 1;
            fate = Fate::Strikes;
        }
        fate
    }

    /// Sends a frame down the line: rate, then delay and jitter.
    fn schedule(&mut self, mut frame: Held) {
        let mut sent = self.now;
        if let Some(rate) = self.faults.rate_bps {
            let nanos = (frame.data.len() as u128 * 8 * 1_000_000_000) / u128::from(rate.max(1));
            sent = self.line_free.max(self.now)
                + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.line_free = sent;
        }
        let jitter = u64::try_from(self.faults.jitter.as_nanos()).unwrap_or(u64::MAX);
        let jitter = if jitter == 0 {
            0
        } else {
            self.below(jitter.saturating_add(1))
        };
        frame.due = sent + self.faults.delay + Duration::from_nanos(jitter);
        self.seq += 1;
        frame.seq = self.seq;
        self.queue.push(Reverse(frame));
    }

    /// A frame has passed: those that waited for it count it, and go when they have been overtaken enough.
    fn overtake(&mut self) {
        for held in &mut self.held_back {
            held.overtakers -= 1;
        }
        self.release_held(|held| held.overtakers == 0);
    }

    /// Releases what was held back for too long.
    fn release_stale(&mut self) {
        let now = self.now;
        self.release_held(|held| held.until <= now);
    }

    fn release_held(&mut self, ready: impl Fn(&HeldBack) -> bool) {
        while let Some(at) = self.held_back.iter().position(&ready) {
            let held = self.held_back.remove(at);
            self.schedule(held.frame);
        }
    }

    /// Draws whether an event of this probability happens. Draws nothing when it never does.
    fn chance(&mut self, ppm: u32) -> Fate {
        if ppm > 0 && self.below(1_000_000) < u64::from(ppm) {
            Fate::Strikes
        } else {
            Fate::Spares
        }
    }

    /// A number below `bound` (bias below 2⁻³² for the bounds used here).
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.rng.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// Whether chance hits a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Strikes,
    Spares,
}
