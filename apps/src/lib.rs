//! The `millrace` command: services and a client on the Millrace stack.
//!
//! The binary only parses its arguments and exits with a code; everything else is here, so that tests can drive the
//! services over the in-memory pair, in virtual time and without privileges.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the arguments |
//! | [`control`] | the control socket of a running process |
//! | [`setup`] | from arguments to a worker on a device |
//! | [`serve`] | `millrace serve` |
//! | [`get`] | `millrace get` |
//! | [`demo`] | `millrace demo` |
//! | [`ss`] | `millrace ss` |
//! | [`stat`] | `millrace stat` |
//! | [`drill`] | `millrace drill` |
//! | [`sim`] | `millrace sim` |
//! | [`services`] | echo, discard, chargen, and what all services share |
//! | [`http`] | HTTP for the server and the client |
//! | [`iperf3`] | `millrace iperf3` |
//! | [`latency`] | `millrace latency` |
//! | [`load`] | `millrace load` and `millrace report` |
//! | [`pingpong`] | `millrace pingpong` |
//! | [`output`] | files that are there only when they are complete |
//! | [`report`] | statistics for people and for programs |
#![forbid(unsafe_code)]

pub mod cli;
pub mod control;
pub mod demo;
pub mod drill;
pub mod get;
pub mod http;
pub mod iperf3;
pub mod latency;
pub mod load;
pub mod output;
pub mod pingpong;
pub mod report;
pub mod serve;
pub mod services;
pub mod setup;
pub mod sim;
pub mod ss;
pub mod stat;

use std::io::IsTerminal;
use std::process::ExitCode;

use cli::{Cli, Command};

/// Exit code for arguments that cannot be meant; other failures exit with 1.
const USAGE: u8 = 2;

/// Why a command ends.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments contradict each other or name what does not exist.
    #[error("{0}")]
    Usage(String),
    /// It cannot be done.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// For whatever says in one sentence what is wrong and how to mend it.
    pub fn from_error(error: impl std::error::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the command.
pub fn run(cli: &Cli) -> ExitCode {
    let level = if cli.verbose {
        tracing::Level::INFO
    } else {
        tracing::Level::WARN
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(level)
        .with_target(false)
        .without_time()
        .init();
    let done = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Get(args) => get::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Ss(args) => ss::run(args),
        Command::Stat(args) => stat::run(args),
        Command::Drill(args) => drill::run_scripts(args, cli.verbose),
        Command::Sim(args) => sim::run(args),
        Command::Load(args) => load::run(args),
        Command::Iperf3(args) => iperf3::run(args),
        Command::Report(args) => load::compare::run(args),
        Command::Latency(args) => latency::run(args),
        Command::Pingpong(args) => pingpong::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("millrace: {failure}");
            match failure {
                Failure::Usage(_) => ExitCode::from(USAGE),
                Failure::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}
