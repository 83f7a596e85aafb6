//! The transmitting half: transmit and completion rings.
//!
//! Chunks are grouped into slots, each long enough for the longest frame: a frame that needs several chunks lies in adjacent
//! ones, so that it is one slice to write and several descriptors to send. Slots that the kernel is done with come back by
//! the completion ring; the last used (cache-warm) is taken first. As many descriptors are submitted and kicked at once
//! as one `sendto` moves in copy mode, and what remains at the end.

use std::sync::Arc;

use millrace_wire::frame::TxBatch;

use super::ring::{CONTINUED, Consumer, Desc, Producer};
use super::socket::Socket;
use super::umem::{Region, Umem};
use crate::af_xdp::sizes::Sizes;
use crate::queue::{Mode, TxQueue};

/// Kicks without progress before the rest is left for later.
const FRUITLESS_KICKS: u32 = 2;

/// Whether submitted frames wait for another kick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unsent {
    No,
    Yes,
}

/// The transmitting half of a queue.
pub(super) struct Tx {
    umem: Arc<Umem>,
    ring: Producer<Desc>,
    comp: Consumer<u64>,
    slots: Slots,
    max_frame: usize,
    socket: Arc<Socket>,
    mode: Mode,
    /// Descriptors that one kick moves.
    budget: u32,
    /// Descriptors written and not submitted yet.
    filled: u32,
    unsent: Unsent,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) full: u64,
    pub(super) kicks: u64,
    /// Completions that could not be.
    invalid: u64,
}

impl Tx {
    /// All chunks of `region` are ours. `budget`: descriptors that one kick moves.
    pub(super) fn new(
        umem: Arc<Umem>,
        region: Region,
        sizes: Sizes,
        (ring, comp): (Producer<Desc>, Consumer<u64>),
        socket: Arc<Socket>,
        mode: Mode,
        budget: u32,
    ) -> Self {
        Self {
            umem,
            ring,
            comp,
            slots: Slots::new(region, sizes.chunks_per_frame),
            max_frame: sizes.max_frame,
            socket,
            mode,
            budget,
            filled: 0,
            unsent: Unsent::No,
            packets: 0,
            bytes: 0,
            full: 0,
            kicks: 0,
            invalid: 0,
        }
    }

    /// Frames that can be under way at once.
    pub(super) fn capacity(&self) -> usize {
        self.slots.pieces_out.len()
    }

    /// Completions and indices that the kernel cannot have meant.
    pub(super) fn invalid(&self) -> u64 {
        self.invalid + self.ring.broken() + self.comp.broken()
    }

    /// Takes back the slots that the kernel is done with.
    fn reclaim(&mut self) {
        let count = self.comp.available();
        if count == 0 {
            return;
        }
        for at in 0..count {
            let (number, _) = self.umem.locate(self.comp.peek(at));
            if self.slots.give_back(number) == GivenBack::NotOut {
                self.invalid += 1;
            }
        }
        self.comp.release(count);
    }

    /// Submits what was filled and makes the kernel take it.
    fn flush(&mut self) {
        if self.filled == 0 {
            return;
        }
        self.ring.publish();
        self.filled = 0;
        self.unsent = Unsent::Yes;
        self.kick();
    }

    /// Kicks the kernel until it has taken all that was submitted, or stops taking.
    pub(super) fn kick(&mut self) {
        if self.unsent == Unsent::No {
            return;
        }
        let mut fruitless = 0;
        let mut left = self.ring.unread();
        while left > 0 && self.ring.needs_wakeup() && fruitless < FRUITLESS_KICKS {
            self.kicks += 1;
            // The errors that it reports are those of a broken socket: nothing to be done about them here.
            let _ = self.socket.kick();
            if self.mode == Mode::ZeroCopyNative {
                // The device takes them in its own time, now that it is awake.
                left = 0;
                break;
            }
            let before = left;
            left = self.ring.unread();
            fruitless = if left < before { 0 } else { fruitless + 1 };
        }
        if left == 0 || self.mode == Mode::ZeroCopyNative {
            self.unsent = Unsent::No;
        }
    }

    /// A free slot for a frame of `pieces` descriptors, even if it takes a kick.
    fn take(&mut self, pieces: u32) -> Option<u32> {
        if self.slots.free.is_empty() || self.ring.room(pieces) < pieces {
            self.flush();
            self.kick();
            self.reclaim();
            if self.ring.room(pieces) < pieces {
                self.full += 1;
                return None;
            }
        }
        let slot = self.slots.take(pieces);
        self.full += u64::from(slot.is_none());
        slot
    }
}

impl TxQueue for Tx {
    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch)) {
        self.reclaim();
        self.kick();
        f(self);
        self.flush();
    }
}

impl TxBatch for Tx {
    fn room(&self) -> usize {
        self.slots.free.len()
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.max_frame {
            return None;
        }
        let chunk = self.umem.chunk();
        let pieces = len.div_ceil(chunk).max(1) as u32;
        if self.filled + pieces > self.budget {
            self.flush();
        }
        let first = self.take(pieces)?;
        let addr = self.umem.addr(first);
        let mut left = len;
        for piece in 0..pieces {
            let desc = Desc {
                addr: addr + u64::from(piece) * chunk as u64,
                len: left.min(chunk) as u32,
                options: if piece + 1 < pieces { CONTINUED } else { 0 },
            };
            let pushed = self.ring.push(desc);
            debug_assert!(pushed.is_ok(), "`take` has seen the room");
            left = left.saturating_sub(chunk);
        }
        self.filled += pieces;
        self.packets += 1;
        self.bytes += len as u64;
        // SAFETY: the slot's chunks were free, so ours, and are the kernel's only when `flush` publishes their descriptors,
        // which takes `self` and so ends the slice.
        Some(unsafe { self.umem.bytes(addr, len) })
    }
}

/// Whether a chunk was out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum GivenBack {
    Taken,
    NotOut,
}

/// The slots: groups of adjacent chunks.
struct Slots {
    region: Region,
    chunks_per_slot: u32,
    free: Vec<u32>,
    /// For each slot how many of its chunks the kernel has; 0: it is free, or being filled.
    pieces_out: Box<[u8]>,
}

impl Slots {
    fn new(region: Region, chunks_per_slot: u32) -> Self {
        let count = region.count / chunks_per_slot;
        Self {
            region,
            chunks_per_slot,
            free: (0..count).rev().collect(),
            pieces_out: vec![0; count as usize].into_boxed_slice(),
        }
    }

    /// Takes a free slot for a frame of `pieces` chunks; its first chunk's number.
    #[inline]
    fn take(&mut self, pieces: u32) -> Option<u32> {
        let slot = self.free.pop()?;
        self.pieces_out[slot as usize] = pieces as u8;
        Some(self.region.first + slot * self.chunks_per_slot)
    }

    /// Chunk `number` has been sent; the slot is free when all its chunks have.
    #[inline]
    fn give_back(&mut self, number: u64) -> GivenBack {
        let Some(place) = self.region.place(number) else {
            return GivenBack::NotOut;
        };
        let slot = place / self.chunks_per_slot as usize;
        match self.pieces_out.get_mut(slot) {
            None | Some(0) => GivenBack::NotOut,
            Some(out) => {
                *out -= 1;
                if *out == 0 {
                    self.free.push(slot as u32);
                }
                GivenBack::Taken
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_when_all_its_chunks_are_back() {
        // Seven chunks: two slots of three, and one chunk that is none's.
        let region = Region {
            first: 10,
            count: 7,
        };
        let mut slots = Slots::new(region, 3);
        assert_eq!(
            (slots.take(3), slots.take(1), slots.take(1)),
            (Some(10), Some(13), None)
        );
        assert_eq!(slots.give_back(11), GivenBack::Taken);
        assert_eq!(slots.give_back(10), GivenBack::Taken);
        assert!(slots.free.is_empty());
        assert_eq!(slots.give_back(12), GivenBack::Taken);
        assert_eq!(slots.free, [0]);
        // Twice, nobody's chunk, another half's, none at all.
        for number in [12, 16, 9, 17, u64::MAX] {
            assert_eq!(slots.give_back(number), GivenBack::NotOut, "{number}");
        }
        assert_eq!(slots.give_back(13), GivenBack::Taken);
        assert_eq!(slots.free, [0, 1]);
    }
}
