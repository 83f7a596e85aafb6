//! Plays simulator seeds: `seed FIRST [COUNT]`. One seed prints its plan, several only those that fail.

use std::process::ExitCode;

use millrace_lab::sim::{Totals, run_seed};

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let (first, count) = match numbers.as_slice() {
        [first] => (*first, 1),
        [first, count] => (*first, *count),
        _ => {
            eprintln!("usage: seed FIRST [COUNT]");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0;
    let mut totals = Totals::default();
    for seed in first..first.saturating_add(count) {
        let report = run_seed(seed);
        if count == 1 {
            println!("{:#?}", report.plan);
        }
        if count == 1 || report.result.is_err() {
            println!("{report}");
        }
        failed += u64::from(report.result.is_err());
        totals += report.totals;
    }
    println!("{failed} of {count} failed, {totals:?}");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
