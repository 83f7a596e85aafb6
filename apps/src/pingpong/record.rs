//! The record of a run. `--json FILE` writes it as one JSON object; `schema` is [`SCHEMA`], `version` is [`VERSION`]. Units
//! stand at the end of the names, as in the record of `millrace load`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::PingpongArgs;
use super::ends::Tally;
use crate::load::clock::ClockFacts;
use crate::load::driver::lost_frames;
use crate::load::record::{Build, Curve, Machine};
use crate::load::table::SHOWN;
use crate::load::units;
use crate::load::verdict::{Evidence, Refusal, Rule, refusals};

/// What a file of ours calls itself.
pub const SCHEMA: &str = "millrace-pingpong";
/// Of the fields below.
pub const VERSION: u32 = 1;
/// The percentile that must have enough samples.
const PERCENTILE: f64 = 99.0;

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
    /// The end that asks.
    pub near: End,
    /// The end that answers.
    pub far: End,
    /// What our ends do while nothing comes.
    pub waiting: String,
    /// A frame, link header included.
    pub frame_bytes: u64,
    /// Frames under way at once.
    pub depth: u64,
    /// Before the measurement.
    pub warm_up_s: f64,
    /// How long the measurement was.
    pub measured_s: f64,
    /// Why the figures may not be quoted.
    pub refusals: Vec<Refusal>,
    /// Frames sent.
    pub sent: u64,
    /// Frames that came back.
    pub replies: u64,
    /// Frames that were not back after a second.
    pub lost: u64,
    /// Frames that came back twice or after they had been given up.
    pub late: u64,
    /// Round trips per second.
    pub round_trips_per_s: f64,
    /// Frames per second that an end moves, both directions together.
    pub packets_per_s: f64,
    /// The longest time in which nothing came back.
    pub longest_silence_s: f64,
    /// Round trips.
    pub round_trip: Curve,
    /// The clock.
    pub clock: ClockFacts,
    /// The machine.
    pub machine: Machine,
    /// The program.
    pub build: Build,
}

/// One end.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct End {
    /// The device as given.
    pub name: String,
    /// How frames travel; of a kernel it is not known.
    pub mode: Option<String>,
    /// Queues of ours.
    pub queues: u64,
    /// Counters of the driver's queues that moved, warm-up included.
    pub counters: BTreeMap<String, u64>,
}

impl Record {
    /// What was counted; the ends, machine and build are to be filled in.
    pub fn new(args: &PingpongArgs, tally: Tally, clock: ClockFacts) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let measured_s = tally.measured.as_secs_f64();
        let round_trips_per_s = tally.replies as f64 / measured_s.max(1e-9);
        Self {
            schema: SCHEMA,
            version: VERSION,
            ended_unix_s: now.map_or(0, |time| time.as_secs()),
            command: std::env::args().collect(),
            near: End::default(),
            far: End::default(),
            waiting: args.wait.to_string(),
            frame_bytes: args.size.into(),
            depth: args.depth.into(),
            warm_up_s: args.warm_up.as_secs_f64(),
            measured_s,
            refusals: Vec::new(),
            sent: tally.sent,
            replies: tally.replies,
            lost: tally.lost,
            late: tally.late,
            round_trips_per_s,
            packets_per_s: round_trips_per_s * 2.0,
            longest_silence_s: tally.silence.as_secs_f64(),
            round_trip: Curve::of(&tally.times, PERCENTILE),
            clock,
            machine: Machine::default(),
            build: Build::default(),
        }
    }

    /// Looks for reasons not to quote the figures, by the rules of `millrace load`.
    pub fn judge(&mut self) {
        self.refusals = refusals(&Evidence {
            cut_short: None,
            stream: false,
            percentile: PERCENTILE,
            latency_ns: self.round_trip.at(PERCENTILE),
            rate: None,
            lag_ns: 0,
            busy: 0.0,
            driver_lost: [&self.near, &self.far]
                .map(|end| lost_frames(end.counters.iter()))
                .iter()
                .sum(),
            shed: 0,
            samples: self.replies,
            unanswered: self.lost,
            measured_s: self.measured_s,
            silence_s: self.longest_silence_s,
            clock: self.clock,
        });
        // There is no open loop here to advise.
        let silence = self
            .refusals
            .iter_mut()
            .find(|refusal| refusal.rule == Rule::Silence);
        if let Some(refusal) = silence {
            refusal.why = format!(
                "for {:.3} s of {:.3} s nothing came back, and p99 hides it: something else had the cores; give --cores of their own",
                self.longest_silence_s, self.measured_s
            );
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
        let Self { near, far, .. } = self;
        writeln!(
            text,
            "{near} and {far}: {} B, {} under way, {}",
            self.frame_bytes, self.depth, self.waiting
        )?;
        writeln!(
            text,
            "{:.2} s measured after {:.2} s of warm-up\n",
            self.measured_s, self.warm_up_s
        )?;
        let mut line = |name: &str, value: String| writeln!(text, "  {name:<12} {value}");
        let curve = &self.round_trip;
        line("min", units::time(curve.min_ns))?;
        for p in SHOWN {
            if curve.count as f64 * (1.0 - p / 100.0) >= 1.0 {
                line(
                    &format!("p{}", units::percentile(p)),
                    units::time(curve.at(p)),
                )?;
            }
        }
        line("max", units::time(curve.max_ns))?;
        line("mean", units::time(curve.mean_ns as u64))?;
        line(
            "frames",
            format!(
                "{} sent, {} back, {} lost, {} late",
                units::count(self.sent),
                units::count(self.replies),
                units::count(self.lost),
                units::count(self.late)
            ),
        )?;
        line(
            "clock",
            format!(
                "step {} ns, reading {:.0} ns",
                self.clock.step_ns, self.clock.reading_ns
            ),
        )?;
        for (name, end) in [("near driver", near), ("far driver", far)] {
            let told: Vec<String> = end
                .counters
                .iter()
                .map(|(name, value)| format!("{name} {}", units::count(*value)))
                .collect();
            if !told.is_empty() {
                line(name, told.join(", "))?;
            }
        }
        writeln!(text)?;
        if self.refusals.is_empty() {
            writeln!(
                text,
                "headline: {} round trips/s, {} packets/s, p50 {}, p99 {}",
                units::rate(self.round_trips_per_s),
                units::rate(self.packets_per_s),
                units::time(curve.at(50.0)),
                units::time(curve.at(PERCENTILE))
            )?;
        } else {
            writeln!(text, "no headline:")?;
        }
        for refusal in &self.refusals {
            writeln!(text, "  - {}", refusal.why)?;
        }
        if self.build.profile == "debug" {
            writeln!(
                text,
                "This is a debug build: its figures are not to be quoted."
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mode {
            Some(mode) => write!(f, "{} ({mode})", self.name),
            None => f.write_str(&self.name),
        }
    }
}
