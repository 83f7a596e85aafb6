//! What the ring promises, case by case; `oracle` checks it against a model, `threads` under real concurrency.

use super::*;

mod oracle;
mod threads;

const C: u64 = CHUNK as u64;

/// The byte that stands at `pos` in all these tests.
fn byte_at(pos: u64) -> u8 {
    (pos.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(pos: u64, len: usize) -> Vec<u8> {
    (pos..).take(len).map(byte_at).collect()
}

#[track_caller]
fn assert_readable(rx: &mut ByteConsumer, pos: u64, len: usize) {
    let mut out = vec![0; len];
    assert_eq!(rx.copy_to(pos, &mut out), len);
    assert!(out == bytes(pos, len), "wrong bytes at {pos}");
}

fn ring(limit: u64) -> (ByteProducer, ByteConsumer, ChunkPool) {
    let (tx, rx) = byte_ring(limit);
    (tx, rx, ChunkPool::new(1000))
}

#[test]
fn halves_can_move_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<ByteProducer>();
    is_send::<ByteConsumer>();
    is_send::<ChunkPool>();
}

#[test]
fn write_is_bounded_by_the_limit() {
    let (mut tx, mut rx, mut pool) = ring(100);
    assert_eq!(tx.write(&bytes(0, 150), &mut pool), Ok(100));
    assert_eq!(tx.write(&bytes(100, 1), &mut pool), Ok(0));
    assert_eq!(rx.read(&mut [0; 30]), 30);
    assert_eq!(tx.free(), 30);
    tx.set_limit(20);
    assert_eq!(tx.free(), 0, "more is stored than the limit now allows");
    assert_readable(&mut rx, 30, 70);
    tx.set_limit(200);
    assert_eq!(tx.free(), 130);
}

#[test]
fn send_ring_is_read_many_times() {
    let (mut tx, mut rx, mut pool) = ring(5 * C);
    assert_eq!(tx.write(&bytes(0, 3 * CHUNK), &mut pool), Ok(3 * CHUNK));
    for pos in [0, C - 1, C, 2 * C + 7, 5] {
        assert_readable(&mut rx, pos, 500);
        assert_readable(&mut rx, pos, 500);
    }
    rx.advance(C + 10);
    assert_eq!(rx.copy_to(C + 9, &mut [0; 4]), 0, "consumed");
    assert_readable(&mut rx, C + 10, CHUNK);
    assert_eq!(rx.copy_to(3 * C - 2, &mut [0; 4]), 2, "cut at tail");
    assert_eq!(rx.copy_to(3 * C, &mut [0; 4]), 0);
    assert_eq!(rx.copy_to(u64::MAX, &mut [0; 4]), 0);
}

#[test]
fn out_of_order_data_is_seen_when_the_hole_fills() {
    let (mut tx, mut rx, mut pool) = ring(100 * C);
    let end = 20 * C + 100;
    // Back to front, so that the table grows with the first, and chunks in between are absent for long.
    assert_eq!(
        tx.write_at(end - 200, &bytes(end - 200, 200), &mut pool),
        Ok(())
    );
    assert!(tx.memory() <= 2 * CHUNK, "sparse");
    assert_eq!(rx.len(), 0);
    let mut pos = end - 200;
    while pos > 0 {
        let len = pos.min(1448);
        pos -= len;
        assert_eq!(
            tx.write_at(pos, &bytes(pos, len as usize), &mut pool),
            Ok(())
        );
        assert_eq!(rx.len(), 0);
    }
    tx.publish(end);
    assert_eq!(rx.len(), end);
    assert_readable(&mut rx, 0, end as usize);
}

#[test]
fn published_bytes_cannot_be_overwritten() {
    let (mut tx, mut rx, mut pool) = ring(1000);
    assert_eq!(tx.write(&bytes(0, 10), &mut pool), Ok(10));
    let mut overlapping = vec![0xff; 8];
    overlapping.extend(bytes(10, 5));
    assert_eq!(tx.write_at(2, &overlapping, &mut pool), Ok(()));
    assert_eq!(tx.write_at(0, &[0xff; 10], &mut pool), Ok(()));
    tx.publish(15);
    assert_readable(&mut rx, 0, 15);
}

#[test]
fn idle_ring_holds_nothing() {
    let (mut tx, mut rx, mut pool) = ring(64 << 20);
    assert_eq!(tx.memory(), 0);
    let mut pos = 0;
    for len in [1, 64, CHUNK, 3 * CHUNK + 5, 50 * CHUNK, 64] {
        assert_eq!(tx.write(&bytes(pos, len), &mut pool), Ok(len));
        assert_readable(&mut rx, pos, len);
        tx.reclaim(&mut pool);
        assert!(tx.memory() >= len, "nothing was consumed yet");
        pos += len as u64;
        rx.advance(pos);
        tx.reclaim(&mut pool);
        assert_eq!((tx.memory(), pool.in_use()), (0, 0));
        assert!(!tx.has_table());
    }
}

#[test]
fn ping_pong_reuses_one_chunk() {
    let (mut tx, mut rx, mut pool) = ring(64 << 10);
    for round in 0..200 {
        assert_eq!(tx.write(&bytes(round * 64, 64), &mut pool), Ok(64));
        assert_readable(&mut rx, round * 64, 64);
        rx.advance(round * 64 + 64);
        tx.reclaim(&mut pool);
    }
    // 4,096 is a multiple of 64: no message spans two chunks, so the pool never needed a second.
    assert_eq!((pool.in_use(), pool.cached()), (0, 1));
}

#[test]
fn reclaim_frees_behind_head_only() {
    let (mut tx, mut rx, mut pool) = ring(10 * C);
    assert_eq!(
        tx.write(&bytes(0, 6 * CHUNK + 1), &mut pool),
        Ok(6 * CHUNK + 1)
    );
    rx.advance(3 * C - 1);
    tx.reclaim(&mut pool);
    assert_eq!(tx.memory(), 5 * CHUNK);
    rx.advance(6 * C + 1);
    // Drained, but there is data ahead.
    assert_eq!(tx.write_at(9 * C, &bytes(9 * C, 1), &mut pool), Ok(()));
    tx.reclaim(&mut pool);
    assert_eq!(tx.memory(), 2 * CHUNK);
    assert_eq!(
        tx.write_at(6 * C + 1, &bytes(6 * C + 1, 3 * CHUNK - 1), &mut pool),
        Ok(())
    );
    tx.publish(9 * C + 1);
    assert_readable(&mut rx, 6 * C + 1, 3 * CHUNK);
}

#[test]
fn small_pool_refuses_whole_and_changes_nothing() {
    let (mut tx, mut rx, _) = ring(1 << 20);
    let mut pool = ChunkPool::new(3);
    assert_eq!(tx.write(&bytes(0, CHUNK + 1), &mut pool), Ok(CHUNK + 1));
    assert_eq!(tx.write(&[1; 2 * CHUNK], &mut pool), Err(NoMemory));
    assert_eq!(
        tx.write_at(7 * C, &[1; CHUNK + 1], &mut pool),
        Err(NoMemory)
    );
    assert_eq!(tx.reserve(2 * C, 2 * CHUNK, &mut pool), Err(NoMemory));
    assert_eq!(
        (tx.tail(), tx.high(), tx.memory()),
        (C + 1, C + 1, 2 * CHUNK)
    );
    assert_eq!(
        (pool.in_use(), pool.available(), pool.failures()),
        (2, 1, 3)
    );
    assert_readable(&mut rx, 0, CHUNK + 1);
    // What is there still works, and what comes free can be used.
    assert_eq!(tx.reserve(C + 1, 2 * CHUNK - 1, &mut pool), Ok(()));
    assert_eq!(
        tx.write(&bytes(C + 1, 2 * CHUNK - 1), &mut pool),
        Ok(2 * CHUNK - 1)
    );
    assert_eq!(tx.write(&[1], &mut pool), Err(NoMemory));
    rx.advance(C);
    tx.reclaim(&mut pool);
    assert_eq!(tx.write(&bytes(3 * C, 1), &mut pool), Ok(1));
}

/// Data that is lent has its memory promised: others are refused it, and it is there when it is needed.
#[test]
fn promised_chunks_are_for_nobody_else() {
    let (mut tx, _rx) = byte_ring(100 * C);
    let mut pool = ChunkPool::new(3);
    let needed = ChunkPool::span(C - 1, 2);
    assert_eq!(needed, 2);
    assert_eq!(pool.secure(needed), Ok(()));
    pool.promise(needed);
    assert_eq!(pool.available(), 1);
    assert_eq!(tx.write(&bytes(0, 2 * CHUNK), &mut pool), Err(NoMemory));
    assert_eq!(tx.write(&bytes(0, CHUNK), &mut pool), Ok(CHUNK));
    pool.trim();
    assert_eq!(pool.cached(), needed, "the promised ones stay");
    assert_eq!(tx.write(&bytes(C, 1), &mut pool), Err(NoMemory));
    pool.redeem(needed);
    assert_eq!(tx.write(&bytes(C, 2 * CHUNK), &mut pool), Ok(2 * CHUNK));
    assert_eq!(pool.available(), 0);
}

#[test]
fn a_position_beyond_any_window_is_refused() {
    let (mut tx, mut rx, mut pool) = ring(u64::MAX);
    assert_eq!(tx.limit(), MAX_LIMIT);
    for pos in [MAX_SPAN * C, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        assert_eq!(tx.write_at(pos, &[1, 2], &mut pool), Err(NoMemory), "{pos}");
    }
    tx.publish(u64::MAX);
    assert_eq!((tx.tail(), rx.tail()), (0, 0), "nothing was written");
    rx.advance(u64::MAX);
    assert_eq!((rx.head(), tx.memory(), pool.in_use()), (0, 0, 0));
}

#[test]
fn publish_stops_at_memory_that_does_not_exist() {
    let (mut tx, mut rx, mut pool) = ring(1 << 20);
    assert_eq!(tx.write_at(0, &bytes(0, 100), &mut pool), Ok(()));
    assert_eq!(tx.write_at(2 * C, &bytes(2 * C, 100), &mut pool), Ok(()));
    tx.publish(2 * C + 50);
    assert_eq!(rx.tail(), C);
    assert_readable(&mut rx, 0, 100);
    tx.publish(5);
    assert_eq!(tx.tail(), C, "never back");
}

#[test]
fn slices_end_at_chunks() {
    let (mut tx, mut rx, mut pool) = ring(1 << 20);
    assert!(rx.slice().is_empty());
    let len = 2 * CHUNK + 10;
    assert_eq!(tx.write(&bytes(0, len), &mut pool), Ok(len));
    rx.advance(6);
    for run in [CHUNK - 6, CHUNK, 10] {
        let head = rx.head();
        assert!(rx.slice() == bytes(head, run));
        rx.advance(head + run as u64);
    }
    assert!(rx.slice().is_empty());
}

#[test]
fn reserved_memory_stays_until_passed_or_discarded() {
    let (mut tx, mut rx, _) = ring(1 << 20);
    let mut pool = ChunkPool::new(2);
    assert_eq!(tx.reserve(0, 2 * CHUNK, &mut pool), Ok(()));
    tx.reclaim(&mut pool);
    assert_eq!(tx.write(&bytes(0, 2 * CHUNK), &mut pool), Ok(2 * CHUNK));
    rx.advance(2 * C);
    tx.reclaim(&mut pool);
    assert_eq!(tx.memory(), 0);
    assert_eq!(tx.reserve(2 * C, CHUNK + 1, &mut pool), Ok(()));
    tx.discard(2 * C, &mut pool);
    assert_eq!((tx.memory(), tx.high()), (0, 2 * C));
}

#[test]
fn discard_forgets_what_is_ahead() {
    let (mut tx, mut rx, mut pool) = ring(1 << 20);
    assert_eq!(tx.write(&bytes(0, 10), &mut pool), Ok(10));
    for chunk in [1, 2, 9] {
        assert_eq!(tx.write_at(chunk * C, &[1; 20], &mut pool), Ok(()));
    }
    tx.discard(2 * C + 5, &mut pool);
    assert_eq!((tx.memory(), tx.high()), (3 * CHUNK, 2 * C + 5));
    tx.discard(0, &mut pool);
    assert_eq!(
        (tx.memory(), tx.high()),
        (CHUNK, 10),
        "what is published stays"
    );
    assert_eq!(tx.write(&bytes(10, 2 * CHUNK), &mut pool), Ok(2 * CHUNK));
    assert_readable(&mut rx, 0, 10 + 2 * CHUNK);
}

#[test]
fn skip_moves_an_empty_ring() {
    let (mut tx, mut rx, mut pool) = ring(1 << 20);
    assert_eq!(tx.reserve(0, 64, &mut pool), Ok(()));
    assert_eq!(tx.skip(&mut rx, 64, &mut pool), Skipped::Done);
    assert_eq!(
        (tx.memory(), tx.tail(), rx.head(), rx.tail()),
        (0, 64, 64, 64)
    );
    assert_eq!(tx.skip(&mut rx, 100 * C + 1, &mut pool), Skipped::Done);
    assert_eq!(
        tx.write(&bytes(100 * C + 1, 3 * CHUNK), &mut pool),
        Ok(3 * CHUNK)
    );
    assert_eq!(
        tx.skip(&mut rx, 104 * C, &mut pool),
        Skipped::Refused,
        "unread"
    );
    assert_readable(&mut rx, 100 * C + 1, 3 * CHUNK);
    rx.advance(103 * C + 1);
    assert_eq!(tx.write_at(104 * C, &[1], &mut pool), Ok(()));
    assert_eq!(
        tx.skip(&mut rx, 104 * C, &mut pool),
        Skipped::Refused,
        "data ahead"
    );
    let (_, mut stranger, _) = ring(1);
    assert_eq!(tx.skip(&mut stranger, 105 * C, &mut pool), Skipped::Refused);
}

#[test]
fn release_gives_back_what_nobody_can_read() {
    let (mut tx, mut rx, mut pool) = ring(1 << 20);
    assert_eq!(tx.write(&bytes(0, 10), &mut pool), Ok(10));
    assert_eq!(tx.write_at(8 * C, &[1; 9], &mut pool), Ok(()));
    assert_eq!(tx.release(&mut pool), Released::Unread);
    assert_readable(&mut rx, 0, 10);
    assert_eq!(tx.memory(), CHUNK);
    drop(rx);
    assert_eq!(tx.release(&mut pool), Released::All);
    assert_eq!((tx.memory(), pool.in_use()), (0, 0));
}

#[test]
fn either_half_can_die_first() {
    for producer_first in [true, false] {
        let (mut tx, mut rx, mut pool) = ring(1 << 20);
        assert_eq!(tx.write(&bytes(0, 9 * CHUNK), &mut pool), Ok(9 * CHUNK));
        rx.advance(2 * C);
        tx.reclaim(&mut pool);
        if producer_first {
            drop(tx);
            assert!(rx.is_abandoned());
            assert_readable(&mut rx, 2 * C, 7 * CHUNK);
            assert_eq!(pool.in_use(), 7);
            drop(rx);
        } else {
            drop(rx);
            assert!(tx.is_abandoned());
            drop(tx);
        }
        assert_eq!(pool.in_use(), 0, "the pool hears of it");
    }
}

#[test]
fn a_ring_can_change_pools() {
    let (mut tx, mut rx, mut old) = ring(1 << 20);
    let mut new = ChunkPool::new(3);
    assert_eq!(tx.write(&bytes(0, 2 * CHUNK), &mut old), Ok(2 * CHUNK));
    assert_eq!(tx.write(&bytes(2 * C, 1), &mut new), Ok(1));
    assert_eq!((old.in_use(), new.in_use()), (0, 3));
    assert_eq!(tx.write(&bytes(2 * C + 1, CHUNK), &mut new), Err(NoMemory));
    assert_readable(&mut rx, 0, 2 * CHUNK + 1);
    rx.advance(2 * C + 1);
    tx.reclaim(&mut old);
    assert_eq!((old.in_use(), new.in_use()), (0, 0));
}

#[test]
fn trim_and_limit_of_the_pool() {
    let (mut tx, mut rx, mut pool) = ring(1 << 20);
    assert_eq!(tx.write(&bytes(0, 3 * CHUNK), &mut pool), Ok(3 * CHUNK));
    pool.set_limit(2);
    assert_eq!((pool.limit(), pool.available()), (2, 0));
    rx.advance(3 * C);
    tx.reclaim(&mut pool);
    assert_eq!(
        (pool.in_use(), pool.cached()),
        (0, 2),
        "no more is kept than may be used"
    );
    pool.trim();
    assert_eq!(pool.cached(), 0);
}
