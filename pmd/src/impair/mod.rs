//! Any queue, made worse: loss, duplication, corruption, truncation, reordering, delay, jitter and a rate limit, each
//! direction by itself, all drawn from a seed.
//!
//! Linux counterpart: `tc qdisc add … netem`. Nothing here reads a clock: the owner passes one, real or virtual, so a run
//! repeats exactly. A direction without faults is passed straight through.
//!
//! Delayed frames move only when the queue is called. [`Queue::next_deadline`] says when the next one is due; then `rx`
//! lends what was delayed on reception, and `tx` (with nothing to add, if need be) sends what was delayed on transmission.

mod lane;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use millrace_wire::frame::{RxFrame, RxMeta, TxBatch};
use millrace_wire::time::Instant;

pub use self::lane::{FaultCounters, Faults};
use self::lane::{Held, Lane, LaneKind};
use crate::queue::{Armed, Caps, MAX_BURST, Mode, Queue, QueueStats, RxQueue, TxQueue};

/// Bursts taken from the device in one poll, so that the delay of each frame starts when it arrived.
const BURSTS_PER_POLL: usize = 16;

/// The seed and the faults of both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImpairConfig {
    /// Where all chance comes from.
    pub seed: u64,
    /// What happens to received frames.
    pub rx: Faults,
    /// What happens to transmitted frames.
    pub tx: Faults,
}

/// A queue with faults.
pub struct Impair {
    inner: Box<dyn Queue>,
    clock: Box<dyn Fn() -> Instant + Send>,
    kinds: (LaneKind, LaneKind),
    rx: RxLane,
    tx: TxLane,
}

impl Impair {
    /// Puts faults around `inner`. `clock` is asked once per call.
    pub fn new(
        inner: Box<dyn Queue>,
        config: ImpairConfig,
        clock: Box<dyn Fn() -> Instant + Send>,
    ) -> Self {
        let ImpairConfig { seed, rx, tx } = config;
        let max_frame = inner.caps().max_frame;
        Self {
            inner,
            clock,
            kinds: (rx.kind(), tx.kind()),
            rx: RxLane {
                lane: Lane::new(rx, seed, 0),
                lent: ArrayVec::new(),
                packets: 0,
                bytes: 0,
            },
            tx: TxLane {
                lane: Lane::new(tx, seed, 1),
                slot: vec![0; max_frame],
                taken: 0,
                pending: None,
                packets: 0,
                bytes: 0,
            },
        }
    }

    /// What happened to received frames.
    pub fn rx_counters(&self) -> FaultCounters {
        self.rx.lane.counters
    }

    /// What happened to transmitted frames.
    pub fn tx_counters(&self) -> FaultCounters {
        self.tx.lane.counters
    }

    /// The queue inside.
    pub fn inner(&self) -> &dyn Queue {
        &*self.inner
    }

    fn read_clock(&mut self) {
        let now = (self.clock)();
        self.rx.lane.now = now;
        self.tx.lane.now = now;
    }

    /// Device → receive lane.
    fn pull(&mut self) {
        for _ in 0..BURSTS_PER_POLL {
            let lane = &mut self.rx.lane;
            let count = self.inner.rx(MAX_BURST, &mut |frames| {
                for frame in frames {
                    lane.input(frame.data(), frame.meta());
                }
            });
            if count < MAX_BURST {
                break;
            }
        }
    }

    /// Transmit lane → device: what is due, as far as the device takes it.
    fn push(&mut self) {
        let lane = &mut self.tx.lane;
        let Some(first) = lane.pop_due() else { return };
        let mut next = Some(first);
        self.inner.tx(&mut |batch| {
            while let Some(frame) = next.take() {
                let Some(slot) = batch.next(frame.data.len()) else {
                    lane.put_back(frame);
                    break;
                };
                slot.copy_from_slice(&frame.data);
                lane.recycle(frame);
                next = lane.pop_due();
            }
        });
        if let Some(frame) = next {
            // The device did not ask for frames at all.
            self.tx.lane.put_back(frame);
        }
    }
}

impl Queue for Impair {
    /// Moves frames between the device and the lanes, then lends the lanes: frames transmitted through the half are sent
    /// at the next call.
    fn halves(&mut self) -> (&mut dyn RxQueue, &mut dyn TxQueue) {
        if self.kinds == (LaneKind::Clear, LaneKind::Clear) {
            return self.inner.halves();
        }
        self.read_clock();
        self.push();
        self.pull();
        (&mut self.rx, &mut self.tx)
    }

    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize {
        if self.kinds.0 == LaneKind::Clear && self.rx.lane.next_release().is_none() {
            return self.inner.rx(budget, f);
        }
        self.read_clock();
        self.pull();
        self.rx.rx(budget, f)
    }

    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch)) {
        if self.kinds.1 == LaneKind::Clear && self.tx.lane.next_release().is_none() {
            return self.inner.tx(f);
        }
        self.read_clock();
        self.tx.tx(f);
        self.push();
    }

    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    /// The device's counters; packets and bytes of an impaired direction are counted on our side of the faults. What
    /// overflowed is among the drops and errors; what was lost on the way is nobody's but [`FaultCounters`]' to know.
    fn stats(&self) -> QueueStats {
        let mut stats = self.inner.stats();
        if self.kinds.0 == LaneKind::Faulty {
            (stats.rx_packets, stats.rx_bytes) = (self.rx.packets, self.rx.bytes);
        }
        if self.kinds.1 == LaneKind::Faulty {
            (stats.tx_packets, stats.tx_bytes) = (self.tx.packets, self.tx.bytes);
        }
        stats.rx_dropped += self.rx.lane.counters.overflowed;
        stats.tx_errors += self.tx.lane.counters.overflowed;
        stats
    }

    fn made_with(&self) -> Option<&'static str> {
        self.inner.made_with()
    }

    fn mode(&self) -> Mode {
        self.inner.mode()
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wait_fd()
    }

    fn arm(&mut self) -> Armed {
        self.read_clock();
        self.push();
        match self.rx.lane.next_release() {
            Some(due) if due <= self.rx.lane.now => Armed::Ready,
            _ => self.inner.arm(),
        }
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let lanes = [
            self.rx.lane.next_release(),
            self.tx.lane.next_release(),
            self.inner.next_deadline(),
        ];
        lanes.into_iter().flatten().min()
    }
}

/// The receiving half: lends what the lane releases.
struct RxLane {
    lane: Lane,
    lent: ArrayVec<Held, MAX_BURST>,
    packets: u64,
    bytes: u64,
}

impl RxQueue for RxLane {
    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize {
        while self.lent.len() < budget.min(MAX_BURST) {
            let Some(frame) = self.lane.pop_due() else {
                break;
            };
            self.bytes += frame.data.len() as u64;
            self.lent.push(frame);
        }
        let count = self.lent.len();
        if count == 0 {
            return 0;
        }
        self.packets += count as u64;
        let mut frames = ArrayVec::<RxFrame<'_>, MAX_BURST>::new();
        for held in &mut self.lent {
            frames.push(RxFrame::new(&mut held.data, held.meta));
        }
        f(&mut frames);
        drop(frames);
        for frame in self.lent.drain(..) {
            self.lane.recycle(frame);
        }
        count
    }
}

/// The transmitting half: what is written goes into the lane.
struct TxLane {
    lane: Lane,
    slot: Vec<u8>,
    /// Slots handed out in this call.
    taken: usize,
    /// Length of the slot that the caller is filling.
    pending: Option<usize>,
    packets: u64,
    bytes: u64,
}

impl TxLane {
    fn commit(&mut self) {
        if let Some(len) = self.pending.take() {
            self.packets += 1;
            self.bytes += len as u64;
            self.lane.input(&self.slot[..len], &RxMeta::default());
        }
    }
}

impl TxQueue for TxLane {
    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch)) {
        self.taken = 0;
        f(self);
        self.commit();
    }
}

impl TxBatch for TxLane {
    fn room(&self) -> usize {
        MAX_BURST - self.taken
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        self.commit();
        if self.taken == MAX_BURST || len > self.slot.len() {
            return None;
        }
        self.taken += 1;
        self.pending = Some(len);
        Some(&mut self.slot[..len])
    }
}
