//! Asks the kernel and the stack random sequences: `random SEED COUNT`. Prints those that differ, shrunk. Needs root.

use std::process::ExitCode;

use millrace_oracle::compare::duel;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let [seed, count] = numbers[..] else {
        eprintln!("usage: random SEED COUNT");
        return ExitCode::from(2);
    };
    match duel::fight(seed, count) {
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
