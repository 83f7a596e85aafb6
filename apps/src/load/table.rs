//! A record as a table for people.

use std::fmt::Write as _;

use super::ramp;
use super::record::{Curve, Record};
use super::units;

/// Percentiles that are shown.
pub const SHOWN: [f64; 6] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999];

/// The whole table.
pub fn table(record: &Record) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = head(&mut text, record);
    if record.corrected.count > 0 {
        let _ = latencies(&mut text, record);
    }
    let _ = facts(&mut text, record);
    let _ = steps(&mut text, record);
    let _ = verdict(&mut text, record);
    text
}

/// What was done, in a line.
pub fn title(record: &Record) -> String {
    let work = &record.work;
    let what = match work.shape.as_str() {
        "send" | "receive" => work.shape.clone(),
        shape => format!(
            "{shape}, {} B request, reply: {}",
            work.request_bytes, work.reply
        ),
    };
    let how = match (work.rate_per_s, &work.arrivals) {
        (Some(rate), Some(arrivals)) => format!(", open loop {}/s {arrivals}", units::rate(rate)),
        _ if record.is_stream() => String::new(),
        _ => ", closed loop".to_owned(),
    };
    let depth = if work.depth > 1 {
        format!(" × {}", work.depth)
    } else {
        String::new()
    };
    format!(
        "{} over {}: {what}, {} connections{depth}{how}",
        work.target, work.carrier, work.connections
    )
}

fn head(text: &mut String, record: &Record) -> std::fmt::Result {
    let timing = &record.timing;
    writeln!(text, "{}", title(record))?;
    writeln!(
        text,
        "{:.2} s measured after {:.2} s of warm-up\n",
        timing.measured_s, timing.warm_up_s
    )
}

fn latencies(text: &mut String, record: &Record) -> std::fmt::Result {
    let row = |name: &str, of: &dyn Fn(&Curve) -> u64| {
        format!(
            "  {name:<10} {:>12} {:>12}",
            units::time(of(&record.corrected)),
            units::time(of(&record.raw))
        )
    };
    writeln!(
        text,
        "  {:<10} {:>12} {:>12}",
        "latency", "corrected", "raw"
    )?;
    for p in SHOWN {
        let beyond = record.corrected.count as f64 * (1.0 - p / 100.0);
        if beyond >= 1.0 {
            writeln!(
                text,
                "{}",
                row(&format!("p{}", units::percentile(p)), &|curve| curve.at(p))
            )?;
        }
    }
    writeln!(text, "{}", row("max", &|curve| curve.max_ns))?;
    writeln!(text, "{}\n", row("mean", &|curve| curve.mean_ns as u64))
}

fn facts(text: &mut String, record: &Record) -> std::fmt::Result {
    let (counts, generator, clock) = (&record.counts, &record.generator, &record.clock);
    let mut line = |name: &str, value: String| writeln!(text, "  {name:<10} {value}");
    if !record.is_stream() {
        line(
            "requests",
            format!(
                "{} due, {} sent, {} answered, {} unanswered, {} shed",
                units::count(counts.offered),
                units::count(counts.sent),
                units::count(counts.replies),
                units::count(counts.unanswered),
                units::count(counts.shed)
            ),
        )?;
        let asked = record.work.rate_per_s;
        let of = asked.map_or_else(String::new, |rate| {
            format!(" of {}/s asked for", units::rate(rate))
        });
        line(
            "rate",
            format!("{}/s{of}", units::rate(record.replies_per_s())),
        )?;
    }
    line(
        "bytes",
        format!(
            "{}, {}",
            units::count(counts.bytes),
            units::bits(record.bytes_per_s())
        ),
    )?;
    let opened = &record.connect;
    let reopened = match counts.reopened {
        0 => String::new(),
        n => format!("; {} ended by the server and opened again", units::count(n)),
    };
    line(
        "connects",
        format!(
            "{}, p50 {}, max {}{reopened}",
            units::count(opened.count),
            units::time(opened.at(50.0)),
            units::time(opened.max_ns)
        ),
    )?;
    let lag = match generator.lag.count {
        0 => String::new(),
        _ => format!(
            ", own lag p50 {} p99 {} max {}",
            units::time(generator.lag.at(50.0)),
            units::time(generator.lag.at(99.0)),
            units::time(generator.lag.max_ns)
        ),
    };
    line(
        "generator",
        format!(
            "busy {}, iteration p50 {} p99 {}{lag}",
            units::percent(generator.busy),
            units::time(generator.iteration.at(50.0)),
            units::time(generator.iteration.at(99.0))
        ),
    )?;
    line(
        "clock",
        format!(
            "drift {:.1} ± {:.1} ppm, step {} ns, reading {:.0} ns",
            clock.drift_ppm, clock.drift_error_ppm, clock.step_ns, clock.reading_ns
        ),
    )?;
    let cores = record.cpu.cores.iter();
    let cores: Vec<String> = cores
        .map(|core| format!("{} {}", core.core, units::percent(core.busy())))
        .collect();
    line("cores", cores.join(", "))?;
    for (name, counters) in [
        ("tcp", &record.tcp),
        ("driver", &record.driver),
        ("drops", &record.drops),
    ] {
        let told = counters
            .iter()
            .filter(|(key, _)| name != "tcp" || is_trouble(key));
        let told: Vec<String> = told
            .map(|(key, value)| format!("{key} {}", units::count(*value)))
            .collect();
        if !told.is_empty() {
            line(name, told.join(", "))?;
        }
    }
    Ok(())
}

/// The steps of a ramp.
fn steps(text: &mut String, record: &Record) -> std::fmt::Result {
    if record.ramp.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\n  {:>12} {:>12} {:>10} {:>10}",
        "asked/s", "answered/s", "p50", "p99"
    )?;
    for step in &record.ramp {
        let (p50, p99) = (units::time(step.p50_ns), units::time(step.p99_ns));
        let rates = [step.rate_per_s, step.replies_per_s].map(units::rate);
        let why = step
            .refusal
            .as_deref()
            .map_or_else(String::new, |why| format!("  {why}"));
        writeln!(
            text,
            "  {:>12} {:>12} {p50:>10} {p99:>10}{why}",
            rates[0], rates[1]
        )?;
    }
    match ramp::found(&record.ramp) {
        Some(knee) => writeln!(text, "{knee}"),
        None => Ok(()),
    }
}

/// TCP counters that tell of trouble; the record has all.
fn is_trouble(name: &str) -> bool {
    [
        "Retrans", "Timeouts", "Loss", "Fail", "Drop", "Overflow", "Abort", "Prune", "Errs",
        "Resets", "Rsts", "Reorder",
    ]
    .iter()
    .any(|part| name.contains(part))
}

fn verdict(text: &mut String, record: &Record) -> std::fmt::Result {
    writeln!(text)?;
    match record.headline_text() {
        Some(headline) => writeln!(text, "headline: {headline}")?,
        None => writeln!(text, "no headline:")?,
    }
    for refusal in &record.refusals {
        writeln!(text, "  - {}", refusal.why)?;
    }
    if record.build.profile == "debug" {
        writeln!(
            text,
            "This is a debug build: its figures are not to be quoted."
        )?;
    }
    Ok(())
}

impl Record {
    /// Whether it has no requests.
    pub fn is_stream(&self) -> bool {
        matches!(self.work.shape.as_str(), "send" | "receive")
    }

    /// Replies per second of the measurement.
    pub fn replies_per_s(&self) -> f64 {
        self.counts.replies_in_time as f64 / self.timing.measured_s.max(1e-9)
    }

    /// Bytes per second of the measurement.
    pub fn bytes_per_s(&self) -> f64 {
        self.counts.bytes as f64 / self.timing.measured_s.max(1e-9)
    }

    /// What is quoted, in words.
    pub fn headline_text(&self) -> Option<String> {
        let headline = self.headline?;
        Some(match (headline.replies_per_s, headline.latency_ns) {
            (Some(rate), Some(latency)) => format!(
                "{} requests/s, p{} {}",
                units::rate(rate),
                units::percentile(headline.percentile),
                units::time(latency)
            ),
            _ => units::bits(headline.bytes_per_s),
        })
    }
}
