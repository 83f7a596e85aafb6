//! SPSC message ring: commands, events and handed-over packets between two threads.
//!
//! A power-of-two array of slots between two free-running counters. `tail` is written by the producer alone, `head` by
//! the consumer alone, each on its own cache lines; the difference is the number of messages. Slots in
//! `[head, tail)` belong to the consumer, the others to the producer. Batches publish once.
//!
//! Linux counterpart: the `ptr_ring`/`io_uring` queues.

use core::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use crate::position::accept;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, UnsafeCell};

#[cfg(all(test, not(loom)))]
mod tests;

/// An index and whether its writer has gone; one per side, alone on its cache lines.
struct Side {
    index: AtomicU64,
    gone: AtomicBool,
}

impl Side {
    fn new() -> CachePadded<Self> {
        CachePadded::new(Self {
            index: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        })
    }
}

struct Ring<T> {
    /// Written by the producer.
    tail: CachePadded<Side>,
    /// Written by the consumer.
    head: CachePadded<Side>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is touched by one side at a time (see the module text), and messages move between threads only by
// value, so `T: Send` is all that is needed.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above; `&Ring` gives access to slots only through the two halves.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    #[inline]
    fn slot(&self, index: u64) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[index as usize & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let tail = self.tail.index.load(Ordering::Relaxed);
        for index in self.head.index.load(Ordering::Relaxed)..tail {
            // SAFETY: both halves are gone, and `[head, tail)` holds messages that were pushed and never popped.
            self.slot(index)
                .with_mut(|slot| unsafe { (*slot).assume_init_drop() });
        }
    }
}

/// A message ring for at least `capacity` messages (rounded up to a power of two, at least 2).
///
/// The slots are allocated here, once; neither half allocates afterwards.
pub fn spsc<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.max(2).next_power_of_two();
    let ring = Arc::new(Ring {
        tail: Side::new(),
        head: Side::new(),
        slots: (0..capacity)
            .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
            .collect(),
    });
    (
        Producer {
            ring: ring.clone(),
            tail: 0,
            head: 0,
        },
        Consumer {
            ring,
            head: 0,
            tail: 0,
        },
    )
}

/// The sending half of a message ring.
pub struct Producer<T> {
    ring: Arc<Ring<T>>,
    /// Ours; equals the published one between calls.
    tail: u64,
    /// The consumer's, as last seen.
    head: u64,
}

impl<T> Producer<T> {
    /// How many messages the ring holds when full.
    pub fn capacity(&self) -> usize {
        self.ring.slots.len()
    }

    /// Messages not yet taken by the consumer.
    pub fn len(&mut self) -> usize {
        self.refresh();
        (self.tail - self.head) as usize
    }

    /// Whether the consumer has taken everything.
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// How many messages can be pushed now.
    pub fn free(&mut self) -> usize {
        self.capacity() - self.len()
    }

    /// Whether the consumer is gone; what is pushed afterwards is dropped with the ring.
    pub fn is_abandoned(&self) -> bool {
        self.ring.head.gone.load(Ordering::Acquire)
    }

    /// Appends one message.
    ///
    /// # Errors
    /// Gives the message back when the ring is full.
    #[inline]
    pub fn push(&mut self, message: T) -> Result<(), T> {
        if !self.has_room() {
            return Err(message);
        }
        self.put(message);
        self.publish();
        Ok(())
    }

    /// Appends messages from `messages` until it ends or the ring is full, and publishes them at once.
    ///
    /// Takes no message from the iterator that it cannot store, so `&mut iter` keeps the rest. Returns how many went in.
    pub fn push_batch(&mut self, messages: impl IntoIterator<Item = T>) -> usize {
        let mut messages = messages.into_iter();
        let before = self.tail;
        while self.has_room() {
            let Some(message) = messages.next() else {
                break;
            };
            self.put(message);
        }
        self.publish();
        (self.tail - before) as usize
    }

    #[inline]
    fn has_room(&mut self) -> bool {
        let capacity = self.ring.slots.len() as u64;
        if self.tail - self.head == capacity {
            self.refresh();
        }
        self.tail - self.head < capacity
    }

    /// Writes into the next slot. The caller has checked that there is room.
    #[inline]
    fn put(&mut self, message: T) {
        // SAFETY: `tail - head < capacity`, so the slot at `tail` is not in `[head, tail)`: the consumer left it before it
        // released the `head` that we acquired, and does not look at it until `publish`.
        self.ring
            .slot(self.tail)
            .with_mut(|slot| unsafe { (*slot).write(message) });
        self.tail += 1;
    }

    #[inline]
    fn publish(&mut self) {
        self.ring.tail.index.store(self.tail, Ordering::Release);
    }

    #[inline]
    fn refresh(&mut self) {
        self.head = accept(
            self.ring.head.index.load(Ordering::Acquire),
            self.head,
            self.tail,
        );
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.ring.tail.gone.store(true, Ordering::Release);
    }
}

/// The receiving half of a message ring.
pub struct Consumer<T> {
    ring: Arc<Ring<T>>,
    /// Ours; equals the published one between calls.
    head: u64,
    /// The producer's, as last seen.
    tail: u64,
}

impl<T> Consumer<T> {
    /// How many messages the ring holds when full.
    pub fn capacity(&self) -> usize {
        self.ring.slots.len()
    }

    /// Messages that can be popped now.
    pub fn len(&mut self) -> usize {
        self.refresh();
        (self.tail - self.head) as usize
    }

    /// Whether there is nothing to pop.
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        !self.has_message()
    }

    /// Whether the producer is gone. What it pushed before can still be popped: when this is true and the ring is empty
    /// *afterwards*, nothing will ever come.
    pub fn is_abandoned(&self) -> bool {
        self.ring.tail.gone.load(Ordering::Acquire)
    }

    /// Takes the oldest message.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if !self.has_message() {
            return None;
        }
        let message = self.take();
        self.publish();
        Some(message)
    }

    /// Takes up to `max` messages, oldest first, hands each to `sink`, and frees their slots at once.
    ///
    /// Returns how many there were. If `sink` panics, the messages it was given are gone and the others stay.
    pub fn pop_batch(&mut self, max: usize, mut sink: impl FnMut(T)) -> usize {
        let before = self.head;
        let batch = Batch(self);
        while ((batch.0.head - before) as usize) < max && batch.0.has_message() {
            sink(batch.0.take());
        }
        (batch.0.head - before) as usize
    }

    #[inline]
    fn has_message(&mut self) -> bool {
        if self.head == self.tail {
            self.refresh();
        }
        self.head != self.tail
    }

    /// Moves the oldest message out. The caller has checked that there is one.
    #[inline]
    fn take(&mut self) -> T {
        // SAFETY: `head < tail`, so the slot was written before the `tail` that we acquired was released, and the
        // producer leaves it alone until `publish`. `head` moves at once: no message is read twice.
        let message = self
            .ring
            .slot(self.head)
            .with(|slot| unsafe { (*slot).assume_init_read() });
        self.head += 1;
        message
    }

    #[inline]
    fn publish(&mut self) {
        self.ring.head.index.store(self.head, Ordering::Release);
    }

    #[inline]
    fn refresh(&mut self) {
        let bound = self.head + self.ring.slots.len() as u64;
        self.tail = accept(
            self.ring.tail.index.load(Ordering::Acquire),
            self.tail,
            bound,
        );
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.ring.head.gone.store(true, Ordering::Release);
    }
}

/// Publishes `head` when the batch ends, by return or by panic.
struct Batch<'a, T>(&'a mut Consumer<T>);

impl<T> Drop for Batch<'_, T> {
    fn drop(&mut self) {
        self.0.publish();
    }
}
