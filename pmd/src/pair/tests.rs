use millrace_wire::frame::TxBatch;

use super::*;

const SMALL: PairConfig = PairConfig {
    max_frame: 64,
    frames: 4,
};

fn fill(queue: &mut Pair) -> usize {
    let mut taken = 0;
    queue.tx(&mut |batch: &mut dyn TxBatch| {
        while let Some(slot) = batch.next(60) {
            slot.fill(0xaa);
            taken += 1;
        }
    });
    taken
}

#[test]
fn the_wire_holds_as_many_frames_as_it_was_given() {
    let (mut a, mut b) = pair(SMALL);
    assert_eq!((fill(&mut a), fill(&mut a)), (4, 0));
    assert_eq!(a.stats().tx_full, 2);
    assert_eq!(
        b.rx(3, &mut |frames| assert_eq!(frames[2].data(), [0xaa; 60])),
        3
    );
    // Room comes back with the last frame of the batch.
    assert_eq!(fill(&mut a), 0);
    assert_eq!(
        b.rx(MAX_BURST, &mut |frames| assert_eq!(frames.len(), 1)),
        1
    );
    assert_eq!(fill(&mut a), 4);
    assert_eq!(b.rx(MAX_BURST, &mut |_| {}), 4);
    assert_eq!(
        (
            a.stats().tx_packets,
            b.stats().rx_packets,
            b.stats().rx_bytes
        ),
        (8, 8, 480)
    );
}

#[test]
fn batches_and_budgets_of_all_sizes_mix() {
    let (mut a, mut b) = pair(PairConfig {
        max_frame: 64,
        frames: 256,
    });
    let (mut sent, mut received) = (0_u32, 0_u32);
    let check = |frame: &[u8], number: u32| {
        assert_eq!(frame.len(), 14 + number as usize % 50);
        assert_eq!(frame[..4], number.to_be_bytes());
    };
    for round in 0..2_000 {
        a.tx(&mut |batch| {
            for _ in 0..round % 41 {
                let Some(slot) = batch.next(14 + sent as usize % 50) else {
                    return;
                };
                slot[..4].copy_from_slice(&sent.to_be_bytes());
                sent += 1;
            }
        });
        let mut take = |frames: &mut [RxFrame<'_>]| {
            for frame in frames {
                check(frame.data(), received);
                received += 1;
            }
        };
        b.rx(round % 67, &mut take);
    }
    while b.rx(MAX_BURST, &mut |frames| received += frames.len() as u32) > 0 {}
    assert_eq!(received, sent);
    a.tx(&mut |batch| assert_eq!(batch.room(), 256));
}

#[test]
fn a_wire_without_an_other_end_fills_up_and_stays_silent() {
    let (mut a, b) = pair(SMALL);
    drop(b);
    assert_eq!((fill(&mut a), fill(&mut a)), (4, 0));
    assert_eq!(a.rx(MAX_BURST, &mut |_| panic!("nobody sent this")), 0);
}

#[test]
fn arming_sees_frames_that_are_there() {
    let (mut a, mut b) = pair(SMALL);
    assert_eq!(b.arm(), Armed::Idle);
    b.disarm();
    fill(&mut a);
    assert_eq!(b.arm(), Armed::Ready);
    b.disarm();
    b.rx(MAX_BURST, &mut |_| {});
    assert_eq!(b.arm(), Armed::Idle);
}

#[test]
fn frames_may_be_changed_in_place_and_a_slot_is_as_long_as_asked() {
    let (mut a, mut b) = pair(SMALL);
    fill(&mut a);
    b.rx(MAX_BURST, &mut |frames| frames[0].data_mut().fill(0x55));
    a.tx(&mut |batch| {
        assert_eq!(
            (
                batch.next(65).is_none(),
                batch.next(64).map(|slot| slot.len())
            ),
            (true, Some(64))
        )
    });
    b.rx(MAX_BURST, &mut |frames| {
        assert_eq!(frames.last().map(|frame| frame.data().len()), Some(64))
    });
}
