//! `compare veth`: ours and the kernel's servers in turn over one veth. `compare pair`: instructions per round trip.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};
use millrace_bench::budget::Budget;
use millrace_bench::lab::sibling;
use millrace_bench::veth::{self, write};
use serde_json::{Value, json};

/// Millrace and the kernel, side by side.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Over one veth, interleaved rounds; needs root.
    Veth(veth::Veth),
    /// Instructions per 64 B round trip over the in-memory pair, both sides, by callgrind.
    Pair(Pair),
}

#[derive(Args)]
struct Pair {
    /// Round trips of the shorter run; the longer has twice as many and the difference is what counts.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    round_trips: u64,
    /// Connection counts.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256])]
    connections: Vec<usize>,
    /// Our stack only.
    #[arg(long)]
    alone: bool,
    /// Fails when a figure is 5 % above what this file allows (bench/budget.toml).
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// Writes the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().what {
        What::Veth(args) => veth::run(&args),
        What::Pair(args) => pair(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("compare: {e}");
            ExitCode::FAILURE
        }
    }
}

fn pair(args: &Pair) -> Result<(), String> {
    let budget = args.budget.as_ref().map(|file| {
        let named = |e: String| format!("{}: {e}", file.display());
        let text = fs::read_to_string(file).map_err(|e| named(e.to_string()))?;
        Budget::parse(&text).map_err(named)
    });
    let budget = budget.transpose()?;
    println!("instructions per round trip, both sides");
    let beside = if args.alone { "" } else { "  smoltcp  ratio" };
    println!("{:>5} {:>9}{beside}", "conns", "millrace");
    let (mut measured, mut figures) = (Vec::new(), Vec::new());
    for &connections in &args.connections {
        let each = |stack: Stack| {
            let short = instructions(stack, connections, args.round_trips)?;
            let long = instructions(stack, connections, args.round_trips * 2)?;
            Ok::<f64, String>((long - short) as f64 / args.round_trips as f64)
        };
        let ours = each(Stack::Millrace)?;
        print!("{connections:>5} {ours:>9.0}");
        let mut figure = json!({ "connections": connections, "instructions": ours });
        if !args.alone {
            let theirs = each(Stack::Smoltcp)?;
            print!(" {theirs:>8.0} {:>6.2}", ours / theirs);
            figure["smoltcp_instructions"] = json!(theirs);
        }
        println!();
        figures.push(figure);
        measured.push((connections, ours));
    }
    write(
        args.json.as_ref(),
        &format!("{:#}\n", Value::Array(figures)),
    )?;
    budget.map_or(Ok(()), |budget| budget.judge(&measured))
}

/// Whose stacks make the round trips.
#[derive(Clone, Copy, PartialEq)]
enum Stack {
    Millrace,
    Smoltcp,
}

/// Instructions of one whole run of `pair_rr`; the same binary and input always give the same number.
fn instructions(stack: Stack, connections: usize, round_trips: u64) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(sibling("pair_rr"));
    command.args([connections.to_string(), round_trips.to_string()]);
    if stack == Stack::Smoltcp {
        command.arg("--smoltcp");
    }
    let output = command
        .output()
        .map_err(|e| format!("valgrind: {e}; run scripts/install bench"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    match collected.map(|(_, count)| count.trim().parse()) {
        Some(Ok(count)) if output.status.success() => Ok(count),
        _ => Err(format!(
            "pair_rr under valgrind ended with {}: {said}",
            output.status
        )),
    }
}
