//! A C program loads the plug-in as the packetdrill tool does, with the preloaded library, and plays with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Folder of the shared objects that cargo built for this test.
fn built() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().to_path_buf()
}

/// The driver, compiled for one test.
fn driver(name: &str) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut cc = Command::new("cc");
    cc.args([
        "-std=gnu11",
        "-D_GNU_SOURCE",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-O1",
        "-o",
    ]);
    cc.arg(&program);
    cc.args(["driver.c", "peer.c"].map(|file| sources.join(file)));
    cc.args(["-ldl", "-lpthread"]);
    let compiled = cc
        .output()
        .expect("the test needs a C compiler called cc (scripts/install build brings gcc)");
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "cc: {said}");
    program
}

fn play(name: &str, arguments: &[&str]) -> Output {
    let mut driver = Command::new(driver(name));
    driver.arg(built().join("libmillrace_drill.so"));
    driver.args(arguments);
    driver.env("LD_PRELOAD", built().join("libmillrace_drill_preload.so"));
    driver.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_slot_does_its_work() {
    let output = play("every_slot", &[]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_wrong_expectation_fails() {
    let output = play("wrong", &["wrong"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("wrong ? 250 : 300"),
        "{}",
        said(&output)
    );
}

#[test]
fn super_segments_are_trains() {
    let output = play("trains", &["trains", "mss=1000,mtu=1500"]);
    assert!(output.status.success(), "{}", said(&output));
    let whole = play("whole", &["trains", "mss=0"]);
    assert_eq!(whole.status.code(), Some(1));
    assert!(said(&whole).contains("tcpi_rcv_mss"), "{}", said(&whole));
}

#[test]
fn wrong_flags_end_the_tool() {
    for flags in ["mss=none", "speed=3", "net.ipv4.tcp_sack=yes"] {
        let output = play("flags", &["flags", flags]);
        assert_eq!(output.status.code(), Some(1));
        let name = flags
            .split('=')
            .next()
            .unwrap()
            .trim_start_matches("net.ipv4.");
        assert!(said(&output).contains(name), "{}", said(&output));
    }
    let output = play("right_flags", &["flags", "net.ipv4.tcp_sack=0"]);
    assert!(output.status.success(), "{}", said(&output));
}
