//! Kernel sockets: `kernel_peer echo|http ADDR [--spin]` serves.
#![forbid(unsafe_code)]

use std::net::SocketAddrV4;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_bench::epoll::{Answer, Idle, serve};

/// Plain epoll servers.
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
}

fn main() -> ExitCode {
    let idle = |spin| if spin { Idle::Spin } else { Idle::Sleep };
    let outcome = match Args::parse().what {
        What::Echo { at, spin } => serve(at, Answer::Echo, idle(spin)),
        What::Http { at, spin } => serve(at, Answer::Http, idle(spin)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("kernel_peer: {e}");
            ExitCode::FAILURE
        }
    }
}
