//! Where a worker's time comes from.
//!
//! The stack is told the time; a worker reads its clock once per iteration. The real clock counts TSC ticks
//! (about 10 ns a reading); the virtual one stands still until somebody moves it.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_wire::time::Instant;

/// Clocks start here and not at zero, so that a time a little before the start can still be written.
const START: Instant = Instant::from_nanos(1_000_000_000);

/// A monotonic clock.
pub trait Clock: Send {
    /// The time now; never earlier than what was read before.
    fn now(&self) -> Instant;
}

/// The processor's time stamp counter, calibrated against the kernel's monotonic clock (which takes its place
/// where the counter is not invariant). Copies share their origin.
#[derive(Clone, Debug)]
pub struct TscClock {
    clock: quanta::Clock,
    origin: u64,
}

impl TscClock {
    /// Calibrates the clock (up to 200 ms the first time in a process).
    pub fn new() -> Self {
        let clock = quanta::Clock::new();
        let origin = clock.raw();
        Self { clock, origin }
    }
}

impl Default for TscClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TscClock {
    fn now(&self) -> Instant {
        START + Duration::from_nanos(self.clock.delta_as_nanos(self.origin, self.clock.raw()))
    }
}

/// A clock that is moved by hand, for tests and simulations. Copies show the same time.
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// A clock that stands at one second.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START.as_nanos())))
    }

    /// Moves the clock forward by `by`.
    pub fn advance(&self, by: Duration) {
        self.advance_to(self.now() + by);
    }

    /// Moves the clock forward to `to`; a time in the past changes nothing.
    pub fn advance_to(&self, to: Instant) {
        self.0.fetch_max(to.as_nanos(), Ordering::Relaxed);
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsc_clock_never_goes_back_and_copies_agree() {
        let clock = TscClock::new();
        let copy = clock.clone();
        let mut last = clock.now();
        for _ in 0..10_000 {
            let between = copy.now();
            let now = clock.now();
            assert!(last <= between && between <= now);
            last = now;
        }
    }

    #[test]
    fn virtual_clock_moves_forward_only() {
        let clock = VirtualClock::new();
        let copy = clock.clone();
        let start = clock.now();
        clock.advance(Duration::from_millis(5));
        assert_eq!(copy.now().since(start), Duration::from_millis(5));
        copy.advance_to(start);
        assert_eq!(clock.now().since(start), Duration::from_millis(5));
    }
}
