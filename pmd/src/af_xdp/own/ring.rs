//! The four rings of a socket: one side writes entries and a producer index, the other reads them and a consumer index.
//!
//! Indices run freely over 32 bits and are masked for a place. Each side owns one index; it writes entries before it stores
//! its index with release, and reads them after it has loaded the other's with acquire. The other side's index is never
//! believed beyond what it may be: an index that went backwards, or further than there are entries, is ignored and
//! counted, so that whatever stands there no entry is read or written that is not ours.
//!
//! Linux counterpart: `net/xdp/xsk_queue.h`.

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use std::io;

use rustix::net::xdp::XdpRingOffset;

use super::mapping::Mapping;

/// `XDP_RING_NEED_WAKEUP`.
const NEED_WAKEUP: u32 = 1;

/// A frame, or a piece of one, in the receive and transmit rings (`struct xdp_desc`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Desc {
    /// Offset of the first byte in the memory of the frames.
    pub(super) addr: u64,
    /// Bytes.
    pub(super) len: u32,
    /// [`CONTINUED`].
    pub(super) options: u32,
}

/// `XDP_PKT_CONTD`: the next descriptor belongs to the same packet.
pub(super) const CONTINUED: u32 = 1;

/// What a ring consists of: any 8 or 16 bytes are one.
pub(super) trait Entry: Copy {}
impl Entry for u64 {}
impl Entry for Desc {}

/// A ring's memory.
struct Shared<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: Option<NonNull<AtomicU32>>,
    entries: NonNull<T>,
    /// A power of two.
    size: u32,
    /// Keeps the memory mapped.
    _memory: Mapping,
    _entries: PhantomData<T>,
}

// SAFETY: the pointers lead into the mapping that goes with them; indices are atomic, and only the owner of this value uses
// the entries of its side.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Entry> Shared<T> {
    /// A ring of `size` entries in `memory`, laid out as `at` says. An error when it does not fit.
    fn new(memory: Mapping, at: &XdpRingOffset, size: u32) -> io::Result<Self> {
        let place = |offset: u64, bytes: usize, align: usize| {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = offset.checked_add(bytes);
            if end.is_none_or(|end| end > memory.len()) || offset % align != 0 {
                return Err(io::Error::other(
                    "the kernel describes a ring outside of its memory",
                ));
            }
            // SAFETY: within the mapping, by the check.
            Ok(unsafe { memory.start().add(offset) })
        };
        if !size.is_power_of_two() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let index = |offset| place(offset, size_of::<AtomicU32>(), align_of::<AtomicU32>());
        let entries = place(at.desc, size as usize * size_of::<T>(), align_of::<T>())?;
        Ok(Self {
            producer: index(at.producer)?.cast(),
            consumer: index(at.consumer)?.cast(),
            flags: at
                .flags
                .map(|offset| index(offset).map(NonNull::cast))
                .transpose()?,
            entries: entries.cast(),
            size,
            _memory: memory,
            _entries: PhantomData,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: in the mapping, aligned (checked in `new`), and only ever used as an atomic.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    /// Whether the kernel sleeps until it is called.
    #[inline]
    fn needs_wakeup(&self) -> bool {
        // SAFETY: as above.
        let flags = self.flags.map(|flags| unsafe { flags.as_ref() });
        // Without flags (a kernel before 5.4) nothing is known: call.
        flags.is_none_or(|flags| flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0)
    }

    #[inline]
    fn entry(&self, index: u32) -> NonNull<T> {
        // SAFETY: masked, so within the entries, whose room was checked in `new`.
        unsafe { self.entries.add((index & (self.size - 1)) as usize) }
    }
}

/// Our end of a ring that the kernel reads: fill, transmit.
pub(super) struct Producer<T> {
    ring: Shared<T>,
    /// Where the next entry goes.
    next: u32,
    /// What the kernel has been told.
    published: u32,
    /// How far it had read when we last looked.
    read: u32,
    broken: u64,
}

impl<T: Entry> Producer<T> {
    pub(super) fn new(memory: Mapping, at: &XdpRingOffset, size: u32) -> io::Result<Self> {
        let ring = Shared::new(memory, at, size)?;
        let start = ring.producer().load(Ordering::Relaxed);
        Ok(Self {
            ring,
            next: start,
            published: start,
            read: start,
            broken: 0,
        })
    }

    /// Looks how far the other side has read.
    #[inline]
    fn look(&mut self) {
        let read = self.ring.consumer().load(Ordering::Acquire);
        if read.wrapping_sub(self.read) <= self.published.wrapping_sub(self.read) {
            self.read = read;
        } else {
            self.broken += 1;
        }
    }

    /// Places for entries, `wanted` being as good as any more.
    #[inline]
    pub(super) fn room(&mut self, wanted: u32) -> u32 {
        let room = |ring: &Self| ring.ring.size - ring.next.wrapping_sub(ring.read);
        if room(self) < wanted {
            self.look();
        }
        room(self)
    }

    /// Writes the next entry, which the kernel does not see before [`Self::publish`]. Gives it back when there is no place.
    #[inline]
    pub(super) fn push(&mut self, entry: T) -> Result<(), T> {
        if self.room(1) == 0 {
            return Err(entry);
        }
        // SAFETY: a place of the ring that the kernel does not read: it lies between what is published and what it has read.
        unsafe { self.ring.entry(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
        Ok(())
    }

    /// Shows the kernel what was pushed.
    #[inline]
    pub(super) fn publish(&mut self) {
        self.published = self.next;
        self.ring.producer().store(self.next, Ordering::Release);
    }

    /// Entries that the kernel has been shown and has not read.
    #[inline]
    pub(super) fn unread(&mut self) -> u32 {
        self.look();
        self.published.wrapping_sub(self.read)
    }

    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }

    /// Indices of the other side that could not be.
    pub(super) fn broken(&self) -> u64 {
        self.broken
    }
}

/// Our end of a ring that the kernel writes: receive, completion.
pub(super) struct Consumer<T> {
    ring: Shared<T>,
    /// The next entry to read.
    next: u32,
    /// How far the kernel had written when we last looked.
    written: u32,
    broken: u64,
}

impl<T: Entry> Consumer<T> {
    pub(super) fn new(memory: Mapping, at: &XdpRingOffset, size: u32) -> io::Result<Self> {
        let ring = Shared::new(memory, at, size)?;
        let start = ring.consumer().load(Ordering::Relaxed);
        Ok(Self {
            ring,
            next: start,
            written: start,
            broken: 0,
        })
    }

    /// Entries to be read.
    #[inline]
    pub(super) fn available(&mut self) -> u32 {
        let written = self.ring.producer().load(Ordering::Acquire);
        let (ahead, known) = (
            written.wrapping_sub(self.next),
            self.written.wrapping_sub(self.next),
        );
        if known <= ahead && ahead <= self.ring.size {
            self.written = written;
        } else {
            self.broken += 1;
        }
        self.written.wrapping_sub(self.next)
    }

    /// The entry `at` places from the next, which must be available.
    #[inline]
    pub(super) fn peek(&self, at: u32) -> T {
        debug_assert!(
            at < self.written.wrapping_sub(self.next),
            "entry {at} is not available"
        );
        // SAFETY: a place of the ring, and any bytes are an entry; the kernel does not write it until it is released.
        unsafe { self.ring.entry(self.next.wrapping_add(at)).read() }
    }

    /// Gives the places of the next `count` entries back.
    #[inline]
    pub(super) fn release(&mut self, count: u32) {
        debug_assert!(count <= self.written.wrapping_sub(self.next));
        self.next = self.next.wrapping_add(count);
        self.ring.consumer().store(self.next, Ordering::Release);
    }

    /// Indices of the other side that could not be.
    pub(super) fn broken(&self) -> u64 {
        self.broken
    }
}

#[cfg(test)]
pub(super) mod tests;
