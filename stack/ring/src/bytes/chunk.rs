//! Chunks and the worker's pool of them.

use core::fmt;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::sync::UnsafeCell;

/// Bytes per chunk.
///
/// A page, so that shared memory can be cut the same way; 64 MiB take 16 Ki table entries; of segments of 1,448 bytes two in
/// three stay within one chunk. An unread byte pins 4 KiB, but only while it is unread.
#[cfg(not(loom))]
pub const CHUNK: usize = 4096;
/// Bytes per chunk, small enough for a model.
#[cfg(loom)]
pub const CHUNK: usize = 4;

/// How many free chunks a pool keeps for reuse (4 MiB); beyond that they go back to the allocator.
const KEEP: usize = 1024;

/// Why memory was refused: the pool's limit is reached, the allocator failed, or the position is farther ahead than any
/// window reaches. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for ring data")
    }
}

impl core::error::Error for NoMemory {}

/// `CHUNK` bytes that both sides reach through raw pointers, never by reference, except for what the consumer owns.
///
/// Aligned to a cache line, so that two connections never share one.
#[cfg(not(loom))]
#[repr(C, align(64))]
pub(super) struct Chunk(UnsafeCell<[u8; CHUNK]>);

#[cfg(not(loom))]
impl Chunk {
    /// A zeroed chunk, or `None` when the allocator has none.
    fn allocate() -> Option<Box<Self>> {
        let layout = core::alloc::Layout::new::<Self>();
        // SAFETY: the layout is not of size zero; a non-null result is valid for `Chunk`, of which zeroes are a value,
        // and comes from the global allocator with the layout that `Box` frees it by.
        unsafe {
            let chunk = std::alloc::alloc_zeroed(layout).cast::<Self>();
            (!chunk.is_null()).then(|| Box::from_raw(chunk))
        }
    }

    /// Copies `data` to `offset`.
    ///
    /// # Safety
    /// `offset + data.len() <= CHUNK`, and nobody else accesses these bytes meanwhile.
    #[inline]
    pub(super) unsafe fn write(&self, offset: usize, data: &[u8]) {
        debug_assert!(offset + data.len() <= CHUNK);
        // SAFETY: in bounds and exclusive by contract; `data` is a reference, so it does not overlap with raw memory.
        self.0.with_mut(|bytes| unsafe {
            core::ptr::copy_nonoverlapping(
                data.as_ptr(),
                bytes.cast::<u8>().add(offset),
                data.len(),
            );
        });
    }

    /// Copies from `offset` into `out`.
    ///
    /// # Safety
    /// `offset + out.len() <= CHUNK`, and nobody writes to these bytes meanwhile.
    #[inline]
    pub(super) unsafe fn read(&self, offset: usize, out: &mut [u8]) {
        debug_assert!(offset + out.len() <= CHUNK);
        // SAFETY: in bounds and not written to by contract; `out` is exclusive, so it does not overlap.
        self.0.with(|bytes| unsafe {
            core::ptr::copy_nonoverlapping(
                bytes.cast::<u8>().add(offset),
                out.as_mut_ptr(),
                out.len(),
            );
        });
    }

    /// The `len` bytes at `offset`.
    ///
    /// # Safety
    /// `offset + len <= CHUNK`; for the life of the result the chunk is not freed and nobody writes to these bytes.
    #[inline]
    pub(super) unsafe fn slice<'a>(this: *const Self, offset: usize, len: usize) -> &'a [u8] {
        debug_assert!(offset + len <= CHUNK);
        // SAFETY: `this` is alive by contract; only a pointer is derived here, and the slice covers only bytes that nobody
        // writes to.
        unsafe {
            (*this)
                .0
                .with(|bytes| core::slice::from_raw_parts(bytes.cast::<u8>().add(offset), len))
        }
    }
}

/// The model's chunk: each byte is a cell of its own, since the two sides use disjoint bytes of one chunk at a time.
#[cfg(loom)]
pub(super) struct Chunk([UnsafeCell<u8>; CHUNK]);

#[cfg(loom)]
impl Chunk {
    fn allocate() -> Option<Box<Self>> {
        Some(Box::new(Self(core::array::from_fn(|_| UnsafeCell::new(0)))))
    }

    /// # Safety
    /// As the real one.
    pub(super) unsafe fn write(&self, offset: usize, data: &[u8]) {
        for (cell, byte) in self.0[offset..].iter().zip(data) {
            // SAFETY: loom checks what the contract promises.
            cell.with_mut(|cell| unsafe { *cell = *byte });
        }
    }

    /// # Safety
    /// As the real one.
    pub(super) unsafe fn read(&self, offset: usize, out: &mut [u8]) {
        for (cell, byte) in self.0[offset..].iter().zip(out) {
            // SAFETY: loom checks what the contract promises.
            *byte = cell.with(|cell| unsafe { *cell });
        }
    }

    /// Freeing counts as writing: the model then reports a consumer that is not done with the chunk.
    fn retire(&self) {
        for cell in &self.0 {
            // SAFETY: the chunk was taken out of the ring.
            cell.with_mut(|cell| unsafe { *cell = 0 });
        }
    }
}

/// What a pool must know of chunks that rings gave to the allocator, or to another pool, without it.
///
/// Written at the death of a ring or its move to another worker, never on the data path. Counters only: `Relaxed` will do.
#[derive(Default)]
pub(super) struct Ledger(AtomicUsize);

impl Ledger {
    /// `chunks` more of this pool's are no longer its concern.
    pub(super) fn write_off(&self, chunks: usize) {
        self.0.fetch_add(chunks, Ordering::Relaxed);
    }
}

/// A worker's supply of chunks: a free list, and a bound on how many chunks there may be in all.
///
/// The ring's producer passes it to every call that allocates or frees. A ring may change pools (a producer that moves to
/// another worker): its chunks are then counted there.
pub struct ChunkPool {
    /// Last in, first out: the warmest chunk is used next.
    // Boxed, because a chunk keeps its address; the model's small chunks mislead the lint.
    #[cfg_attr(loom, allow(clippy::vec_box))]
    free: Vec<Box<Chunk>>,
    limit: usize,
    /// Given to rings less taken back; less what stands in the ledger, this is what rings hold.
    taken: usize,
    /// Kept back for data that may still have to be stored.
    promised: usize,
    failures: u64,
    ledger: Arc<Ledger>,
}

impl ChunkPool {
    /// A pool of at most `limit_chunks` chunks, none of them allocated yet.
    pub fn new(limit_chunks: usize) -> Self {
        Self {
            free: Vec::new(),
            limit: limit_chunks,
            taken: 0,
            promised: 0,
            failures: 0,
            ledger: Arc::default(),
        }
    }

    /// Chunks held by rings.
    pub fn in_use(&self) -> usize {
        self.taken
            .saturating_sub(self.ledger.0.load(Ordering::Relaxed))
    }

    /// Free chunks kept for reuse.
    pub fn cached(&self) -> usize {
        self.free.len()
    }

    /// How many chunks rings may hold in all.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Changes the limit, in chunks. Below [`in_use`](Self::in_use) it takes nothing away, but nothing more is given.
    pub fn set_limit(&mut self, limit_chunks: usize) {
        self.limit = limit_chunks;
    }

    /// How many chunks rings may still ask for.
    pub fn available(&self) -> usize {
        self.limit.saturating_sub(self.in_use() + self.promised)
    }

    /// Keeps `chunks` back that [`secure`](Self::secure) has just found, for data that is lent and may have to be
    /// stored: nobody else gets them before [`redeem`](Self::redeem).
    #[inline]
    pub fn promise(&mut self, chunks: usize) {
        self.promised += chunks;
    }

    /// Ends a promise: whoever asks next gets the chunks.
    #[inline]
    pub fn redeem(&mut self, chunks: usize) {
        self.promised = self.promised.saturating_sub(chunks);
    }

    /// How many chunks the `len` bytes from position `pos` on lie in.
    #[inline]
    pub fn span(pos: u64, len: u32) -> usize {
        (super::offset_of(pos) + len as usize).div_ceil(CHUNK)
    }

    /// How often memory was refused since the start.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Gives all free chunks back to the allocator.
    pub fn trim(&mut self) {
        self.free.truncate(self.promised);
        self.free.shrink_to_fit();
    }

    /// Makes sure that the next `count` chunks that are asked for, or promised, are there.
    ///
    /// # Errors
    /// [`NoMemory`]: the limit is reached, or the allocator has none.
    #[inline]
    pub fn secure(&mut self, count: usize) -> Result<(), NoMemory> {
        if count > self.available() {
            return Err(self.refuse());
        }
        let count = count + self.promised;
        if self.free.len() < count {
            return self.allocate(count);
        }
        Ok(())
    }

    /// The free list, with `count` chunks at least.
    #[cold]
    fn allocate(&mut self, count: usize) -> Result<(), NoMemory> {
        while self.free.len() < count {
            if self.free.try_reserve(count - self.free.len()).is_err() {
                return Err(self.refuse());
            }
            let Some(chunk) = Chunk::allocate() else {
                return Err(self.refuse());
            };
            self.free.push(chunk);
        }
        Ok(())
    }

    /// Counts a refusal.
    #[cold]
    pub(super) fn refuse(&mut self) -> NoMemory {
        self.failures += 1;
        NoMemory
    }

    /// A chunk that was secured. Its content is whatever was there before.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Box<Chunk>> {
        let chunk = self.free.pop()?;
        self.taken += 1;
        Some(chunk)
    }

    /// A chunk that is at hand, if rings may still ask for one.
    #[inline]
    pub(super) fn take_cached(&mut self) -> Option<Box<Chunk>> {
        if self.available() == 0 || self.free.len() <= self.promised {
            return None;
        }
        self.take()
    }

    /// Takes a chunk back.
    #[inline]
    pub(super) fn give(&mut self, chunk: Box<Chunk>) {
        #[cfg(loom)]
        chunk.retire();
        self.taken -= 1;
        if self.free.len() < KEEP.min(self.available()) + self.promised {
            self.free.push(chunk);
        }
    }

    /// Takes over the accounting of `chunks` chunks that came from another pool.
    pub(super) fn adopt(&mut self, chunks: usize) {
        self.taken += chunks;
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }
}

impl fmt::Debug for ChunkPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkPool")
            .field("in_use", &self.in_use())
            .field("cached", &self.cached())
            .field("limit", &self.limit)
            .field("failures", &self.failures)
            .finish()
    }
}
