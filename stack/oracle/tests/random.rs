//! Random sequences on the kernel and on the stack. Needs root.

use millrace_oracle::compare::duel;
use millrace_oracle::compare::random::Pace;

fn fight(count: u64, pace: Pace) {
    let found = duel::fight(1, count, pace).expect("both machines work");
    let report: String = found.iter().map(ToString::to_string).collect();
    assert!(
        found.is_empty(),
        "{} of {count} differ:\n{report}",
        found.len()
    );
}

#[test]
#[ignore = "needs root"]
fn random_sequences_have_the_same_answers() {
    fight(300, Pace::Quick);
}

#[test]
#[ignore = "needs root"]
fn random_sequences_in_which_timers_fire_have_the_same_answers() {
    fight(300, Pace::Slow);
}
