//! Bulk transfer by iperf3's protocol over one veth: stock iperf3 and `millrace iperf3` in both roles, and the kernel with itself,
//! its offloads off (as every packet of an AF_XDP peer is MTU-sized) and on.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::lab::{CLIENT, Lab, Offloads, SERVER, Side, checked, sibling};
use crate::report::median;
use crate::server::Running;
use crate::veth::write;

/// `compare iperf3`.
#[derive(Args)]
pub struct Iperf3 {
    /// One round of a second each, to see that it works.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Rounds; each measures every path once, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Streams.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8], value_parser = clap::value_parser!(u32).range(1..=128))]
    streams: Vec<u32>,
    /// Writes every sample to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// A sentence, when a program fails.
pub fn run(args: &Iperf3) -> Result<(), String> {
    let lab = Lab::new()?;
    let (rounds, seconds) = match args.quick {
        true => (1, 1),
        false => (args.rounds, args.seconds),
    };
    let time = Duration::from_secs(seconds);
    let row = |streams, path| BulkRow {
        path,
        streams,
        samples: Vec::new(),
    };
    let mut rows: Vec<BulkRow> = args
        .streams
        .iter()
        .flat_map(|&streams| Path::ALL.map(|path| row(streams, path)))
        .collect();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for row in &mut rows {
            let sample = measure(&lab, row.path, row.streams, time)
                .map_err(|e| format!("{}, {} streams: {e}", row.path.name(), row.streams))?;
            row.samples.push(sample);
        }
    }
    print!("{}", table(&rows));
    println!(
        "Medians of {rounds} rounds of {seconds} s, one veth, MTU 1500, by what arrived; the kernel's end on core 0, ours on core 1."
    );
    write(args.json.as_ref(), &format!("{:#}\n", as_json(&rows)))
}

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// Kernel to kernel, offloads off.
    Kernel,
    /// Kernel to kernel, offloads on.
    KernelOffloads,
    /// Stock iperf3 sends to us.
    ToUs,
    /// We send to stock iperf3.
    FromUs,
}

impl Path {
    /// All, in the order of rows.
    pub const ALL: [Self; 4] = [Self::Kernel, Self::KernelOffloads, Self::ToUs, Self::FromUs];

    /// As printed in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel to kernel",
            Self::KernelOffloads => "kernel to kernel, offloads on",
            Self::ToUs => "kernel to millrace",
            Self::FromUs => "millrace to kernel",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// Bits per second that arrived.
    pub rate: f64,
    /// Segments sent again.
    pub retransmits: f64,
}

/// All rounds of a path with so many streams.
#[derive(Clone, Debug)]
pub struct BulkRow {
    /// The path.
    pub path: Path,
    /// Streams.
    pub streams: u32,
    /// One for each round.
    pub samples: Vec<Bulk>,
}

impl BulkRow {
    /// Median of the rates.
    pub fn rate(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.rate))
    }

    fn retransmits(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.retransmits))
    }
}

/// Measures a path once.
///
/// # Errors
/// A sentence, when one of the programs fails.
fn measure(lab: &Lab, path: Path, streams: u32, time: Duration) -> Result<Bulk, String> {
    let seconds = time.as_secs().max(1).to_string();
    let streams = streams.to_string();
    let flags = ["-t", &seconds, "-P", &streams, "-J"];
    let said = match path {
        Path::Kernel | Path::KernelOffloads => {
            let offloads = match path {
                Path::Kernel => Offloads::Off,
                _ => Offloads::On,
            };
            lab.kernel_takes_over(Side::Server)?;
            lab.set_offloads(offloads)?;
            let server = stock_server(lab, Side::Server)?;
            let said = checked(
                lab.pinned(Side::Client, "iperf3")
                    .args(["-c", SERVER])
                    .args(flags),
            );
            drop(server);
            lab.set_offloads(Offloads::Off)?;
            said?
        }
        Path::ToUs => {
            lab.kernel_steps_back(Side::Server)?;
            let server = Running::start(ours(lab, &["-s", "-v"]), " over ")?;
            let said = checked(
                lab.pinned(Side::Client, "iperf3")
                    .args(["-c", SERVER])
                    .args(flags),
            );
            drop(server);
            said?
        }
        Path::FromUs => {
            lab.kernel_steps_back(Side::Server)?;
            let server = stock_server(lab, Side::Client)?;
            let said = checked(ours(lab, &["-c", CLIENT]).args(flags));
            drop(server);
            said?
        }
    };
    outcome(&said)
}

fn stock_server(lab: &Lab, side: Side) -> Result<Running, String> {
    let mut command = lab.pinned(side, "iperf3");
    command.args(["-s", "--forceflush"]);
    Running::start(command, "Server listening")
}

fn ours(lab: &Lab, role: &[&str]) -> std::process::Command {
    let mut command = lab.pinned(Side::Server, sibling("millrace"));
    command.arg("iperf3").args(role);
    command.args([
        "--driver",
        "af-xdp:mill0",
        "--addr",
        &format!("{SERVER}/24"),
    ]);
    command.args(["--core", "1", "--busy-poll"]);
    command
}

/// Reads iperf3's document, ours or stock.
fn outcome(said: &str) -> Result<Bulk, String> {
    let document: Value = serde_json::from_str(said).map_err(|e| format!("{said}: {e}"))?;
    let number = |sum: &str, name: &str| document["end"][sum][name].as_f64();
    match (
        number("sum_received", "bits_per_second"),
        number("sum_sent", "retransmits"),
    ) {
        (Some(rate), Some(retransmits)) => Ok(Bulk { rate, retransmits }),
        _ => Err(format!("iperf3 has no result: {said}")),
    }
}

/// A row's rate over that of another path with as many streams.
fn ratio(rows: &[BulkRow], row: &BulkRow, to: Path) -> Option<f64> {
    let other = rows
        .iter()
        .find(|other| other.streams == row.streams && other.path == to)?;
    (other.rate() > 0.0).then(|| row.rate() / other.rate())
}

/// The table for a terminal.
fn table(rows: &[BulkRow]) -> String {
    let mut text = format!(
        "{:<30} {:>7} {:>9} {:>8} {:>14} {:>13}\n",
        "from, to", "streams", "Gbit/s", "retr", "of kernel, off", "of kernel, on"
    );
    for row in rows {
        let share = |to| ratio(rows, row, to).map_or(String::new(), |ratio| format!("{ratio:.2}"));
        text += &format!(
            "{:<30} {:>7} {:>9.2} {:>8.0} {:>14} {:>13}\n",
            row.path.name(),
            row.streams,
            row.rate() / 1e9,
            row.retransmits(),
            share(Path::Kernel),
            share(Path::KernelOffloads),
        );
    }
    text
}

/// The same, and every sample, for machines.
fn as_json(rows: &[BulkRow]) -> Value {
    let row = |row: &BulkRow| {
        json!({
            "path": row.path.name(),
            "streams": row.streams,
            "bits_per_second": row.rate(),
            "retransmits": row.retransmits(),
            "to_kernel_offloads_off": ratio(rows, row, Path::Kernel),
            "to_kernel_offloads_on": ratio(rows, row, Path::KernelOffloads),
            "rates": row.samples.iter().map(|sample| sample.rate).collect::<Vec<_>>(),
        })
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_ratios() {
        let said =
            r#"{"end":{"sum_sent":{"retransmits":3},"sum_received":{"bits_per_second":2e9}}}"#;
        let bulk = outcome(said).expect("a result");
        assert_eq!((bulk.rate, bulk.retransmits), (2e9, 3.0));
        assert!(outcome(r#"{"error":"no"}"#).is_err());
        let row = |path, rates: &[f64]| BulkRow {
            path,
            streams: 8,
            samples: rates
                .iter()
                .map(|&rate| Bulk {
                    rate,
                    retransmits: 0.0,
                })
                .collect(),
        };
        let rows = [
            row(Path::Kernel, &[4e9, 1e9, 9e9]),
            row(Path::ToUs, &[2e9, 2e9, 8e9]),
        ];
        assert_eq!(ratio(&rows, &rows[1], Path::Kernel), Some(0.5));
        assert_eq!(ratio(&rows, &rows[1], Path::KernelOffloads), None);
        assert!(table(&rows).contains("0.50"));
        assert_eq!(as_json(&rows)[1]["to_kernel_offloads_off"], 0.5);
    }
}
