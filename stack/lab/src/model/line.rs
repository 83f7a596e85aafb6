//! Sequence numbers as places on a line: the SYN is at 0, the first octet of data at 1.

use millrace_wire::seq::SeqNum;

/// A place. Negative ones lie before the SYN.
pub(crate) type Place = i64;

/// The place of `seq` in the stream that began with `isn`: the one that is closest to `near`.
pub(crate) fn place(isn: SeqNum, near: Place, seq: SeqNum) -> Place {
    near + i64::from(seq.diff(number(isn, near)))
}

/// The sequence number of a place.
pub(crate) fn number(isn: SeqNum, at: Place) -> SeqNum {
    isn + at as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_wrap() {
        let isn = SeqNum::new(u32::MAX - 10);
        assert_eq!(place(isn, 0, isn), 0);
        assert_eq!(place(isn, 5, isn + 100), 100);
        assert_eq!(place(isn, 0, isn - 1), -1);
        let far = 3 * (1 << 32) + 17;
        assert_eq!(place(isn, far - 1_000, number(isn, far)), far);
        assert_eq!(place(isn, far + 1_000, number(isn, far)), far);
    }
}
