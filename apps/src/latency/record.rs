//! The record of a run. `--json FILE` writes it as one JSON object; `schema` is [`SCHEMA`], `version` is [`VERSION`]. Units
//! stand at the end of the names, as in the record of `millrace load`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use millrace::Worker;
use millrace::worker::Stage;
use serde::Serialize;

use super::{LatencyArgs, Samples};
use crate::load::clock::ClockFacts;
use crate::load::driver::queue_counters;
use crate::load::record::{Build, Curve, Machine};
use crate::load::units;

/// What a file of ours calls itself.
pub const SCHEMA: &str = "millrace-latency";
/// Of the fields below.
pub const VERSION: u32 = 1;
/// Percentiles that are shown.
const SHOWN: [f64; 3] = [50.0, 99.0, 99.9];

/// A run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// [`VERSION`].
    pub version: u32,
    /// When the run ended, seconds since 1970.
    pub ended_unix_s: u64,
    /// The command line.
    pub command: Vec<String>,
    /// echo, discard, chargen or http.
    pub service: String,
    /// The device, and how frames travel.
    pub carrier: String,
    /// Of iterations that received frames one in so many was stamped.
    pub every: u32,
    /// Iterations in which frames were received and that were stamped.
    pub iterations: u64,
    /// Frames received in them.
    pub frames_in: u64,
    /// Frames sent in them.
    pub frames_out: u64,
    /// Times that a service was lent bytes in them; of what came before its connection was accepted an event tells, and that
    /// is stage `events`.
    pub served: u64,
    /// Readings of the clock in them; each costs `clock.reading_ns`, which is a part of the stages' times.
    pub stamps: u64,
    /// What the worker received in all, stamped or not.
    pub worker_frames_in: u64,
    /// Whether frames bear the device's time stamps; no driver here has any, and time before the poll is not seen.
    pub device_timestamps: bool,
    /// By stage, in order. Each moment belongs to one stage: `sum_ns` of all are that of `total`.
    pub stages: Vec<StageTimes>,
    /// Whole iterations.
    pub total: StageTimes,
    /// The clock.
    pub clock: ClockFacts,
    /// Counters of the driver's queues, of the whole run.
    pub driver: BTreeMap<String, u64>,
    /// The machine.
    pub machine: Machine,
    /// The program.
    pub build: Build,
}

/// Times of a stage, one value for each stamped iteration.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StageTimes {
    /// Its name.
    pub name: String,
    /// Of all.
    pub sum_ns: u64,
    /// The same by frame received.
    pub per_frame_in_ns: f64,
    /// The distribution; 0 ns counts as 1.
    pub curve: Curve,
}

impl Record {
    /// Of a run that is over.
    pub fn new(
        args: &LatencyArgs,
        samples: &Samples,
        clock: ClockFacts,
        worker: &Worker,
        carrier: String,
    ) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let times = |name: &str, sum_ns: u64, histogram: &Histogram<u64>| StageTimes {
            name: name.to_owned(),
            sum_ns,
            per_frame_in_ns: sum_ns as f64 / samples.received.max(1) as f64,
            curve: Curve::of(histogram, 99.0),
        };
        let stages = Stage::ALL.iter().zip(&samples.sums).zip(&samples.stages);
        Self {
            schema: SCHEMA,
            version: VERSION,
            ended_unix_s: now.map_or(0, |time| time.as_secs()),
            command: std::env::args().collect(),
            service: args.service.name().to_owned(),
            carrier,
            every: args.every,
            iterations: samples.total.len(),
            frames_in: samples.received,
            frames_out: samples.sent,
            served: samples.served,
            stamps: samples.stamps,
            worker_frames_in: worker.stats().rx_frames,
            device_timestamps: false,
            stages: stages
                .map(|((stage, sum), histogram)| times(stage.name(), *sum, histogram))
                .collect(),
            total: times("total", samples.sums.iter().sum(), &samples.total),
            clock,
            driver: queue_counters(worker.queues()).into_iter().collect(),
            machine: Machine::here(),
            build: Build::here(),
        }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "{} over {}", self.service, self.carrier)?;
        writeln!(
            text,
            "{} iterations stamped, one in {} of those that received frames: {} frames in, {} calls of the service, {} frames out\n",
            units::count(self.iterations),
            self.every,
            units::count(self.frames_in),
            units::count(self.served),
            units::count(self.frames_out)
        )?;
        writeln!(
            text,
            "  {:<10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8} {:>10}",
            "stage", "p50", "p99", "p99.9", "max", "mean", "share", "per frame"
        )?;
        for stage in self.stages.iter().chain([&self.total]) {
            write!(text, "  {:<10}", stage.name)?;
            for p in SHOWN {
                write!(text, " {:>10}", units::time(stage.curve.at(p)))?;
            }
            let mean = stage.sum_ns as f64 / self.iterations.max(1) as f64;
            writeln!(
                text,
                " {:>10} {:>10} {:>8} {:>10}",
                units::time(stage.curve.max_ns),
                units::time(mean.round() as u64),
                units::percent(stage.sum_ns as f64 / self.total.sum_ns.max(1) as f64),
                units::time(stage.per_frame_in_ns.round() as u64)
            )?;
        }
        writeln!(
            text,
            "\nStages of an iteration, several frames together when they came together. {:.1} readings of the clock each, {:.0} ns a reading.",
            self.stamps as f64 / self.iterations.max(1) as f64,
            self.clock.reading_ns
        )?;
        writeln!(
            text,
            "The device stamps no frames: time in its ring before the poll is not seen."
        )?;
        if self.build.profile == "debug" {
            writeln!(
                text,
                "This is a debug build: its figures are not to be quoted."
            )?;
        }
        Ok(())
    }
}
