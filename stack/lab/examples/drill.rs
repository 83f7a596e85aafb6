//! Runs scripts: `drill FILE…`. Prints a verdict for each, as written and with consecutive injections batched.

use std::process::ExitCode;

use millrace_lab::drill::{Checks, Delivery, RunConfig, Verdict, run_text};

fn main() -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    for file in std::env::args().skip(1) {
        let source = match std::fs::read_to_string(&file) {
            Ok(source) => source,
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::from(2);
            }
        };
        for delivery in [Delivery::OneByOne, Delivery::Batched] {
            let verdict = run_text(&source, RunConfig::new(delivery, Checks::Strict));
            println!("{file} ({delivery:?}): {verdict}");
            if verdict != Verdict::Pass {
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}
