//! Asks the kernel and the stack random sequences: `random SEED COUNT`, with `slow` behind it those with a long pause.
//! Prints those that differ, shrunk. Needs root.

use std::process::ExitCode;

use millrace_oracle::compare::duel;
use millrace_oracle::compare::random::Pace;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let pace = if words.iter().any(|word| word == "slow") {
        Pace::Slow
    } else {
        Pace::Quick
    };
    let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let [seed, count] = numbers[..] else {
        eprintln!("usage: random SEED COUNT [slow]");
        return ExitCode::from(2);
    };
    match duel::fight(seed, count, pace) {
        Ok(found) => {
            found.iter().for_each(|difference| print!("{difference}"));
            eprintln!("{count} sequences, {} differ", found.len());
            ExitCode::from(u8::from(!found.is_empty()))
        }
        Err(error) => {
            eprintln!("random: {error}");
            ExitCode::FAILURE
        }
    }
}
