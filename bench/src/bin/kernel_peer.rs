//! Kernel sockets on either end: `kernel_peer echo|http ADDR [--spin]` serves, `kernel_peer load ADDR` prints one line of JSON.
#![forbid(unsafe_code)]

use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use millrace_bench::epoll::{Answer, Idle, request_response, serve};
use serde_json::json;

/// Plain epoll servers and the request-response client.
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
    /// Loads an echo server with one request in flight per connection.
    Load {
        /// Address and port of the server.
        to: SocketAddrV4,
        /// Number of connections.
        #[arg(long, default_value_t = 1)]
        connections: usize,
        /// Bytes of a request.
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// Length of the measurement in seconds.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
}

fn main() -> ExitCode {
    let idle = |spin| if spin { Idle::Spin } else { Idle::Sleep };
    let outcome = match Args::parse().what {
        What::Echo { at, spin } => serve(at, Answer::Echo, idle(spin)),
        What::Http { at, spin } => serve(at, Answer::Http, idle(spin)),
        What::Load { to, connections, size, seconds } => {
            request_response(to, connections, size, Duration::from_secs_f64(seconds)).map(|load| {
                let rate = load.requests as f64 / load.seconds;
                println!("{}", json!({ "rate": rate, "requests": load.requests, "p50": load.p50, "p99": load.p99 }));
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
