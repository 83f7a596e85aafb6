use super::*;
use crate::tcp::MAX_OPTIONS_LEN;
use proptest::prelude::*;

const TS: Timestamps = Timestamps {
    val: 0x0102_0304,
    ecr: 0x0506_0708,
};

fn block(start: u32, end: u32) -> SackBlock {
    SackBlock {
        start: SeqNum::new(start),
        end: SeqNum::new(end),
    }
}

fn blocks(max: usize) -> impl Strategy<Value = Vec<SackBlock>> {
    prop::collection::vec(
        any::<(u32, u32)>().prop_map(|(start, end)| block(start, end)),
        0..=max,
    )
}

fn timestamps() -> impl Strategy<Value = Option<Timestamps>> {
    prop::option::of(any::<(u32, u32)>().prop_map(|(val, ecr)| Timestamps { val, ecr }))
}

#[test]
fn syn_is_laid_out_as_linux_does() {
    let full = write_syn(Some(1460), Some(7), true, Some(TS));
    #[rustfmt::skip]
    assert_eq!(full.as_bytes(), [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7]);
    let without_sack = write_syn(Some(1460), None, false, Some(TS));
    #[rustfmt::skip]
    assert_eq!(without_sack.as_bytes(), [2, 4, 5, 0xb4, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    let without_ts = write_syn(Some(1460), Some(0), true, None);
    assert_eq!(
        without_ts.as_bytes(),
        [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 0]
    );
    assert_eq!(write_syn(None, None, false, None).as_bytes(), []);
}

#[test]
fn established_is_laid_out_as_linux_does() {
    let both = write_established(Some(TS), &[block(1, 2)]);
    #[rustfmt::skip]
    assert_eq!(
        both.as_bytes(),
        [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2]
    );
    assert_eq!(write_established(None, &[]).as_bytes(), []);
}

#[test]
fn sack_blocks_are_cut_to_what_fits() {
    let five: Vec<_> = (0..5).map(|i| block(i, i + 1)).collect();
    let with_ts = write_established(Some(TS), &five);
    assert_eq!(with_ts.as_bytes().len(), MAX_OPTIONS_LEN);
    assert_eq!(
        TcpOptions::parse(with_ts.as_bytes()).sack.as_slice(),
        &five[..3]
    );
    let without_ts = write_established(None, &five);
    assert_eq!(without_ts.as_bytes().len(), 36);
    assert_eq!(
        TcpOptions::parse(without_ts.as_bytes()).sack.as_slice(),
        &five[..4]
    );
}

#[test]
fn an_option_that_does_not_fit_is_left_out_whole() {
    let mut buf = OptionsBuf::new();
    buf.raw(&[kind::NOP; 32])
        .timestamps(1, 2)
        .sack(&[block(1, 2)]);
    assert_eq!(buf.as_bytes(), [kind::NOP; 32]);
    assert_eq!(buf.mss(1).wscale(2).sack_permitted().room(), 0);
    let parsed = TcpOptions::parse(buf.as_bytes());
    assert_eq!(
        (parsed.mss, parsed.wscale, parsed.sack_permitted),
        (Some(1), Some(2), false)
    );
}

#[test]
fn unknown_kinds_are_skipped() {
    let fast_open_then_mss = [34, 6, 1, 2, 3, 4, 2, 4, 5, 0xb4];
    assert_eq!(TcpOptions::parse(&fast_open_then_mss).mss, Some(1460));
}

#[test]
fn an_impossible_length_ends_the_list() {
    for broken in [
        &[254, 0, 3, 3, 7][..],
        &[254, 1, 3, 3, 7],
        &[254, 6, 3, 3, 7],
        &[254],
    ] {
        let list = [&[2, 4, 5, 0xb4], broken].concat();
        let before = TcpOptions {
            mss: Some(1460),
            ..TcpOptions::default()
        };
        assert_eq!(TcpOptions::parse(&list), before, "{broken:?}");
    }
}

#[test]
fn end_of_list_ends_the_list() {
    assert_eq!(
        TcpOptions::parse(&[1, 0, 2, 4, 5, 0xb4]),
        TcpOptions::default()
    );
}

#[test]
fn known_options_of_the_wrong_length_are_ignored() {
    #[rustfmt::skip]
    let list = [
        2, 3, 9, 3, 4, 9, 9, 4, 3, 9, 8, 9, 9, 9, 9, 9, 9, 9, 9, // MSS, WS, SACK permitted, TS
        5, 2, 5, 9, 9, 9, 9, 9, 9, 9, 9, // SACK without and with a partial block
        3, 3, 7,
    ];
    assert_eq!(
        TcpOptions::parse(&list),
        TcpOptions {
            wscale: Some(7),
            ..TcpOptions::default()
        }
    );
}

#[test]
fn the_last_duplicate_wins_and_mss_zero_does_not_count() {
    let list = [2, 4, 0, 9, 2, 4, 0, 8, 2, 4, 0, 0, 3, 3, 1, 3, 3, 20];
    let parsed = TcpOptions::parse(&list);
    assert_eq!((parsed.mss, parsed.wscale), (Some(8), Some(20)));
}

#[test]
fn a_fifth_sack_block_is_dropped() {
    let mut sack = SackBlocks::default();
    assert!(sack.is_empty());
    for i in 0..5 {
        sack.push(block(i, i + 1));
    }
    assert_eq!(
        sack.as_slice(),
        [block(0, 1), block(1, 2), block(2, 3), block(3, 4)]
    );
}

#[test]
fn the_timestamp_fast_path_takes_its_layout_only() {
    let aligned = write_established(Some(TS), &[]);
    assert_eq!(parse_aligned_timestamp(aligned.as_bytes()), Some(TS));
    let with_sack = write_established(Some(TS), &[block(1, 2)]);
    assert_eq!(parse_aligned_timestamp(with_sack.as_bytes()), None);
    let syn = write_syn(None, None, true, Some(TS));
    assert_eq!(syn.as_bytes().len(), 12);
    assert_eq!(parse_aligned_timestamp(syn.as_bytes()), None);
    assert_eq!(parse_aligned_timestamp(&[]), None);
}

proptest! {
    #[test]
    fn syn_round_trip(
        mss in prop::option::of(1u16..),
        wscale: Option<u8>,
        sack_permitted: bool,
        timestamps in timestamps(),
    ) {
        let buf = write_syn(mss, wscale, sack_permitted, timestamps);
        prop_assert_eq!(buf.as_bytes().len() % 4, 0);
        let expected = TcpOptions { mss, wscale, sack_permitted, timestamps, sack: SackBlocks::default() };
        prop_assert_eq!(TcpOptions::parse(buf.as_bytes()), expected);
    }

    #[test]
    fn established_round_trip(timestamps in timestamps(), blocks in blocks(3)) {
        let buf = write_established(timestamps, &blocks);
        prop_assert_eq!(buf.as_bytes().len() % 4, 0);
        let parsed = TcpOptions::parse(buf.as_bytes());
        prop_assert_eq!(parsed.timestamps, timestamps);
        prop_assert_eq!(parsed.sack.as_slice(), &blocks[..]);
        if blocks.is_empty() {
            prop_assert_eq!(parse_aligned_timestamp(buf.as_bytes()), timestamps);
        }
    }

    /// The fast path never sees another thing than the full parser does.
    #[test]
    fn fast_path_agrees(mut options in prop::collection::vec(any::<u8>(), 12), aligned: bool) {
        if aligned {
            options[..4].copy_from_slice(&[kind::NOP, kind::NOP, kind::TIMESTAMPS, len::TIMESTAMPS]);
        }
        let fast = parse_aligned_timestamp(&options);
        prop_assert!(fast.is_some() || !aligned);
        if let Some(fast) = fast {
            prop_assert_eq!(TcpOptions::parse(&options).timestamps, Some(fast));
        }
    }

    /// Cutting a list anywhere leaves what lies wholly before the cut.
    #[test]
    fn a_truncated_list_keeps_its_front(cut in 0usize..20) {
        let full = write_syn(Some(1460), Some(7), true, Some(TS));
        let parsed = TcpOptions::parse(&full.as_bytes()[..cut]);
        prop_assert_eq!(parsed.mss.is_some(), cut >= 4);
        prop_assert_eq!(parsed.sack_permitted, cut >= 6);
        prop_assert_eq!(parsed.timestamps.is_some(), cut >= 16);
        prop_assert_eq!(parsed.wscale, None);
    }
}
