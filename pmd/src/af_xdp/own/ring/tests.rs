//! Rings in plain memory, the test being the kernel.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

/// Where the parts of a ring of a test lie.
const AT: XdpRingOffset = XdpRingOffset {
    producer: 0,
    consumer: 64,
    desc: 192,
    flags: Some(128),
};

/// The kernel's side of a ring.
pub(in crate::af_xdp::own) struct Other<T> {
    start: *mut u8,
    size: u32,
    _entries: PhantomData<T>,
}

// SAFETY: indices are atomic; entries are used by the side whose they are, in the tests that play by the rules.
unsafe impl<T> Send for Other<T> {}

impl<T: Entry> Other<T> {
    /// Memory for a ring of `size` entries whose indices both stand at `start`, and this side of it.
    fn new(size: u32, start: u32) -> (Mapping, Self) {
        let len = AT.desc as usize + size as usize * size_of::<T>();
        let memory = Mapping::anonymous(len, 0).expect("memory");
        let other = Self {
            start: memory.start().as_ptr(),
            size,
            _entries: PhantomData,
        };
        other.producer_index().store(start, Ordering::Relaxed);
        other.consumer_index().store(start, Ordering::Relaxed);
        (memory, other)
    }

    pub(in crate::af_xdp::own) fn producer(size: u32, start: u32) -> (Producer<T>, Self) {
        let (memory, other) = Self::new(size, start);
        (Producer::new(memory, &AT, size).expect("a ring"), other)
    }

    pub(in crate::af_xdp::own) fn consumer(size: u32, start: u32) -> (Consumer<T>, Self) {
        let (memory, other) = Self::new(size, start);
        (Consumer::new(memory, &AT, size).expect("a ring"), other)
    }

    fn index(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: an index of the ring, whose memory outlives this side in the tests.
        unsafe { &*self.start.add(offset as usize).cast() }
    }

    pub(in crate::af_xdp::own) fn producer_index(&self) -> &AtomicU32 {
        self.index(AT.producer)
    }

    pub(in crate::af_xdp::own) fn consumer_index(&self) -> &AtomicU32 {
        self.index(AT.consumer)
    }

    fn flags(&self) -> &AtomicU32 {
        self.index(128)
    }

    fn entry(&self, index: u32) -> *mut T {
        // SAFETY: masked, so within the entries.
        unsafe {
            self.start
                .add(AT.desc as usize)
                .cast::<T>()
                .add((index & (self.size - 1)) as usize)
        }
    }

    /// Writes an entry and shows it, whether or not there is room.
    pub(in crate::af_xdp::own) fn put(&self, entry: T) {
        let index = self.producer_index().load(Ordering::Relaxed);
        // SAFETY: a place of the ring.
        unsafe { self.entry(index).write(entry) };
        self.producer_index()
            .store(index.wrapping_add(1), Ordering::Release);
    }

    /// The next entry that was shown.
    pub(in crate::af_xdp::own) fn take(&self) -> Option<T> {
        let index = self.consumer_index().load(Ordering::Relaxed);
        if index == self.producer_index().load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: a place of the ring.
        let entry = unsafe { self.entry(index).read() };
        self.consumer_index()
            .store(index.wrapping_add(1), Ordering::Release);
        Some(entry)
    }
}

/// Starts from which indices wrap soon.
const STARTS: [u32; 3] = [0, u32::MAX - 2, u32::MAX / 2 + 1];

#[test]
fn a_producer_fills_the_ring_and_no_more() {
    for start in STARTS {
        let (mut ours, kernel) = Other::<u64>::producer(4, start);
        for value in 0..4 {
            assert_eq!(ours.push(value), Ok(()));
        }
        assert_eq!(ours.push(9), Err(9));
        assert_eq!(kernel.take(), None, "not published");
        ours.publish();
        assert_eq!((ours.unread(), ours.room(1)), (4, 0));
        assert_eq!((kernel.take(), kernel.take()), (Some(0), Some(1)));
        assert_eq!((ours.unread(), ours.room(4)), (2, 2));
        assert_eq!(
            (ours.push(4), ours.push(5), ours.push(6)),
            (Ok(()), Ok(()), Err(6))
        );
        ours.publish();
        let rest: Vec<u64> = std::iter::from_fn(|| kernel.take()).collect();
        assert_eq!(rest, [2, 3, 4, 5]);
        assert_eq!((ours.unread(), ours.room(4), ours.broken()), (0, 4, 0));
    }
}

#[test]
fn a_consumer_reads_what_is_shown_and_no_more() {
    for start in STARTS {
        let (mut ours, kernel) = Other::<u64>::consumer(4, start);
        assert_eq!(ours.available(), 0);
        (0..4).for_each(|value| kernel.put(value));
        assert_eq!(ours.available(), 4);
        let seen: Vec<u64> = (0..4).map(|at| ours.peek(at)).collect();
        assert_eq!(seen, [0, 1, 2, 3]);
        ours.release(3);
        assert_eq!(
            kernel.consumer_index().load(Ordering::Relaxed),
            start.wrapping_add(3)
        );
        kernel.put(4);
        assert_eq!((ours.available(), ours.peek(0), ours.peek(1)), (2, 3, 4));
        ours.release(2);
        assert_eq!((ours.available(), ours.broken()), (0, 0));
    }
}

#[test]
fn an_index_that_cannot_be_is_not_believed() {
    for start in STARTS {
        let (mut ours, kernel) = Other::<u64>::producer(8, start);
        (0..3).for_each(|value| ours.push(value).expect("room"));
        ours.publish();
        // Further than we have written, backwards, and far away.
        for (count, index) in [
            start.wrapping_add(4),
            start.wrapping_sub(1),
            start ^ 0x8000_0000,
        ]
        .into_iter()
        .enumerate()
        {
            kernel.consumer_index().store(index, Ordering::Relaxed);
            assert_eq!(ours.unread(), 3);
            assert_eq!(ours.broken(), count as u64 + 1);
        }
        // It goes on where it was when the index is itself again.
        kernel
            .consumer_index()
            .store(start.wrapping_add(3), Ordering::Relaxed);
        assert_eq!((ours.unread(), ours.room(8)), (0, 8));

        let (mut ours, kernel) = Other::<u64>::consumer(8, start);
        (0..3).for_each(|value| kernel.put(value));
        assert_eq!(ours.available(), 3);
        // More than the ring has places, fewer than were shown before, and backwards.
        for (count, index) in [
            start.wrapping_add(9),
            start.wrapping_add(2),
            start.wrapping_sub(1),
        ]
        .into_iter()
        .enumerate()
        {
            kernel.producer_index().store(index, Ordering::Relaxed);
            assert_eq!(ours.available(), 3);
            assert_eq!(ours.broken(), count as u64 + 1);
        }
        kernel
            .producer_index()
            .store(start.wrapping_add(8), Ordering::Relaxed);
        assert_eq!(ours.available(), 8);
    }
}

#[test]
fn a_ring_outside_of_its_memory_is_refused() {
    let small = || Other::<u64>::new(4, 0).0;
    let len = small().len() as u64;
    for at in [
        XdpRingOffset {
            producer: len,
            ..AT
        },
        XdpRingOffset {
            consumer: u64::MAX - 2,
            ..AT
        },
        XdpRingOffset {
            desc: len - 8,
            ..AT
        },
        XdpRingOffset { desc: 193, ..AT },
        XdpRingOffset {
            flags: Some(len - 2),
            ..AT
        },
    ] {
        assert!(Producer::<u64>::new(small(), &at, 4).is_err(), "{at:?}");
        assert!(Consumer::<u64>::new(small(), &at, 4).is_err(), "{at:?}");
    }
    assert!(
        Producer::<u64>::new(small(), &AT, 3).is_err(),
        "no power of two"
    );
}

#[test]
fn the_flag_asks_for_a_wakeup() {
    let (ours, kernel) = Other::<u64>::producer(4, 0);
    assert!(!ours.needs_wakeup());
    kernel.flags().store(NEED_WAKEUP, Ordering::Relaxed);
    assert!(ours.needs_wakeup());
    let (memory, _other) = Other::<u64>::new(4, 0);
    let without = XdpRingOffset { flags: None, ..AT };
    let ours = Producer::<u64>::new(memory, &without, 4).expect("a ring");
    assert!(
        ours.needs_wakeup(),
        "a kernel without flags is always called"
    );
}

/// Any sequence of steps by both sides: entries come out as they went in, none is lost, none comes twice.
#[test]
fn any_order_of_steps_keeps_the_order_of_entries() {
    for seed in 0..200 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let size = 1 << (dice.next_u32() % 5);
        let start = STARTS[seed as usize % STARTS.len()];
        let (mut fill, drain) = Other::<u64>::producer(size, start);
        let (mut rx, device) = Other::<u64>::consumer(size, start);
        let (mut pushed, mut passed, mut seen) = (0, 0, 0);
        let mut inside = 0;
        for _ in 0..2000 {
            match dice.next_u32() % 4 {
                0 => {
                    while dice.next_u32() % 3 > 0 && fill.push(pushed).is_ok() {
                        pushed += 1;
                    }
                }
                1 => fill.publish(),
                2 if inside < size => {
                    if let Some(value) = drain.take() {
                        assert_eq!(value, passed);
                        passed += 1;
                        inside += 1;
                        device.put(value);
                    }
                }
                _ => {
                    let available = rx.available();
                    assert_eq!(available, inside);
                    let count = dice.next_u32() % (available + 1);
                    for at in 0..count {
                        assert_eq!(rx.peek(at), seen);
                        seen += 1;
                    }
                    rx.release(count);
                    inside -= count;
                }
            }
            assert!(fill.room(size) <= size);
        }
        assert!(seen > 0, "seed {seed}");
        assert_eq!((fill.broken(), rx.broken()), (0, 0));
    }
}

/// The same with the kernel on another core.
#[test]
fn two_threads_pass_entries_through() {
    const COUNT: u64 = 200_000;
    let start = u32::MAX - 1000;
    let (mut fill, drain) = Other::<u64>::producer(64, start);
    let (mut rx, device) = Other::<u64>::consumer(64, start);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0;
            while next < COUNT {
                let written = device.producer_index().load(Ordering::Relaxed);
                let read = device.consumer_index().load(Ordering::Acquire);
                if written.wrapping_sub(read) < 64
                    && let Some(value) = drain.take()
                {
                    assert_eq!(value, next);
                    next += 1;
                    device.put(value);
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let (mut sent, mut seen) = (0, 0);
        while seen < COUNT {
            while sent < COUNT && fill.push(sent).is_ok() {
                sent += 1;
            }
            fill.publish();
            let available = rx.available();
            for at in 0..available {
                assert_eq!(rx.peek(at), seen);
                seen += 1;
            }
            rx.release(available);
            if available == 0 {
                std::thread::yield_now();
            }
        }
        assert_eq!((fill.unread(), fill.broken(), rx.broken()), (0, 0, 0));
    });
}
