//! The table from chunk numbers to chunks, and the view of it that each side keeps.

use core::{cell::Cell, ptr};

use super::chunk::Chunk;
use crate::sync::UnsafeCell;

/// One entry: a chunk or null. Written by the producer; read by the consumer for chunks of `[head, tail)` only.
pub(super) type Slot = UnsafeCell<*mut Chunk>;

pub(super) fn empty_slot() -> Slot {
    UnsafeCell::new(ptr::null_mut())
}

/// A table on the heap, for rings that have outgrown the entries in the control block.
///
/// Immutable once published, but for the entries and for `older`, which only the producer looks at.
pub(super) struct Table {
    slots: Box<[Slot]>,
    /// The ring's `tail` when this table replaced the one before: that one is dead once `head` is here.
    pub(super) since: u64,
    /// The replaced table, if it was on the heap and the consumer may still read it.
    pub(super) older: Cell<*mut Table>,
}

impl Table {
    /// An empty table for `capacity` chunks (a power of two), or `None` when the allocator has no memory.
    pub(super) fn allocate(capacity: usize, since: u64, older: *mut Table) -> Option<Box<Self>> {
        debug_assert!(capacity.is_power_of_two());
        let mut slots = Vec::new();
        slots.try_reserve_exact(capacity).ok()?;
        slots.resize_with(capacity, empty_slot);
        Some(Box::new(Self {
            slots: slots.into_boxed_slice(),
            since,
            older: Cell::new(older),
        }))
    }

    /// Frees `table` and all the older ones behind it; null is fine. The chunks they name are not touched.
    ///
    /// # Safety
    /// The pointers came from `Box::into_raw`, and nobody uses these tables any more.
    pub(super) unsafe fn free_chain(mut table: *mut Table) {
        while !table.is_null() {
            // SAFETY: ours alone by contract, and unlinked before the next round.
            let owned = unsafe { Box::from_raw(table) };
            table = owned.older.get();
            // Freeing counts as writing: the model then reports a consumer that is not done with the table.
            #[cfg(loom)]
            for slot in &owned.slots {
                // SAFETY: ours alone by contract.
                slot.with_mut(|slot| unsafe { *slot = ptr::null_mut() });
            }
        }
    }
}

/// A view of the entries of one table: chunk number `n` is at `n & mask`.
///
/// A plain pointer: whoever keeps it knows from the protocol for how long the entries live.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    first: *const Slot,
    mask: u64,
}

// SAFETY: just a pointer; every use of it is an unsafe call whose contract speaks about the other thread.
unsafe impl Send for Slots {}

impl Slots {
    /// The view of `slots`, the number of which is a power of two.
    pub(super) fn new(slots: &[Slot]) -> Self {
        debug_assert!(slots.len().is_power_of_two());
        Self {
            first: slots.as_ptr(),
            mask: slots.len() as u64 - 1,
        }
    }

    /// The view of a heap table.
    ///
    /// # Safety
    /// `table` is alive.
    pub(super) unsafe fn of(table: *const Table) -> Self {
        // SAFETY: alive by contract; `slots` is never written to after publication.
        Self::new(unsafe { &(*table).slots })
    }

    /// How many chunks the table can hold.
    #[inline]
    pub(super) fn capacity(self) -> u64 {
        self.mask + 1
    }

    /// The chunk numbered `number`, or null.
    ///
    /// # Safety
    /// The table is alive, and the entry is not being written: it is asked for by the producer, or by the consumer for a
    /// chunk of `[head, tail)`.
    #[inline]
    pub(super) unsafe fn get(self, number: u64) -> *mut Chunk {
        // SAFETY: the index is masked, the rest is the contract.
        unsafe { (*self.first.add((number & self.mask) as usize)).with(|slot| *slot) }
    }

    /// Replaces the chunk numbered `number` and returns the one before.
    ///
    /// # Safety
    /// The caller is the producer, the table is alive, and no chunk of `[head, tail)` has this entry.
    #[inline]
    pub(super) unsafe fn replace(self, number: u64, chunk: *mut Chunk) -> *mut Chunk {
        // SAFETY: the index is masked; by contract the consumer does not look at this entry now.
        unsafe {
            (*self.first.add((number & self.mask) as usize))
                .with_mut(|slot| ptr::replace(slot, chunk))
        }
    }
}
