//! `millrace sim`, as it is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A seed whose wire loses frames and whose connections end well.
const SEED: &str = "7";

/// An empty folder of this test alone.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn sim(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace"))
        .arg("sim")
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The blocks of a pcapng file, as their types, checked for their lengths.
fn blocks(capture: &[u8]) -> Vec<u32> {
    let word = |at: usize| {
        let bytes = capture[at..].first_chunk().expect("a whole block");
        u32::from_le_bytes(*bytes)
    };
    let (mut at, mut types) = (0, Vec::new());
    while at < capture.len() {
        let len = word(at + 4) as usize;
        assert!(len >= 12 && len.is_multiple_of(4), "length {len} at {at}");
        assert_eq!(word(at + len - 4) as usize, len, "both lengths agree");
        types.push(word(at));
        at += len;
    }
    types
}

#[test]
fn a_seed_is_told_in_a_line_and_is_the_same_each_time() {
    let folder = folder("sim-one");
    let [first, again] = [(); 2].map(|()| sim(&folder, &["--seed", SEED]));
    assert!(first.status.success(), "{first:?}");
    let out = text(&first.stdout);
    assert!(out.starts_with("seed 7: ok ("), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
    assert_eq!(first.stdout, again.stdout);
}

#[test]
fn of_several_seeds_only_failures_are_told() {
    let folder = folder("sim-many");
    let ran = sim(&folder, &["--seed", SEED, "--count", "5", "--shrink"]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(text(&ran.stdout), "");
}

#[test]
fn json_has_an_object_per_line() {
    let folder = folder("sim-json");
    let ran = sim(&folder, &["--seed", SEED, "--json"]);
    let out = text(&ran.stdout);
    let object: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(object["seed"], 7);
    assert!(object["violation"].is_null(), "{out}");
    assert!(object["frames"].as_u64().is_some_and(|n| n > 0), "{out}");
}

#[test]
fn a_capture_has_the_packets_of_the_seed() {
    let folder = folder("sim-pcap");
    let ran = sim(&folder, &["--seed", SEED, "--pcap", "seed.pcapng"]);
    assert!(ran.status.success(), "{ran:?}");
    let types = blocks(&fs::read(folder.join("seed.pcapng")).expect("a capture"));
    // Section header, interface, enhanced packets.
    assert_eq!(types[..2], [0x0a0d_0d0a, 1]);
    assert!(types.len() > 3 && types[2..].iter().all(|ty| *ty == 6));
}

#[test]
fn a_capture_that_cannot_be_written_is_an_error() {
    let folder = folder("sim-nowhere");
    let ran = sim(&folder, &["--seed", SEED, "--pcap", "missing/seed.pcapng"]);
    assert_eq!(ran.status.code(), Some(1));
    let said = text(&ran.stderr);
    assert!(
        said.starts_with("millrace: missing/seed.pcapng: "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn bad_flags_are_refused() {
    let folder = folder("sim-flags");
    for (args, says) in [
        (
            &["--seed", "x"][..],
            "invalid value 'x' for '--seed <SEED>'",
        ),
        (&["--count", "-1"], "unexpected argument '-1'"),
        (&["--pcap"], "a value is required for '--pcap <FILE>'"),
        (&["--sed", "1"], "unexpected argument '--sed'"),
    ] {
        let ran = sim(&folder, args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}");
        let said = text(&ran.stderr);
        let first = said.lines().next().unwrap_or_default();
        assert!(first.contains(says), "{args:?}: {said}");
        assert_eq!(text(&ran.stdout), "", "{args:?}");
    }
}
