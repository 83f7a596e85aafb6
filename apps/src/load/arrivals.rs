//! When requests are meant to be sent: the arrival process of an open loop, from a seed.

use core::str::FromStr;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How requests are spread over time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Arrivals {
    /// Equal gaps.
    #[default]
    Constant,
    /// Independent of each other: exponential gaps.
    Poisson,
    /// So many at once, equal gaps between the bursts.
    Burst(u32),
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "constant" => Ok(Self::Constant),
            None if text == "poisson" => Ok(Self::Poisson),
            Some(("burst", size)) => size
                .parse()
                .ok()
                .filter(|&size| size > 0)
                .map(Self::Burst)
                .ok_or_else(|| "a burst has at least one request: burst=10".to_owned()),
            _ => Err("give constant, poisson or burst=N".to_owned()),
        }
    }
}

impl core::fmt::Display for Arrivals {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Poisson => f.write_str("poisson"),
            Self::Burst(size) => write!(f, "burst={size}"),
        }
    }
}

/// The intended times, one after the other, in nanoseconds since the start.
///
/// Gaps are added up in floating point from the number of requests, so that no rounding error grows with time.
#[derive(Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    /// Nanoseconds between two requests on average.
    gap: f64,
    sent: u64,
    /// Poisson: where the last one stood.
    at: f64,
    random: ChaCha8Rng,
}

impl Schedule {
    /// `rate` requests per second; `seed` decides the random gaps.
    pub fn new(arrivals: Arrivals, rate: f64, seed: u64) -> Self {
        Self {
            arrivals,
            gap: 1e9 / rate,
            sent: 0,
            at: 0.0,
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let number = self.sent;
        self.sent += 1;
        let at = match self.arrivals {
            Arrivals::Constant => number as f64 * self.gap,
            Arrivals::Burst(size) => {
                let size = u64::from(size);
                (number / size * size) as f64 * self.gap
            }
            Arrivals::Poisson => {
                // 1 - [0, 1) is never zero.
                let uniform: f64 = 1.0 - self.random.random::<f64>();
                self.at -= uniform.ln() * self.gap;
                self.at
            }
        };
        Some(at as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_gaps_and_bursts() {
        let times = |arrivals| -> Vec<u64> { Schedule::new(arrivals, 1e6, 1).take(7).collect() };
        assert_eq!(
            times(Arrivals::Constant),
            [0, 1000, 2000, 3000, 4000, 5000, 6000]
        );
        assert_eq!(times(Arrivals::Burst(3)), [0, 0, 0, 3000, 3000, 3000, 6000]);
    }

    #[test]
    fn no_error_grows_with_time() {
        // A third of a nanosecond is lost in no gap.
        let last = Schedule::new(Arrivals::Constant, 3e6, 1).nth(3_000_000);
        assert_eq!(last, Some(1_000_000_000));
    }

    #[test]
    fn poisson_has_exponential_gaps() {
        let times: Vec<u64> = Schedule::new(Arrivals::Poisson, 1e6, 7)
            .take(100_001)
            .collect();
        let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread =
            (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean - 1000.0).abs() < 20.0, "mean {mean}");
        assert!((spread - mean).abs() < 30.0, "spread {spread}, mean {mean}");
        let beyond = gaps.iter().filter(|&&g| g > 2.0 * 1000.0).count() as f64 / gaps.len() as f64;
        assert!((beyond - (-2.0f64).exp()).abs() < 0.005, "beyond {beyond}");
    }

    #[test]
    fn names_are_read_and_written() {
        for text in ["constant", "poisson", "burst=5"] {
            assert_eq!(text.parse::<Arrivals>().expect(text).to_string(), text);
        }
        for text in ["", "burst", "burst=0", "burst=x", "poisson=1"] {
            assert!(text.parse::<Arrivals>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_never_go_back_and_a_seed_repeats(rate in 1.0..1e7, seed: u64, which in 0..3) {
            let arrivals = [Arrivals::Constant, Arrivals::Poisson, Arrivals::Burst(4)][which as usize];
            let times: Vec<u64> = Schedule::new(arrivals, rate, seed).take(100).collect();
            prop_assert!(times.is_sorted());
            let again: Vec<u64> = Schedule::new(arrivals, rate, seed).take(100).collect();
            prop_assert_eq!(times, again);
        }
    }
}
