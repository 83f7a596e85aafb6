//! Every state meets every segment, on the kernel and on the stack. Needs root.

use std::fmt::Write;

use millrace_oracle::compare::cell::{self, Cell};
use millrace_oracle::compare::judge;
use millrace_oracle::compare::list::List;

#[test]
#[ignore = "needs root"]
fn the_stack_answers_as_the_kernel_does_but_for_the_listed_differences() {
    let list = List::read::<Cell>(include_str!("../differences.toml")).expect("a list");
    let cells = cell::all();
    let found = judge::compare(&cells).expect("both machines work");
    let verdict = list.judge(&found);
    let mut report = String::new();
    for difference in verdict.unexplained.iter().take(20) {
        writeln!(report, "{difference}").expect("a String takes all");
    }
    for (at, reason) in &verdict.idle {
        writeln!(
            report,
            "entry {at} of differences.toml matches nothing: {reason}"
        )
        .expect("a String takes all");
    }
    assert!(
        report.is_empty(),
        "{} of {} cells differ without a reason (20 are shown):\n{report}",
        verdict.unexplained.len(),
        cells.len()
    );
}
