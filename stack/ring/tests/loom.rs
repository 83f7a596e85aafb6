//! Models of the three protocols: every interleaving (two models: with bounded switches), and every value a load may return.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test -p millrace-ring --release --test loom`. Under this cfg a chunk has 4 bytes and a
//! ring outgrows its inline table with the second chunk, so that a handful of bytes reaches every transition. Freeing a
//! chunk or a table counts as a write to all of it: a side that still reads it makes the model fail.
#![cfg(loom)]

use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use millrace_ring::{ByteConsumer, ByteProducer, ChunkPool, byte_ring, doorbell::Gate, spsc};

/// Explores with at most five involuntary switches, where all interleavings would take too long.
fn bounded_model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(5);
    builder.check(f);
}

#[test]
fn spsc_delivers_in_order_across_the_wrap() {
    loom::model(|| {
        let (mut tx, mut rx) = spsc(2);
        let producer = thread::spawn(move || {
            let mut sent = 0;
            for message in 1..=3 {
                match tx.push(Box::new(message)) {
                    Ok(()) => sent += 1,
                    Err(_full) => break,
                }
            }
            sent
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            seen.extend(rx.pop());
        }
        let sent = producer.join().unwrap();
        assert!(rx.is_abandoned());
        while let Some(message) = rx.pop() {
            seen.push(message);
        }
        let expected: Vec<_> = (1..=sent).map(Box::new).collect();
        assert_eq!(seen, expected);
    });
}

#[test]
fn spsc_batches_and_abandonment() {
    loom::model(|| {
        let (mut tx, mut rx) = spsc(2);
        let consumer = thread::spawn(move || {
            let mut seen = Vec::new();
            // Asked in this order, "gone" and then "empty" means that nothing will come.
            let gone = rx.is_abandoned();
            rx.pop_batch(2, |message| seen.push(message));
            if gone {
                assert!(rx.is_empty());
            }
            (seen, gone)
        });
        let mut messages = [1, 2, 3].into_iter().map(Box::new);
        let sent = tx.push_batch(&mut messages);
        assert_eq!(sent, 2);
        let again = tx.push_batch(&mut messages);
        drop(tx);
        let (seen, gone) = consumer.join().unwrap();
        assert!(again == 0 || !seen.is_empty());
        assert!(!gone || seen.len() == 2);
        for (at, message) in seen.iter().enumerate() {
            assert_eq!(**message, at + 1);
        }
    });
}

/// The byte at `pos` in all models of the byte ring.
fn byte_at(pos: u64) -> u8 {
    pos as u8 + 1
}

fn bytes(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(byte_at).collect()
}

/// Reads what is there, twice (as a retransmission would), and consumes up to `max` bytes of it.
fn read_some(rx: &mut ByteConsumer, max: usize) {
    let mut out = [0; 16];
    let head = rx.head();
    let len = rx.copy_to(head, &mut out[..max]);
    assert_eq!(out[..len], bytes(head..head + len as u64));
    if len > 1 {
        let last = head + len as u64 - 1;
        assert_eq!(rx.copy_to(last, &mut out[..1]), 1);
        assert_eq!(out[0], byte_at(last));
    }
    rx.advance(head + len as u64);
}

fn write(tx: &mut ByteProducer, len: u64, pool: &mut ChunkPool) {
    let tail = tx.tail();
    assert_eq!(tx.write(&bytes(tail..tail + len), pool), Ok(len as usize));
}

/// Reads the rest on this thread, and finds the ring without memory.
fn finish(mut tx: ByteProducer, mut rx: ByteConsumer, mut pool: ChunkPool) {
    read_some(&mut rx, 16);
    assert_eq!(rx.head(), tx.tail());
    tx.reclaim(&mut pool);
    assert_eq!((tx.memory(), pool.in_use()), (0, 0));
}

#[test]
fn byte_ring_table_grows_while_the_consumer_reads() {
    bounded_model(|| {
        let (mut tx, mut rx) = byte_ring(64);
        let mut pool = ChunkPool::new(16);
        let consumer = thread::spawn(move || {
            read_some(&mut rx, 16);
            read_some(&mut rx, 3);
            rx
        });
        write(&mut tx, 3, &mut pool);
        // Inline to two entries, and to four.
        write(&mut tx, 4, &mut pool);
        write(&mut tx, 6, &mut pool);
        tx.reclaim(&mut pool);
        let rx = consumer.join().unwrap();
        finish(tx, rx, pool);
    });
}

#[test]
fn byte_ring_older_tables_are_freed_in_time() {
    loom::model(|| {
        let (mut tx, mut rx) = byte_ring(64);
        let mut pool = ChunkPool::new(16);
        // Start on a heap table already.
        write(&mut tx, 6, &mut pool);
        let consumer = thread::spawn(move || {
            read_some(&mut rx, 5);
            read_some(&mut rx, 4);
            rx
        });
        write(&mut tx, 5, &mut pool);
        tx.reclaim(&mut pool);
        write(&mut tx, 1, &mut pool);
        tx.reclaim(&mut pool);
        let rx = consumer.join().unwrap();
        finish(tx, rx, pool);
    });
}

#[test]
fn byte_ring_goes_idle_and_comes_back() {
    bounded_model(|| {
        let (mut tx, mut rx) = byte_ring(64);
        let mut pool = ChunkPool::new(16);
        let consumer = thread::spawn(move || {
            for _ in 0..3 {
                read_some(&mut rx, 16);
            }
            rx
        });
        // Two chunks and a table, given back if the consumer has caught up, and used again at once.
        write(&mut tx, 5, &mut pool);
        tx.reclaim(&mut pool);
        write(&mut tx, 2, &mut pool);
        tx.reclaim(&mut pool);
        write(&mut tx, 6, &mut pool);
        tx.reclaim(&mut pool);
        let rx = consumer.join().unwrap();
        finish(tx, rx, pool);
    });
}

#[test]
fn byte_ring_out_of_order_across_chunks() {
    loom::model(|| {
        let (mut tx, mut rx) = byte_ring(64);
        let mut pool = ChunkPool::new(16);
        let consumer = thread::spawn(move || {
            read_some(&mut rx, 16);
            read_some(&mut rx, 16);
            rx
        });
        write(&mut tx, 2, &mut pool);
        // The consumer reads the bytes before these in the same chunk meanwhile.
        assert_eq!(tx.write_at(9, &bytes(9..11), &mut pool), Ok(()));
        tx.reclaim(&mut pool);
        assert_eq!(tx.write_at(2, &bytes(2..9), &mut pool), Ok(()));
        tx.publish(11);
        tx.reclaim(&mut pool);
        let rx = consumer.join().unwrap();
        finish(tx, rx, pool);
    });
}

#[test]
fn byte_ring_halves_die_in_any_order() {
    loom::model(|| {
        let (mut tx, mut rx) = byte_ring(64);
        let mut pool = ChunkPool::new(16);
        write(&mut tx, 6, &mut pool);
        let consumer = thread::spawn(move || {
            read_some(&mut rx, 5);
            read_some(&mut rx, 16);
        });
        tx.release(&mut pool);
        drop(tx);
        consumer.join().unwrap();
        assert_eq!(pool.in_use(), 0);
    });
}

/// Would sleep or not: the sleeper's decision, made visible.
fn would_sleep(gate: &Gate, empty: impl FnOnce() -> bool) -> bool {
    gate.arm();
    empty()
}

#[test]
fn doorbell_loses_no_wake_up() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let woken = Arc::new(AtomicUsize::new(0));
        let (mut tx, mut rx) = spsc(2);
        let ringer = {
            let (gate, woken) = (gate.clone(), woken.clone());
            thread::spawn(move || {
                tx.push(1).unwrap();
                gate.ring(|| {
                    woken.fetch_add(1, Ordering::Relaxed);
                });
                tx
            })
        };
        let sleeps = would_sleep(&gate, || rx.is_empty());
        let _tx = ringer.join().unwrap();
        let wakes = woken.load(Ordering::Relaxed);
        assert!(wakes <= 1);
        assert!(!sleeps || wakes == 1, "sleeps for ever");
        gate.disarm();
        assert_eq!(rx.pop(), Some(1));
    });
}

#[test]
fn doorbell_two_ringers_wake_once() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let woken = Arc::new(AtomicUsize::new(0));
        let mut queues = Vec::new();
        let mut ringers = Vec::new();
        for _ in 0..2 {
            let (mut tx, rx) = spsc(2);
            queues.push(rx);
            let (gate, woken) = (gate.clone(), woken.clone());
            ringers.push(thread::spawn(move || {
                tx.push(1).unwrap();
                gate.ring(|| {
                    woken.fetch_add(1, Ordering::Relaxed);
                });
                tx
            }));
        }
        let sleeps = would_sleep(&gate, || queues.iter_mut().all(|queue| queue.is_empty()));
        for ringer in ringers {
            ringer.join().unwrap();
        }
        let wakes = woken.load(Ordering::Relaxed);
        assert!(wakes <= 1, "one wake-up per sleep");
        assert!(!sleeps || wakes == 1, "sleeps for ever");
    });
}

/// The sleeper goes through two sleeps; a message that comes between them must not be missed in the second.
#[test]
fn doorbell_sleeps_again() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        let woken = Arc::new(AtomicUsize::new(0));
        let (mut tx, mut rx) = spsc(2);
        let ringer = {
            let (gate, woken) = (gate.clone(), woken.clone());
            thread::spawn(move || {
                for message in 0..2 {
                    tx.push(message).unwrap();
                    gate.ring(|| {
                        woken.fetch_add(1, Ordering::Relaxed);
                    });
                }
                tx
            })
        };
        gate.arm();
        let first = rx.pop();
        gate.disarm();
        // A late wake-up of the first sleep leaves the eventfd readable; it counts for the second.
        let before = if first.is_some() {
            0
        } else {
            woken.load(Ordering::Relaxed)
        };
        let sleeps = would_sleep(&gate, || rx.is_empty());
        let _tx = ringer.join().unwrap();
        let missed = !rx.is_empty();
        assert!(
            !(sleeps && missed) || woken.load(Ordering::Relaxed) > before,
            "sleeps for ever"
        );
    });
}
