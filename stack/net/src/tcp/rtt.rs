//! Round-trip time and RTO (RFC 6298; Linux `tcp_rtt_estimator`, `tcp_set_rto`).

use core::time::Duration;
use millrace_wire::time::Instant;

/// RTO before the first sample.
pub(crate) const INITIAL_RTO: Duration = Duration::from_secs(1);
/// RTO for data after a handshake that timed out.
const FALLBACK_RTO: Duration = Duration::from_secs(3);
/// How long a minimum counts, nanoseconds (Linux `tcp_min_rtt_wlen`).
const MIN_WINDOW_NS: u64 = 300_000_000_000;

/// Estimators of a connection, microseconds.
#[derive(Clone)]
pub(crate) struct Rtt {
    /// Smoothed RTT times 8; 0 before the first sample.
    srtt8: u32,
    /// Mean deviation times 4.
    mdev4: u32,
    /// Largest mean deviation of the running round, and the smoothed maximum that makes the RTO.
    mdev_max: u32,
    rttvar: u32,
    min_us: u32,
    min_at: Instant,
    rto_us: u32,
}

impl Default for Rtt {
    fn default() -> Self {
        Self {
            srtt8: 0,
            mdev4: 0,
            mdev_max: 0,
            rttvar: 0,
            min_us: u32::MAX,
            min_at: Instant::ZERO,
            rto_us: INITIAL_RTO.as_micros() as u32,
        }
    }
}

impl Rtt {
    /// Takes a sample, nanoseconds.
    pub(crate) fn sample(&mut self, now: Instant, rtt_ns: u64, rto_min_us: u32) {
        let us = ((rtt_ns / 1_000).min(u64::from(u32::MAX >> 4)) as u32).max(1);
        if us <= self.min_us || now.nanos_since(self.min_at) > MIN_WINDOW_NS {
            self.min_us = us;
            self.min_at = now;
        }
        if self.srtt8 == 0 {
            self.srtt8 = us << 3;
            self.mdev4 = us << 1;
            self.rttvar = self.mdev4.max(rto_min_us);
            self.mdev_max = self.rttvar;
        } else {
            self.smooth(us, rto_min_us);
        }
        self.reset_rto();
    }

    fn smooth(&mut self, us: u32, rto_min_us: u32) {
        let mut err = us as i32 - (self.srtt8 >> 3) as i32;
        self.srtt8 = (self.srtt8 as i32 + err).max(1) as u32;
        if err < 0 {
            err = -err - (self.mdev4 >> 2) as i32;
            // A sudden fall of the RTT must not raise the RTO.
            if err > 0 {
                err >>= 3;
            }
        } else {
            err -= (self.mdev4 >> 2) as i32;
        }
        self.mdev4 = (self.mdev4 as i32 + err).max(0) as u32;
        self.mdev_max = self.mdev_max.max(self.mdev4).max(rto_min_us);
        self.rttvar = self.rttvar.max(self.mdev_max);
    }

    /// A round of data is acknowledged: the deviation's maximum may fall (Linux `rtt_seq`).
    pub(crate) fn end_round(&mut self, rto_min_us: u32) {
        if self.mdev_max < self.rttvar {
            self.rttvar -= (self.rttvar - self.mdev_max) >> 2;
        }
        self.mdev_max = rto_min_us;
    }

    /// RTO from the estimators, without back-off.
    pub(crate) fn reset_rto(&mut self) {
        if self.srtt8 != 0 {
            self.rto_us = (self.srtt8 >> 3).saturating_add(self.rttvar);
        } else {
            self.rto_us = INITIAL_RTO.as_micros() as u32;
        }
    }

    /// However long the samples were, the RTO is not longer than `max_ms` (Linux `tcp_bound_rto`).
    pub(crate) fn bound(&mut self, max_ms: u32) {
        if mutant!("rto_without_bound") {
            return;
        }
        self.rto_us = self.rto_us.min(max_ms.saturating_mul(1_000));
    }

    /// The handshake timed out and gave no sample: three seconds (RFC 6298 §5.7).
    pub(crate) fn fall_back(&mut self) {
        self.rto_us = FALLBACK_RTO.as_micros() as u32;
    }

    /// Doubles the RTO, up to `max` (RFC 6298 §5.5).
    pub(crate) fn back_off(&mut self, max: Duration) {
        self.rto_us = self
            .rto_us
            .saturating_mul(if mutant!("no_back_off") { 1 } else { 2 })
            .min(max.as_micros().min(u128::from(u32::MAX)) as u32);
    }

    #[inline]
    pub(crate) fn rto(&self) -> Duration {
        Duration::from_micros(u64::from(self.rto_us))
    }

    /// [`Rtt::rto`] in nanoseconds.
    #[inline]
    pub(crate) fn rto_ns(&self) -> u64 {
        u64::from(self.rto_us) * 1_000
    }

    /// [`Rtt::srtt`] in nanoseconds.
    #[inline]
    pub(crate) fn srtt_ns(&self) -> u64 {
        u64::from(self.srtt8 >> 3) * 1_000
    }

    pub(crate) fn has_sample(&self) -> bool {
        self.srtt8 != 0
    }

    /// Smoothed RTT; zero before the first sample.
    pub(crate) fn srtt(&self) -> Duration {
        Duration::from_micros(u64::from(self.srtt8 >> 3))
    }

    /// Mean deviation; zero before the first sample.
    pub(crate) fn mdev(&self) -> Duration {
        Duration::from_micros(u64::from(self.mdev4 >> 2))
    }

    /// Least RTT of the last minutes; zero before the first sample.
    pub(crate) const fn min_us(&self) -> u32 {
        self.min_us
    }

    /// The same as a duration; zero without a sample.
    pub(crate) fn min(&self) -> Duration {
        if self.min_us == u32::MAX {
            Duration::ZERO
        } else {
            Duration::from_micros(u64::from(self.min_us))
        }
    }
}
