//! Plays mutants of the fuzz corpora for machines without cargo-fuzz: `mutate SEED COUNT`. Prints the tape of a finding.

use std::panic::catch_unwind;
use std::process::ExitCode;

use millrace_lab::fuzz;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let [seed, count] = numbers[..] else {
        eprintln!("usage: mutate SEED COUNT");
        return ExitCode::from(2);
    };
    let began = std::time::Instant::now();
    let bodies: [fn(&[u8]); 2] = [fuzz::listening, fuzz::established];
    let corpora = [fuzz::seeds::listening(), fuzz::seeds::established()];
    let mut found = 0;
    for n in seed..seed.saturating_add(count) {
        let mut rng = ChaCha8Rng::seed_from_u64(n);
        let target = (n % 2) as usize;
        let tape = mutant(&mut rng, &corpora[target]);
        if catch_unwind(|| bodies[target](&tape)).is_err() {
            println!("{n}: {tape:02x?}");
            found += 1;
        }
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("{found} findings in {count} tapes, {rate:.0} per second");
    ExitCode::from(u8::from(found > 0))
}

/// Some tapes behind each other, with bytes changed, left out and doubled.
fn mutant(rng: &mut ChaCha8Rng, seeds: &[fuzz::seeds::Seed]) -> Vec<u8> {
    let mut tape = Vec::new();
    for _ in 0..rng.random_range(1..=4) {
        tape.extend(&seeds[rng.random_range(0..seeds.len())].bytes);
    }
    for _ in 0..rng.random_range(0..=tape.len() / 8) {
        let at = rng.random_range(0..tape.len());
        match rng.random_range(0..8) {
            0 => drop(tape.remove(at)),
            1 => tape.insert(at, rng.random()),
            2 => tape[at] ^= 1 << rng.random_range(0..8),
            3 => {
                // A call of any kind.
                let call = [2, rng.random(), rng.random(), rng.random(), rng.random()];
                tape.splice(at..at, call);
            }
            _ => tape[at] = rng.random(),
        }
        if tape.is_empty() {
            break;
        }
    }
    tape
}
