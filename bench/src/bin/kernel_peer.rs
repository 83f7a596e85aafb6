//! Kernel sockets on either end: `kernel_peer echo|http ADDR [--spin]` serves, `kernel_peer flood ADDR` sends SYNs.
#![forbid(unsafe_code)]

use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use millrace_bench::epoll::{Answer, Idle, serve};
use millrace_bench::flooder;
use serde_json::json;

/// Plain epoll servers, and a SYN flood.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Sends back what it receives.
    Echo {
        /// Address and port to listen on.
        at: SocketAddrV4,
        /// Never sleep.
        #[arg(long)]
        spin: bool,
    },
    /// Answers each request with the same 128 bytes.
    Http {
        /// Address and port to listen on.
        at: SocketAddrV4,
        /// Never sleep.
        #[arg(long)]
        spin: bool,
    },
    /// Sends SYNs from the addresses of 198.18.0.0/15; prints one line of JSON.
    Flood {
        /// Address and port of the server.
        to: SocketAddrV4,
        /// SYNs a second.
        #[arg(long)]
        rate: f64,
        /// For how long.
        #[arg(long)]
        seconds: f64,
    },
}

fn main() -> ExitCode {
    let idle = |spin| if spin { Idle::Spin } else { Idle::Sleep };
    let outcome = match Args::parse().what {
        What::Echo { at, spin } => serve(at, Answer::Echo, idle(spin)),
        What::Http { at, spin } => serve(at, Answer::Http, idle(spin)),
        What::Flood { to, rate, seconds } => {
            flooder::flood(to, rate, Duration::from_secs_f64(seconds)).map(|sent| {
                println!(
                    "{}",
                    json!({ "syns": sent.syns, "refused": sent.refused, "seconds": sent.seconds })
                );
            })
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("kernel_peer: {e}");
            ExitCode::FAILURE
        }
    }
}
