//! A set of places, as a sorted list of ranges.

use super::line::Place;

/// See the module. Ranges are half open, do not touch each other and are not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(Place, Place)>);

impl Ranges {
    /// Adds the places from `start` up to, not including, `end`.
    pub(crate) fn add(&mut self, start: Place, end: Place) {
        if start >= end {
            return;
        }
        let touches = |range: &(Place, Place)| range.0 <= end && start <= range.1;
        let joined = self
            .0
            .iter()
            .filter(|range| touches(range))
            .fold((start, end), |all, range| {
                (all.0.min(range.0), all.1.max(range.1))
            });
        self.0.retain(|range| !touches(range));
        let at = self.0.partition_point(|range| range.0 < joined.0);
        self.0.insert(at, joined);
    }

    /// Takes out all places from `from` on.
    pub(crate) fn forget_from(&mut self, from: Place) {
        self.0.retain_mut(|range| {
            range.1 = range.1.min(from);
            range.0 < range.1
        });
    }

    /// The first place from `from` on that is missing.
    pub(crate) fn next_missing(&self, from: Place) -> Place {
        let holds = |range: &&(Place, Place)| range.0 <= from && from < range.1;
        self.0.iter().find(holds).map_or(from, |range| range.1)
    }

    /// Whether all places from `start` up to, not including, `end` are in the set.
    pub(crate) fn contain(&self, start: Place, end: Place) -> bool {
        start >= end || self.next_missing(start) >= end
    }

    /// How many separate ranges there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The ranges, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Place, Place)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_a_set_of_places() {
        let mut ranges = Ranges::default();
        let mut plain = [false; 64];
        for step in 0_i64..40 {
            let (start, end) = ((step * 37) % 59, ((step * 37) % 59 + step % 5).min(64));
            ranges.add(start, end);
            (start..end).for_each(|at| plain[at as usize] = true);
            for from in 0..60 {
                let missing = (from..64).find(|at| !plain[*at as usize]).unwrap_or(64);
                assert_eq!(ranges.next_missing(from), missing);
                assert!(ranges.contain(from, missing) && !ranges.contain(from, missing + 1));
            }
        }
        assert_eq!(ranges.count(), ranges.iter().count());
        let mut front = ranges.clone();
        front.forget_from(30);
        let left = |at: i64| front.contain(at, at + 1);
        assert!((0..64).all(|at| left(at) == (at < 30 && plain[at as usize])));
        assert!(
            ranges
                .iter()
                .zip(ranges.iter().skip(1))
                .all(|(a, b)| a.1 < b.0)
        );
    }
}
