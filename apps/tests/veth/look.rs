//! `millrace stat` on a server that Linux talks to, and where its control socket lies.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Finished, run};
use crate::lab::{Driver, Lab, SERVER};
use crate::scratch::Scratch;
use crate::server::{MILLRACE, Server, millrace};
use crate::socket::connect;

real_peer_tests! {
    counters_move_by_the_traffic: af_xdp | tap;
    the_place_of_a_killed_process_is_taken_over: af_xdp;
    a_place_that_is_taken: tap;
    no_control_socket_if_not_wanted: tap;
    the_default_place_is_found: tap;
}

const LIMIT: Duration = Duration::from_secs(30);

/// `millrace WHAT` about the process at `socket`.
pub fn ask(socket: &str, what: &[&str]) -> Finished {
    run(
        Command::new(MILLRACE.as_str())
            .args(what)
            .args(["--control", socket]),
        LIMIT,
    )
}

#[track_caller]
fn stat(socket: &str) -> Value {
    let said = ask(socket, &["stat", "--json"]).success();
    serde_json::from_str(&said).expect("JSON")
}

/// How much the counter at `path` has grown.
#[track_caller]
fn grown(before: &Value, after: &Value, path: &str) -> u64 {
    let number = |from: &Value| {
        let found = from.pointer(path).and_then(Value::as_u64);
        found.unwrap_or_else(|| panic!("no {path}"))
    };
    number(after) - number(before)
}

/// Ten connections that say a hundred octets each, one of which lands on a closed port.
fn counters_move_by_the_traffic(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let socket = scratch.text("a.sock");
    let server = Server::start(&lab, "echo", &["--control", &socket]);
    let before = stat(&socket);
    assert_eq!(before["process"]["command"], "serve echo");
    lab.as_linux(|| {
        for _ in 0..10 {
            let mut stream = connect(SERVER);
            stream.write_all(&[7; 100]).expect("write");
            stream.read_exact(&mut [0; 100]).expect("the echo");
        }
        let closed = std::net::SocketAddrV4::new(*SERVER.ip(), 9);
        std::net::TcpStream::connect(closed).expect_err("nobody listens");
    });
    let after = stat(&socket);
    assert_eq!(grown(&before, &after, "/total/mib/TcpPassiveOpens"), 10);
    assert_eq!(grown(&before, &after, "/total/mib/TcpOutRsts"), 1);
    let received = grown(&before, &after, "/total/mib/MillraceLentBytes")
        + grown(&before, &after, "/total/mib/MillraceRingBytes");
    assert!(received >= 1000, "{received}");
    let queues = (0..).map_while(|number| {
        let path = format!("/workers/0/queue{number}/rx_packets");
        after.pointer(&path)?;
        Some(grown(&before, &after, &path))
    });
    let frames: u64 = queues.sum();
    // Each connection takes a SYN, an ACK, and data at the least.
    assert!(frames > 30, "{frames}");
    assert_eq!(grown(&before, &after, "/total/worker/rx_frames"), frames);

    let table = ask(&socket, &["stat"]).success();
    for line in [
        "TcpPassiveOpens",
        "rx_packets",
        "Connections accepted from SYN-RECEIVED",
    ] {
        assert!(table.contains(line), "{line} not in\n{table}");
    }
    server.stop();
    assert!(!Path::new(&socket).exists(), "removed at the end");
    let gone = ask(&socket, &["stat"]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.err.contains("no millrace process"), "{gone:?}");
}

fn the_place_of_a_killed_process_is_taken_over(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let socket = scratch.text("a.sock");
    Server::start(&lab, "echo", &["--control", &socket]).kill();
    let stale = ask(&socket, &["stat"]);
    assert_eq!(stale.code, Some(1), "{stale:?}");
    assert!(stale.err.contains("has ended"), "{stale:?}");
    let server = Server::start(&lab, "echo", &["--control", &socket]);
    stat(&socket);
    server.stop();
    assert_eq!(
        fs::read_dir(scratch.path(".")).expect("a folder").count(),
        0
    );
}

/// Nothing is left of the second process, and nothing happens to the first.
fn a_place_that_is_taken(driver: Driver) {
    let lab = Lab::new(driver);
    let other = Lab::new(driver);
    let scratch = Scratch::new();
    let socket = scratch.text("a.sock");
    let server = Server::start(&lab, "echo", &["--control", &socket]);
    let second = ["serve", "echo", "--control", &socket];
    let refused = run(&mut millrace(&other, &second), LIMIT);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("another process that runs"),
        "{refused:?}"
    );
    assert_eq!(refused.err.lines().count(), 1, "{refused:?}");
    stat(&socket);
    server.stop();
}

fn no_control_socket_if_not_wanted(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &["--no-control"]);
    let place = format!("/run/millrace/{}.sock", server.pid());
    assert!(!Path::new(&place).exists(), "{place}");
    server.stop();
}

fn the_default_place_is_found(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &[]);
    let place = format!("/run/millrace/{}.sock", server.pid());
    assert_eq!(stat(&place)["process"]["pid"], server.pid());
    // Other processes may run on this machine: then they are listed, ours among them.
    let said = run(
        Command::new(MILLRACE.as_str()).args(["stat", "--json"]),
        LIMIT,
    );
    match said.code {
        Some(0) => assert!(
            said.out.contains(&format!("\"pid\":{}", server.pid())),
            "{said:?}"
        ),
        _ => assert!(
            said.err.contains(&place) && said.err.contains("choose one"),
            "{said:?}"
        ),
    }
    server.stop();
    assert!(!Path::new(&place).exists(), "{place}");
}
