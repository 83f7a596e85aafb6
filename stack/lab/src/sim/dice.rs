//! Randomness of a run: one stream per purpose, so that a decision more here does not change those over there.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// The plan of the run.
    Plan,
    /// The wire, by the node it leads away from.
    Lane(u64),
    /// An application, by its number.
    App(u64),
    /// The stack, by node.
    Stack(u64),
    /// The attacker.
    Attacker,
    /// The peer: 0 for what it is like, then by connection.
    Peer(u64),
}

/// A stream of random decisions.
#[derive(Debug, Clone)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(match purpose {
            Purpose::Plan => 0,
            Purpose::Lane(n) => 1_000 + n,
            Purpose::App(n) => 2_000 + n,
            Purpose::Stack(n) => 3_000 + n,
            Purpose::Attacker => 4_000,
            Purpose::Peer(n) => 5_000 + n,
        });
        Self(rng)
    }

    /// True `ppm` times in a million.
    pub(super) fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.0.random_ratio(ppm.min(1_000_000), 1_000_000)
    }

    /// Uniform.
    pub(super) fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.0.random_range(range)
    }

    /// Small values as often as large ones: uniform in the number of bits.
    pub(super) fn magnitude(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        let bits = self.range(0..=u64::from(64 - (high - low).leading_zeros()));
        let span = if bits == 0 {
            0
        } else {
            (1_u64 << (bits - 1)).saturating_mul(2) - 1
        };
        low + self.range(0..=span.min(high - low))
    }

    /// A time between two.
    pub(super) fn duration(&mut self, range: RangeInclusive<Duration>) -> Duration {
        let nanos = |duration: &Duration| duration.as_nanos() as u64;
        Duration::from_nanos(self.range(nanos(range.start())..=nanos(range.end())))
    }

    /// One of several.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.range(0..=from.len() as u64 - 1) as usize]
    }

    /// 32 bytes of key.
    pub(super) fn key(&mut self) -> [u8; 32] {
        self.0.random()
    }
}
