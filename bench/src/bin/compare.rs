//! `compare veth`: servers over one veth. `compare pair`: the stack alone. `compare flood`: a SYN flood.
//! `compare iperf3`: bulk transfer over one veth.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_bench::{alone, flood, iperf3, veth};

/// Millrace and others, side by side.
#[derive(Parser)]
#[command(max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Servers over one veth, interleaved rounds; needs root.
    Veth(veth::Veth),
    /// The stack alone over the in-memory pair: instructions, copies, memory, times.
    Pair(alone::Pair),
    /// A SYN flood: over the pair, and over a veth with connects that are meant; needs root.
    Flood(flood::Flood),
    /// Bulk transfer by iperf3's protocol over one veth, interleaved rounds; needs root.
    Iperf3(iperf3::Iperf3),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().what {
        What::Veth(args) => veth::run(&args),
        What::Pair(args) => alone::run(&args),
        What::Flood(args) => flood::run(&args),
        What::Iperf3(args) => iperf3::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("compare: {e}");
            ExitCode::FAILURE
        }
    }
}
