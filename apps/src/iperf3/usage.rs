//! Processor time of this process, as iperf3 tells it.

use std::fs;

use millrace::Instant;

use super::results::Cpu;

/// A reading.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    /// Programs and kernel, in ticks.
    ticks: [u64; 2],
}

impl Usage {
    /// Reads now.
    pub fn read(now: Instant) -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self {
            at: now,
            ticks: ticks(&stat).unwrap_or_default(),
        }
    }

    /// The shares since then.
    pub fn until(&self, later: &Self) -> Cpu {
        let passed = later.at.since(self.at).as_secs_f64();
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let share = |place: usize| {
            let spent = later.ticks[place].saturating_sub(self.ticks[place]) as f64 / per_second;
            if passed > 0.0 {
                spent / passed * 100.0
            } else {
                0.0
            }
        };
        let (user, system) = (share(0), share(1));
        Cpu {
            total: user + system,
            user,
            system,
        }
    }
}

/// The second field is a name in parentheses that may hold blanks; utime and stime are the 12th and 13th behind it.
fn ticks(stat: &str) -> Option<[u64; 2]> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    Some([fields.next()?.parse().ok()?, fields.next()?.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_behind_a_strange_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 50 6 0 0 20";
        assert_eq!(ticks(stat), Some([50, 6]));
        let read = |millis: u64, ticks| Usage {
            at: Instant::from_nanos(millis * 1_000_000),
            ticks,
        };
        let cpu = read(0, [0, 0]).until(&read(2000, [50, 6]));
        let expected = 28.0 * 100.0 / rustix::param::clock_ticks_per_second() as f64;
        assert!((cpu.total - expected).abs() < 1e-9, "{cpu:?}");
    }
}
