use super::*;
use proptest::prelude::*;

/// RFC 1071 §4.1, word by word.
fn naive_fold(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[test]
fn rfc1071_example() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Sum::ZERO.add_bytes(&bytes).fold(), 0xddf2);
    assert_eq!(checksum(&bytes), !0xddf2);
}

#[test]
fn empty_input() {
    assert_eq!(checksum(&[]), 0xffff);
    assert_eq!(Sum::ZERO.fold(), 0);
}

#[test]
fn every_short_length() {
    // All ones make every addition carry; the lengths cross the border between scalar and bulk.
    let bytes = [0xff; 4 * SMALL];
    for len in 0..bytes.len() {
        assert_eq!(
            Sum::ZERO.add_bytes(&bytes[..len]).fold(),
            naive_fold(&bytes[..len]),
            "{len} bytes"
        );
    }
}

proptest! {
    #[test]
    fn sum_equals_naive(bytes in prop::collection::vec(any::<u8>(), 0..3000), start in 0usize..8) {
        let bytes = bytes.get(start..).unwrap_or(&[]);
        prop_assert_eq!(Sum::ZERO.add_bytes(bytes).fold(), naive_fold(bytes));
        prop_assert_eq!(checksum(bytes), !naive_fold(bytes));
    }

    #[test]
    fn pieces_add_up(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 0usize..300) {
        let (first, last) = bytes.split_at((2 * cut).min(bytes.len() & !1));
        prop_assert_eq!(Sum::ZERO.add_bytes(first).add_bytes(last).fold(), naive_fold(&bytes));
    }

    #[test]
    fn fields_equal_their_bytes(a: u16, b: u32, rest: [u8; 7]) {
        let mut bytes = a.to_be_bytes().to_vec();
        bytes.extend(b.to_be_bytes());
        bytes.extend(rest);
        prop_assert_eq!(Sum::ZERO.add_u16(a).add_u32(b).add_bytes(&rest).fold(), naive_fold(&bytes));
    }

    #[test]
    fn pseudo_header_equals_its_bytes(src: [u8; 4], dst: [u8; 4], protocol: u8, len: u16) {
        let mut bytes = [src, dst].concat();
        bytes.extend([0, protocol]);
        bytes.extend(len.to_be_bytes());
        prop_assert_eq!(pseudo_header_v4(src.into(), dst.into(), protocol, len).fold(), naive_fold(&bytes));
    }

    /// Both zeroes of one's complement occur, so the values are biased towards them. The first byte keeps the
    /// data from being all zero, which no packet is.
    #[test]
    fn update_u16_equals_recompute(
        rest in prop::collection::vec(any::<u8>(), 0..40),
        old in field(),
        new in field(),
    ) {
        let packet = |field: u16| {
            let mut bytes = vec![0x45, 0];
            bytes.extend(field.to_be_bytes());
            bytes.extend(&rest);
            bytes
        };
        prop_assert_eq!(update_u16(checksum(&packet(old)), old, new), checksum(&packet(new)));
    }

    #[test]
    fn update_u32_equals_recompute(
        rest in prop::collection::vec(any::<u8>(), 0..40),
        old in (field(), field()),
        new in (field(), field()),
    ) {
        let join = |(high, low): (u16, u16)| u32::from(high) << 16 | u32::from(low);
        let (old, new) = (join(old), join(new));
        let packet = |field: u32| {
            let mut bytes = vec![0x45, 0];
            bytes.extend(field.to_be_bytes());
            bytes.extend(&rest);
            bytes
        };
        prop_assert_eq!(update_u32(checksum(&packet(old)), old, new), checksum(&packet(new)));
    }
}

fn field() -> impl Strategy<Value = u16> {
    prop_oneof![any::<u16>(), Just(0), Just(0xffff), Just(!0x4500)]
}
