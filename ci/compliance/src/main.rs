//! Checks that every compliance row stands on tests that exist and passed, or on a reason, and prints the table.
//!
//! Rows are read from `ci/rfc/*.toml`, results from the logs of `cargo test` that the stages of `ci/run` keep.
#![forbid(unsafe_code)]

mod log;
mod rows;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::log::Results;

/// Checks the compliance rows against the tests that ran.
#[derive(Parser)]
struct Options {
    /// Folder with the rows.
    #[arg(long, default_value = "ci/rfc")]
    rows: PathBuf,
    /// Print every row, not only the sums and the breaches.
    #[arg(short, long)]
    verbose: bool,
    /// Logs of `cargo test`.
    #[arg(required = true)]
    logs: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rfc: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    let files = rows::read(&options.rows)?;
    let mut results = Results::default();
    for path in &options.logs {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}; `ci/run unit rfc` makes it", path.display()))?;
        results.add(&text);
    }
    let breaches = rows::breaches(&files, &results);
    table::print(&files, options.verbose);
    for breach in &breaches {
        eprintln!("rfc: {breach}");
    }
    println!("{} tests ran, {} breaches", results.len(), breaches.len());
    Ok(breaches.is_empty())
}
