use super::*;
use proptest::prelude::*;

/// Less than half the circle: the distances over which order is meaningful.
const HALF: u32 = 1 << 31;

proptest! {
    #[test]
    fn adding_and_subtracting_cancel(raw: u32, n: u32) {
        let seq = SeqNum::new(raw);
        prop_assert_eq!(seq + n - n, seq);
        prop_assert_eq!((seq + n).bytes_since(seq), n);
        let mut moved = seq;
        moved += n;
        prop_assert_eq!(moved, seq + n);
    }

    #[test]
    fn ahead_is_after(raw: u32, ahead in 1..HALF) {
        let (near, far) = (SeqNum::new(raw), SeqNum::new(raw) + ahead);
        prop_assert!(near.before(far) && far.after(near));
        prop_assert!(!far.before(near) && !near.after(far));
        prop_assert!(near.at_or_before(far) && far.at_or_after(near));
        prop_assert!(!far.at_or_before(near) && !near.at_or_after(far));
        prop_assert_eq!(far.diff(near), ahead as i32);
        prop_assert_eq!(near.diff(far), -(ahead as i32));
        prop_assert_eq!((near.max(far), far.max(near)), (far, far));
        prop_assert_eq!((near.min(far), far.min(near)), (near, near));
    }

    #[test]
    fn a_number_is_neither_before_nor_after_itself(raw: u32) {
        let seq = SeqNum::new(raw);
        prop_assert!(!seq.before(seq) && !seq.after(seq));
        prop_assert!(seq.at_or_before(seq) && seq.at_or_after(seq) && seq.within(seq, seq));
        prop_assert_eq!(seq.diff(seq), 0);
    }

    /// `within` counts from the start, so it holds over the whole circle and not half of it only.
    #[test]
    fn within_is_inclusive(raw: u32, len: u32, offset: u32) {
        let start = SeqNum::new(raw);
        prop_assert_eq!((start + offset).within(start, start + len), offset <= len);
    }

    #[test]
    fn order_does_not_depend_on_the_origin(a: u32, b: u32, shift: u32) {
        let (x, y) = (SeqNum::new(a), SeqNum::new(b));
        prop_assert_eq!(x.before(y), (x + shift).before(y + shift));
        prop_assert_eq!(x.diff(y), (x + shift).diff(y + shift));
    }
}

#[test]
fn order_wraps() {
    let last = SeqNum::new(u32::MAX);
    assert!(last.before(last + 1) && (last + 1).raw() == 0);
    assert!(SeqNum::new(0x10).within(last - 1, SeqNum::new(0x20)));
    assert!(!SeqNum::new(0x21).within(last - 1, SeqNum::new(0x20)));
}
