//! Ramps: rates that grow step by step until one may not be quoted; the knee lies before it.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::arrivals::Arrivals;
use super::engine::Plan;
use super::record::Record;
use super::units;

/// Steps when nothing is said.
const STEPS: u32 = 10;

/// Rates from one to another, by the same factor from step to step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ramp {
    from: f64,
    to: f64,
    steps: u32,
}

impl FromStr for Ramp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            "give FROM:TO or FROM:TO:STEPS, for example 1000:200000:12 (requests per second, 2 to 50 steps)".to_owned()
        };
        let mut parts = text.split(':');
        let mut rate = || parts.next().and_then(|part| part.parse::<f64>().ok());
        let (from, to) = (rate().ok_or_else(bad)?, rate().ok_or_else(bad)?);
        let steps = parts
            .next()
            .map_or(Ok(STEPS), str::parse)
            .map_err(|_| bad())?;
        let sound = from >= 1e-3 && from < to && to <= 1e9 && (2..=50).contains(&steps);
        if sound && parts.next().is_none() {
            Ok(Self { from, to, steps })
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.from, self.to, self.steps)
    }
}

impl Ramp {
    /// The rates.
    pub fn rates(self) -> impl Iterator<Item = f64> {
        let factor = (self.to / self.from).powf(1.0 / f64::from(self.steps - 1));
        (0..self.steps as i32).map(move |step| self.from * factor.powi(step))
    }

    /// A plan for each step.
    pub fn plans(self, plan: &Plan, arrivals: Arrivals) -> Vec<Plan> {
        let plans = self.rates().map(|rate| Plan {
            open: Some((arrivals, rate)),
            ..plan.clone()
        });
        plans.collect()
    }
}

/// A step of a ramp.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Asked for.
    pub rate_per_s: f64,
    /// Answered.
    pub replies_per_s: f64,
    /// Median of the corrected latency.
    pub p50_ns: u64,
    /// Its 99th percentile.
    pub p99_ns: u64,
    /// Why it may not be quoted.
    pub refusal: Option<String>,
}

impl Step {
    fn of(record: &Record) -> Self {
        Self {
            rate_per_s: record.work.rate_per_s.unwrap_or_default(),
            replies_per_s: record.replies_per_s(),
            p50_ns: record.corrected.at(50.0),
            p99_ns: record.corrected.at(99.0),
            refusal: record.refusals.first().map(|refusal| refusal.why.clone()),
        }
    }
}

/// The record of the knee, with all steps in it: that of the last step that may be quoted, or of the first. `None`
/// without records.
pub fn knee(mut records: Vec<Record>) -> Option<Record> {
    let steps = records.iter().map(Step::of).collect();
    let place = records
        .iter()
        .rposition(|record| record.refusals.is_empty())
        .unwrap_or(0);
    let mut record = (place < records.len()).then(|| records.swap_remove(place))?;
    record.ramp = steps;
    Some(record)
}

/// Where the knee is, in words; `None` when no step was too much.
pub fn found(steps: &[Step]) -> Option<String> {
    let (last, before) = steps.split_last()?;
    let why = last.refusal.as_ref()?;
    let good = before.last()?;
    Some(format!(
        "the knee lies between {} and {} requests per second: {why}",
        units::rate(good.rate_per_s),
        units::rate(last.rate_per_s)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::tests::sample;
    use crate::load::verdict::{Refusal, Rule};

    #[test]
    fn rates_grow_by_the_same_factor() {
        let ramp: Ramp = "1000:8000:4".parse().expect("valid");
        let rates: Vec<u64> = ramp.rates().map(|rate| rate.round() as u64).collect();
        assert_eq!(rates, [1000, 2000, 4000, 8000]);
        assert_eq!("1:2".parse::<Ramp>().map(|ramp| ramp.steps), Ok(STEPS));
        for text in [
            "", "1", "2:1", "1:2:1", "1:2:51", "1:2:3:4", "x:2", "0:5", "NaN:5", "1:NaN",
        ] {
            assert!(text.parse::<Ramp>().is_err(), "{text}");
        }
    }

    /// A step at a rate.
    fn step(rate: f64, why: Option<&str>) -> Record {
        let mut record = sample(1000);
        record.work.rate_per_s = Some(rate);
        record.refusals.extend(why.map(|why| Refusal {
            rule: Rule::Rate,
            why: why.to_owned(),
        }));
        record
    }

    #[test]
    fn the_knee_is_the_last_good_step() {
        let record = knee(vec![
            step(100.0, None),
            step(200.0, None),
            step(400.0, Some("too much")),
        ])
        .expect("steps");
        assert_eq!(record.work.rate_per_s, Some(200.0));
        assert_eq!(record.ramp.len(), 3);
        assert_eq!(
            found(&record.ramp).as_deref(),
            Some("the knee lies between 200 and 400 requests per second: too much")
        );
    }

    #[test]
    fn a_ramp_without_a_knee() {
        let record = knee(vec![step(100.0, None), step(200.0, None)]).expect("steps");
        assert_eq!(
            (record.work.rate_per_s, found(&record.ramp)),
            (Some(200.0), None)
        );
        let record = knee(vec![step(100.0, Some("too much"))]).expect("steps");
        assert_eq!(
            (record.work.rate_per_s, found(&record.ramp)),
            (Some(100.0), None)
        );
        assert_eq!(knee(Vec::new()), None);
    }
}
