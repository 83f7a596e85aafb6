//! Both halves over rings in plain memory, the test being the kernel: an honest one, and one that writes nonsense.

use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::ring::tests::Other;
use super::ring::{CONTINUED, Desc};
use super::rx::Rx;
use super::socket::Socket;
use super::tx::Tx;
use super::umem::{Region, Umem};
use crate::af_xdp::open::Polling;
use crate::af_xdp::sizes::Sizes;
use crate::queue::{MAX_BURST, Mode, RxQueue, TxQueue};

const CHUNK: u64 = 4096;
/// Where the kernel puts the first byte of a chunk that it receives into.
const HEADROOM: u64 = 256;

const SIZES: Sizes = Sizes {
    chunk: CHUNK as u32,
    chunks_per_frame: 3,
    max_frame: 9018,
    rx: 16,
    tx: 8,
};

/// A receiving half and the kernel's sides of its rings; two queues share the memory, this is the second.
struct Receiver {
    umem: Arc<Umem>,
    half: Rx,
    fill: Other<u64>,
    ring: Other<Desc>,
    /// What the kernel has taken from the fill ring and not used.
    empty: VecDeque<u64>,
}

impl Receiver {
    fn new(sizes: Sizes) -> Self {
        Self::with_fill_ring(sizes, sizes.fill_ring())
    }

    fn with_fill_ring(sizes: Sizes, fill_ring: u32) -> Self {
        let umem = Arc::new(Umem::new(sizes, 2).expect("memory"));
        let (fill_ring, fill) = Other::producer(fill_ring, u32::MAX - 5);
        let (rx_ring, ring) = Other::consumer(sizes.rx, u32::MAX - 9);
        let (region, _) = Region::of_queue(sizes, 1);
        let half = Rx::new(
            Arc::clone(&umem),
            region,
            sizes,
            (rx_ring, fill_ring),
            Arc::new(Socket::of_nothing()),
            Polling::Ring,
        );
        Self {
            umem,
            half,
            fill,
            ring,
            empty: VecDeque::new(),
        }
    }

    /// The kernel takes all empty chunks; how many it then has.
    fn drain_fill(&mut self) -> usize {
        self.empty.extend(std::iter::from_fn(|| self.fill.take()));
        self.empty.len()
    }

    /// A piece of a frame in the next empty chunk.
    fn piece(&mut self, bytes: &[u8], options: u32) -> Desc {
        let addr = self.empty.pop_front().expect("an empty chunk") + HEADROOM;
        // SAFETY: the chunk came out of the fill ring, so it is the kernel's.
        unsafe { self.umem.bytes(addr, bytes.len()) }.copy_from_slice(bytes);
        Desc {
            addr,
            len: bytes.len() as u32,
            options,
        }
    }

    /// A frame in pieces of these lengths, its bytes counting from `first`.
    fn receive(&mut self, first: u8, lens: &[usize]) {
        let mut next = first;
        for (at, &len) in lens.iter().enumerate() {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    next = next.wrapping_add(1);
                    next
                })
                .collect();
            let options = if at + 1 < lens.len() { CONTINUED } else { 0 };
            let desc = self.piece(&bytes, options);
            self.ring.put(desc);
        }
    }

    /// One poll: first byte and length of each frame, whose bytes are checked.
    fn poll(&mut self, budget: usize) -> Vec<(u8, usize)> {
        let mut got = Vec::new();
        let count = self.half.rx(budget, &mut |frames| {
            for frame in frames {
                let data = frame.data();
                let first = data.first().copied().unwrap_or(0);
                let expected = (0..data.len()).map(|at| first.wrapping_add(at as u8));
                assert!(data.iter().copied().eq(expected), "{} bytes", data.len());
                got.push((first, data.len()));
            }
        });
        assert_eq!(count, got.len());
        got
    }
}

#[test]
fn chunks_go_round() {
    let mut receiver = Receiver::new(SIZES);
    assert_eq!(receiver.drain_fill(), 16);
    let first = receiver.empty[0];
    let all: Vec<u64> = (0..16).map(|place| first + place * CHUNK).collect();
    assert_eq!(receiver.empty, all);
    assert_eq!(first, 24 * CHUNK, "the second queue's chunks");
    for round in 0..100 {
        receiver.receive(round, &[60]);
        receiver.receive(round + 1, &[3840]);
        assert_eq!(
            receiver.poll(MAX_BURST),
            [(round + 1, 60), (round + 2, 3840)]
        );
        assert_eq!(receiver.poll(MAX_BURST), []);
        assert_eq!(receiver.drain_fill(), 16);
    }
    assert_eq!((receiver.half.packets, receiver.half.bytes), (200, 390_000));
    assert_eq!(receiver.half.invalid(), 0);
}

#[test]
fn frames_in_pieces_are_one() {
    let mut receiver = Receiver::new(SIZES);
    receiver.drain_fill();
    receiver.receive(0, &[3840, 3840, 1338]);
    receiver.receive(1, &[60]);
    receiver.receive(2, &[3840, 1]);
    assert_eq!(receiver.poll(2), [(1, 9018), (2, 60)]);
    assert_eq!(receiver.poll(2), [(3, 3841)]);
    assert_eq!(receiver.drain_fill(), 16);
    assert_eq!(receiver.half.invalid(), 0);
}

#[test]
fn a_frame_waits_for_its_last_piece() {
    let mut receiver = Receiver::new(SIZES);
    receiver.drain_fill();
    receiver.receive(7, &[100]);
    let first = receiver.piece(&[1, 2, 3], CONTINUED);
    let last = receiver.piece(&[4, 5], 0);
    receiver.ring.put(first);
    assert_eq!(receiver.poll(MAX_BURST), [(8, 100)]);
    assert_eq!(receiver.poll(MAX_BURST), []);
    receiver.ring.put(last);
    assert_eq!(receiver.poll(MAX_BURST), [(1, 5)]);
    assert_eq!((receiver.drain_fill(), receiver.half.invalid()), (16, 0));
}

#[test]
fn a_frame_of_too_many_pieces_is_dropped_whole() {
    let mut receiver = Receiver::new(SIZES);
    receiver.drain_fill();
    // More pieces than any frame has; as many as can be but longer together; and one that has only one after all.
    receiver.receive(0, &[10, 10, 10, 10, 10]);
    receiver.receive(1, &[3840, 3840, 3840]);
    receiver.receive(2, &[60]);
    assert_eq!(receiver.poll(MAX_BURST), [(3, 60)]);
    assert_eq!((receiver.drain_fill(), receiver.half.invalid()), (16, 2));

    let single = Sizes {
        chunks_per_frame: 1,
        max_frame: 1518,
        ..SIZES
    };
    let mut receiver = Receiver::new(single);
    receiver.drain_fill();
    receiver.receive(0, &[10, 10]);
    receiver.receive(1, &[60]);
    assert_eq!(receiver.poll(MAX_BURST), [(2, 60)]);
    assert_eq!((receiver.drain_fill(), receiver.half.invalid()), (16, 1));
}

/// What is not the kernel's to give is not taken, and costs nothing else.
#[test]
fn descriptors_that_cannot_be_are_counted_and_skipped() {
    let mut receiver = Receiver::new(SIZES);
    receiver.drain_fill();
    let good = receiver.piece(&[1, 2, 3], 0);
    let far = |addr| Desc {
        addr,
        len: 60,
        options: 0,
    };
    let sent_from = 40 * CHUNK;
    let bad = [
        far(0),
        far(23 * CHUNK),
        far(sent_from),
        far(48 * CHUNK),
        far(u64::MAX),
        far(u64::MAX - CHUNK),
        far(1 << 63),
    ];
    for desc in bad {
        receiver.ring.put(desc);
        receiver.ring.put(Desc {
            options: CONTINUED,
            ..desc
        });
        receiver.ring.put(desc);
        assert_eq!(receiver.poll(MAX_BURST), []);
    }
    assert_eq!(receiver.half.invalid(), 2 * bad.len() as u64);
    // A chunk that is ours now, in the same poll and in a later one (it is the kernel's again only when it takes it).
    receiver.ring.put(good);
    receiver.ring.put(good);
    assert_eq!(receiver.poll(MAX_BURST), [(1, 3)]);
    assert_eq!(receiver.half.invalid(), 15);
    // Longer than its chunk: the chunk stays the kernel's.
    receiver.drain_fill();
    let long = Desc {
        len: CHUNK as u32 - HEADROOM as u32 + 1,
        ..receiver.piece(&[1], 0)
    };
    receiver.ring.put(long);
    assert_eq!(receiver.poll(MAX_BURST), []);
    assert_eq!(receiver.half.invalid(), 16);
    receiver.ring.put(Desc { len: 1, ..long });
    assert_eq!(receiver.poll(MAX_BURST), [(1, 1)]);
    assert_eq!(receiver.drain_fill(), 16, "none is lost");
}

/// A fill ring that takes nothing, because its index stands: the chunks wait and go in later, whether or not frames come.
#[test]
fn chunks_without_a_place_wait() {
    use core::sync::atomic::Ordering;
    let mut receiver = Receiver::with_fill_ring(SIZES, 16);
    receiver.drain_fill();
    let index = receiver.fill.consumer_index();
    let read = index.load(Ordering::Relaxed);
    // The kernel does not tell yet what it has read.
    index.store(read.wrapping_sub(16), Ordering::Relaxed);
    (0..4).for_each(|first| receiver.receive(first, &[60]));
    assert_eq!(receiver.poll(MAX_BURST).len(), 4);
    receiver
        .fill
        .consumer_index()
        .store(read, Ordering::Relaxed);
    assert_eq!(receiver.drain_fill(), 12, "no place for them");
    assert_eq!(receiver.poll(MAX_BURST), []);
    assert_eq!(receiver.drain_fill(), 16);
}

/// Any frames in any pieces with any nonsense in between: frames come whole and in order, and no chunk is lost.
#[test]
fn any_traffic_is_survived() {
    for seed in 0..200 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut roll = move |sides: usize| dice.next_u32() as usize % sides;
        let mut receiver = Receiver::new(SIZES);
        let mut expected = VecDeque::new();
        let mut queued = 0;
        for round in 0..200 {
            receiver.drain_fill();
            while queued < 12 && receiver.empty.len() > 3 && roll(4) > 0 {
                if roll(5) == 0 {
                    let addr = (roll(64) as u64) << roll(60);
                    let known = receiver
                        .empty
                        .iter()
                        .any(|empty| empty / CHUNK == addr / CHUNK);
                    // A chunk that the kernel has would be a good one.
                    if !known && !(24 * CHUNK..40 * CHUNK).contains(&addr) {
                        receiver.ring.put(Desc {
                            addr,
                            len: 1,
                            options: 0,
                        });
                        queued += 1;
                    }
                    continue;
                }
                let lens: Vec<usize> = (0..=roll(3)).map(|_| 1 + roll(3000)).collect();
                let first = (round + roll(100)) as u8;
                receiver.receive(first, &lens);
                queued += lens.len();
                expected.push_back((first.wrapping_add(1), lens.iter().sum::<usize>()));
            }
            let available = expected.len();
            let budget = roll(MAX_BURST);
            let got = receiver.poll(budget);
            assert_eq!(got.len(), available.min(budget), "seed {seed}");
            for frame in got {
                assert_eq!(Some(frame), expected.pop_front(), "seed {seed}");
            }
            if expected.is_empty() {
                queued = 0;
                receiver.poll(MAX_BURST);
            }
        }
        while !expected.is_empty() {
            for frame in receiver.poll(MAX_BURST) {
                assert_eq!(Some(frame), expected.pop_front());
            }
        }
        receiver.poll(MAX_BURST);
        assert_eq!(receiver.drain_fill(), 16, "seed {seed}");
    }
}

/// A transmitting half and the kernel's sides of its rings.
struct Sender {
    half: Tx,
    umem: Arc<Umem>,
    ring: Other<Desc>,
    comp: Other<u64>,
}

impl Sender {
    fn new() -> Self {
        let umem = Arc::new(Umem::new(SIZES, 1).expect("memory"));
        let (tx_ring, ring) = Other::producer(SIZES.tx, u32::MAX - 3);
        let (comp_ring, comp) = Other::consumer(SIZES.tx, u32::MAX - 1);
        let (_, region) = Region::of_queue(SIZES, 0);
        let half = Tx::new(
            Arc::clone(&umem),
            region,
            SIZES,
            (tx_ring, comp_ring),
            Arc::new(Socket::of_nothing()),
            Mode::CopyNative,
            32,
        );
        Self {
            half,
            umem,
            ring,
            comp,
        }
    }

    /// Sends frames of these lengths; how many slots there were.
    fn send(&mut self, lens: &[usize]) -> usize {
        let ring = &self.ring;
        let mut sent = 0;
        self.half.tx(&mut |batch| {
            for &len in lens {
                let Some(slot) = batch.next(len) else { return };
                assert_eq!(slot.len(), len);
                for (at, byte) in slot.iter_mut().enumerate() {
                    *byte = (at + len) as u8;
                }
                sent += 1;
                assert_eq!(ring.take(), None, "not before the end of the call");
            }
        });
        sent
    }

    /// The kernel takes a frame: its descriptors.
    fn take(&mut self) -> Vec<Desc> {
        let mut descs = Vec::new();
        while let Some(desc) = self.ring.take() {
            descs.push(desc);
            if desc.options & CONTINUED == 0 {
                break;
            }
        }
        descs
    }
}

#[test]
fn long_frames_lie_in_adjacent_chunks() {
    let mut sender = Sender::new();
    assert_eq!(sender.half.capacity(), 2);
    let first = 16 * CHUNK;
    for (len, pieces) in [
        (60, &[60][..]),
        (4096, &[4096]),
        (4097, &[4096, 1]),
        (9018, &[4096, 4096, 826]),
    ] {
        assert_eq!(sender.send(&[len]), 1);
        let descs = sender.take();
        let expected: Vec<Desc> = pieces
            .iter()
            .enumerate()
            .map(|(at, &piece)| Desc {
                addr: first + at as u64 * CHUNK,
                len: piece,
                options: u32::from(at + 1 < pieces.len()),
            })
            .collect();
        assert_eq!(descs, expected);
        // SAFETY: the chunks are the kernel's now.
        let data = unsafe { sender.umem.bytes(first, len) };
        assert!(
            data.iter()
                .enumerate()
                .all(|(at, byte)| *byte == (at + len) as u8)
        );
        for desc in descs {
            sender.comp.put(desc.addr);
        }
    }
    assert_eq!(sender.send(&[9019]), 0, "longer than a frame");
    assert_eq!(
        (sender.half.packets, sender.half.bytes),
        (4, 60 + 4096 + 4097 + 9018)
    );
    assert_eq!((sender.half.full, sender.half.invalid()), (0, 0));
}

#[test]
fn a_slot_comes_back_with_its_last_piece() {
    let mut sender = Sender::new();
    assert_eq!(sender.send(&[9018, 60, 60]), 2);
    assert_eq!(sender.half.full, 1);
    let (long, short) = (sender.take(), sender.take());
    assert_eq!(sender.send(&[60]), 0);
    sender.comp.put(long[0].addr);
    sender.comp.put(long[2].addr);
    assert_eq!(sender.send(&[60]), 0);
    // Nonsense in between: what is not out, another half's, nobody's.
    for addr in [long[2].addr, 0, 23 * CHUNK, u64::MAX] {
        sender.comp.put(addr);
        sender.half.tx(&mut |_| {});
    }
    let invalid = sender.half.invalid();
    assert_eq!(
        invalid, 3,
        "the last piece twice is as good as the middle one"
    );
    assert_eq!(sender.send(&[60, 60]), 1, "and so the slot is free");
    assert_eq!(sender.take().len(), 1);
    sender.comp.put(short[0].addr);
    assert_eq!(sender.send(&[9018, 9018]), 1);
    assert_eq!(sender.take().len(), 3);
}
