//! Replays the fuzz corpora: every tape in `stack/fuzz/corpus` must play without a finding.

use std::path::{Path, PathBuf};

use millrace_lab::fuzz;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target)
}

/// Plays all tapes of a target, in the order of their names; a panic names the tape.
fn replay(target: &str, play: fn(&[u8])) {
    let folder = corpus(target);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    assert!(
        files.len() >= 9,
        "{} tapes in {}",
        files.len(),
        folder.display()
    );
    for file in files {
        let tape = std::fs::read(&file).expect("a readable tape");
        let played = std::panic::catch_unwind(|| play(&tape));
        assert!(played.is_ok(), "{}", file.display());
    }
}

#[test]
fn listening() {
    replay("listening", fuzz::listening);
}

#[test]
fn established() {
    replay("established", fuzz::established);
}

#[test]
fn the_first_members_are_as_written() {
    for (target, seeds) in [
        ("listening", fuzz::seeds::listening()),
        ("established", fuzz::seeds::established()),
    ] {
        for seed in seeds {
            let stored = std::fs::read(corpus(target).join(seed.name))
                .expect("run `cargo run --example corpus`");
            assert_eq!(
                stored, seed.bytes,
                "{target}/{}: run `cargo run --example corpus`",
                seed.name
            );
        }
    }
}
