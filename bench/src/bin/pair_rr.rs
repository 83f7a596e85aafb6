//! `pair_rr CONNECTIONS ROUND_TRIPS`: what `compare pair` runs under valgrind, for N and for 2N round trips.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use millrace_bench::{pair, smol};

/// Two stacks, one thread, 64 B round trips over the in-memory pair.
#[derive(Parser)]
struct Args {
    /// Connections that share the round trips.
    connections: usize,
    /// Round trips in all.
    round_trips: u64,
    /// smoltcp's stacks instead of ours.
    #[arg(long)]
    smoltcp: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let begin = Instant::now();
    let run = if args.smoltcp {
        smol::round_trips
    } else {
        pair::round_trips
    };
    if let Err(e) = run(args.connections, args.round_trips) {
        eprintln!("pair_rr: {e}");
        return ExitCode::FAILURE;
    }
    let nanos = begin.elapsed().as_nanos() as f64 / args.round_trips as f64;
    println!("{nanos:.0} ns per round trip");
    ExitCode::SUCCESS
}
