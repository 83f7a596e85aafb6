//! Every state meets every socket call, on the kernel and on the stack. Needs root.

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
    assert!(verdict.is_clean(), "of {} calls: {verdict}", all.len());
}
