//! The tester of the tester: the simulator finds every bug that is planted in the stack, and none when none is.
//!
//! `RUSTFLAGS="--cfg millrace_mutants" cargo test -p millrace-lab --test mutants`; without that flag the bugs are not
//! in the build and there is nothing to do. `MILLRACE_MUTANT=name` looks at one only.
#![cfg(millrace_mutants)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use millrace_lab::sim::run_seed;
use millrace_net::mutants;

/// A planted bug must be found within so many seeds.
const SEEDS: u64 = 10_000;

/// Seeds that must stay without a finding when nothing is planted.
const CLEAN: u64 = 100;

/// A bug that is not even reached in so many seeds is not in the simulator's world.
const IDLE: u64 = 2_000;

/// The names of all planted bugs, from the stack's sources, so that none is forgotten.
fn planted() -> BTreeSet<String> {
    fn walk(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() {
                walk(&path, names);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let uses = text.split("mutant!(\"").skip(1);
            names.extend(uses.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    let mut names = BTreeSet::new();
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../net/src");
    walk(Path::new(sources), &mut names);
    names.remove("name");
    names
}

/// What is wrong with a seed, if anything; panics included.
fn finding(seed: u64) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| run_seed(seed))) {
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or(panic.downcast_ref::<&str>().copied());
            Some(format!("panic: {}", text.unwrap_or("?")))
        }
        Ok(report) => report.result.err().map(|violation| violation.what),
    }
}

/// The first seed that finds the bug, and how.
fn hunt(name: &'static str) -> Result<(u64, String), String> {
    let mut reached = 0;
    for seed in 0..SEEDS {
        mutants::select(Some(name));
        let found = finding(seed);
        reached += mutants::reached();
        mutants::select(None);
        if let Some(what) = found {
            return Ok((seed, what));
        }
        if reached == 0 && seed >= IDLE {
            return Err(format!("{name}: never reached in {IDLE} seeds"));
        }
    }
    Err(format!(
        "{name}: not found in {SEEDS} seeds, reached {reached} times"
    ))
}

#[test]
fn every_planted_bug_is_found() {
    let one = std::env::var("MILLRACE_MUTANT").ok();
    let names: Vec<&'static str> = planted()
        .into_iter()
        .filter(|name| one.as_ref().is_none_or(|one| one == name))
        .map(|name| &*name.leak())
        .collect();
    assert!(one.is_some() || names.len() >= 30, "{names:?}");
    std::panic::set_hook(Box::new(|_| {}));
    let queue = Mutex::new(names);
    let results = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(name) = queue.lock().ok().and_then(|mut queue| queue.pop()) else {
                        break;
                    };
                    let result = hunt(name);
                    if let Ok((seed, what)) = &result {
                        println!("{name}: seed {seed}: {what:.160}");
                    }
                    results.lock().expect("no panic here").push(result);
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let results = results.into_inner().expect("no panic here");
    let missed: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert!(missed.is_empty(), "{} missed: {missed:#?}", missed.len());
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    for seed in 0..CLEAN {
        assert_eq!(finding(seed), None, "seed {seed}");
    }
}
