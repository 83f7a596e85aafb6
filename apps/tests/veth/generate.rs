//! `millrace load`, over kernel sockets against our server and over our stack against kernel servers: every request is
//! answered and counted on both sides, and what cannot work is told in a sentence.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::command::{Finished, eventually, run};
use crate::lab::{Driver, LINUX, Lab, PORT, SERVER};
use crate::scratch::Scratch;
use crate::server::{MILLRACE, Server, millrace};

real_peer_tests! {
    kernel_sockets_against_our_echo: af_xdp | tap;
    kernel_sockets_against_our_http: af_xdp;
    our_stack_against_a_kernel_server: af_xdp | tap;
    our_stack_connects_for_each_request: af_xdp;
    our_stack_at_a_fixed_rate: af_xdp;
    a_closed_port: af_xdp | tap;
    a_server_that_hangs_up: af_xdp;
    a_server_that_falls_silent: af_xdp;
    a_rate_that_cannot_be_reached: af_xdp;
    a_percentile_that_the_sample_cannot_support: af_xdp;
    results_as_files: af_xdp;
    a_full_disk: af_xdp;
    stopped_by_a_signal: af_xdp;
    our_stack_against_our_echo: af_xdp;
}

const LIMIT: Duration = Duration::from_secs(60);

/// Everything on one line, as the table's `requests` says it.
#[derive(Debug)]
struct Requests {
    due: u64,
    answered: u64,
    unanswered: u64,
}

/// What the table says of requests.
#[track_caller]
fn requests(done: &Finished) -> Requests {
    let told = done
        .out
        .lines()
        .find_map(|line| line.trim().strip_prefix("requests "));
    let told = told.unwrap_or_else(|| panic!("no requests in {done:?}"));
    let number = |what: &str| {
        // "25,829 due, 25,829 sent, …"
        let parts = told
            .split(", ")
            .filter_map(|part| part.trim().rsplit_once(' '));
        let found = parts
            .filter(|(_, name)| *name == what)
            .find_map(|(number, _)| number.replace(',', "").parse().ok());
        found.unwrap_or_else(|| panic!("no {what} in {told:?}"))
    };
    Requests {
        due: number("due"),
        answered: number("answered"),
        unanswered: number("unanswered"),
    }
}

/// `millrace load` over kernel sockets of the Linux peer.
fn from_linux(lab: &Lab, target: &str, flags: &str) -> Finished {
    let mut command = lab.linux(MILLRACE);
    run(
        command
            .args(["load", target])
            .args(flags.split_whitespace()),
        LIMIT,
    )
}

/// `millrace load` over our stack.
fn from_us(lab: &Lab, target: &str, flags: &str) -> Finished {
    run(
        millrace(lab, &["load", target]).args(flags.split_whitespace()),
        LIMIT,
    )
}

/// Exit code 1, and one sentence with all of `words` on standard error.
#[track_caller]
fn complains(done: &Finished, words: &[&str]) {
    assert_eq!(done.code, Some(1), "{done:?}");
    let lines: Vec<&str> = done
        .err
        .lines()
        .filter(|line| line.starts_with("millrace:"))
        .collect();
    assert_eq!(lines.len(), 1, "one sentence: {done:?}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} not in {done:?}");
    }
    assert!(!done.err.contains("panicked"), "{done:?}");
}

/// A kernel server in the peer's namespace for the length of `body`: `serve` gets each connection on a thread.
fn with_kernel_server<T: Send>(
    lab: &Lab,
    serve: impl Fn(TcpStream) + Send + Clone + 'static,
    body: impl FnOnce(&str) -> T + Send,
) -> T {
    let at = SocketAddrV4::new(LINUX, PORT);
    let listener = lab.as_linux(|| TcpListener::bind(at).expect("bind"));
    let accepting = listener.try_clone().expect("clone");
    let thread = thread::spawn(move || {
        for stream in accepting.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    let value = body(&at.to_string());
    // Accepting ends with an error.
    socket2::SockRef::from(&listener)
        .shutdown(std::net::Shutdown::Both)
        .expect("shutdown");
    thread.join().expect("acceptor");
    value
}

/// Echoes until the end.
fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..len]).is_err() {
            return;
        }
    }
}

fn kernel_sockets_against_our_echo(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    let done = from_linux(
        &lab,
        &SERVER.to_string(),
        "-c 16 -t 1 --warm-up 0.2 --percentile 50",
    );
    let seen = requests(&done);
    assert!(
        seen.answered > 0 && seen.unanswered == 0 && seen.due == seen.answered,
        "{done:?}"
    );
    let after = server.settles(&before);
    assert_eq!(
        after.mib("TcpPassiveOpens") - before.mib("TcpPassiveOpens"),
        16
    );
    server.stop();
}

fn kernel_sockets_against_our_http(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "http", &["--body-size", "700"]);
    let url = format!("http://{SERVER}/");
    let done = from_linux(
        &lab,
        &url,
        "-c 4 -t 1 --warm-up 0.2 --depth 2 --percentile 50",
    );
    let seen = requests(&done);
    assert!(seen.answered > 0 && seen.unanswered == 0, "{done:?}");
    let refused = from_linux(&lab, &format!("{url}nowhere"), "-t 1");
    complains(&refused, &["404"]);
    server.stop();
}

fn our_stack_against_a_kernel_server(driver: Driver) {
    let lab = Lab::new(driver);
    let done = with_kernel_server(&lab, echo, |at| {
        from_us(&lab, at, "-c 8 -t 1 --warm-up 0.2 --percentile 50")
    });
    let seen = requests(&done);
    assert!(
        seen.answered > 0 && seen.unanswered == 0 && seen.due == seen.answered,
        "{done:?}"
    );
}

fn our_stack_connects_for_each_request(driver: Driver) {
    let lab = Lab::new(driver);
    let flags = "--work connect --close reset -c 4 -t 1 --warm-up 0 --percentile 50";
    let done = with_kernel_server(&lab, echo, |at| from_us(&lab, at, flags));
    let seen = requests(&done);
    assert!(seen.answered > 4 && seen.unanswered == 0, "{done:?}");
}

fn our_stack_at_a_fixed_rate(driver: Driver) {
    let lab = Lab::new(driver);
    let done = with_kernel_server(&lab, echo, |at| {
        from_us(&lab, at, "-c 8 -t 2 --warm-up 0 --rate 500")
    });
    let seen = requests(&done);
    assert_eq!((seen.due, seen.answered), (1000, 1000), "{done:?}");
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

/// Records, and what they are compared with.
fn results_as_files(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let server = Server::start(&lab, "echo", &[]);
    let file = |name: &str| scratch.text(name);
    let flags = format!(
        "-c 2 -t 1 --warm-up 0 --percentile 50 --json {} --html {} --csv {} --hgrm {} --hgrm-raw {}",
        file("a.json"),
        file("a.html"),
        file("a.csv"),
        file("a.hgrm"),
        file("raw.hgrm")
    );
    let done = from_linux(&lab, &SERVER.to_string(), &flags);
    server.stop();
    let seen = requests(&done);
    let text = fs::read_to_string(scratch.path("a.json")).expect("a record");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(record["schema"], "millrace-load");
    assert_eq!(record["version"], 1);
    assert_eq!(record["counts"]["replies"], seen.answered);
    assert_eq!(record["corrected"]["count"], seen.answered);
    assert_eq!(record["work"]["connections"], 2);
    let curves = fs::read_to_string(scratch.path("a.html")).expect("a page");
    assert_eq!(curves.matches("<svg").count(), 4);
    for name in ["a.csv", "a.hgrm", "raw.hgrm"] {
        assert!(
            fs::read_to_string(scratch.path(name))
                .expect(name)
                .lines()
                .count()
                > 1,
            "{name}"
        );
    }
    assert!(!scratch.path("a.json.part").exists());

    let report = |files: &[&str]| run(Command::new(MILLRACE).arg("report").args(files), LIMIT);
    let same = report(&[&file("a.json"), &file("a.json")]).success();
    assert!(same.contains("(1.00×)"), "{same}");
    let newer = text.replacen("\"version\": 1", "\"version\": 7", 1);
    fs::write(scratch.path("newer.json"), newer).expect("write");
    complains(
        &report(&[&file("a.json"), &file("newer.json")]),
        &["newer.json", "version 7", "version 1"],
    );
    complains(&report(&[&file("a.csv")]), &["a.csv", "no record"]);
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
    let mut command = lab.linux(MILLRACE);
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
fn interrupted(command: &mut Command, mut ready: impl FnMut() -> bool) -> Finished {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = child.spawn().expect("start millrace");
    eventually("replies", LIMIT, || {
        if ready() {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    });
    // `ip netns exec` has become the command.
    kill_process(Pid::from_child(&child), Signal::INT).expect("signal");
    let output = child.wait_with_output().expect("wait");
    Finished {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Our stack on both ends of the veth.
fn our_stack_against_our_echo(driver: Driver) {
    let lab = Lab::new(driver);
    lab.linux_sh(&format!("ip addr flush dev {}", lab.linux_dev()));
    let server = Server::start(&lab, "echo", &[]);
    let mut command = lab.linux(MILLRACE);
    command.args([
        "load",
        &SERVER.to_string(),
        "--driver",
        "af-xdp:peer0",
        "--addr",
        &format!("{LINUX}/24"),
    ]);
    let done = run(
        command.args("-c 16 -t 1 --warm-up 0.2 --percentile 50".split(' ')),
        LIMIT,
    );
    let seen = requests(&done);
    assert!(
        seen.answered > 0 && seen.unanswered == 0 && seen.due == seen.answered,
        "{done:?}"
    );
    server.stop();
}
