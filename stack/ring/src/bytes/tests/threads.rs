//! Both halves on threads of their own.

use std::thread;

use super::{C, CHUNK, byte_at, bytes};
use crate::bytes::*;

const TOTAL: u64 = if cfg!(miri) { 12 * C } else { 4000 * C };

/// Sizes that hit every offset within a chunk, and now and then several chunks.
fn step(round: u64) -> usize {
    match round % 16 {
        0 => 3 * CHUNK + 1,
        n if n < 8 => 64,
        n => 100 * n as usize + 48,
    }
}

fn produce(mut tx: ByteProducer) -> (ByteProducer, ChunkPool) {
    let mut pool = ChunkPool::new(64);
    let mut round = 0;
    while tx.tail() < TOTAL {
        round += 1;
        // The window breathes, so the table grows in mid-stream and shrinks when the reader has caught up.
        tx.set_limit(if round % 64 < 40 { 2 * C } else { 32 * C });
        let (tail, len) = (tx.tail(), step(round).min((TOTAL - tx.tail()) as usize));
        if tx.free() < len as u64 {
            thread::yield_now();
        } else if round % 5 == 0 {
            // Out of order: the second half, then the first.
            let half = tail + len as u64 / 2;
            let second = bytes(half, (tail + len as u64 - half) as usize);
            assert_eq!(tx.write_at(half, &second, &mut pool), Ok(()));
            assert_eq!(
                tx.write_at(tail, &bytes(tail, (half - tail) as usize), &mut pool),
                Ok(())
            );
            tx.publish(tail + len as u64);
        } else {
            assert_eq!(tx.write(&bytes(tail, len), &mut pool), Ok(len));
        }
        tx.reclaim(&mut pool);
    }
    (tx, pool)
}

fn consume(mut rx: ByteConsumer) -> ByteConsumer {
    let mut out = vec![0; 4 * CHUNK];
    let mut round = 0;
    while rx.head() < TOTAL {
        round += 1;
        let head = rx.head();
        let taken = if round % 3 == 0 {
            let run = rx.slice();
            assert!((head..).zip(run).all(|(pos, &byte)| byte == byte_at(pos)));
            run.len()
        } else {
            // Twice, as a retransmission would.
            let len = rx.copy_to(head, &mut out[..step(round)]);
            let again = rx.copy_to(head + len as u64 / 2, &mut out[len / 2..len]);
            assert_eq!(again, len - len / 2);
            assert!(
                (head..)
                    .zip(&out[..len])
                    .all(|(pos, &byte)| byte == byte_at(pos))
            );
            len
        };
        if taken == 0 {
            assert!(!rx.is_abandoned() || !rx.is_empty(), "the producer failed");
            thread::yield_now();
        }
        rx.advance(head + taken as u64);
    }
    rx
}

#[test]
fn bytes_arrive_in_order_and_unharmed() {
    let (tx, rx) = byte_ring(2 * C);
    let producer = thread::spawn(move || produce(tx));
    let mut rx = consume(rx);
    let Ok((mut tx, mut pool)) = producer.join() else {
        panic!("the producer failed")
    };
    assert!(rx.is_empty());
    tx.reclaim(&mut pool);
    assert_eq!((tx.memory(), pool.in_use()), (0, 0));
}

#[test]
fn the_reader_outlives_the_writer() {
    let (mut tx, rx) = byte_ring(64 * C);
    let mut pool = ChunkPool::new(64);
    let len = 20 * CHUNK;
    assert_eq!(tx.write(&bytes(0, len), &mut pool), Ok(len));
    let reader = thread::spawn(move || {
        let mut rx = rx;
        let mut out = vec![0; len];
        assert_eq!(rx.read(&mut out), len);
        assert!(out == bytes(0, len));
    });
    tx.reclaim(&mut pool);
    drop(tx);
    assert!(reader.join().is_ok());
    assert_eq!(pool.in_use(), 0);
}
