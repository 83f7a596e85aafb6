//! What every driver must do, checked over two queues that are wired to each other by whatever means.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::Duration;

use millrace_pmd::{MAX_BURST, Queue, QueueStats, Woken, wait};
use rustix::event::{EventfdFlags, eventfd};

/// Local experimental EtherType (IEEE 802): frames of ours, as opposed to what a kernel sends by itself.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// Header and sequence number.
const SEQ_AT: usize = 14;
const BODY_AT: usize = SEQ_AT + 4;
/// Long enough for any machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);
/// Polls that find nothing before a frame counts as lost.
const EMPTY_POLLS: u32 = 20_000;

/// The two ends of a wire.
pub type Ends = (Box<dyn Queue>, Box<dyn Queue>);

/// Runs everything, each check on a fresh wire and in both directions.
pub fn conforms(mut wire: impl FnMut() -> Ends) {
    for check in [
        bytes_and_order,
        budget_is_respected,
        a_burst_is_accepted_or_refused,
        nothing_leaks,
        statistics_add_up,
        halves_work_apart,
    ] {
        let (mut a, mut b) = wire();
        check(&mut *a, &mut *b);
        let (mut a, mut b) = wire();
        check(&mut *b, &mut *a);
    }
    waiting_wakes(wire());
    waiting_ends_by_doorbell_and_time(wire());
}

/// Writes frame `seq` into `slot`.
pub fn compose(slot: &mut [u8], seq: u32) {
    slot[..6].copy_from_slice(&[0x02, 0, 0, 0, 0, 0xbb]);
    slot[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, 0xaa]);
    slot[12..SEQ_AT].copy_from_slice(&ETHERTYPE);
    slot[SEQ_AT..BODY_AT].copy_from_slice(&seq.to_be_bytes());
    for (at, byte) in slot[BODY_AT..].iter_mut().enumerate() {
        *byte = body(seq, at);
    }
}

fn body(seq: u32, at: usize) -> u8 {
    (seq.wrapping_mul(31) as usize + at * 7 + at / 256) as u8
}

/// The number of a frame of ours, whose every byte is checked; `None` for a frame of somebody else's.
pub fn decompose(frame: &[u8]) -> Option<u32> {
    if frame.len() < BODY_AT || frame[12..SEQ_AT] != ETHERTYPE {
        return None;
    }
    let seq = u32::from_be_bytes(frame[SEQ_AT..BODY_AT].try_into().expect("four bytes"));
    for (at, &byte) in frame[BODY_AT..].iter().enumerate() {
        assert_eq!(
            byte,
            body(seq, at),
            "byte {} of frame {seq} ({} bytes)",
            BODY_AT + at,
            frame.len()
        );
    }
    Some(seq)
}

/// Sends frames of these lengths, numbered from `first`, in one call; returns how many were accepted.
pub fn send(queue: &mut dyn Queue, first: u32, lens: &[usize]) -> usize {
    let mut accepted = 0;
    queue.tx(&mut |batch| {
        for (seq, &len) in (first..).zip(&lens[accepted..]) {
            let room = batch.room();
            let Some(slot) = batch.next(len) else {
                assert_eq!(room, 0, "room was promised");
                break;
            };
            assert_eq!(slot.len(), len);
            compose(slot, seq);
            accepted += 1;
        }
    });
    accepted
}

/// One receive poll; number and length of our frames go to `got`. Returns how many frames there were of anybody's.
pub fn receive(queue: &mut dyn Queue, budget: usize, got: &mut VecDeque<(u32, usize)>) -> usize {
    let mut lent = None;
    let count = queue.rx(budget, &mut |frames| {
        assert_eq!(lent, None, "one callback per poll");
        assert!(!frames.is_empty(), "no callback for nothing");
        lent = Some(frames.len());
        for frame in frames {
            got.extend(decompose(frame.data()).map(|seq| (seq, frame.data().len())));
        }
    });
    assert_eq!(lent.unwrap_or(0), count);
    assert!(
        count <= budget.min(MAX_BURST),
        "{count} frames for a budget of {budget}"
    );
    count
}

/// Polls until `wanted` frames of ours have come, or no more do.
pub fn receive_all(queue: &mut dyn Queue, wanted: usize) -> VecDeque<(u32, usize)> {
    let mut got = VecDeque::new();
    let mut empty = 0;
    while got.len() < wanted && empty < EMPTY_POLLS {
        match receive(queue, MAX_BURST, &mut got) {
            0 => {
                empty += 1;
                std::thread::yield_now();
            }
            _ => empty = 0,
        }
    }
    got
}

/// Sends all, receiving whenever the sender is full; returns what came.
fn transfer(
    from: &mut dyn Queue,
    to: &mut dyn Queue,
    lens: &[usize],
    burst: usize,
) -> VecDeque<(u32, usize)> {
    let mut got = VecDeque::new();
    let (mut sent, mut stuck) = (0, 0);
    while sent < lens.len() {
        let end = (sent + burst).min(lens.len());
        let accepted = send(from, sent as u32, &lens[sent..end]);
        sent += accepted;
        while receive(to, MAX_BURST, &mut got) > 0 {}
        stuck = if accepted == 0 { stuck + 1 } else { 0 };
        assert!(
            stuck < EMPTY_POLLS,
            "the sender stays full after {sent} frames"
        );
    }
    // What the driver still holds goes out with later calls.
    let mut empty = 0;
    while got.len() < lens.len() && empty < EMPTY_POLLS {
        from.tx(&mut |_| {});
        empty = if receive(to, MAX_BURST, &mut got) == 0 {
            empty + 1
        } else {
            0
        };
    }
    got
}

fn bytes_and_order(from: &mut dyn Queue, to: &mut dyn Queue) {
    let lens: Vec<usize> = (60..=from.caps().max_frame.min(to.caps().max_frame)).collect();
    let got = transfer(from, to, &lens, 23);
    for (got, expected) in got.iter().zip((0..).zip(&lens)) {
        assert_eq!((got.0, &got.1), expected);
    }
    assert_eq!(got.len(), lens.len());
}

fn budget_is_respected(from: &mut dyn Queue, to: &mut dyn Queue) {
    let max_frame = from.caps().max_frame;
    from.tx(&mut |batch| assert!(batch.next(max_frame + 1).is_none(), "longer than a frame"));
    let lens = [100; 60];
    assert_eq!(transfer(from, to, &lens, 60).len(), 60);

    let mut got = VecDeque::new();
    for budget in [1, 7, 33, MAX_BURST, MAX_BURST + 1, 10_000] {
        assert_eq!(receive(to, 0, &mut got), 0);
        let accepted = send(from, 0, &lens);
        got.clear();
        let mut empty = 0;
        while got.len() < accepted && empty < EMPTY_POLLS {
            from.tx(&mut |_| {});
            empty = if receive(to, budget, &mut got) == 0 {
                empty + 1
            } else {
                0
            };
        }
        assert_eq!(got.len(), accepted);
    }
}

/// More than any ring holds, with nobody receiving: what was accepted arrives, or somebody counts it.
fn a_burst_is_accepted_or_refused(from: &mut dyn Queue, to: &mut dyn Queue) {
    let ring = from.caps().tx_ring.max(to.caps().rx_ring);
    let lens = vec![60; ring * 2 + 100];
    let mut accepted = 0;
    for _ in 0..(lens.len() / MAX_BURST) {
        accepted += send(from, accepted as u32, &lens[accepted..]);
    }
    let mut got = VecDeque::new();
    let mut empty = 0;
    while got.len() + dropped(from, to) < accepted && empty < EMPTY_POLLS {
        from.tx(&mut |_| {});
        empty = if receive(to, MAX_BURST, &mut got) == 0 {
            empty + 1
        } else {
            0
        };
    }
    assert_eq!(
        got.len() + dropped(from, to),
        accepted,
        "received and counted as dropped, against accepted"
    );
    assert!(got.iter().is_sorted(), "in order");
    // And the wire still works.
    assert_eq!(transfer(from, to, &[60; 200], 32).len(), 200);
}

fn dropped(from: &dyn Queue, to: &dyn Queue) -> usize {
    let QueueStats {
        rx_dropped,
        rx_ring_full,
        ..
    } = to.stats();
    (rx_dropped + rx_ring_full + from.stats().tx_errors) as usize
}

fn nothing_leaks(from: &mut dyn Queue, to: &mut dyn Queue) {
    const FRAMES: usize = 100_000;
    let room_of = |queue: &mut dyn Queue| {
        let mut room = 0;
        queue.tx(&mut |batch| room = batch.room());
        room
    };
    let room = room_of(from);
    let max_frame = from.caps().max_frame;
    let lens = vec![64; FRAMES];
    let mut got = VecDeque::new();
    let (mut sent, mut received, mut round, mut empty) = (0, 0, 0, 0);
    while received < FRAMES && empty < EMPTY_POLLS {
        round += 1;
        from.tx(&mut |batch| assert!(batch.next(max_frame + 1).is_none()));
        let end = (sent + round % 80).min(FRAMES);
        sent += send(from, sent as u32, &lens[sent..end]);
        let count = receive(to, 1 + round % MAX_BURST, &mut got);
        while let Some((seq, _)) = got.pop_front() {
            assert_eq!(seq as usize, received);
            received += 1;
        }
        empty = if count == 0 { empty + 1 } else { 0 };
        // Keep the receiver's backlog below any ring: losses are another check's business.
        while sent - received > 200 && receive(to, MAX_BURST, &mut got) > 0 {
            while let Some((seq, _)) = got.pop_front() {
                assert_eq!(seq as usize, received);
                received += 1;
            }
        }
    }
    assert_eq!(received, FRAMES);
    assert_eq!(room_of(from), room, "slots that did not come back");
}

fn statistics_add_up(from: &mut dyn Queue, to: &mut dyn Queue) {
    let (before_from, before_to) = (from.stats(), to.stats());
    let lens: Vec<usize> = (0..300).map(|n| 60 + n * 4).collect();
    let (mut frames, mut bytes) = (0, 0);
    assert_eq!(send(from, 0, &lens[..10]), 10);
    let mut ours = 0;
    let mut empty = 0;
    let mut sent = 10;
    while ours < lens.len() && empty < EMPTY_POLLS {
        let end = (sent + 10).min(lens.len());
        sent += send(from, sent as u32, &lens[sent..end]);
        let count = to.rx(MAX_BURST, &mut |lent| {
            for frame in lent {
                frames += 1;
                bytes += frame.data().len() as u64;
                ours += usize::from(decompose(frame.data()).is_some());
            }
        });
        empty = if count == 0 { empty + 1 } else { 0 };
    }
    assert_eq!(ours, lens.len());
    let (from, to) = (from.stats(), to.stats());
    assert_eq!(from.tx_packets - before_from.tx_packets, lens.len() as u64);
    assert_eq!(
        from.tx_bytes - before_from.tx_bytes,
        lens.iter().sum::<usize>() as u64
    );
    assert_eq!(
        (
            to.rx_packets - before_to.rx_packets,
            to.rx_bytes - before_to.rx_bytes
        ),
        (frames, bytes)
    );
    assert_eq!(
        (
            to.tx_packets,
            from.tx_errors,
            from.tx_invalid,
            to.rx_invalid
        ),
        (before_to.tx_packets, 0, 0, 0)
    );
}

/// Forwarding: a frame is lent by one half while the other half of the same queue sends it back.
fn halves_work_apart(from: &mut dyn Queue, to: &mut dyn Queue) {
    let lens = [90; 20];
    assert_eq!(send(from, 0, &lens), lens.len());
    let mut echoed = 0;
    let mut got = VecDeque::new();
    let mut empty = 0;
    while got.len() < lens.len() && empty < EMPTY_POLLS {
        empty += 1;
        from.tx(&mut |_| {});
        let (rx, tx) = to.halves();
        rx.rx(MAX_BURST, &mut |frames| {
            let mut ours = frames
                .iter()
                .filter(|frame| decompose(frame.data()).is_some());
            tx.tx(&mut |batch| {
                for frame in ours.by_ref() {
                    let slot = batch
                        .next(frame.data().len())
                        .expect("the wire back is empty");
                    slot.copy_from_slice(frame.data());
                    echoed += 1;
                }
            });
        });
        receive(from, MAX_BURST, &mut got);
    }
    assert_eq!(echoed, lens.len());
    let expected: VecDeque<_> = (0..).zip(lens).collect();
    assert_eq!(got, expected);
}

/// Two threads hand one frame to and fro, sleeping in between.
fn waiting_wakes((a, b): Ends) {
    const ROUNDS: u32 = 200;
    let bounce = |queue: Box<dyn Queue>, serve: Option<u32>| {
        let mut queues = [queue];
        let mut got = VecDeque::new();
        let mut last = 0;
        if let Some(first) = serve {
            assert_eq!(send(&mut *queues[0], first, &[60]), 1);
        }
        while last < ROUNDS {
            let woken = wait(&mut queues, None, Some(PATIENCE)).expect("wait");
            assert!(
                matches!(woken, Woken::Queue | Woken::Signal),
                "{woken:?} after {last} frames"
            );
            while receive(&mut *queues[0], MAX_BURST, &mut got) > 0 {}
            if let Some((seq, _)) = got.pop_front() {
                last = seq + 1;
                assert_eq!(send(&mut *queues[0], last, &[60]), 1);
            }
        }
        // What the driver still holds goes out with a later call.
        queues[0].tx(&mut |_| {});
        queues
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| bounce(b, None));
        // Both ends stay open until both threads are done.
        let _ends = (bounce(a, Some(0)), other.join().expect("the other end"));
    });
}

fn waiting_ends_by_doorbell_and_time((a, b): Ends) {
    let mut queues = [a, b];
    let mut got = VecDeque::new();
    let bell = eventfd(0, EventfdFlags::NONBLOCK).expect("eventfd");
    // The kernel's own frames, if any, end a wait early: take them and wait again.
    let mut settle = |queues: &mut [Box<dyn Queue>; 2], timeout| loop {
        match wait(queues, Some(bell.as_fd()), Some(timeout)).expect("wait") {
            Woken::Queue => queues
                .iter_mut()
                .for_each(|queue| while receive(&mut **queue, MAX_BURST, &mut got) > 0 {}),
            Woken::Signal => {}
            woken => return woken,
        }
    };
    assert_eq!(settle(&mut queues, Duration::ZERO), Woken::Timeout);
    rustix::io::write(&bell, &1_u64.to_ne_bytes()).expect("ring");
    assert_eq!(settle(&mut queues, PATIENCE), Woken::Doorbell);
    // Frames that are there already: no sleep.
    assert_eq!(send(&mut *queues[0], 0, &[60]), 1);
    assert_eq!(
        wait(&mut queues, None, Some(PATIENCE)).expect("wait"),
        Woken::Queue
    );
    assert_eq!(receive_all(&mut *queues[1], 1).len(), 1);
}
