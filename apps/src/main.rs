//! The `millrace` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    millrace_apps::run(&millrace_apps::cli::Cli::parse())
}
