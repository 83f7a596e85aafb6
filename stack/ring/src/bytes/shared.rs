//! The control block that both halves of a byte ring point to, and its last owner's duties.

use core::{ops::Deref, ptr::NonNull};
use std::sync::Arc as StdArc;

use super::{
    chunk::{Chunk, Ledger},
    table::{Slot, Slots, Table, empty_slot},
};
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, UnsafeCell};

/// Entries in the control block itself: rings that span no more chunks than that need no table.
#[cfg(not(loom))]
pub(super) const INLINE: usize = 4;
/// Small, so that a model reaches growth soon.
#[cfg(loom)]
pub(super) const INLINE: usize = 1;

/// What the producer writes, on one cache line.
///
/// Crossbeam's padding is not used here: at two lines per index it would double the memory of an idle connection.
#[repr(align(64))]
struct ProducerLine {
    tail: AtomicU64,
    /// Null while the `inline` entries are in use.
    table: AtomicPtr<Table>,
    inline: [Slot; INLINE],
}

/// What the consumer writes, and what nobody writes while data flows.
#[repr(align(64))]
struct ConsumerLine {
    head: AtomicU64,
    /// How many halves are alive.
    halves: AtomicUsize,
    /// Left by a producer that died holding chunks: whom to tell when they are freed.
    estate: UnsafeCell<Option<StdArc<Ledger>>>,
}

/// The control block.
pub(super) struct Shared {
    producer: ProducerLine,
    consumer: ConsumerLine,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Shared>() == 128 && align_of::<Shared>() == 64);

impl Shared {
    /// The published end of the stream, and an acquire fence for all that was stored before it.
    #[inline]
    pub(super) fn tail(&self) -> u64 {
        self.producer.tail.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn set_tail(&self, tail: u64) {
        self.producer.tail.store(tail, Ordering::Release);
    }

    #[inline]
    pub(super) fn head(&self) -> u64 {
        self.consumer.head.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn set_head(&self, head: u64) {
        self.consumer.head.store(head, Ordering::Release);
    }

    /// Whether the other half is gone. All that it did happened before this returned true.
    #[inline]
    pub(super) fn is_abandoned(&self) -> bool {
        self.consumer.halves.load(Ordering::Acquire) == 1
    }

    /// The table, null when inline.
    pub(super) fn table(&self) -> *mut Table {
        self.producer.table.load(Ordering::Acquire)
    }

    /// Publishes another table; null goes back to the inline entries. The producer's call.
    pub(super) fn set_table(&self, table: *mut Table) {
        self.producer.table.store(table, Ordering::Release);
    }

    /// A view of the current table.
    ///
    /// # Safety
    /// The caller is the producer, or the consumer that just read a `tail` larger than its `head`: then the table cannot
    /// be freed before `head` moves (module text, "Table growth" and "Idle").
    #[inline]
    pub(super) unsafe fn slots(&self) -> Slots {
        let table = self.table();
        if table.is_null() {
            return Slots::new(&self.producer.inline);
        }
        // SAFETY: alive by contract.
        unsafe { Slots::of(table) }
    }

    /// Names the ledger for the chunks that the dying producer leaves.
    pub(super) fn bequeath(&self, ledger: StdArc<Ledger>) {
        // SAFETY: only the producer writes here, once, as it dies; only the last owner reads, after `halves` reached 0.
        self.consumer
            .estate
            .with_mut(|estate| unsafe { *estate = Some(ledger) });
    }

    /// Frees all chunks and tables.
    ///
    /// # Safety
    /// The caller is the only owner left, and nobody uses the ring afterwards.
    unsafe fn free_all(&self) {
        // SAFETY: nobody else is there.
        let slots = unsafe { self.slots() };
        let mut freed = 0;
        for number in 0..slots.capacity() {
            // SAFETY: as above; each entry is visited once and owns its chunk.
            let chunk: *mut Chunk = unsafe { slots.get(number) };
            if !chunk.is_null() {
                // SAFETY: it came from `Box::into_raw`, and older tables, which may name it too, are not followed.
                drop(unsafe { Box::from_raw(chunk) });
                freed += 1;
            }
        }
        // SAFETY: heap tables are owned by the ring, and nobody uses it any more.
        unsafe { Table::free_chain(self.table()) };
        let estate = self.consumer.estate.with_mut(|estate| {
            // SAFETY: the producer wrote it before it left.
            unsafe { (*estate).take() }
        });
        if let Some(ledger) = estate {
            ledger.write_off(freed);
        }
    }
}

/// One half's share in the control block. `Arc` without its header, which would cost a third cache line.
pub(super) struct Owner(NonNull<Shared>);

// SAFETY: `Shared` is made of atomics and of cells whose use the protocol orders between the two halves.
unsafe impl Send for Owner {}

impl Owner {
    /// A new control block and its two owners.
    pub(super) fn pair() -> (Self, Self) {
        let shared = Box::new(Shared {
            producer: ProducerLine {
                tail: AtomicU64::new(0),
                table: AtomicPtr::new(core::ptr::null_mut()),
                inline: core::array::from_fn(|_| empty_slot()),
            },
            consumer: ConsumerLine {
                head: AtomicU64::new(0),
                halves: AtomicUsize::new(2),
                estate: UnsafeCell::new(None),
            },
        });
        let shared = NonNull::from(Box::leak(shared));
        (Self(shared), Self(shared))
    }
}

impl PartialEq for Owner {
    /// Whether these are the two halves of one ring.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Deref for Owner {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        // SAFETY: alive until the last owner is dropped; only shared references are ever made.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Release, so that the last owner sees all that this half did; acquire, if this is the last owner.
        if self.consumer.halves.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: the other half is gone and this one is going.
            unsafe { self.free_all() };
            // SAFETY: it came from `Box::leak`, and no reference to it is left.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}
