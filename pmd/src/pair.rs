//! Two queues wired to each other in memory: what one transmits, the other receives.
//!
//! For tests, simulations and measurements, in one thread or in two. Each direction is a pair of rings: batches of filled
//! frames travel out, emptied ones back, so that a call costs one push however many frames it moves. Batches are made
//! as they are needed and then used for ever, the last one that came back first (it is warm in the cache); in the steady
//! state nothing is allocated, and with both ends in one thread nothing but plain loads, stores and one fence happens.
//!
//! The wire holds a set number of frames: a transmitter whose frames are all on their way is full, as a device is. Room
//! comes back when the last frame of a batch has been received.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};

use arrayvec::ArrayVec;
use millrace_ring::doorbell::{Bell, Doorbell};
use millrace_ring::spsc::{Consumer, Producer, spsc};
use millrace_wire::frame::{RxFrame, RxMeta, TxBatch};

use crate::queue::{Armed, Caps, MAX_BURST, Mode, Queue, QueueStats, RxQueue, TxQueue};

#[cfg(test)]
mod tests;

/// Frames that travel together at most.
const BATCH: usize = 16;

/// Size of an in-memory pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairConfig {
    /// The longest frame in bytes, link header included (at least 14).
    pub max_frame: usize,
    /// Frames in flight in each direction before the transmitter is full (at least 1).
    pub frames: usize,
}

impl Default for PairConfig {
    /// MTU 1500 with a VLAN tag, 512 frames.
    fn default() -> Self {
        Self {
            max_frame: 1518,
            frames: 512,
        }
    }
}

/// Wires two queues to each other.
pub fn pair(config: PairConfig) -> (Pair, Pair) {
    let PairConfig { max_frame, frames } = config;
    let caps = Caps {
        max_frame: max_frame.max(14),
        rx_ring: frames.max(1),
        tx_ring: frames.max(1),
    };
    let (bell_a, bell_b) = (Arc::default(), Arc::default());
    let (tx_a, rx_b) = direction(caps, Arc::clone(&bell_b));
    let (tx_b, rx_a) = direction(caps, Arc::clone(&bell_a));
    (
        Pair::new(caps, rx_a, tx_a, bell_a),
        Pair::new(caps, rx_b, tx_b, bell_b),
    )
}

/// A transmitter and the receiver at the other end of it.
fn direction(caps: Caps, bell: Arc<OnceLock<Bell>>) -> (PairTx, PairRx) {
    let (full_tx, full_rx) = spsc(caps.tx_ring);
    let (empty_tx, empty_rx) = spsc(caps.tx_ring);
    let tx = PairTx {
        caps,
        full: full_tx,
        empty: empty_rx,
        free: Vec::new(),
        filling: None,
        in_flight: 0,
        bell,
        packets: 0,
        bytes: 0,
        refused: 0,
    };
    (
        tx,
        PairRx {
            full: full_rx,
            empty: empty_tx,
            held: ArrayVec::new(),
            at: 0,
            packets: 0,
            bytes: 0,
        },
    )
}

/// Frames that travel together.
struct Batch {
    /// Room for [`BATCH`] frames, each `stride` bytes apart.
    data: Box<[u8]>,
    stride: usize,
    /// Lengths of the frames that are filled.
    lens: ArrayVec<usize, BATCH>,
}

impl Batch {
    fn new(stride: usize) -> Box<Self> {
        Box::new(Self {
            data: vec![0; stride * BATCH].into_boxed_slice(),
            stride,
            lens: ArrayVec::new(),
        })
    }

    /// The next frame, to be filled. The caller has seen that there is room, and that `len` fits.
    fn slot(&mut self, len: usize) -> &mut [u8] {
        let start = self.stride * self.lens.len();
        self.lens.push(len);
        &mut self.data[start..start + len]
    }

    /// Adds the frames from number `from` on to `frames`, until there are `limit`; returns their bytes.
    #[inline]
    fn lend<'a>(
        &'a mut self,
        from: usize,
        limit: usize,
        frames: &mut ArrayVec<RxFrame<'a>, MAX_BURST>,
    ) -> u64 {
        let mut bytes = 0;
        let mut rest = &mut self.data[self.stride * from..];
        for &len in &self.lens[from..] {
            if frames.len() == limit {
                break;
            }
            bytes += len as u64;
            let (frame, after) = rest.split_at_mut(self.stride);
            frames.push(RxFrame::new(&mut frame[..len], RxMeta::default()));
            rest = after;
        }
        bytes
    }
}

/// One end of the wire.
pub struct Pair {
    caps: Caps,
    rx: PairRx,
    tx: PairTx,
    /// Made when this end first wants to sleep.
    doorbell: Option<Doorbell>,
    /// Where the other end finds the way to ring it.
    bell: Arc<OnceLock<Bell>>,
}

impl Pair {
    fn new(caps: Caps, rx: PairRx, tx: PairTx, bell: Arc<OnceLock<Bell>>) -> Self {
        Self {
            caps,
            rx,
            tx,
            doorbell: None,
            bell,
        }
    }

    /// The doorbell, if one can be had.
    fn doorbell(&mut self) -> Option<&mut Doorbell> {
        if self.doorbell.is_none() {
            let doorbell = Doorbell::new().ok()?;
            // The lock is empty: only this end sets it, and only here.
            let _ = self.bell.set(doorbell.bell());
            self.doorbell = Some(doorbell);
        }
        self.doorbell.as_mut()
    }
}

impl Queue for Pair {
    fn halves(&mut self) -> (&mut dyn RxQueue, &mut dyn TxQueue) {
        (&mut self.rx, &mut self.tx)
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn stats(&self) -> QueueStats {
        QueueStats {
            rx_packets: self.rx.packets,
            rx_bytes: self.rx.bytes,
            tx_packets: self.tx.packets,
            tx_bytes: self.tx.bytes,
            tx_full: self.tx.refused,
            ..QueueStats::default()
        }
    }

    fn mode(&self) -> Mode {
        Mode::Pair
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.doorbell.as_ref().map(Doorbell::fd)
    }

    fn arm(&mut self) -> Armed {
        let Some(doorbell) = self.doorbell() else {
            return Armed::Ready;
        };
        doorbell.arm();
        // Pairs with the fence in `PairTx::tx`: either the frame is seen here, or the bell is seen there.
        fence(Ordering::SeqCst);
        if self.rx.full.is_empty() {
            Armed::Idle
        } else {
            Armed::Ready
        }
    }

    fn disarm(&mut self) {
        if let Some(doorbell) = &mut self.doorbell {
            doorbell.disarm();
        }
    }
}

/// The receiving half.
struct PairRx {
    full: Consumer<Box<Batch>>,
    empty: Producer<Box<Batch>>,
    /// Batches being lent; between calls at most one, whose frames a small budget has not exhausted.
    held: ArrayVec<Box<Batch>, MAX_BURST>,
    /// How many frames of the first batch have been lent before.
    at: usize,
    packets: u64,
    bytes: u64,
}

impl RxQueue for PairRx {
    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize {
        let budget = budget.min(MAX_BURST);
        let have = self.gather(budget);
        let count = have.min(budget);
        if count == 0 {
            return 0;
        }
        let mut frames = ArrayVec::new();
        let mut from = self.at;
        for batch in &mut self.held {
            self.bytes += batch.lend(from, count, &mut frames);
            from = 0;
        }
        self.packets += count as u64;
        f(&mut frames);
        drop(frames);
        self.give_back(have - count);
        count
    }
}

impl PairRx {
    /// Holds batches for `budget` frames, as far as there are any; returns how many frames they have, which may be more.
    fn gather(&mut self, budget: usize) -> usize {
        // Each batch has at least one frame, so no more than MAX_BURST are held.
        let mut have = self
            .held
            .first()
            .map_or(0, |batch| batch.lens.len() - self.at);
        while have < budget {
            let Some(batch) = self.full.pop() else { break };
            have += batch.lens.len();
            self.held.push(batch);
        }
        have
    }

    /// Sends all batches on their way back, except the last one if `left` of its frames have not been lent.
    fn give_back(&mut self, left: usize) {
        let rest = if left > 0 { self.held.pop() } else { None };
        while let Some(batch) = self.held.pop() {
            // Never full: it has room for a batch per frame.
            let _ = self.empty.push(batch);
        }
        self.at = 0;
        if let Some(batch) = rest {
            self.at = batch.lens.len() - left;
            self.held.push(batch);
        }
    }
}

/// The transmitting half.
struct PairTx {
    caps: Caps,
    full: Producer<Box<Batch>>,
    empty: Consumer<Box<Batch>>,
    /// Empty batches at hand.
    #[expect(clippy::vec_box, reason = "the boxes travel through the rings")]
    free: Vec<Box<Batch>>,
    /// The batch being filled: none between calls.
    filling: Option<Box<Batch>>,
    /// Frames that are being filled, on their way, or not known to be back.
    in_flight: usize,
    /// Set when the other end has ever slept.
    bell: Arc<OnceLock<Bell>>,
    packets: u64,
    bytes: u64,
    refused: u64,
}

impl TxQueue for PairTx {
    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch)) {
        self.reclaim();
        let before = self.packets;
        f(self);
        self.flush();
        if self.packets == before {
            return;
        }
        fence(Ordering::SeqCst);
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
}

impl PairTx {
    /// Takes back the batches that the other end is done with.
    fn reclaim(&mut self) {
        while let Some(mut batch) = self.empty.pop() {
            self.in_flight -= batch.lens.len();
            batch.lens.clear();
            self.free.push(batch);
        }
    }

    /// Sends the batch that is being filled.
    fn flush(&mut self) {
        if let Some(batch) = self.filling.take() {
            self.packets += batch.lens.len() as u64;
            // Never full: it has room for a batch per frame.
            let _ = self.full.push(batch);
        }
    }
}

impl TxBatch for PairTx {
    fn room(&self) -> usize {
        self.caps.tx_ring - self.in_flight
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.caps.max_frame {
            return None;
        }
        if self.in_flight == self.caps.tx_ring {
            self.refused += 1;
            return None;
        }
        self.in_flight += 1;
        self.bytes += len as u64;
        if self
            .filling
            .as_ref()
            .is_some_and(|batch| batch.lens.is_full())
        {
            self.flush();
        }
        let Self {
            filling,
            free,
            caps,
            ..
        } = self;
        let batch =
            filling.get_or_insert_with(|| free.pop().unwrap_or_else(|| Batch::new(caps.max_frame)));
        Some(batch.slot(len))
    }
}
