//! The virtual clock: time passes only when it is told to.

use std::time::Duration;

use millrace_wire::time::Instant;

/// Where virtual time begins: late enough that nothing in the stack can reach back before the origin.
pub const START: Instant = Instant::from_nanos(1_000 * 1_000_000_000);

/// A clock that stands still between [`VirtualClock::advance_to`] calls.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    now: Instant,
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self { now: START }
    }
}

impl VirtualClock {
    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Time since [`START`].
    pub fn elapsed(&self) -> Duration {
        self.now.since(START)
    }

    /// Lets time pass up to `to`; an earlier point changes nothing.
    pub fn advance_to(&mut self, to: Instant) {
        self.now = self.now.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let mut clock = VirtualClock::default();
        clock.advance_to(START + Duration::from_secs(2));
        clock.advance_to(START + Duration::from_secs(1));
        assert_eq!(clock.elapsed(), Duration::from_secs(2));
    }
}
