//! Whether the clock can be trusted: it is compared with the kernel's CLOCK_MONOTONIC over the run, its steps are
//! measured, and every reading of the engine is compared with the one before.

use core::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant as KernelInstant;

use millrace::{Clock, Instant, TscClock};
use serde::{Deserialize, Serialize};

/// Readings of both clocks from which the closest pair is taken.
const TRIES: usize = 50;
/// Readings that measure steps and cost.
const READINGS: u64 = 10_000;
/// Drift beyond which latencies are wrong in the third digit, parts per million.
const DRIFT_LIMIT: f64 = 1000.0;
/// A step of the clock must be smaller than a latency by this factor.
const STEPS: u64 = 10;

/// What is known of the clock.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ClockFacts {
    /// How much faster it goes than CLOCK_MONOTONIC, parts per million.
    pub drift_ppm: f64,
    /// How exactly that is known, parts per million.
    pub drift_error_ppm: f64,
    /// Its smallest step, nanoseconds (the time for a reading if that is longer).
    pub step_ns: u64,
    /// What a reading costs on average, nanoseconds.
    pub reading_ns: f64,
    /// Readings that were earlier than the one before.
    pub backward_jumps: u64,
}

impl ClockFacts {
    /// Why latencies of `latency_ns` cannot be measured with it.
    pub fn unfit(&self, latency_ns: u64) -> Option<String> {
        if self.backward_jumps > 0 {
            return Some(format!("the clock went back {} times", self.backward_jumps));
        }
        if self.drift_ppm.abs() - self.drift_error_ppm > DRIFT_LIMIT {
            return Some(format!(
                "the clock and CLOCK_MONOTONIC drifted apart by {:.0} ppm, more than {DRIFT_LIMIT:.0}",
                self.drift_ppm.abs()
            ));
        }
        (latency_ns > 0 && self.step_ns > latency_ns / STEPS).then(|| {
            format!(
                "the clock moves in steps of {} ns, too coarse for a latency of {latency_ns} ns",
                self.step_ns
            )
        })
    }
}

/// The engine's clock.
pub struct Watched {
    clock: TscClock,
    last: Cell<u64>,
    jumps: Arc<AtomicU64>,
}

impl Clock for Watched {
    fn now(&self) -> Instant {
        let now = self.clock.now().as_nanos();
        let last = self.last.get();
        if now < last {
            self.jumps.fetch_add(1, Ordering::Relaxed);
            return Instant::from_nanos(last);
        }
        self.last.set(now);
        Instant::from_nanos(now)
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Pair {
    ours: u64,
    kernel: KernelInstant,
    /// How far apart the readings around the kernel's were.
    width: u64,
}

impl Pair {
    /// The closest of several.
    fn read(clock: &TscClock) -> Self {
        let one = || {
            let before = clock.now().as_nanos();
            let kernel = KernelInstant::now();
            let width = clock.now().as_nanos() - before;
            Self {
                ours: before + width / 2,
                kernel,
                width,
            }
        };
        let tries = (1..TRIES).map(|_| one());
        tries.fold(
            one(),
            |best, pair| if pair.width < best.width { pair } else { best },
        )
    }
}

/// A check that lasts as long as the run.
pub struct Check {
    clock: TscClock,
    jumps: Arc<AtomicU64>,
    start: Pair,
}

impl Check {
    /// Begins.
    pub fn begin(clock: &TscClock) -> Self {
        Self {
            clock: clock.clone(),
            jumps: Arc::default(),
            start: Pair::read(clock),
        }
    }

    /// The clock for the engine.
    pub fn clock(&self) -> Watched {
        Watched {
            clock: self.clock.clone(),
            last: Cell::new(0),
            jumps: Arc::clone(&self.jumps),
        }
    }

    /// What the run has shown.
    pub fn end(&self) -> ClockFacts {
        let end = Pair::read(&self.clock);
        let ours = end.ours.saturating_sub(self.start.ours) as f64;
        let kernel = end
            .kernel
            .duration_since(self.start.kernel)
            .as_nanos()
            .max(1) as f64;
        let error = (end.width + self.start.width) as f64 / 2.0;
        let (step_ns, reading_ns) = steps(&self.clock);
        ClockFacts {
            drift_ppm: (ours - kernel) / kernel * 1e6,
            drift_error_ppm: error / kernel * 1e6,
            step_ns,
            reading_ns,
            backward_jumps: self.jumps.load(Ordering::Relaxed),
        }
    }
}

/// Smallest step and cost of a reading.
fn steps(clock: &impl Clock) -> (u64, f64) {
    let start = clock.now().as_nanos();
    let (mut last, mut step) = (start, u64::MAX);
    for _ in 0..READINGS {
        let now = clock.now().as_nanos();
        if now > last {
            step = step.min(now - last);
        }
        last = now;
    }
    (step, (last - start) as f64 / READINGS as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: ClockFacts = ClockFacts {
        drift_ppm: 40.0,
        drift_error_ppm: 5.0,
        step_ns: 20,
        reading_ns: 18.0,
        backward_jumps: 0,
    };

    #[test]
    fn a_good_clock_is_fit() {
        assert_eq!(FIT.unfit(1000), None);
        // A short run cannot tell the drift exactly, and is not blamed for it.
        let short = ClockFacts {
            drift_ppm: 2000.0,
            drift_error_ppm: 1500.0,
            ..FIT
        };
        assert_eq!(short.unfit(1000), None);
    }

    #[test]
    fn bad_clocks_are_told() {
        let drifting = ClockFacts {
            drift_ppm: -2000.0,
            ..FIT
        };
        assert!(
            drifting
                .unfit(1000)
                .is_some_and(|why| why.contains("2000 ppm"))
        );
        let coarse = ClockFacts {
            step_ns: 4_000_000,
            ..FIT
        };
        assert!(
            coarse
                .unfit(1_000_000)
                .is_some_and(|why| why.contains("steps"))
        );
        let back = ClockFacts {
            backward_jumps: 3,
            ..FIT
        };
        assert!(back.unfit(1000).is_some_and(|why| why.contains("3 times")));
    }

    #[test]
    fn the_machines_clock_is_measured() {
        let check = Check::begin(&TscClock::new());
        let clock = check.clock();
        assert!(clock.now() <= clock.now());
        let facts = check.end();
        assert!(facts.step_ns < u64::MAX && facts.reading_ns > 0.0);
        assert_eq!(facts.backward_jumps, 0);
    }
}
