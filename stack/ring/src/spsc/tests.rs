use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use proptest::prelude::*;

use super::*;

#[test]
fn capacity_is_rounded_up() {
    for (asked, got) in [(0, 2), (1, 2), (2, 2), (3, 4), (64, 64), (65, 128)] {
        assert_eq!(spsc::<u8>(asked).0.capacity(), got);
    }
}

#[test]
fn a_full_ring_gives_the_message_back() {
    let (mut tx, mut rx) = spsc(2);
    assert_eq!(tx.push("a"), Ok(()));
    assert_eq!(tx.push("b"), Ok(()));
    assert_eq!(tx.push("c"), Err("c"));
    assert_eq!((tx.len(), tx.free()), (2, 0));
    assert_eq!(rx.pop(), Some("a"));
    assert_eq!(tx.push("c"), Ok(()));
    assert_eq!((rx.pop(), rx.pop(), rx.pop()), (Some("b"), Some("c"), None));
    assert!(rx.is_empty() && tx.is_empty());
}

#[test]
fn push_batch_leaves_what_does_not_fit() {
    let (mut tx, mut rx) = spsc(4);
    let mut messages = 0..6;
    assert_eq!(tx.push_batch(&mut messages), 4);
    assert_eq!(messages.clone().collect::<Vec<_>>(), [4, 5]);
    assert_eq!(rx.pop_batch(1, |m| assert_eq!(m, 0)), 1);
    assert_eq!(tx.push_batch(&mut messages), 1);
    let mut seen = Vec::new();
    assert_eq!(rx.pop_batch(usize::MAX, |m| seen.push(m)), 4);
    assert_eq!(seen, [1, 2, 3, 4]);
    assert_eq!(rx.pop_batch(usize::MAX, |_| ()), 0);
}

#[test]
fn what_was_not_popped_is_dropped_once() {
    let witness = Arc::new(());
    let (mut tx, mut rx) = spsc(4);
    assert_eq!(tx.push_batch((0..4).map(|_| witness.clone())), 4);
    drop(rx.pop());
    assert_eq!(tx.push(witness.clone()), Ok(()));
    assert_eq!(Arc::strong_count(&witness), 5);
    drop(tx);
    drop(rx);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn a_panicking_sink_loses_only_what_it_was_given() {
    let witness = Arc::new(());
    let (mut tx, mut rx) = spsc(4);
    assert_eq!(tx.push_batch((0..4).map(|n| (n, witness.clone()))), 4);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        rx.pop_batch(4, |(n, _witness)| assert!(n < 1));
    }));
    assert!(caught.is_err());
    assert_eq!(Arc::strong_count(&witness), 3);
    assert_eq!(tx.free(), 2);
    assert_eq!(rx.pop().map(|(n, _)| n), Some(2));
    drop((tx, rx));
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn each_half_learns_that_the_other_is_gone() {
    let (mut tx, rx) = spsc(2);
    assert!(!tx.is_abandoned() && !rx.is_abandoned());
    drop(rx);
    assert!(tx.is_abandoned());
    assert_eq!(tx.push(1), Ok(()));

    let (mut tx, mut rx) = spsc(2);
    assert_eq!(tx.push(1), Ok(()));
    drop(tx);
    assert!(rx.is_abandoned());
    assert_eq!((rx.pop(), rx.pop()), (Some(1), None));
}

#[test]
fn two_threads() {
    const COUNT: u64 = if cfg!(miri) { 300 } else { 300_000 };
    let (mut tx, mut rx) = spsc(16);
    let producer = thread::spawn(move || {
        let mut messages = (0..COUNT).map(Box::new);
        let mut sent = 0;
        while sent < COUNT {
            // Alternately one, and as many as fit.
            let batch = if sent % 3 == 0 { 1 } else { usize::MAX };
            match tx.push_batch(messages.by_ref().take(batch)) {
                0 => thread::yield_now(),
                pushed => sent += pushed as u64,
            }
        }
    });
    let mut next = 0;
    while next < COUNT {
        let popped = rx.pop_batch(7, |message| {
            assert_eq!(*message, next);
            next += 1;
        });
        if popped == 0 {
            thread::yield_now();
        }
    }
    assert!(producer.join().is_ok());
    assert!(rx.pop().is_none());
}

#[derive(Clone, Debug)]
enum Op {
    Push,
    PushBatch(usize),
    Pop,
    PopBatch(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Push),
        (0..20usize).prop_map(Op::PushBatch),
        Just(Op::Pop),
        (0..20usize).prop_map(Op::PopBatch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn behaves_like_a_bounded_queue(capacity in 1usize..12, ops in prop::collection::vec(op(), 1..60)) {
        let (mut tx, mut rx) = spsc(capacity);
        let mut oracle = VecDeque::new();
        let mut next = 0u32..;
        for op in ops {
            let free = tx.capacity() - oracle.len();
            match op {
                Op::Push => {
                    let message = next.start;
                    prop_assert_eq!(tx.push(message).is_ok(), free > 0);
                    if free > 0 {
                        oracle.extend(next.next());
                    }
                }
                Op::PushBatch(count) => {
                    let first = next.start;
                    let pushed = tx.push_batch(next.by_ref().take(count));
                    prop_assert_eq!(pushed, count.min(free));
                    oracle.extend(first..next.start);
                }
                Op::Pop => prop_assert_eq!(rx.pop(), oracle.pop_front()),
                Op::PopBatch(max) => {
                    let mut popped = Vec::new();
                    rx.pop_batch(max, |message| popped.push(message));
                    let expected: Vec<_> = oracle.drain(..max.min(oracle.len())).collect();
                    prop_assert_eq!(popped, expected);
                }
            }
            prop_assert_eq!(tx.len(), oracle.len());
            prop_assert_eq!(rx.len(), oracle.len());
        }
    }
}
