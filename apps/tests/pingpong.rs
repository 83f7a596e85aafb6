//! `millrace pingpong`, as it is run, where no privileges are needed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn pingpong(flags: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace"))
        .arg("pingpong")
        .args(flags.split_whitespace())
        .output()
        .expect("the command runs")
}

#[test]
fn a_pair_is_measured_and_written_down() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (json, hgrm) = (folder.join("pingpong.json"), folder.join("pingpong.hgrm"));
    let flags = format!(
        "--driver pair --wait sleep --depth 4 -t 0.3 --warm-up 0 --json {} --hgrm {}",
        json.display(),
        hgrm.display()
    );
    let done = pingpong(&flags);
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    // On a machine that has no time for it the run may have no headline; it has a record all the same.
    assert!(
        out.contains(
            "pair (in-memory pair) and pair (in-memory pair): 64 B, 4 under way, sleeping"
        ),
        "{done:?}"
    );
    let text = fs::read_to_string(json).expect("a record");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&record["schema"], &record["version"]),
        (&"millrace-pingpong".into(), &1.into())
    );
    assert_eq!(record["replies"], record["round_trip"]["count"]);
    assert!(record["replies"].as_u64() > Some(0), "{record}");
    assert_eq!(
        (&record["lost"], &record["late"]),
        (&0.into(), &0.into()),
        "{record}"
    );
    assert!(
        fs::read_to_string(hgrm)
            .expect("a distribution")
            .contains("Total count")
    );
}

#[test]
fn what_cannot_be_done_is_told_in_a_sentence() {
    for (flags, code, words) in [
        (
            "--driver pair --size 2000 -t 1",
            1,
            "2000 B does not fit the MTU of 1500",
        ),
        ("--driver pair --cores 9999 -t 1", 1, "core 9999"),
        ("--driver pair --json /nowhere/x -t 1", 1, "/nowhere/x"),
        ("--driver af-xdp:a --to af-xdp:a", 2, "cannot be both ends"),
    ] {
        let done = pingpong(flags);
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "{flags}: {err}");
        assert!(
            err.starts_with("millrace: ") && err.lines().count() == 1 && err.contains(words),
            "{flags}: {err}"
        );
    }
}
