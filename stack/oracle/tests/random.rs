//! Random sequences on the kernel and on the stack. Needs root.

use millrace_oracle::compare::duel;

#[test]
#[ignore = "needs root"]
fn random_sequences_have_the_same_answers() {
    let found = duel::fight(1, 300).expect("both machines work");
    let report: String = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} of 300 differ:\n{report}", found.len());
}
