//! Every state meets every segment, on the kernel and on the stack. Needs root.

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
    assert!(verdict.is_clean(), "of {} cells: {verdict}", cells.len());
}
