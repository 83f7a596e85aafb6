//! `millrace drill`, as it is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RIGHT: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0\n\
     +0 < S 0:0(0) win WINDOW <mss 1000>\n+0 > S. 0:0(0) ack 1 <mss 1460>\n";

/// A folder of this test alone, with these files.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("below")).expect("a folder");
    for (file, text) in files {
        fs::write(folder.join(file), text).expect("a file");
    }
    folder
}

fn drill(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace"))
        .arg("drill")
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn all_of_a_folder_pass() {
    let folder = folder(
        "drill-pass",
        &[("a.pkt", RIGHT), ("below/b.pkt", RIGHT), ("c.txt", "?")],
    );
    let ran = drill(&folder, &["-D", "WINDOW=1000", "--pcap", "captures", "."]);
    let out = text(&ran.stdout);
    assert!(ran.status.success(), "{out} {}", text(&ran.stderr));
    assert!(
        out.ends_with("2 passed, 0 failed, 0 unsupported\n"),
        "{out}"
    );
    for name in ["a.pcapng", "below-b.pcapng"] {
        let capture = fs::read(folder.join("captures").join(name)).expect(name);
        assert_eq!(capture[..4], [0x0a, 0x0d, 0x0d, 0x0a], "{name} is pcapng");
    }
}

#[test]
fn whatever_does_not_pass_counts_against() {
    let wrong = RIGHT.replace("mss 1460", "mss 1461");
    let beyond = format!("{RIGHT}+0 `reboot`\n");
    let folder = folder(
        "drill-fail",
        &[
            ("wrong.pkt", &wrong),
            ("beyond.pkt", &beyond),
            ("no_script.pkt", "0 socket(\n"),
        ],
    );
    for (file, verdict, line) in [
        ("wrong.pkt", "fail", 5),
        ("beyond.pkt", "unsupported", 6),
        ("no_script.pkt", "unsupported", 1),
    ] {
        let ran = drill(&folder, &["-D", "WINDOW=1000", "--json", file]);
        assert_eq!(ran.status.code(), Some(1), "{file}");
        let out = text(&ran.stdout);
        let first = out.lines().next().expect("a line");
        let object: serde_json::Value = serde_json::from_str(first).expect("JSON");
        assert_eq!(object["verdict"], verdict, "{first}");
        assert_eq!(object["line"], line, "{first}");
    }
    let missing = drill(&folder, &["missing.pkt"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stdout).contains("missing.pkt: No such file"),
        "{missing:?}"
    );
    let empty = drill(&folder, &["below"]);
    assert_eq!(empty.status.code(), Some(2));
    assert!(text(&empty.stderr).contains("no scripts"), "{empty:?}");
}

#[test]
fn options_on_the_command_line_win() {
    let script = format!("--mtu=1500\n{RIGHT}");
    let folder = folder("drill-options", &[("mtu.pkt", &script)]);
    let ran = drill(&folder, &["-D", "WINDOW=1000", "-o", "mtu=1400", "mtu.pkt"]);
    let out = text(&ran.stdout);
    assert!(out.contains("mss 1360"), "{out}");
    let ran = drill(&folder, &["-D", "WINDOW=1000", "-v", "mtu.pkt"]);
    let out = text(&ran.stdout);
    assert!(
        ran.status.success() && out.contains("> S. 0:0(0) ack 1"),
        "{out}"
    );
}

#[cfg(feature = "oracle")]
#[test]
#[ignore = "needs root"]
fn the_kernel_is_asked_when_it_is_to_be() {
    let wrong = RIGHT.replace("mss 1460", "mss 1461");
    let folder = folder(
        "drill-kernel",
        &[("a.pkt", RIGHT), ("b.pkt", RIGHT), ("c.pkt", &wrong)],
    );
    let ran = drill(
        &folder,
        &["-D", "WINDOW=1000", "--kernel", "-v", "a.pkt", "b.pkt"],
    );
    let out = text(&ran.stdout);
    assert!(ran.status.success(), "{out} {}", text(&ran.stderr));
    assert!(
        out.ends_with("2 passed, 0 failed, 0 unsupported\n"),
        "{out}"
    );
    let ran = drill(&folder, &["-D", "WINDOW=1000", "--kernel", "."]);
    let out = text(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1), "{out}");
    assert!(out.contains("c.pkt:5"), "{out}");
    let names: Vec<_> = out
        .lines()
        .filter_map(|line| line.split(".pkt").next())
        .filter_map(|line| line.rsplit('/').next())
        .collect();
    assert_eq!(names[..3], ["a", "b", "c"], "in the order of the files");
}
