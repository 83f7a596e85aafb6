//! The record of a run: everything that is shown, written and compared comes from it.
//!
//! `--json FILE` writes it as one JSON object. `schema` is [`SCHEMA`], `version` is [`VERSION`]; the version grows when
//! a field changes its meaning or goes away. Units stand at the end of the names: `_ns` nanoseconds, `_s` seconds,
//! `_per_s` per second, `_bytes` bytes, `_ppm` parts per million; shares are of one; counts have no unit.

use std::collections::BTreeMap;
use std::fs;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::clock::ClockFacts;
use super::log::Stretch;
use super::ramp::Step;
use super::table::SHOWN;
use super::verdict::Refusal;
use super::watch::Cpu;

/// What a file of ours calls itself.
pub const SCHEMA: &str = "millrace-load";
/// Of the fields below.
pub const VERSION: u32 = 1;
/// Points of a curve for each halving of the distance to 100 %.
const POINTS: u32 = 5;

/// A run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// When the run ended, seconds since 1970.
    pub ended_unix_s: u64,
    /// The command line.
    pub command: Vec<String>,
    /// What was done.
    pub work: Work,
    /// How long.
    pub timing: Timing,
    /// What is quoted; nothing when there is a reason not to.
    pub headline: Option<Headline>,
    /// The reasons.
    pub refusals: Vec<Refusal>,
    /// What was counted within the measurement.
    pub counts: Counts,
    /// Latency from the time at which a request was meant to be sent; requests without a reply count with the time
    /// they waited.
    pub corrected: Curve,
    /// Latency from the time at which it was sent.
    pub raw: Curve,
    /// Time to connect.
    pub connect: Curve,
    /// The generator itself.
    pub generator: Generator,
    /// Its clock.
    pub clock: ClockFacts,
    /// The steps of a ramp, of which this is the knee.
    pub ramp: Vec<Step>,
    /// The measurement in stretches.
    pub series: Vec<Stretch>,
    /// The machine's cores.
    pub cpu: Cpu,
    /// TCP counters that moved from the first connection to the last reply, by their Linux names.
    pub tcp: BTreeMap<String, u64>,
    /// Counters of the driver's queues that moved.
    pub driver: BTreeMap<String, u64>,
    /// Packets that our stack refused, by reason.
    pub drops: BTreeMap<String, u64>,
    /// The machine.
    pub machine: Machine,
    /// The program.
    pub build: Build,
}

/// What was done.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Work {
    /// The server, as given.
    pub target: String,
    /// What carried the connections.
    pub carrier: String,
    /// requests, connect, send or receive.
    pub shape: String,
    /// A request.
    pub request_bytes: u64,
    /// What a reply is: echo, http or a number of bytes.
    pub reply: String,
    /// Connections.
    pub connections: u64,
    /// Requests under way on each.
    pub depth: u64,
    /// Of an open loop; none: closed loop.
    pub rate_per_s: Option<f64>,
    /// constant, poisson or burst=N.
    pub arrivals: Option<String>,
    /// Of the arrivals.
    pub seed: u64,
}

/// How long.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Before the measurement.
    pub warm_up_s: f64,
    /// How long it was meant to be.
    pub asked_s: f64,
    /// How long it was.
    pub measured_s: f64,
    /// Why it was shorter.
    pub cut_short: Option<String>,
}

/// What is quoted.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Headline {
    /// Replies; of a stream nothing.
    pub replies_per_s: Option<f64>,
    /// Bytes received or streamed.
    pub bytes_per_s: f64,
    /// The percentile.
    pub percentile: f64,
    /// Corrected latency there; of a stream nothing.
    pub latency_ns: Option<u64>,
}

/// What was counted within the measurement.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that were due.
    pub offered: u64,
    /// Requests sent.
    pub sent: u64,
    /// Replies to them.
    pub replies: u64,
    /// Replies that came within the measurement.
    pub replies_in_time: u64,
    /// Requests without a reply at the end.
    pub unanswered: u64,
    /// Requests that could not even wait.
    pub shed: u64,
    /// Connections that the server ended between requests and that were opened again.
    pub reopened: u64,
    /// Bytes received or streamed.
    pub bytes: u64,
    /// Frames that driver or device lost.
    pub driver_lost: u64,
}

/// A distribution.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Curve {
    /// Values.
    pub count: u64,
    /// Smallest.
    pub min_ns: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Standard deviation.
    pub stdev_ns: f64,
    /// Largest.
    pub max_ns: u64,
    /// Upwards.
    pub points: Vec<Point>,
}

/// A point of a distribution.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Share of values in percent that are at most `ns`.
    pub percentile: f64,
    /// The value.
    pub ns: u64,
    /// Values up to here.
    pub count: u64,
}

/// The generator itself.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Generator {
    /// Share of the time in iterations of its loop that did something.
    pub busy: f64,
    /// How long those iterations took.
    pub iteration: Curve,
    /// Open loop: how late it turned to requests that were due.
    pub lag: Curve,
    /// The longest time within the measurement in which no reply came.
    pub longest_silence_s: f64,
}

/// The machine.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Linux's version.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// Cores that programs may use.
    pub cores: u64,
    /// Main memory.
    pub memory_bytes: u64,
}

/// The program.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Build {
    /// Of Millrace.
    pub version: String,
    /// release, or debug: not to be quoted.
    pub profile: String,
    /// The instruction set.
    pub arch: String,
}

impl Curve {
    /// The distribution of a histogram, with points at the usual percentiles, at `also`, and [`POINTS`] for each
    /// halving of the distance to 100 %.
    pub fn of(histogram: &Histogram<u64>, also: f64) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let steps = histogram.iter_quantiles(POINTS);
        let mut percentiles: Vec<f64> = steps
            .map(|step| step.quantile_iterated_to() * 100.0)
            .collect();
        percentiles.extend(SHOWN);
        percentiles.push(also);
        percentiles.sort_unstable_by(f64::total_cmp);
        percentiles.dedup();
        let points = percentiles.into_iter().map(|percentile| {
            let ns = histogram.value_at_quantile(percentile / 100.0);
            Point {
                percentile,
                ns,
                count: histogram.count_between(0, ns),
            }
        });
        Self {
            points: points.collect(),
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            stdev_ns: histogram.stdev(),
            max_ns: histogram.max(),
        }
    }

    /// The value at a percentile: that of the first point at or beyond it.
    pub fn at(&self, percentile: f64) -> u64 {
        let point = self
            .points
            .iter()
            .find(|point| point.percentile >= percentile - 1e-9);
        point.map_or(self.max_ns, |point| point.ns)
    }
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, |n| n.get() as u64),
            memory_bytes: kib * 1024,
        }
    }
}

impl Build {
    /// This one.
    pub fn here() -> Self {
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: profile.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::load::log::histogram;
    use crate::load::watch::{Core, CpuStretch};

    /// A run that answered `replies` requests in a second, in 10 µs and more.
    pub(in crate::load) fn sample(replies: u64) -> Record {
        let mut latency = histogram();
        for number in 0..replies {
            latency.record(10_000 + number).expect("in range");
        }
        let curve = Curve::of(&latency, 99.0);
        let stretch = |at_s| Stretch {
            at_s,
            length_s: 0.5,
            sent: replies / 2,
            replies: replies / 2,
            bytes: 64,
            p50_ns: 10_500,
            p99_ns: 20_000,
            max_ns: 30_000,
        };
        let busy = |at_s| CpuStretch {
            at_s,
            busy: vec![0.25, 1.0],
        };
        let core = |core| Core {
            core,
            user: 0.2,
            system: 0.3,
            irq: 0.1,
            steal: 0.0,
        };
        Record {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            ended_unix_s: 1_800_000_000,
            command: vec!["millrace".to_owned(), "load".to_owned(), "<a>&b".to_owned()],
            work: Work {
                target: "10.0.0.1:7".to_owned(),
                carrier: "kernel sockets".to_owned(),
                shape: "requests".to_owned(),
                request_bytes: 64,
                reply: "echo".to_owned(),
                connections: 4,
                depth: 1,
                ..Work::default()
            },
            timing: Timing {
                warm_up_s: 0.5,
                asked_s: 1.0,
                measured_s: 1.0,
                cut_short: None,
            },
            headline: Some(Headline {
                replies_per_s: Some(replies as f64),
                bytes_per_s: 64.0,
                percentile: 99.0,
                latency_ns: Some(curve.at(99.0)),
            }),
            refusals: Vec::new(),
            counts: Counts {
                offered: replies,
                sent: replies,
                replies,
                replies_in_time: replies,
                bytes: 128,
                ..Counts::default()
            },
            corrected: curve.clone(),
            raw: curve.clone(),
            connect: curve,
            generator: Generator::default(),
            clock: ClockFacts::default(),
            ramp: Vec::new(),
            series: vec![stretch(0.5), stretch(1.0)],
            cpu: Cpu {
                cores: vec![core(0), core(1)],
                series: vec![busy(0.5), busy(1.0)],
            },
            tcp: BTreeMap::from([("TcpRetransSegs".to_owned(), 3)]),
            driver: BTreeMap::from([("rx_packets".to_owned(), 9)]),
            drops: BTreeMap::from([("BadChecksum".to_owned(), 2)]),
            machine: Machine::here(),
            build: Build::here(),
        }
    }

    #[test]
    fn a_curve_has_the_percentiles_that_are_asked_for() {
        let mut histogram = crate::load::log::histogram();
        for ns in 1..=1000 {
            histogram.record(ns).expect("in range");
        }
        let curve = Curve::of(&histogram, 97.3);
        assert_eq!(curve.at(50.0), 500);
        assert_eq!(curve.at(97.3), 973);
        assert!((999..=1000).contains(&curve.at(99.9)));
        assert_eq!((curve.count, curve.max_ns), (1000, 1000));
        assert!(
            curve
                .points
                .is_sorted_by_key(|point| (point.percentile as u64, point.count))
        );
        assert_eq!(
            curve.points.last().map(|point| (point.ns, point.count)),
            Some((1000, 1000))
        );
        assert_eq!(
            Curve::of(&crate::load::log::histogram(), 99.0),
            Curve::default()
        );
    }
}
