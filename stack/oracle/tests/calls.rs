//! Every state meets every socket call, on the kernel and on the stack. Needs root.

use std::fmt::Write;

use millrace_oracle::compare::call::{self, Made};
use millrace_oracle::compare::judge;
use millrace_oracle::compare::list::List;

#[test]
#[ignore = "needs root"]
fn calls_are_answered_as_the_kernel_does_but_for_the_listed_differences() {
    let list = List::read::<Made>(include_str!("../call_differences.toml")).expect("a list");
    let all = call::all();
    let found = judge::compare(&all).expect("both machines work");
    let verdict = list.judge(&found);
    let mut report = String::new();
    for difference in verdict.unexplained.iter().take(20) {
        writeln!(report, "{difference}").expect("a String takes all");
    }
    for (at, reason) in &verdict.idle {
        writeln!(
            report,
            "entry {at} of call_differences.toml matches nothing: {reason}"
        )
        .expect("a String takes all");
    }
    assert!(
        report.is_empty(),
        "{} of {} calls differ without a reason (20 are shown):\n{report}",
        verdict.unexplained.len(),
        all.len()
    );
}
