//! Random operations on a ring and on a map of bytes, compared after each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{C, CHUNK, byte_at, bytes};
use crate::bytes::*;

#[derive(Clone, Debug)]
enum Op {
    /// Distance from `tail` (may overlap it backwards), length.
    WriteAt(i64, usize),
    Reserve(u64, usize),
    Write(usize),
    /// Up to the first byte that is missing.
    Publish,
    /// Parts per 256 of what is readable, length.
    Copy(u64, usize),
    Advance(u64),
    Read(usize),
    Slice,
    Reclaim,
    Discard(u64),
    SetLimit(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let near = 0..(3 * C);
    let far = 0..(40 * C);
    let len = prop_oneof![4 => 0..200usize, 3 => 0..3000usize, 1 => 0..(3 * CHUNK)];
    prop_oneof![
        6 => (-2000i64..3 * C as i64, len.clone()).prop_map(|(at, len)| Op::WriteAt(at, len)),
        2 => (far.clone(), len.clone()).prop_map(|(at, len)| Op::WriteAt(at as i64, len)),
        2 => (near, len.clone()).prop_map(|(at, len)| Op::Reserve(at, len)),
        4 => len.clone().prop_map(Op::Write),
        6 => Just(Op::Publish),
        3 => (0..256u64, len.clone()).prop_map(|(at, len)| Op::Copy(at, len)),
        3 => (0..=256u64).prop_map(Op::Advance),
        2 => len.prop_map(Op::Read),
        2 => Just(Op::Slice),
        3 => Just(Op::Reclaim),
        1 => far.clone().prop_map(Op::Discard),
        1 => (0..30 * C).prop_map(Op::SetLimit),
    ]
}

/// The simple ring: every byte by itself, and the set of chunks that must exist.
#[derive(Default)]
struct Oracle {
    bytes: BTreeMap<u64, u8>,
    chunks: BTreeSet<u64>,
    head: u64,
    tail: u64,
    high: u64,
    limit: u64,
}

impl Oracle {
    fn free(&self) -> u64 {
        self.limit.saturating_sub(self.tail - self.head)
    }

    fn chunks_of(&self, pos: u64, len: usize) -> BTreeSet<u64> {
        (pos.max(self.tail)..pos + len as u64)
            .map(|pos| pos / C)
            .collect()
    }

    fn reserve(&mut self, pos: u64, len: usize) {
        let chunks = self.chunks_of(pos, len);
        if !chunks.is_empty() {
            self.high = self.high.max(pos + len as u64);
        }
        self.chunks.extend(chunks);
    }

    fn reclaim(&mut self) {
        if self.head == self.high {
            self.chunks.clear();
        }
        self.chunks = self.chunks.split_off(&(self.head / C));
    }

    /// The end of the bytes that follow `tail` without a hole.
    fn contiguous(&self) -> u64 {
        let mut end = self.tail;
        while self.bytes.contains_key(&end) {
            end += 1;
        }
        end
    }
}

struct Pair {
    oracle: Oracle,
    tx: ByteProducer,
    rx: ByteConsumer,
    pool: ChunkPool,
}

impl Pair {
    fn new(limit: u64, chunks: usize) -> Self {
        let (tx, rx) = byte_ring(limit);
        let oracle = Oracle {
            limit,
            ..Oracle::default()
        };
        Self {
            oracle,
            tx,
            rx,
            pool: ChunkPool::new(chunks),
        }
    }

    /// Checks that memory was refused for cause, after which nothing may have changed.
    fn refused(&mut self, pos: u64, len: usize, failures: u64) {
        self.sync_reclaim();
        let missing = self
            .oracle
            .chunks_of(pos, len)
            .difference(&self.oracle.chunks)
            .count();
        assert!(missing > self.pool.available(), "refused without need");
        assert_eq!(self.pool.failures(), failures + 1);
    }

    /// A call that needs a larger table reclaims first.
    fn sync_reclaim(&mut self) {
        if self.tx.memory() < self.oracle.chunks.len() * CHUNK {
            self.oracle.reclaim();
        }
    }

    fn write_at(&mut self, pos: u64, len: usize) {
        let failures = self.pool.failures();
        if self
            .tx
            .write_at(pos, &bytes(pos, len), &mut self.pool)
            .is_err()
        {
            return self.refused(pos, len, failures);
        }
        self.sync_after_growth(pos, len);
        let fresh = pos.max(self.oracle.tail)..pos + len as u64;
        self.oracle
            .bytes
            .extend(fresh.map(|pos| (pos, byte_at(pos))));
    }

    fn reserve(&mut self, pos: u64, len: usize) {
        let failures = self.pool.failures();
        match self.tx.reserve(pos, len, &mut self.pool) {
            Ok(()) => self.sync_after_growth(pos, len),
            Err(NoMemory) => self.refused(pos, len, failures),
        }
    }

    /// The oracle's part of a reservation, whether or not it made the ring reclaim.
    fn sync_after_growth(&mut self, pos: u64, len: usize) {
        let grown = self
            .oracle
            .chunks
            .union(&self.oracle.chunks_of(pos, len))
            .count();
        if self.tx.memory() != grown * CHUNK {
            self.oracle.reclaim();
        }
        self.oracle.reserve(pos, len);
    }

    fn write(&mut self, len: usize) {
        let (tail, free) = (self.oracle.tail, self.oracle.free());
        let accepted = free.min(len as u64) as usize;
        let failures = self.pool.failures();
        match self.tx.write(&bytes(tail, len), &mut self.pool) {
            Err(NoMemory) => self.refused(tail, accepted, failures),
            Ok(written) => {
                assert_eq!(written, accepted);
                self.sync_after_growth(tail, accepted);
                self.oracle
                    .bytes
                    .extend((tail..).take(accepted).map(|pos| (pos, byte_at(pos))));
                self.oracle.tail += accepted as u64;
            }
        }
    }

    fn copy(&mut self, pos: u64, len: usize) {
        let mut out = vec![0; len];
        let copied = self.rx.copy_to(pos, &mut out);
        let expected: Vec<u8> = (pos..self.oracle.tail)
            .take(len)
            .map(|pos| self.oracle.bytes[&pos])
            .collect();
        assert!(out[..copied] == expected, "{copied} bytes at {pos}");
    }

    fn advance(&mut self, to: u64) {
        self.rx.advance(to);
        self.oracle.head = to;
        self.oracle.bytes = self.oracle.bytes.split_off(&to);
    }

    fn apply(&mut self, op: Op) {
        let (head, tail) = (self.oracle.head, self.oracle.tail);
        let readable = |parts: u64| head + (tail - head) * parts / 256;
        match op {
            Op::WriteAt(at, len) => self.write_at(tail.saturating_add_signed(at), len),
            Op::Reserve(at, len) => self.reserve(tail + at, len),
            Op::Write(len) => self.write(len),
            Op::Publish => {
                self.oracle.tail = self.oracle.contiguous();
                self.tx.publish(self.oracle.tail);
            }
            Op::Copy(at, len) => self.copy(readable(at), len),
            Op::Advance(parts) => self.advance(readable(parts)),
            Op::Read(len) => {
                self.copy(head, len);
                let read = self.rx.read(&mut vec![0; len]);
                assert_eq!(read as u64, (tail - head).min(len as u64));
                self.advance(head + read as u64);
            }
            Op::Slice => {
                let expected = (tail - head).min(C - head % C) as usize;
                assert!(self.rx.slice() == bytes(head, expected));
            }
            Op::Reclaim => {
                self.tx.reclaim(&mut self.pool);
                self.oracle.reclaim();
            }
            Op::Discard(at) => self.discard(tail + at),
            Op::SetLimit(limit) => {
                self.tx.set_limit(limit);
                self.oracle.limit = limit;
            }
        }
        self.compare();
    }

    fn discard(&mut self, from: u64) {
        self.tx.discard(from, &mut self.pool);
        let oracle = &mut self.oracle;
        if from < oracle.high {
            oracle.high = from;
            oracle.bytes.split_off(&from);
            oracle.chunks.split_off(&from.div_ceil(C));
            if oracle.chunks.is_empty() {
                oracle.high = oracle.tail;
            }
            oracle.reclaim();
        }
    }

    fn compare(&mut self) {
        let oracle = &self.oracle;
        assert_eq!((self.tx.tail(), self.rx.tail()), (oracle.tail, oracle.tail));
        assert_eq!((self.tx.head(), self.rx.head()), (oracle.head, oracle.head));
        assert_eq!(self.rx.len(), oracle.tail - oracle.head);
        assert_eq!(self.tx.free(), oracle.free());
        assert_eq!(self.tx.high(), oracle.high);
        assert_eq!(self.tx.memory(), oracle.chunks.len() * CHUNK);
        assert_eq!(self.pool.in_use(), oracle.chunks.len());
        assert!(self.pool.in_use() <= self.pool.limit());
    }

    /// Reads everything, forgets what is ahead, and finds the ring without memory.
    fn finish(mut self) {
        let (head, tail) = (self.oracle.head, self.oracle.tail);
        self.copy(head, (tail - head) as usize);
        self.advance(tail);
        self.discard(tail);
        self.tx.reclaim(&mut self.pool);
        assert_eq!((self.tx.memory(), self.pool.in_use()), (0, 0));
        assert!(!self.tx.has_table());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 400 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn behaves_like_a_map_of_bytes(
        limit in 0..(30 * C),
        chunks in prop_oneof![1 => 0..6usize, 3 => 6..60usize],
        ops in prop::collection::vec(op(), 1..if cfg!(miri) { 15 } else { 120 }),
    ) {
        let mut pair = Pair::new(limit, chunks);
        for op in ops {
            pair.apply(op);
        }
        pair.finish();
    }
}
