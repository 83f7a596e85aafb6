//! Whether a run may be quoted. A number that somebody repeats must be the server's: not the generator's own slowness,
//! not a driver's losses, not three samples, not a bad clock.

use serde::{Deserialize, Serialize};

use super::clock::ClockFacts;
use super::units;

/// The largest share of the latency that may be our own lateness.
const LAG_SHARE: f64 = 0.25;
/// How busy the loop of an open loop may be.
const BUSY: f64 = 0.95;
/// Samples that must lie beyond the percentile.
const BEYOND: f64 = 10.0;
/// Share of the rate asked for that must be reached.
const REACHED: f64 = 0.95;

/// A reason not to quote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Which rule.
    pub rule: Rule,
    /// The reason in a sentence.
    pub why: String,
}

/// The rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The run did not come to its end.
    CutShort,
    /// The clock is not good enough.
    Clock,
    /// The generator was too late with its requests.
    Lag,
    /// The generator's loop had no time left.
    Busy,
    /// The driver lost frames, or requests could not even wait.
    Lost,
    /// The rate asked for was not reached.
    Rate,
    /// Too many requests have no reply.
    Unanswered,
    /// A closed loop asked nothing while the server was silent.
    Silence,
    /// Too few samples for the percentile.
    Samples,
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Why the run ended early.
    pub cut_short: Option<String>,
    /// A stream has no latency.
    pub stream: bool,
    /// Percentile of the headline.
    pub percentile: f64,
    /// Corrected latency there.
    pub latency_ns: u64,
    /// Of an open loop: asked for, and reached.
    pub rate: Option<(f64, f64)>,
    /// How late the generator was at that percentile.
    pub lag_ns: u64,
    /// Share of the time in which the generator's loop did something.
    pub busy: f64,
    /// Frames lost by driver or device.
    pub driver_lost: u64,
    /// Requests that could not even wait.
    pub shed: u64,
    /// Values of the histogram.
    pub samples: u64,
    /// Requests without a reply.
    pub unanswered: u64,
    /// Length of the measurement and of the longest silence in it, seconds.
    pub measured_s: f64,
    /// The longest silence.
    pub silence_s: f64,
    /// The clock.
    pub clock: ClockFacts,
}

/// All reasons, the weightiest first.
pub fn refusals(evidence: &Evidence) -> Vec<Refusal> {
    let mut found = Vec::new();
    let mut add = |rule, why: Option<String>| found.extend(why.map(|why| Refusal { rule, why }));
    add(Rule::CutShort, evidence.cut_short.clone());
    add(Rule::Lost, lost(evidence));
    if evidence.stream {
        add(Rule::Clock, evidence.clock.unfit(0));
        return found;
    }
    add(Rule::Clock, evidence.clock.unfit(evidence.latency_ns));
    add(Rule::Lag, late(evidence));
    add(Rule::Busy, busy(evidence));
    add(Rule::Rate, missed(evidence));
    add(Rule::Unanswered, unanswered(evidence));
    add(Rule::Silence, silence(evidence));
    add(Rule::Samples, samples(evidence));
    found
}

/// Share of values beyond the percentile.
fn tail(evidence: &Evidence) -> f64 {
    1.0 - evidence.percentile / 100.0
}

fn lost(evidence: &Evidence) -> Option<String> {
    if evidence.driver_lost > 0 {
        return Some(format!(
            "the driver lost {} frames: look at its counters",
            units::count(evidence.driver_lost)
        ));
    }
    (evidence.shed > 0).then(|| {
        format!(
            "{} requests found no place to wait: give a lower --rate or more --connections",
            units::count(evidence.shed)
        )
    })
}

fn late(evidence: &Evidence) -> Option<String> {
    evidence.rate?;
    (evidence.lag_ns as f64 > evidence.latency_ns as f64 * LAG_SHARE).then(|| {
        format!(
            "the generator was the bottleneck: at p{} it sent requests {} late itself, of a latency of {}; give --busy-poll or a lower --rate",
            units::percentile(evidence.percentile),
            units::time(evidence.lag_ns),
            units::time(evidence.latency_ns)
        )
    })
}

fn busy(evidence: &Evidence) -> Option<String> {
    evidence.rate?;
    (evidence.busy > BUSY).then(|| {
        format!(
            "the generator was the bottleneck: its loop was busy {} of the time",
            units::percent(evidence.busy)
        )
    })
}

fn missed(evidence: &Evidence) -> Option<String> {
    let (asked, reached) = evidence.rate?;
    (reached < asked * REACHED).then(|| {
        format!(
            "the rate was not reached: {} of {} requests per second were answered; give a lower --rate or more --connections",
            units::rate(reached),
            units::rate(asked)
        )
    })
}

fn unanswered(evidence: &Evidence) -> Option<String> {
    let share = evidence.unanswered as f64 / evidence.samples.max(1) as f64;
    (share > tail(evidence)).then(|| {
        format!(
            "{} of {} requests have no reply, more than lie beyond p{}",
            units::count(evidence.unanswered),
            units::count(evidence.samples),
            units::percentile(evidence.percentile)
        )
    })
}

/// While a server is silent a closed loop asks nothing, and what it would have waited is missing from the histogram.
fn silence(evidence: &Evidence) -> Option<String> {
    let silent = evidence.silence_s > evidence.measured_s * tail(evidence);
    (evidence.rate.is_none() && silent && evidence.samples > 0).then(|| {
        format!(
            "for {:.3} s of {:.3} s no reply came, and a closed loop asks nothing meanwhile: p{} hides it; give --rate",
            evidence.silence_s,
            evidence.measured_s,
            units::percentile(evidence.percentile)
        )
    })
}

fn samples(evidence: &Evidence) -> Option<String> {
    let beyond = evidence.samples as f64 * tail(evidence);
    (beyond + 1e-6 < BEYOND).then(|| {
        format!(
            "the run was too short for p{}: {} samples, and it takes {} for {BEYOND:.0} to lie beyond it; give a longer --time",
            units::percentile(evidence.percentile),
            units::count(evidence.samples),
            units::count((BEYOND / tail(evidence)).round() as u64)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Evidence {
        Evidence {
            cut_short: None,
            stream: false,
            percentile: 99.0,
            latency_ns: 100_000,
            rate: Some((1000.0, 999.0)),
            lag_ns: 20_000,
            busy: 0.5,
            driver_lost: 0,
            shed: 0,
            samples: 10_000,
            unanswered: 3,
            measured_s: 10.0,
            silence_s: 0.05,
            clock: ClockFacts {
                step_ns: 20,
                reading_ns: 20.0,
                ..ClockFacts::default()
            },
        }
    }

    fn rules(evidence: &Evidence) -> Vec<Rule> {
        refusals(evidence)
            .into_iter()
            .map(|refusal| refusal.rule)
            .collect()
    }

    #[test]
    fn a_good_run_may_be_quoted() {
        assert_eq!(rules(&good()), []);
        let closed = Evidence {
            rate: None,
            busy: 1.0,
            lag_ns: 90_000,
            ..good()
        };
        assert_eq!(rules(&closed), [], "a closed loop is busy by its nature");
    }

    #[test]
    fn each_rule_has_its_bound() {
        let e = good();
        for (evidence, rule) in [
            (
                Evidence {
                    cut_short: Some("stopped".into()),
                    ..e.clone()
                },
                Rule::CutShort,
            ),
            (
                Evidence {
                    lag_ns: 25_001,
                    ..e.clone()
                },
                Rule::Lag,
            ),
            (
                Evidence {
                    busy: 0.951,
                    ..e.clone()
                },
                Rule::Busy,
            ),
            (
                Evidence {
                    driver_lost: 1,
                    ..e.clone()
                },
                Rule::Lost,
            ),
            (
                Evidence {
                    shed: 1,
                    ..e.clone()
                },
                Rule::Lost,
            ),
            (
                Evidence {
                    rate: Some((1000.0, 949.0)),
                    ..e.clone()
                },
                Rule::Rate,
            ),
            (
                Evidence {
                    samples: 999,
                    ..e.clone()
                },
                Rule::Samples,
            ),
            (
                Evidence {
                    unanswered: 101,
                    ..e.clone()
                },
                Rule::Unanswered,
            ),
            (
                Evidence {
                    rate: None,
                    silence_s: 0.11,
                    ..e.clone()
                },
                Rule::Silence,
            ),
            (
                Evidence {
                    clock: ClockFacts {
                        backward_jumps: 1,
                        ..e.clock
                    },
                    ..e.clone()
                },
                Rule::Clock,
            ),
        ] {
            assert_eq!(rules(&evidence), [rule], "{evidence:?}");
        }
        let bounds = Evidence {
            lag_ns: 25_000,
            busy: 0.95,
            unanswered: 100,
            samples: 10_000,
            ..e
        };
        assert_eq!(rules(&bounds), []);
        assert_eq!(
            rules(&Evidence {
                samples: 1000,
                unanswered: 10,
                ..bounds
            }),
            []
        );
    }

    #[test]
    fn a_stream_is_judged_by_its_losses_alone() {
        let stream = Evidence {
            stream: true,
            samples: 0,
            rate: None,
            ..good()
        };
        assert_eq!(rules(&stream), []);
        assert_eq!(
            rules(&Evidence {
                driver_lost: 2,
                ..stream
            }),
            [Rule::Lost]
        );
    }
}
