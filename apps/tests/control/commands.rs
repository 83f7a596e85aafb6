//! `millrace stat` and `millrace ss` as they are run.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::process::{Folder, Process};

const MILLRACE: &str = env!("CARGO_BIN_EXE_millrace");

fn millrace(path: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MILLRACE);
    command.args(args).arg("--control").arg(path);
    command
}

fn run(path: &Path, args: &[&str]) -> Output {
    millrace(path, args).output().expect("millrace")
}

/// Its standard output; it must have succeeded.
#[track_caller]
fn prints(path: &Path, args: &[&str]) -> String {
    let done = run(path, args);
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).expect("text")
}

/// Exit code `code` and one line on standard error with all of `words`.
#[track_caller]
fn refuses(path: &Path, args: &[&str], code: i32, words: &[&str]) {
    let done = run(path, args);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(done.stdout.is_empty());
    if code == 1 {
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_table_of_what_is_not_zero() {
    let process = Process::start(5);
    let table = prints(&process.path(), &["stat"]);
    assert!(table.contains("serve nothing over none"), "{table}");
    let listeners = table
        .lines()
        .find(|line| line.contains("  listeners"))
        .expect("a row");
    assert_eq!(
        listeners.split_whitespace().collect::<Vec<_>>(),
        ["listeners", "5", "Listeners"]
    );
    assert!(!table.contains("LinkRunt"));
    let table = prints(&process.path(), &["stat", "--all"]);
    assert!(
        table.contains("LinkRunt") && table.contains("frame shorter than"),
        "{table}"
    );
}

#[test]
fn json_and_watch() {
    let process = Process::start(5);
    let text = prints(
        &process.path(),
        &["stat", "--json", "--watch", "0.1", "--count", "3"],
    );
    let looks: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(looks.len(), 3);
    assert_eq!(looks[0]["total"]["census"]["listeners"], 5);
    assert_eq!(looks[0].get("change"), None);
    for look in &looks[1..] {
        assert_eq!(look["change"]["census"]["listeners"], 0);
        assert_eq!(look["change"]["control"]["calls"], 1);
        assert!(
            look["seconds"]
                .as_f64()
                .is_some_and(|seconds| seconds > 0.0)
        );
    }
    let text = prints(&process.path(), &["stat", "--watch", "0.1", "--count", "2"]);
    assert!(
        text.contains("per second") && !text.contains('\x1b'),
        "{text}"
    );
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let process = Process::start(5);
    let mut child = millrace(&process.path(), &["stat", "--watch", "0.1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("millrace");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("a line");
    drop(out);
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{done:?}");
    assert!(done.stderr.is_empty(), "{done:?}");
}

#[test]
fn a_full_disk_is_told() {
    let process = Process::start(5);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let done = millrace(&process.path(), &["stat"])
        .stdout(full)
        .output()
        .expect("millrace");
    assert_eq!(done.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&done.stderr).contains("No space left"),
        "{done:?}"
    );
}

#[test]
fn no_process() {
    let folder = Folder::new();
    let path = folder.socket();
    refuses(&path, &["stat"], 1, &["no millrace process", "a.sock"]);
    drop(UnixListener::bind(&path).expect("bind"));
    refuses(&path, &["stat"], 1, &["has ended"]);
    refuses(&path, &["ss", "-tn"], 1, &["has ended"]);
    refuses(&path, &["stat", "--watch", "0"], 2, &["0.1"]);
    refuses(&path, &["stat", "--count", "2"], 2, &["--watch"]);
}

#[test]
fn sockets_by_filter_and_as_json() {
    let process = Process::start(100);
    let count = |args: &[&str]| prints(&process.path(), args).lines().count();
    assert_eq!(count(&["ss", "-tnH"]), 0);
    assert_eq!(count(&["ss", "-tn"]), 1);
    assert_eq!(count(&["ss", "-tnlH"]), 100);
    assert_eq!(count(&["ss", "-tnaH", "sport", "<=", ":10"]), 10);
    assert_eq!(
        count(&[
            "ss",
            "-H",
            "state",
            "listening",
            "( sport = :5 or sport = :7 )"
        ]),
        2
    );
    let json = prints(&process.path(), &["ss", "--json", "-i", "-l", "sport = :7"]);
    let sock: Value = serde_json::from_str(&json).expect("one object");
    assert_eq!(sock["local"], "0.0.0.0:7");
    assert_eq!(sock["state"], "LISTEN");
    assert_eq!(sock["pid"], std::process::id());
    assert_eq!(sock["info"]["snd_cwnd"], 10);
}

#[test]
fn filters_that_make_no_sense() {
    let process = Process::start(1);
    let path = process.path();
    refuses(
        &path,
        &["ss", "state", "bogus"],
        2,
        &["`bogus`", "\n  state bogus\n        ^"],
    );
    refuses(
        &path,
        &["ss", "sport = :80 and"],
        2,
        &["it ends", "\n                 ^"],
    );
    refuses(&path, &["ss", "--json", "-n"], 2, &["--json"]);
    assert_eq!(
        process.count("calls"),
        1,
        "it is read before anybody is called"
    );
}

#[test]
fn a_reader_that_leaves_in_the_midst_of_a_long_list() {
    let process = Process::start(60_000);
    for args in [&["ss", "-tnlH"][..], &["ss", "-l", "--json"]] {
        let mut child = millrace(&process.path(), args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("millrace");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        out.read_line(&mut String::new()).expect("a line");
        drop(out);
        let done = child.wait_with_output().expect("it ends");
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    }
}
