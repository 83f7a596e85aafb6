//! The bytes of a stream, as a function of the stream and the position: nothing has to be remembered to check them.

/// One direction of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pattern(u64);

impl Pattern {
    /// The stream that end `end` of connection `connection` writes in a run.
    pub(super) fn new(seed: u64, connection: usize, end: usize) -> Self {
        Self(mix(seed ^ mix(connection as u64 * 2 + end as u64 + 1)))
    }

    /// Writes the bytes from position `at` on.
    pub(super) fn fill(self, at: u64, out: &mut [u8]) {
        for (byte, position) in out.iter_mut().zip(at..) {
            *byte = self.byte(position);
        }
    }

    /// The offset of the first byte of `bytes`, which begin at position `at`, that is wrong.
    pub(super) fn first_wrong(self, at: u64, bytes: &[u8]) -> Option<usize> {
        bytes
            .iter()
            .zip(at..)
            .position(|(byte, position)| *byte != self.byte(position))
    }

    fn byte(self, position: u64) -> u8 {
        (mix(self.0 ^ (position >> 3)) >> ((position & 7) * 8)) as u8
    }
}

/// A bijection that leaves no pattern (the finalizer of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_bytes() {
        let pattern = Pattern::new(1, 2, 0);
        let mut whole = [0; 100];
        pattern.fill(5, &mut whole);
        for at in 0..100 {
            let mut part = [0; 7];
            pattern.fill(5 + at as u64, &mut part);
            let n = (100 - at).min(7);
            assert_eq!(part[..n], whole[at..at + n]);
        }
        assert_eq!(pattern.first_wrong(5, &whole), None);
        whole[42] ^= 1;
        assert_eq!(pattern.first_wrong(5, &whole), Some(42));
        assert_ne!(pattern, Pattern::new(1, 2, 1));
    }
}
