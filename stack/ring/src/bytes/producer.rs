//! The writing half of a byte ring, which also owns its memory.

use core::ptr;
use std::sync::Arc;

use super::{
    ByteConsumer, CHUNK, MAX_LIMIT, MAX_SPAN,
    chunk::{ChunkPool, Ledger, NoMemory},
    chunk_of, offset_of,
    shared::{INLINE, Owner},
    table::{Slots, Table},
};
use crate::position::accept;

/// What [`ByteProducer::skip`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Skipped {
    /// Both positions are at the given one, and the ring holds no memory.
    Done,
    /// Nothing changed: the halves do not belong together, something is unread, or something is stored beyond.
    Refused,
}

/// What [`ByteProducer::release`] could give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Everything: the consumer is gone, or had read all.
    All,
    /// The consumer is still there: what it has not read stays, and is freed with the last half.
    Unread,
}

/// The writing half of a byte ring: the stack of a receive ring, the application of a send ring.
///
/// Positions given to it are clamped, or refused with [`NoMemory`]; none can harm what the consumer reads.
///
/// Dropped while it holds chunks it leaves them to the consumer, which can read on; the last half frees them.
/// Prefer [`release`](Self::release), by which the pool can reuse them.
pub struct ByteProducer {
    ring: Owner,
    /// Of the current table, which only we replace. Maps chunk numbers `low .. low + capacity`.
    slots: Slots,
    tail: u64,
    /// The consumer's, as last seen.
    head: u64,
    limit: u64,
    /// The end of what is written or reserved; at least `tail`.
    high: u64,
    /// No chunk before this number is held; at most that of `head`.
    low: u64,
    /// How many chunks are held. Whenever none is, the inline table is in use.
    held: usize,
    /// Of the pool that counts the held chunks.
    ledger: Option<Arc<Ledger>>,
}

impl ByteProducer {
    pub(super) fn new(ring: Owner, limit: u64) -> Self {
        // SAFETY: the ring is new and its inline entries live as long as `ring`.
        let slots = unsafe { ring.slots() };
        let limit = limit.min(MAX_LIMIT);
        Self {
            ring,
            slots,
            tail: 0,
            head: 0,
            limit,
            high: 0,
            low: 0,
            held: 0,
            ledger: None,
        }
    }

    /// The published end of the stream.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The consumer's position by now.
    #[inline]
    pub fn head(&mut self) -> u64 {
        self.head = accept(self.ring.head(), self.head, self.tail);
        self.head
    }

    /// How many bytes the ring accepts.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Changes the limit, in bytes, at any time. Below what is stored it takes nothing away: [`free`](Self::free) is 0 until the
    /// consumer has caught up. Clamped to [`MAX_LIMIT`].
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit.min(MAX_LIMIT);
    }

    /// How many bytes fit between `tail` and the limit now.
    #[inline]
    pub fn free(&mut self) -> u64 {
        self.head();
        self.known_free()
    }

    /// The end of what is written or reserved, published or not.
    pub fn high(&self) -> u64 {
        self.high
    }

    /// Bytes of chunks held now.
    pub fn memory(&self) -> usize {
        self.held * CHUNK
    }

    /// Whether the consumer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Makes sure that memory for `[pos, pos + len)` exists. It stays until the stream has passed it, or [`discard`](Self::discard).
    ///
    /// # Errors
    /// [`NoMemory`], and then no chunk was added.
    #[inline]
    pub fn reserve(&mut self, pos: u64, len: usize, pool: &mut ChunkPool) -> Result<(), NoMemory> {
        if len == 0 {
            return Ok(());
        }
        let Some(end) = pos.checked_add(len as u64) else {
            return Err(pool.refuse());
        };
        let pos = pos.max(self.tail);
        if end <= pos {
            return Ok(());
        }
        self.secure(chunk_of(pos), chunk_of(end - 1), pool)?;
        self.high = self.high.max(end);
        Ok(())
    }

    /// Stores `data` at `pos`, in any order and with any holes; nothing is visible before [`publish`](Self::publish).
    ///
    /// What lies before `tail` was published already and is left as it is.
    ///
    /// # Errors
    /// [`NoMemory`], and then nothing was written.
    #[inline]
    pub fn write_at(
        &mut self,
        pos: u64,
        data: &[u8],
        pool: &mut ChunkPool,
    ) -> Result<(), NoMemory> {
        self.reserve(pos, data.len(), pool)?;
        let old = (self.tail.saturating_sub(pos)).min(data.len() as u64);
        let (mut pos, mut data) = (pos + old, &data[old as usize..]);
        while !data.is_empty() {
            let offset = offset_of(pos);
            let (run, rest) = data.split_at((CHUNK - offset).min(data.len()));
            // SAFETY: `reserve` made sure that the chunk exists; `pos >= tail`, where the consumer does not read.
            unsafe { (*self.slots.get(chunk_of(pos))).write(offset, run) };
            pos += run.len() as u64;
            data = rest;
        }
        Ok(())
    }

    /// Makes everything before `pos` visible. A `pos` before `tail` changes nothing.
    ///
    /// All of it must have been written or reserved: the stream ends before the first chunk that was not.
    #[inline]
    pub fn publish(&mut self, pos: u64) {
        let pos = pos.min(self.high);
        let mut end = self.tail;
        while end < pos && self.has_chunk(chunk_of(end)) {
            end = (end + (CHUNK - offset_of(end)) as u64).min(pos);
        }
        if end > self.tail {
            self.tail = end;
            self.ring.set_tail(end);
        }
    }

    /// Appends as much of `data` as the limit allows and publishes it. Returns how many bytes that was.
    ///
    /// # Errors
    /// [`NoMemory`] if there is no memory for that much, and then nothing was written.
    #[inline]
    pub fn write(&mut self, data: &[u8], pool: &mut ChunkPool) -> Result<usize, NoMemory> {
        if self.known_free() < data.len() as u64 {
            self.head();
        }
        let len = self.known_free().min(data.len() as u64) as usize;
        if !self.write_within_chunk(&data[..len], pool) {
            self.write_at(self.tail, &data[..len], pool)?;
            self.publish(self.tail + len as u64);
        }
        Ok(len)
    }

    /// Gives back the chunks that the consumer has passed; all of them if it has read everything and nothing is stored ahead.
    ///
    /// Costs one load when there is nothing to do.
    #[inline]
    pub fn reclaim(&mut self, pool: &mut ChunkPool) {
        if self.held == 0 {
            return;
        }
        let head = self.head();
        if head == self.high {
            self.free_chunks(self.low, chunk_of(self.high) + 1, pool);
            self.low = chunk_of(head);
        } else if chunk_of(head) > self.low {
            self.free_chunks(self.low, chunk_of(head), pool);
            self.low = chunk_of(head);
            self.free_older_tables();
        }
    }

    /// Forgets what was written or reserved at `from` and beyond but not published, and gives back its chunks.
    pub fn discard(&mut self, from: u64, pool: &mut ChunkPool) {
        let from = from.max(self.tail);
        if from >= self.high {
            return;
        }
        // The chunk that `from` cuts stays: bytes before `from` may need it.
        let (first, end) = (from.div_ceil(CHUNK as u64), chunk_of(self.high) + 1);
        self.high = from;
        self.free_chunks(first, end, pool);
        if self.held == 0 {
            self.high = self.tail;
        }
        self.reclaim(pool);
    }

    /// Moves both positions to `to` without storing anything: for data that was consumed before it reached the ring.
    ///
    /// The ring must be read empty, and nothing stored at or after `to`; chunks it still has go back.
    pub fn skip(&mut self, consumer: &mut ByteConsumer, to: u64, pool: &mut ChunkPool) -> Skipped {
        if self.ring != *consumer.ring() || self.head() != self.tail || to < self.high {
            return Skipped::Refused;
        }
        self.free_chunks(self.low, chunk_of(self.high) + 1, pool);
        (self.head, self.tail, self.high, self.low) = (to, to, to, chunk_of(to));
        self.ring.set_tail(to);
        consumer.skip(to);
        Skipped::Done
    }

    /// Gives back, at the end of the connection, all memory that the consumer cannot read any more.
    ///
    /// When the consumer is gone that is everything, so drop it first where both are at hand. Otherwise what is
    /// published and unread stays readable.
    pub fn release(&mut self, pool: &mut ChunkPool) -> Released {
        self.discard(self.tail, pool);
        if self.is_abandoned() {
            // Nobody reads: as if all had been consumed.
            self.free_chunks(self.low, chunk_of(self.high) + 1, pool);
            self.head = self.tail;
            self.low = chunk_of(self.tail);
            self.ring.set_head(self.tail);
        } else {
            self.reclaim(pool);
        }
        if self.held == 0 {
            Released::All
        } else {
            Released::Unread
        }
    }

    /// The usual case of [`write`](Self::write): all in one chunk, and nothing stored ahead.
    #[inline]
    fn write_within_chunk(&mut self, data: &[u8], pool: &mut ChunkPool) -> bool {
        let (number, offset) = (chunk_of(self.tail), offset_of(self.tail));
        if data.is_empty() || data.len() > CHUNK - offset || self.high > self.tail {
            return false;
        }
        if !self.has_chunk(number) && !self.add_chunk(number, pool) {
            return false;
        }
        // SAFETY: the chunk exists, and from `tail` on the consumer does not read.
        unsafe { (*self.slots.get(number)).write(offset, data) };
        self.tail += data.len() as u64;
        self.high = self.tail;
        self.ring.set_tail(self.tail);
        true
    }

    #[inline]
    fn known_free(&self) -> u64 {
        self.limit.saturating_sub(self.tail - self.head)
    }

    /// Makes sure that the chunks `first..=last` exist, or changes nothing.
    #[inline]
    fn secure(&mut self, first: u64, last: u64, pool: &mut ChunkPool) -> Result<(), NoMemory> {
        if first == last && (self.has_chunk(first) || self.add_chunk(first, pool)) {
            return Ok(());
        }
        self.add_chunks(first, last, pool)
    }

    /// The usual case of `add_chunks`: one that is missing, a pool that has one at hand, and a table with room for it.
    #[inline]
    fn add_chunk(&mut self, number: u64, pool: &mut ChunkPool) -> bool {
        if number - self.low >= self.slots.capacity() || !self.is_counted_by(pool) {
            return false;
        }
        let Some(chunk) = pool.take_cached() else {
            return false;
        };
        // SAFETY: the entry is empty, so it is that of no chunk of `[head, tail)`.
        unsafe { self.slots.replace(number, Box::into_raw(chunk)) };
        self.held += 1;
        true
    }

    fn add_chunks(&mut self, first: u64, last: u64, pool: &mut ChunkPool) -> Result<(), NoMemory> {
        if last - self.low >= self.slots.capacity() {
            self.reclaim(pool);
        }
        if last - self.low >= MAX_SPAN {
            return Err(pool.refuse());
        }
        let missing = (first..=last)
            .filter(|&number| !self.has_chunk(number))
            .count();
        pool.secure(missing)?;
        if last - self.low >= self.slots.capacity() {
            self.grow(last - self.low + 1)
                .map_err(|NoMemory| pool.refuse())?;
        }
        self.settle_account(pool);
        for number in first..=last {
            if self.has_chunk(number) {
                continue;
            }
            let Some(chunk) = pool.take() else {
                return Err(NoMemory);
            };
            // SAFETY: the entry is empty, so it is that of no chunk of `[head, tail)`.
            unsafe { self.slots.replace(number, Box::into_raw(chunk)) };
            self.held += 1;
        }
        Ok(())
    }

    #[inline]
    fn has_chunk(&self, number: u64) -> bool {
        // SAFETY: we are the producer. Beyond the capacity an entry would be that of another chunk.
        number - self.low < self.slots.capacity() && !unsafe { self.slots.get(number) }.is_null()
    }

    /// Replaces the table by one for at least `needed` chunks.
    #[cold]
    fn grow(&mut self, needed: u64) -> Result<(), NoMemory> {
        let capacity = needed.next_power_of_two().max(2 * self.slots.capacity());
        let table =
            Table::allocate(capacity as usize, self.tail, self.ring.table()).ok_or(NoMemory)?;
        let table = Box::into_raw(table);
        // SAFETY: just made.
        let slots = unsafe { Slots::of(table) };
        for number in self.low..self.low + self.slots.capacity() {
            // SAFETY: we are the producer, and the new table is not published yet.
            unsafe { slots.replace(number, self.slots.get(number)) };
        }
        self.slots = slots;
        self.ring.set_table(table);
        self.head();
        self.free_older_tables();
        Ok(())
    }

    /// Frees the tables before the current one, once the consumer can no longer use them.
    fn free_older_tables(&mut self) {
        let table = self.ring.table();
        if table.is_null() {
            return;
        }
        // SAFETY: the current table is alive, and `older` is ours alone.
        let (since, older) = unsafe { ((*table).since, &(*table).older) };
        if self.head >= since {
            // SAFETY: `head >= since`: the consumer can read nothing more through an older table (module text).
            unsafe { Table::free_chain(older.replace(ptr::null_mut())) };
        }
    }

    /// Gives the chunks `first..end` to the pool. The consumer has passed them, or never saw them, or is gone.
    #[inline]
    fn free_chunks(&mut self, first: u64, end: u64, pool: &mut ChunkPool) {
        if self.held > 0 && !self.free_only_chunk(first, end, pool) {
            self.free_each_chunk(first, end, pool);
        }
    }

    /// The usual case: one chunk is held, it is the first, and there is no table on the heap.
    #[inline]
    fn free_only_chunk(&mut self, first: u64, end: u64, pool: &mut ChunkPool) -> bool {
        let usual = self.held == 1 && first < end && self.has_chunk(first);
        if !usual || !self.ring.table().is_null() || !self.is_counted_by(pool) {
            return false;
        }
        // SAFETY: as in `free_each_chunk`.
        let chunk = unsafe { self.slots.replace(first, ptr::null_mut()) };
        // SAFETY: the entry was not null, so it came from `Box::into_raw`, and this was its only live entry.
        pool.give(unsafe { Box::from_raw(chunk) });
        self.held = 0;
        true
    }

    fn free_each_chunk(&mut self, first: u64, end: u64, pool: &mut ChunkPool) {
        self.settle_account(pool);
        for number in first..end.min(self.low + self.slots.capacity()) {
            // SAFETY: we are the producer, and the callers see to it that the consumer does not look here.
            let chunk = unsafe { self.slots.replace(number, ptr::null_mut()) };
            if chunk.is_null() {
                continue;
            }
            // SAFETY: it came from `Box::into_raw` in `add_chunks`, and this was its only live entry.
            pool.give(unsafe { Box::from_raw(chunk) });
            self.held -= 1;
            if self.held == 0 {
                self.drop_table();
                break;
            }
        }
    }

    /// Whether the ring has a table on the heap.
    #[cfg(all(test, not(loom)))]
    pub(super) fn has_table(&self) -> bool {
        !self.ring.table().is_null()
    }

    /// Goes back to the inline entries. No chunk is held, hence `head == tail` and the consumer uses no table.
    fn drop_table(&mut self) {
        let table = self.ring.table();
        if table.is_null() {
            return;
        }
        self.ring.set_table(ptr::null_mut());
        // SAFETY: nobody uses this table or those before it (module text, "Idle"); we are the producer.
        unsafe {
            Table::free_chain(table);
            self.slots = self.ring.slots();
        }
        for number in 0..INLINE as u64 {
            // What stood here when the ring outgrew them. SAFETY: the consumer does not look here, as above.
            unsafe { self.slots.replace(number, ptr::null_mut()) };
        }
    }

    /// Has the held chunks counted by `pool`, if another one counted them until now.
    #[inline]
    fn settle_account(&mut self, pool: &mut ChunkPool) {
        if !self.is_counted_by(pool) {
            self.change_pool(pool);
        }
    }

    #[inline]
    fn is_counted_by(&self, pool: &ChunkPool) -> bool {
        self.ledger
            .as_ref()
            .is_some_and(|ledger| Arc::ptr_eq(ledger, pool.ledger()))
    }

    #[cold]
    fn change_pool(&mut self, pool: &mut ChunkPool) {
        if let Some(before) = self.ledger.replace(pool.ledger().clone()) {
            before.write_off(self.held);
            pool.adopt(self.held);
        }
    }
}

impl Drop for ByteProducer {
    fn drop(&mut self) {
        if self.held > 0
            && let Some(ledger) = self.ledger.take()
        {
            self.ring.bequeath(ledger);
        }
    }
}
