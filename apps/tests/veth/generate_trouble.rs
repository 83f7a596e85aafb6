//! `millrace load` where something does not work: told in a sentence, what was measured is kept, and the exit code is 1.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::command::{Finished, eventually};
use crate::generate::{LIMIT, complains, echo, from_linux, from_us, requests, with_kernel_server};
use crate::lab::{Driver, LINUX, Lab, SERVER};
use crate::scratch::Scratch;
use crate::server::{MILLRACE, Server, millrace};

real_peer_tests! {
    a_closed_port: af_xdp | tap;
    a_server_that_hangs_up: af_xdp;
    a_server_that_falls_silent: af_xdp;
    our_server_dies: af_xdp;
    a_rate_that_cannot_be_reached: af_xdp;
    a_percentile_that_the_sample_cannot_support: af_xdp;
    a_full_disk: af_xdp;
    stopped_by_a_signal: af_xdp;
}

fn a_closed_port(driver: Driver) {
    let lab = Lab::new(driver);
    complains(
        &from_us(&lab, &format!("{LINUX}:9"), "-t 1"),
        &["connection refused", "10.77.0.1:9"],
    );
    let server = Server::start(&lab, "echo", &[]);
    complains(
        &from_linux(&lab, "10.77.0.2:9", "-t 1"),
        &["connection refused", "10.77.0.2:9"],
    );
    server.stop();
}

/// A server that closes each connection after a hundred requests, in the middle of the next.
fn a_server_that_hangs_up(driver: Driver) {
    let lab = Lab::new(driver);
    let serve = |mut stream: TcpStream| {
        let mut bytes = [0; 64];
        for _ in 0..100 {
            stream.read_exact(&mut bytes).expect("a request");
            stream.write_all(&bytes).expect("a reply");
        }
        let _ = stream.read_exact(&mut bytes);
    };
    let done = with_kernel_server(&lab, serve, |at| from_us(&lab, at, "-t 20 --warm-up 0"));
    complains(
        &done,
        &[
            "the server closed a connection with a request unanswered",
            "is kept",
        ],
    );
    let seen = requests(&done);
    assert_eq!((seen.answered, seen.unanswered), (100, 1), "{done:?}");
}

fn a_server_that_falls_silent(driver: Driver) {
    let lab = Lab::new(driver);
    let serve = |mut stream: TcpStream| {
        let mut bytes = [0; 64];
        for _ in 0..100 {
            stream.read_exact(&mut bytes).expect("a request");
            stream.write_all(&bytes).expect("a reply");
        }
        // Reads and says nothing.
        while let Ok(1..) = stream.read(&mut bytes) {}
    };
    let done = with_kernel_server(&lab, serve, |at| {
        from_us(&lab, at, "-t 20 --warm-up 0 --timeout 1")
    });
    complains(&done, &["has said nothing for 1 s", "is kept"]);
    assert_eq!(requests(&done).answered, 100, "{done:?}");
}

/// One connection, and a server that takes its time.
fn a_rate_that_cannot_be_reached(driver: Driver) {
    let lab = Lab::new(driver);
    let serve = |mut stream: TcpStream| {
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).is_ok() {
            thread::sleep(Duration::from_millis(10));
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    };
    let done = with_kernel_server(&lab, serve, |at| {
        from_us(&lab, at, "-t 1 --warm-up 0 --rate 2000")
    });
    complains(&done, &["the rate was not reached", "2,000", "--rate"]);
    let seen = requests(&done);
    assert_eq!(seen.due, 2000, "{done:?}");
    assert_eq!(seen.answered + seen.unanswered, 2000, "{done:?}");
}

fn a_percentile_that_the_sample_cannot_support(driver: Driver) {
    let lab = Lab::new(driver);
    let done = with_kernel_server(&lab, echo, |at| {
        from_us(&lab, at, "-t 1 --warm-up 0 --rate 50 --percentile 99.9")
    });
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.out.contains("no headline") && done.out.contains("too short for p99.9"),
        "{done:?}"
    );
    assert_eq!(requests(&done).due, 50, "{done:?}");
}

fn a_full_disk(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let server = Server::start(&lab, "echo", &[]);
    let csv = scratch.text("a.csv");
    let flags = format!("-t 1 --warm-up 0 --percentile 50 --json /dev/full --csv {csv}");
    let done = from_linux(&lab, &SERVER.to_string(), &flags);
    complains(&done, &["/dev/full", "No space left"]);
    assert!(requests(&done).answered > 0, "{done:?}");
    assert!(scratch.path("a.csv").exists());
    let nowhere = from_linux(&lab, &SERVER.to_string(), "--html /nowhere/page.html");
    complains(&nowhere, &["/nowhere/page.html"]);
    assert_eq!(nowhere.out, "", "nothing was measured: {nowhere:?}");
    server.stop();
}

/// Long runs that a signal ends: over both, what was measured is printed and written.
fn stopped_by_a_signal(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let json = scratch.text("a.json");
    let flags = ["-t", "600", "--warm-up", "0", "--json", &json];
    let mut server = Server::start(&lab, "echo", &[]);
    let mut command = lab.linux(&MILLRACE);
    command.args(["load", &SERVER.to_string()]).args(flags);
    let before = server.stats();
    let done = interrupted(&mut command, || {
        let now = server.stats();
        now.mib("TcpInSegs") - before.mib("TcpInSegs") > 100
    });
    stopped_with_results(&done, &json);
    server.stop();
    let done = with_kernel_server(&lab, echo_and_count, |at| {
        let mut command = millrace(&lab, &["load", at]);
        ECHOED.store(0, Ordering::Relaxed);
        interrupted(command.args(flags), || ECHOED.load(Ordering::Relaxed) > 100)
    });
    stopped_with_results(&done, &json);
}

/// Replies of [`echo_and_count`].
static ECHOED: AtomicU64 = AtomicU64::new(0);

fn echo_and_count(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..len]).is_err() {
            return;
        }
        ECHOED.fetch_add(1, Ordering::Relaxed);
    }
}

#[track_caller]
fn stopped_with_results(done: &Finished, json: &str) {
    complains(done, &["stopped by a signal", "is kept"]);
    let seen = requests(done);
    assert!(seen.answered > 0 && seen.unanswered == 0, "{done:?}");
    let record: Value =
        serde_json::from_str(&fs::read_to_string(json).expect("a record")).expect("JSON");
    assert_eq!(record["counts"]["replies"], seen.answered);
    assert_eq!(record["headline"], Value::Null);
    fs::remove_file(json).expect("remove");
}

/// Runs a command, sends SIGINT once `ready`, and waits for its end.
#[track_caller]
fn interrupted(command: &mut Command, ready: impl FnMut() -> bool) -> Finished {
    disturbed(command, ready, |child| {
        // `ip netns exec` has become the command.
        kill_process(Pid::from_child(child), Signal::INT).expect("signal");
    })
}

/// Runs a command, does `act` once `ready`, and waits for its end.
#[track_caller]
fn disturbed(
    command: &mut Command,
    mut ready: impl FnMut() -> bool,
    act: impl FnOnce(&Child),
) -> Finished {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = child.spawn().expect("start millrace");
    eventually("replies", LIMIT, || match ready() {
        true => Ok(()),
        false => Err("none".to_owned()),
    });
    act(&child);
    let output = child.wait_with_output().expect("wait");
    Finished {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Our server is killed in mid-run: nobody says anything any more to the kernel's sockets.
fn our_server_dies(driver: Driver) {
    let lab = Lab::new(driver);
    let server = RefCell::new(Some(Server::start(&lab, "echo", &[])));
    let stats = || {
        server
            .borrow_mut()
            .as_mut()
            .map(|server| server.stats().mib("TcpInSegs"))
    };
    let before = stats();
    let mut command = lab.linux(&MILLRACE);
    command
        .args(["load", &SERVER.to_string()])
        .args("-t 600 --warm-up 0 --timeout 1".split(' '));
    let busy = || stats() > before.map(|segments| segments + 100);
    let done = disturbed(&mut command, busy, |_| {
        if let Some(server) = server.take() {
            server.kill();
        }
    });
    complains(&done, &["has said nothing for 1 s", "is kept"]);
    assert!(requests(&done).answered > 0, "{done:?}");
}
