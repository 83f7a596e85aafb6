//! `millrace load`, over kernel sockets against our server and over our stack against kernel servers: every request is
//! answered and counted on both sides.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Finished, run};
use crate::lab::{Driver, LINUX, Lab, PORT, SERVER};
use crate::scratch::Scratch;
use crate::server::{MILLRACE, Server, millrace};

real_peer_tests! {
    kernel_sockets_against_our_echo: af_xdp | tap;
    kernel_sockets_against_our_http: af_xdp;
    our_stack_against_a_kernel_server: af_xdp | tap;
    our_stack_connects_for_each_request: af_xdp;
    our_stack_at_a_fixed_rate: af_xdp;
    results_as_files: af_xdp;
    our_stack_against_our_echo: af_xdp;
    our_stack_connects_to_our_http: af_xdp;
    a_ramp_finds_the_knee: af_xdp;
    thousands_of_connections: af_xdp;
    streams: af_xdp;
}

/// For runs of a second or two, on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Everything on one line, as the table's `requests` says it.
#[derive(Debug)]
pub struct Requests {
    /// Within the measurement.
    pub due: u64,
    /// Of them.
    pub answered: u64,
    /// Of them.
    pub unanswered: u64,
}

/// What the table says of requests.
#[track_caller]
pub fn requests(done: &Finished) -> Requests {
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
pub fn from_linux(lab: &Lab, target: &str, flags: &str) -> Finished {
    let mut command = lab.linux(&MILLRACE);
    run(
        command
            .args(["load", target])
            .args(flags.split_whitespace()),
        LIMIT,
    )
}

/// `millrace load` over our stack.
pub fn from_us(lab: &Lab, target: &str, flags: &str) -> Finished {
    run(
        millrace(lab, &["load", target]).args(flags.split_whitespace()),
        LIMIT,
    )
}

/// Exit code 1, and one sentence with all of `words` on standard error.
#[track_caller]
pub fn complains(done: &Finished, words: &[&str]) {
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
pub fn with_kernel_server<T: Send>(
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
pub fn echo(mut stream: TcpStream) {
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
    assert_eq!(record["ramp"].as_array().map(Vec::len), Some(0));
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

    let report = |files: &[&str]| {
        run(
            Command::new(MILLRACE.as_str()).arg("report").args(files),
            LIMIT,
        )
    };
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

/// Our stack on both ends of the veth.
fn our_stack_against_our_echo(driver: Driver) {
    let lab = Lab::new(driver);
    lab.linux_sh(&format!("ip addr flush dev {}", lab.linux_dev()));
    let server = Server::start(&lab, "echo", &[]);
    let mut command = lab.linux(&MILLRACE);
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

/// A server that answers a hundred requests a second on each of two connections, at the most.
fn a_ramp_finds_the_knee(driver: Driver) {
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
    let flags = "-t 1 --warm-up 0 --percentile 50";
    let done = with_kernel_server(&lab, serve, |at| {
        from_us(&lab, at, &format!("{flags} -c 2 --ramp 20:1280:4"))
    });
    assert_eq!(done.code, Some(0), "{done:?}");
    // 80 is what it can do, 320 is too much, and 1280 is not tried.
    assert!(
        done.out.contains("the knee lies between") && done.out.contains("320"),
        "{done:?}"
    );
    assert!(!done.out.contains("1,280"), "{done:?}");
    let kneeless = with_kernel_server(&lab, serve, |at| {
        from_us(&lab, at, &format!("{flags} -c 2 --ramp 20:40:2"))
    });
    complains(&kneeless, &["20:40:2 has no knee"]);
}

fn thousands_of_connections(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    let done = from_linux(
        &lab,
        &SERVER.to_string(),
        "-c 3000 -t 2 --warm-up 0 --rate 3000 --percentile 50",
    );
    let seen = requests(&done);
    assert_eq!((seen.due, seen.unanswered), (6000, 0), "{done:?}");
    let after = server.settles(&before);
    assert_eq!(
        after.mib("TcpPassiveOpens") - before.mib("TcpPassiveOpens"),
        3000
    );
    server.stop();
}

fn streams(driver: Driver) {
    let lab = Lab::new(driver);
    for (kind, work) in [("discard", "send"), ("chargen", "receive")] {
        let server = Server::start(&lab, kind, &[]);
        let done = from_linux(
            &lab,
            &SERVER.to_string(),
            &format!("--work {work} -c 2 -t 1 --warm-up 0"),
        );
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(
            done.out.contains("headline: ") && done.out.contains("bit/s"),
            "{done:?}"
        );
        server.stop();
    }
    let serve = |mut stream: TcpStream| {
        let mut bytes = [0; 1 << 16];
        while let Ok(1..) = stream.read(&mut bytes) {}
    };
    let done = with_kernel_server(&lab, serve, |at| {
        from_us(&lab, at, "--work send -t 1 --warm-up 0")
    });
    assert!(done.out.contains("bit/s"), "{done:?}");
}

fn our_stack_connects_to_our_http(driver: Driver) {
    let lab = Lab::new(driver);
    lab.linux_sh(&format!("ip addr flush dev {}", lab.linux_dev()));
    let mut server = Server::start(&lab, "http", &["--body-size", "128"]);
    let before = server.stats();
    let mut command = lab.linux(&MILLRACE);
    command.args([
        "load",
        &format!("http://{SERVER}/"),
        "--driver",
        "af-xdp:peer0",
        "--addr",
        &format!("{LINUX}/24"),
    ]);
    let done = run(
        command.args("--work connect -c 4 -t 1 --warm-up 0 --percentile 50".split(' ')),
        LIMIT,
    );
    let seen = requests(&done);
    assert!(seen.answered > 0 && seen.unanswered == 0, "{done:?}");
    let after = server.settles(&before);
    assert_eq!(
        after.mib("TcpPassiveOpens") - before.mib("TcpPassiveOpens"),
        seen.answered
    );
    server.stop();
}
