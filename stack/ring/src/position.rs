//! The one check of an index that the peer wrote.
//!
//! On the heap the peer is our own code and the check never fails. Over shared memory it is the only thing between a
//! hostile peer and our memory, therefore no other code in this crate looks at a peer's index directly.

/// The index the peer published, if it lies in `last..=bound`; otherwise `last`, the one accepted before.
///
/// Indices only grow, and never beyond what this side has allowed (`bound`).
#[inline]
pub(crate) fn accept(published: u64, last: u64, bound: u64) -> u64 {
    if (last..=bound).contains(&published) {
        published
    } else {
        last
    }
}

#[cfg(test)]
mod tests {
    use super::accept;

    #[test]
    fn only_forward_and_only_within_bounds() {
        assert_eq!(accept(7, 5, 9), 7);
        assert_eq!(accept(5, 5, 9), 5);
        assert_eq!(accept(9, 5, 9), 9);
        assert_eq!(accept(4, 5, 9), 5, "an index never goes back");
        assert_eq!(
            accept(10, 5, 9),
            5,
            "an index never passes what was allowed"
        );
    }
}
