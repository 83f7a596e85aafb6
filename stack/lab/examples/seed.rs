//! Plays simulator seeds: `seed FIRST [COUNT]`. One seed prints its plan and every frame, several only those that
//! fail.

use std::process::ExitCode;

use millrace_lab::sim::describe::describe;
use millrace_lab::sim::plan::Plan;
use millrace_lab::sim::{Report, Seen, Totals, run_observed, run_seed};

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
        let report = if count == 1 {
            shown(seed)
        } else {
            run_seed(seed)
        };
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

fn shown(seed: u64) -> Report {
    let plan = Plan::draw(seed);
    println!("{plan:#?}");
    run_observed(plan, &mut |seen: Seen<'_>| {
        let Seen {
            at,
            node,
            passage,
            frame,
        } = seen;
        println!(
            "{:.6} node {node} {passage:?}: {}",
            at.as_secs_f64(),
            describe(frame)
        );
    })
}
