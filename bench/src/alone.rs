//! `compare pair`: the stack alone, beside smoltcp and against its budget.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::budget::{Budget, Costs};
use crate::bulk::SEGMENT;
use crate::counted::{Count, Job, Stack, count, idle_bytes, nanos};
use crate::veth::write;

/// Connection counts whose instructions are counted, and those whose time is measured.
const COUNTED: [usize; 3] = [1, 32, 256];
const TIMED: [usize; 5] = [1, 32, 1_000, 10_000, 100_000];
/// Bytes of a bulk run: under valgrind, and by itself.
const BULK_COUNTED: u64 = 20_000_000;
const BULK_TIMED: u64 = 500_000_000;
/// Connections beyond which smoltcp, which looks at each in every turn, takes too long.
const SMOLTCP_MOST: usize = 1_000;

/// `compare pair`.
#[derive(Args)]
pub struct Pair {
    /// Round trips of the shorter run; the longer has twice as many and the difference is what counts.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    round_trips: u64,
    /// Connection counts for instructions.
    #[arg(long, value_delimiter = ',', default_values_t = COUNTED)]
    connections: Vec<usize>,
    /// Connection counts for times (smoltcp beside us up to 1,000).
    #[arg(long, value_delimiter = ',', default_values_t = TIMED)]
    timed: Vec<usize>,
    /// Connections that are open while the memory of an idle one is measured.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Rounds of what is timed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Our stack only.
    #[arg(long)]
    alone: bool,
    /// Fails when a figure is 5 % above what this file allows (bench/budget.toml); nothing is timed then.
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Fewer round trips, one round, no more than 10,000 connections: within two minutes.
    #[arg(long, conflicts_with_all = ["round_trips", "timed", "rounds", "budget"])]
    quick: bool,
    /// Writes the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Prints as it goes, keeps all for JSON.
struct Figures {
    stacks: Vec<Stack>,
    rows: Vec<Value>,
}

impl Figures {
    /// Prints a row and its ratio, and keeps it.
    fn row(
        &mut self,
        what: &str,
        connections: Option<usize>,
        unit: &str,
        ours: f64,
        theirs: Option<f64>,
    ) {
        let digits = if ours < 100.0 { 2 } else { 0 };
        let conns = connections.map_or(String::new(), |n| n.to_string());
        let (theirs_text, ratio) = match theirs {
            Some(theirs) => (
                format!("{theirs:.digits$}"),
                format!("{:.2}", ours / theirs),
            ),
            None => (String::new(), String::new()),
        };
        println!("{what:<34} {conns:>7} {ours:>11.digits$} {theirs_text:>11} {ratio:>6}");
        self.rows.push(json!({
            "what": what,
            "connections": connections,
            "unit": unit,
            "millrace": ours,
            "smoltcp": theirs,
        }));
    }

    /// `each` for our stack, and for smoltcp if it is beside us.
    fn both(
        &self,
        each: impl Fn(Stack) -> Result<f64, String>,
    ) -> Result<(f64, Option<f64>), String> {
        let theirs = self
            .stacks
            .contains(&Stack::Smoltcp)
            .then(|| each(Stack::Smoltcp));
        Ok((each(Stack::Millrace)?, theirs.transpose()?))
    }
}

/// Runs the command.
///
/// # Errors
/// A sentence, when something cannot be counted or is beyond its budget.
pub fn run(args: &Pair) -> Result<(), String> {
    let budget = args.budget.as_ref().map(|file| {
        let named = |e: String| format!("{}: {e}", file.display());
        let text = fs::read_to_string(file).map_err(|e| named(e.to_string()))?;
        Budget::parse(&text).map_err(named)
    });
    let budget = budget.transpose()?;
    let mut stacks = vec![Stack::Millrace];
    if !args.alone {
        stacks.push(Stack::Smoltcp);
    }
    let mut figures = Figures {
        stacks,
        rows: Vec::new(),
    };
    println!(
        "{:<34} {:>7} {:>11} {:>11} {:>6}",
        "both sides, checksums on", "conns", "millrace", "smoltcp", "ratio"
    );
    let costs = counts(args, &mut figures)?;
    if budget.is_none() {
        times(args, &mut figures)?;
    }
    let json = json!({ "schema": "millrace-bench-pair", "version": 1, "rows": figures.rows });
    write(args.json.as_ref(), &format!("{json:#}\n"))?;
    budget.map_or(Ok(()), |budget| budget.judge(&costs))
}

/// What is the same on every run.
fn counts(args: &Pair, figures: &mut Figures) -> Result<Costs, String> {
    let trips = if args.quick { 4_000 } else { args.round_trips };
    let mut costs = Costs::default();
    for &connections in &args.connections {
        let job = Job::RoundTrips(connections);
        let (ours, theirs) = figures.both(|stack| count(Count::Instructions, stack, job, trips))?;
        figures.row(
            "64 B round trip, instructions",
            Some(connections),
            "instructions",
            ours,
            theirs,
        );
        costs.round_trips.push((connections, ours));
    }
    let bytes = if args.quick {
        BULK_COUNTED / 4
    } else {
        BULK_COUNTED
    };
    let per_segment = SEGMENT as f64;
    let (ours, theirs) = figures
        .both(|stack| Ok(count(Count::Instructions, stack, Job::Bulk, bytes)? * per_segment))?;
    figures.row(
        "bulk, instructions per 1,448 B",
        Some(1),
        "instructions",
        ours,
        theirs,
    );
    costs.bulk_segment = ours;
    let (ours, theirs) = figures.both(|stack| count(Count::Copied, stack, Job::Bulk, bytes))?;
    figures.row(
        "bulk, bytes copied per byte",
        Some(1),
        "bytes",
        ours,
        theirs,
    );
    costs.copied = ours;
    let ours = idle_bytes(args.idle)?;
    figures.row(
        "idle connection, bytes per side",
        Some(args.idle),
        "bytes",
        ours,
        None,
    );
    costs.idle = ours;
    Ok(costs)
}

/// What takes a quiet machine.
fn times(args: &Pair, figures: &mut Figures) -> Result<(), String> {
    let rounds = if args.quick { 1 } else { args.rounds };
    let most = if args.quick { 10_000 } else { usize::MAX };
    for &connections in args.timed.iter().filter(|count| **count <= most) {
        let job = Job::RoundTrips(connections);
        let beside = connections <= SMOLTCP_MOST;
        let stacks = figures
            .stacks
            .iter()
            .filter(|stack| beside || **stack == Stack::Millrace);
        let contenders: Vec<(Stack, Job)> = stacks.map(|&stack| (stack, job)).collect();
        // Each connection a few times, and a fifth of a second or so in all.
        let trips = (connections as u64 * 4).max(200_000);
        let nanos = nanos(&contenders, trips, rounds)?;
        figures.row(
            "64 B round trip, ns",
            Some(connections),
            "ns",
            nanos[0],
            nanos.get(1).copied(),
        );
    }
    let contenders: Vec<(Stack, Job)> = figures
        .stacks
        .iter()
        .map(|&stack| (stack, Job::Bulk))
        .collect();
    let nanos = nanos(&contenders, BULK_TIMED, rounds)?;
    let gbits: Vec<f64> = nanos.iter().map(|nanos| 8.0 / nanos).collect();
    figures.row(
        "bulk, Gbit/s",
        Some(1),
        "Gbit/s",
        gbits[0],
        gbits.get(1).copied(),
    );
    Ok(())
}
