//! The reading half of a byte ring.

#[cfg(not(loom))]
use super::chunk::Chunk;
use super::{CHUNK, MAX_SPAN, chunk_of, offset_of, shared::Owner, table::Slots};
use crate::position::accept;

/// The reading half of a byte ring: the application of a receive ring, the stack of a send ring.
///
/// Positions given to it are clamped to `[head, tail)`; none can make it touch other memory.
pub struct ByteConsumer {
    ring: Owner,
    /// Of the table that was current when `tail` was read. Dangling when `head == tail`.
    slots: Slots,
    head: u64,
    /// The producer's, as last seen.
    tail: u64,
}

impl ByteConsumer {
    pub(super) fn new(ring: Owner) -> Self {
        // SAFETY: the ring is new and its inline entries live as long as `ring`.
        let slots = unsafe { ring.slots() };
        Self {
            ring,
            slots,
            head: 0,
            tail: 0,
        }
    }

    /// The position of the next byte to consume.
    #[inline]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The end of the readable stream, as the producer has published it by now.
    #[inline]
    pub fn tail(&mut self) -> u64 {
        let bound = self.head.saturating_add(MAX_SPAN * CHUNK as u64);
        let tail = accept(self.ring.tail(), self.tail, bound);
        if tail != self.tail {
            self.tail = tail;
            // SAFETY: we are the consumer, and this `tail` is larger than the last, hence than `head`.
            self.slots = unsafe { self.ring.slots() };
        }
        tail
    }

    /// How many bytes can be read now.
    #[inline]
    pub fn len(&mut self) -> u64 {
        self.tail() - self.head
    }

    /// Whether there is nothing to read now.
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// Whether the producer is gone. What it published before can still be read.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Copies the bytes from `pos` on into `out`, without consuming them.
    ///
    /// Returns how many: `out.len()` if `pos` and `pos + out.len()` lie in `[head, tail]`, less if `tail` is nearer, 0 if `pos`
    /// is outside.
    #[inline]
    pub fn copy_to(&mut self, pos: u64, out: &mut [u8]) -> usize {
        let len = self.readable(pos, out.len());
        let mut done = 0;
        while done < len {
            let at = pos + done as u64;
            let offset = offset_of(at);
            let run = (CHUNK - offset).min(len - done);
            // SAFETY: `readable` keeps `[at, at + run)` in `[head, tail)`, where the entry is stable, the chunk exists
            // (`publish` made sure), is not freed while `head` is not past it, and nobody writes to these bytes.
            unsafe { (*self.slots.get(chunk_of(at))).read(offset, &mut out[done..done + run]) };
            done += run;
        }
        len
    }

    /// Consumes all before `to`, which is clamped to `[head, tail]`: the producer may reuse the memory from now on.
    #[inline]
    pub fn advance(&mut self, to: u64) {
        if to > self.tail {
            self.tail();
        }
        let to = to.min(self.tail);
        if to > self.head {
            self.head = to;
            self.ring.set_head(to);
        }
    }

    /// Copies into `out` and consumes. Returns how many bytes there were.
    #[inline]
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let len = self.copy_to(self.head, out);
        self.advance(self.head + len as u64);
        len
    }

    /// The longest contiguous run of readable bytes at `head`; empty only if there is nothing to read.
    ///
    /// For applications in the same process. It ends at the end of a chunk, so call it again after [`advance`](Self::advance).
    #[cfg(not(loom))]
    #[inline]
    pub fn slice(&mut self) -> &[u8] {
        let offset = offset_of(self.head);
        let len = self.readable(self.head, CHUNK - offset);
        if len == 0 {
            return &[];
        }
        // SAFETY: within `[head, tail)`, as in `copy_to`; the borrow of `self` keeps `head`, and by that the chunk, in place.
        unsafe { Chunk::slice(self.slots.get(chunk_of(self.head)), offset, len) }
    }

    /// How many of the `len` bytes at `pos` are readable. Looks at the producer's `tail` only if the known one is too small.
    #[inline]
    fn readable(&mut self, pos: u64, len: usize) -> usize {
        if pos < self.head {
            return 0;
        }
        if self.tail.saturating_sub(pos) < len as u64 {
            self.tail();
        }
        self.tail.saturating_sub(pos).min(len as u64) as usize
    }

    pub(super) fn ring(&self) -> &Owner {
        &self.ring
    }

    /// Moves both positions of a drained ring. The caller holds the producer too, and publishes `to` as `tail`.
    pub(super) fn skip(&mut self, to: u64) {
        self.head = to;
        self.tail = to;
        self.ring.set_head(to);
    }
}
