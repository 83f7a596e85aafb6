//! What `compare pair` and `compare flood` run by themselves and under valgrind: work of stacks over the in-memory pair, in one
//! thread. Prints one figure.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use millrace_bench::cookie::{Target, flood};
use millrace_bench::{bulk, pair, smol};
use serde_json::json;

/// Two stacks, one thread, the in-memory pair.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// 64 B round trips; prints their time in nanoseconds.
    RoundTrips {
        /// Connections that share the round trips.
        connections: usize,
        /// Round trips in all.
        count: u64,
        /// smoltcp's stacks instead of ours.
        #[arg(long)]
        smoltcp: bool,
    },
    /// Bytes over one connection; prints their time in nanoseconds.
    Bulk {
        /// How many.
        bytes: u64,
        /// smoltcp's stacks instead of ours.
        #[arg(long)]
        smoltcp: bool,
    },
    /// A SYN flood; prints the time of the stack's turns in nanoseconds.
    Cookies {
        /// SYNs.
        count: u64,
        /// Nobody answers.
        #[arg(long)]
        nobody: bool,
    },
    /// Connections that do nothing; prints the bytes that one takes on one side.
    Idle {
        /// How many.
        connections: usize,
    },
}

fn main() -> ExitCode {
    let nanos = |time: Duration| time.as_nanos() as f64;
    let figure = match Args::parse().what {
        What::RoundTrips {
            connections,
            count,
            smoltcp: true,
        } => smol::round_trips(connections, count).map(nanos),
        What::RoundTrips {
            connections,
            count,
            smoltcp: false,
        } => pair::round_trips(connections, count).map(nanos),
        What::Bulk {
            bytes,
            smoltcp: true,
        } => smol::bulk(bytes).map(nanos),
        What::Bulk {
            bytes,
            smoltcp: false,
        } => bulk::bulk(bytes).map(nanos),
        What::Cookies { count, nobody } => {
            let target = if nobody {
                Target::Nobody
            } else {
                Target::Stack
            };
            flood(count, target).map(|flooded| nanos(flooded.took))
        }
        What::Idle { connections } => pair::idle_bytes(connections),
    };
    match figure {
        Ok(figure) => {
            println!("{}", json!({ "figure": figure }));
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("pair_work: {e}");
            ExitCode::FAILURE
        }
    }
}
