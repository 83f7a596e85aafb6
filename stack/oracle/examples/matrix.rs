//! Asks the kernel and the stack about cells of the matrix: `matrix [WORD…]` for those whose names contain every word;
//! with `-c` the matrix of calls. Prints the differences by kind, one cell of each; with `-a` all of them. Needs root.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use millrace_oracle::compare::question::Question;
use millrace_oracle::compare::{call, cell, judge};

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let every = words.iter().any(|word| word == "-a");
    let calls = words.iter().any(|word| word == "-c");
    words.retain(|word| word != "-a" && word != "-c");
    if calls {
        show(call::all(), &words, every)
    } else {
        show(cell::all(), &words, every)
    }
}

fn show<Q: Question>(mut cells: Vec<Q>, words: &[String], every: bool) -> ExitCode {
    cells.retain(|cell| {
        let name = cell.to_string();
        words.iter().all(|word| name.contains(word.as_str()))
    });
    let began = Instant::now();
    let found = match judge::compare(&cells) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("matrix: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut kinds: BTreeMap<(String, String), Vec<_>> = BTreeMap::new();
    for difference in &found {
        let (kernel, stack) = difference.first();
        let kind = (kernel.to_owned(), stack.to_owned());
        kinds.entry(kind).or_default().push(difference);
    }
    for ((kernel, stack), list) in &kinds {
        println!(
            "== {} cells: kernel {kernel:?}, stack {stack:?}",
            list.len()
        );
        let shown = if every { list.len() } else { 1 };
        list.iter().take(shown).for_each(|one| print!("{one}"));
        if !every {
            list.iter()
                .skip(1)
                .take(6)
                .for_each(|one| println!("also {}", one.asked));
        }
    }
    eprintln!(
        "{} cells, {} differ, in {} kinds, {:.1?}",
        cells.len(),
        found.len(),
        kinds.len(),
        began.elapsed()
    );
    ExitCode::from(u8::from(!found.is_empty()))
}
