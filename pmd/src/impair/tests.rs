use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::pair::{Pair, PairConfig, pair};

const ALWAYS: u32 = 1_000_000;
const MS: Duration = Duration::from_millis(1);

/// An impaired end, a clear end, and the hand of the clock in nanoseconds.
struct Rig {
    impaired: Impair,
    clear: Pair,
    hand: Arc<AtomicU64>,
}

impl Rig {
    fn new(seed: u64, rx: Faults, tx: Faults) -> Self {
        let (inner, clear) = pair(PairConfig {
            max_frame: 1518,
            frames: 4096,
        });
        let hand = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&hand);
        let clock = Box::new(move || Instant::from_nanos(clock.load(Ordering::Relaxed)));
        Self {
            impaired: Impair::new(Box::new(inner), ImpairConfig { seed, rx, tx }, clock),
            clear,
            hand,
        }
    }

    fn advance(&self, time: Duration) {
        self.hand
            .fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.hand.load(Ordering::Relaxed))
    }
}

fn send(queue: &mut dyn Queue, numbers: impl IntoIterator<Item = u32>) {
    let mut numbers = numbers.into_iter().peekable();
    while numbers.peek().is_some() {
        queue.tx(&mut |batch| {
            while let Some(number) = numbers.peek().copied() {
                let Some(slot) = batch.next(100) else { break };
                slot.fill(0);
                slot[20..24].copy_from_slice(&number.to_be_bytes());
                numbers.next();
            }
        });
    }
}

fn frames(queue: &mut dyn Queue) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    while queue.rx(MAX_BURST, &mut |frames| {
        got.extend(frames.iter().map(|frame| frame.data().to_vec()))
    }) > 0
    {}
    got
}

fn numbers(queue: &mut dyn Queue) -> Vec<u32> {
    let number = |frame: Vec<u8>| u32::from_be_bytes([frame[20], frame[21], frame[22], frame[23]]);
    frames(queue).into_iter().map(number).collect()
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let faults = Faults {
        loss_ppm: 100_000,
        duplicate_ppm: 100_000,
        corrupt_ppm: 50_000,
        truncate_ppm: 50_000,
        reorder_ppm: 100_000,
        delay: MS,
        jitter: MS,
        ..Faults::default()
    };
    let run = |seed| {
        let mut rig = Rig::new(seed, faults, faults);
        let mut seen = Vec::new();
        for number in 0..500 {
            send(&mut rig.clear, [number]);
            send(&mut rig.impaired, [number]);
            seen.push((frames(&mut rig.impaired), frames(&mut rig.clear)));
            rig.advance(Duration::from_micros(300));
        }
        (seen, rig.impaired.rx_counters(), rig.impaired.tx_counters())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn probabilities_are_kept_in_each_direction_by_itself() {
    let rx = Faults {
        loss_ppm: 200_000,
        queue_limit: 20_000,
        ..Faults::default()
    };
    let tx = Faults {
        duplicate_ppm: 100_000,
        queue_limit: 20_000,
        ..Faults::default()
    };
    let mut rig = Rig::new(3, rx, tx);
    let (mut received, mut sent) = (0, 0);
    for _ in 0..10 {
        send(&mut rig.clear, 0..1000);
        received += numbers(&mut rig.impaired).len() as u64;
        send(&mut rig.impaired, 0..1000);
        sent += numbers(&mut rig.clear).len() as u64;
    }
    let (rx, tx) = (rig.impaired.rx_counters(), rig.impaired.tx_counters());
    assert_eq!((received, sent), (10_000 - rx.lost, 10_000 + tx.duplicated));
    assert!((1_800..2_200).contains(&rx.lost), "{rx:?}");
    assert!((850..1_150).contains(&tx.duplicated), "{tx:?}");
    assert_eq!((rx.duplicated, tx.lost), (0, 0));
    assert_eq!(rig.impaired.stats().rx_packets, received);
}

#[test]
fn corruption_flips_one_bit_and_truncation_leaves_a_header() {
    let mut rig = Rig::new(
        5,
        Faults {
            corrupt_ppm: ALWAYS,
            ..Faults::default()
        },
        Faults::default(),
    );
    send(&mut rig.clear, [0; 50]);
    for frame in frames(&mut rig.impaired) {
        assert_eq!(
            (
                frame.len(),
                frame.iter().map(|byte| byte.count_ones()).sum::<u32>()
            ),
            (100, 1)
        );
    }
    let mut rig = Rig::new(
        5,
        Faults {
            truncate_ppm: ALWAYS,
            ..Faults::default()
        },
        Faults::default(),
    );
    send(&mut rig.clear, [0; 50]);
    let lens: Vec<usize> = frames(&mut rig.impaired).iter().map(Vec::len).collect();
    assert!(
        lens.len() == 50 && lens.iter().all(|len| (14..100).contains(len)),
        "{lens:?}"
    );
}

#[test]
fn a_delay_is_exact_and_announced() {
    let faults = Faults {
        delay: 5 * MS,
        ..Faults::default()
    };
    let mut rig = Rig::new(0, faults, faults);
    assert_eq!(rig.impaired.next_deadline(), None);
    send(&mut rig.clear, [1]);
    assert_eq!(numbers(&mut rig.impaired), []);
    rig.advance(2 * MS);
    send(&mut rig.impaired, [2]);
    let first = Instant::ZERO + 5 * MS;
    assert_eq!(rig.impaired.next_deadline(), Some(first));

    rig.advance(3 * MS);
    assert_eq!(rig.impaired.arm(), Armed::Ready);
    rig.impaired.disarm();
    assert_eq!(
        (numbers(&mut rig.impaired), numbers(&mut rig.clear)),
        (vec![1], vec![])
    );
    assert_eq!(rig.impaired.next_deadline(), Some(first + 2 * MS));

    rig.advance(2 * MS);
    rig.impaired.tx(&mut |_| {});
    assert_eq!(numbers(&mut rig.clear), [2]);
    assert_eq!(
        (rig.impaired.next_deadline(), rig.impaired.arm()),
        (None, Armed::Idle)
    );
}

#[test]
fn a_held_back_frame_is_overtaken_by_so_many_or_comes_in_time() {
    let faults = Faults {
        reorder_ppm: ALWAYS,
        reorder_distance: 2,
        reorder_hold: 4 * MS,
        ..Faults::default()
    };
    let mut lane = Lane::new(faults, 0, 0);
    let out = |lane: &mut Lane| {
        let mut bytes = Vec::new();
        while let Some(frame) = lane.pop_due() {
            bytes.push(frame.data[0]);
        }
        bytes
    };
    lane.input(&[7; 60], &RxMeta::default());
    assert_eq!(lane.next_release(), Some(Instant::ZERO + 4 * MS));
    // Only frames that pass overtake.
    lane.faults.reorder_ppm = 0;
    lane.input(&[8; 60], &RxMeta::default());
    assert_eq!(out(&mut lane), [8]);
    lane.input(&[9; 60], &RxMeta::default());
    assert_eq!(out(&mut lane), [9, 7]);

    lane.faults.reorder_ppm = ALWAYS;
    lane.input(&[10; 60], &RxMeta::default());
    assert_eq!(out(&mut lane), []);
    lane.now = Instant::ZERO + 4 * MS;
    assert_eq!(out(&mut lane), [10]);
}

#[test]
fn a_rate_spaces_frames_and_a_full_queue_drops() {
    // 100 bytes at 800 kbit/s: one a millisecond.
    let faults = Faults {
        rate_bps: Some(800_000),
        queue_limit: 10,
        ..Faults::default()
    };
    let mut rig = Rig::new(0, Faults::default(), faults);
    send(&mut rig.impaired, 0..15);
    assert_eq!(rig.impaired.tx_counters().overflowed, 5);
    assert_eq!(rig.impaired.stats().tx_errors, 5);
    for number in 0..10 {
        assert_eq!(numbers(&mut rig.clear), []);
        assert_eq!(rig.impaired.next_deadline(), Some(rig.now() + MS));
        rig.advance(MS);
        rig.impaired.tx(&mut |_| {});
        assert_eq!(numbers(&mut rig.clear), [number]);
    }
    assert_eq!(rig.impaired.next_deadline(), None);
}

#[test]
fn jitter_stays_in_its_bounds() {
    let faults = Faults {
        delay: 2 * MS,
        jitter: MS,
        ..Faults::default()
    };
    let mut rig = Rig::new(9, faults, Faults::default());
    send(&mut rig.clear, 0..200);
    assert_eq!(numbers(&mut rig.impaired), []);
    rig.advance(2 * MS - Duration::from_nanos(1));
    assert_eq!(numbers(&mut rig.impaired), []);
    rig.advance(MS / 2);
    let early = numbers(&mut rig.impaired).len();
    assert!(
        (60..140).contains(&early),
        "{early} of 200 in the first half"
    );
    rig.advance(MS / 2 + Duration::from_nanos(1));
    assert_eq!(early + numbers(&mut rig.impaired).len(), 200);
}
