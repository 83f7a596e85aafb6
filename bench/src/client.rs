//! The clients: `millrace load` with its record, and wrk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{CLIENT, Lab, PORT, SERVER, Side, checked, core_nanos, sibling};
use crate::plan::{Client, Work};

/// What a client saw of one run.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// Requests per second.
    pub rate: f64,
    /// Median latency in nanoseconds.
    pub p50: f64,
    /// 99th percentile in nanoseconds.
    pub p99: f64,
    /// All requests, those of the warm-up included (at the same rate).
    pub requests: f64,
    /// Share of the time in which the client did something.
    pub busy: f64,
    /// Why the client itself refuses to stand by its figures.
    pub refusal: Option<String>,
    /// Requests due, and those with a reply.
    pub offered: f64,
    /// Of them.
    pub answered: f64,
    /// The record of `millrace load`.
    pub record: Option<Value>,
}

/// How long to load.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Before the measurement.
    pub warm_up: Duration,
    /// The measurement.
    pub time: Duration,
}

/// Loads the server with closed loops on `connections`.
///
/// # Errors
/// A sentence, when there is no result.
pub fn closed_loop(
    lab: &Lab,
    client: Client,
    work: Work,
    connections: usize,
    times: Times,
) -> Result<Seen, String> {
    match client {
        Client::Wrk => wrk(lab, connections, times.time),
        Client::Kernel | Client::Millrace => {
            let mut flags = vec![String::from("-c"), connections.to_string()];
            match work {
                Work::Echo { bytes } => flags.extend(["--request-size".into(), bytes.to_string()]),
                Work::Connect => flags.extend(["--work".into(), "connect".into()]),
                Work::Http => {}
            }
            load(lab, client, work, &flags, times, Spin::Yes)
        }
    }
}

/// Whether a client spins: whoever shares its core with another must not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spin {
    /// The core is its own.
    Yes,
    /// It sleeps.
    No,
}

/// `millrace load` with further flags on the client's core.
///
/// # Errors
/// A sentence, when there is no record.
pub fn load(
    lab: &Lab,
    client: Client,
    work: Work,
    flags: &[String],
    times: Times,
    spin: Spin,
) -> Result<Seen, String> {
    let at = format!("{SERVER}:{PORT}");
    let target = match work {
        Work::Http => format!("http://{at}/"),
        Work::Echo { .. } | Work::Connect => at,
    };
    let file = RecordFile::new();
    let mut command = lab.pinned(Side::Client, sibling("millrace"));
    // What a row quotes are rate and median: a closed loop's tail is not for quoting.
    command.args(["load", &target, "--core", "0", "--percentile", "50"]);
    if spin == Spin::Yes {
        command.arg("--busy-poll");
    }
    command.args(["-t", &times.time.as_secs_f64().to_string()]);
    command.args(["--warm-up", &times.warm_up.as_secs_f64().to_string()]);
    command.arg("--json").arg(&file.0).args(flags);
    if client == Client::Millrace {
        lab.kernel_steps_back(Side::Client)?;
        command.args([
            "--driver",
            "af-xdp:peer0",
            "--addr",
            &format!("{CLIENT}/24"),
            "--no-control",
        ]);
    } else {
        lab.kernel_takes_over(Side::Client)?;
    }
    seen(&mut command, &file.0)
}

/// It ends with code 1 when it has no headline; there is a record all the same.
fn seen(command: &mut Command, file: &Path) -> Result<Seen, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let Ok(text) = fs::read_to_string(file) else {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    };
    let record =
        serde_json::from_str(&text).map_err(|e| format!("the record of millrace load: {e}"))?;
    Seen::of(record)
}

impl Seen {
    /// What a record of `millrace load` says.
    fn of(record: Value) -> Result<Seen, String> {
        let number = |path: &[&str]| {
            let value = path.iter().fold(&record, |value, name| &value[*name]);
            value
                .as_f64()
                .ok_or_else(|| format!("the record of millrace load has no {}", path.join(".")))
        };
        let measured = number(&["timing", "measured_s"])?;
        let rate = number(&["counts", "replies_in_time"])? / measured.max(1e-9);
        let refusals = record["refusals"].as_array().map_or(&[][..], Vec::as_slice);
        let whys: Vec<&str> = refusals
            .iter()
            .filter_map(|refusal| refusal["why"].as_str())
            .collect();
        Ok(Seen {
            rate,
            p50: percentile(&record["corrected"], 50.0),
            p99: percentile(&record["corrected"], 99.0),
            requests: rate * (measured + number(&["timing", "warm_up_s"])?),
            busy: number(&["generator", "busy"])?,
            refusal: (!whys.is_empty()).then(|| whys.join("; ")),
            offered: number(&["counts", "offered"])?,
            answered: number(&["counts", "replies"])?,
            record: Some(record),
        })
    }
}

/// The value at the first point of a curve at or beyond a percentile.
fn percentile(curve: &Value, percentile: f64) -> f64 {
    let points = curve["points"].as_array().map_or(&[][..], Vec::as_slice);
    let point = points.iter().find(|point| {
        point["percentile"]
            .as_f64()
            .is_some_and(|at| at >= percentile - 1e-9)
    });
    point.and_then(|point| point["ns"].as_f64()).unwrap_or(0.0)
}

fn wrk(lab: &Lab, connections: usize, time: Duration) -> Result<Seen, String> {
    lab.kernel_takes_over(Side::Client)?;
    // It takes whole seconds.
    let seconds = time.as_secs_f64().ceil();
    let mut command = lab.pinned(Side::Client, "wrk");
    command.args([
        "-t1",
        "--latency",
        &format!("-c{connections}"),
        &format!("-d{seconds}s"),
    ]);
    let before = core_nanos(Side::Client.core())?;
    let said = checked(command.arg(format!("http://{SERVER}:{PORT}/")))?;
    let busy = core_nanos(Side::Client.core())? - before;
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return Err(said);
    }
    let field = |name: &str| {
        said.lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
    };
    let missing = |what: &str| format!("no {what} in what wrk says: {said}");
    let rate = field("Requests/sec:")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| missing("rate"))?;
    let p50 = field("50%")
        .and_then(nanos_of)
        .ok_or_else(|| missing("median"))?;
    let p99 = field("99%")
        .and_then(nanos_of)
        .ok_or_else(|| missing("99%"))?;
    let count = said
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "));
    let requests: f64 = count
        .and_then(|(count, _)| count.parse().ok())
        .ok_or_else(|| missing("count"))?;
    Ok(Seen {
        rate,
        p50,
        p99,
        requests,
        busy: (busy as f64 / (seconds * 1e9)).min(1.0),
        refusal: None,
        offered: requests,
        answered: requests,
        record: None,
    })
}

/// wrk's "381.00us", "1.25ms", "2.00s" in nanoseconds.
fn nanos_of(text: &str) -> Option<f64> {
    let units = [("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    units
        .iter()
        .find_map(|(unit, nanos)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * nanos))
}

/// A place for a record; gone with the value.
struct RecordFile(PathBuf);

impl RecordFile {
    fn new() -> RecordFile {
        let name = format!("millrace-bench-{}.json", std::process::id());
        let file = RecordFile(std::env::temp_dir().join(name));
        // An old one must not be taken for a new one.
        let _ = fs::remove_file(&file.0);
        file
    }
}

impl Drop for RecordFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrk_units() {
        assert_eq!(nanos_of("381.00us"), Some(381_000.0));
        assert_eq!(nanos_of("1.25ms"), Some(1_250_000.0));
        assert_eq!(nanos_of("2.00s"), Some(2e9));
        assert_eq!(nanos_of("n/a"), None);
    }

    #[test]
    fn a_record_is_read_with_its_refusals() {
        let record = json!({
            "timing": { "measured_s": 2.0, "warm_up_s": 1.0 },
            "counts": { "replies_in_time": 1000, "replies": 1010, "offered": 1020 },
            "generator": { "busy": 0.5 },
            "corrected": { "points": [{ "percentile": 50.0, "ns": 7 }, { "percentile": 99.5, "ns": 9 }] },
            "refusals": [{ "why": "a" }, { "why": "b" }],
        });
        let seen = Seen::of(record).expect("a record");
        assert_eq!(
            (seen.rate, seen.requests, seen.p50, seen.p99),
            (500.0, 1500.0, 7.0, 9.0)
        );
        assert_eq!((seen.offered, seen.answered), (1020.0, 1010.0));
        assert_eq!(seen.refusal.as_deref(), Some("a; b"));
        assert!(
            Seen::of(json!({}))
                .expect_err("nothing")
                .contains("timing.measured_s")
        );
    }
}
