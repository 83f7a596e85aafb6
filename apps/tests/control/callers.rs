//! Good and bad callers.

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixListener;

use millrace::net::TcpState;
use millrace_apps::control::protocol::{Ask, Line};
use millrace_apps::control::{ControlArgs, reserve};
use socket2::{Domain, SockAddr, Socket, Type};

use super::process::{Folder, Process, call, open, raw, read, send, try_call, value, worker};

const ALL: Ask = Ask::Sockets {
    states: u16::MAX,
    info: false,
};

#[test]
fn counters_and_sockets() {
    let process = Process::start(100);
    let report = process.report();
    assert_eq!(report.workers.len(), 1);
    assert_eq!(value(&report.workers[0], "listeners"), 100);
    for counter in report.workers.iter().flatten().chain(&report.control) {
        assert!(!counter.text.is_empty(), "{} says nothing", counter.name);
    }

    let mut call = call(&process.path());
    assert_eq!(call.about.command, "serve nothing");
    assert_eq!(call.about.pid, std::process::id());
    call.ask(ALL).expect("asked");
    let mut ports = Vec::new();
    loop {
        match call.line().expect("a line") {
            Line::Sock(sock) => {
                assert_eq!((sock.state.as_ref(), sock.send_q), ("LISTEN", 1));
                ports.push(sock.local.port());
            }
            Line::End { sockets } => {
                assert_eq!(sockets, 100);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    ports.sort_unstable();
    assert_eq!(ports, (1..=100).collect::<Vec<u16>>());
}

#[test]
fn states_and_tcp_info_only_as_asked() {
    let process = Process::start(3);
    let lines = |states, info| {
        let mut call = call(&process.path());
        call.ask(Ask::Sockets { states, info }).expect("asked");
        call.line().expect("a line")
    };
    let none = lines(TcpState::Established.bit(), true);
    assert_eq!(none, Line::End { sockets: 0 });
    for (info, there) in [(false, false), (true, true)] {
        let Line::Sock(sock) = lines(TcpState::Listen.bit(), info) else {
            panic!("a socket")
        };
        assert_eq!(sock.info.is_some(), there);
    }
}

#[test]
fn nonsense_gets_a_sentence_and_hurts_nobody() {
    let process = Process::start(1);
    let long = vec![b'x'; 5000];
    let nonsense: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\n", "no question"),
        (b"{}\n", "no question"),
        (b"{\"millrace\":1,\"ask\":\"tea\"}\n", "no question"),
        (b"\xff\xfe\n", "no question"),
        (
            b"{\"millrace\":99,\"ask\":\"counters\"}\n",
            "version 99; use the `millrace` of the same build",
        ),
        (&long, "at most 4096 bytes"),
    ];
    for (bytes, words) in nonsense {
        let (mut lines, _) = raw(&process.path());
        // The rest of what is too long may find nobody there any more.
        let _ = lines.get_ref().write_all(bytes);
        let line = read(&mut lines);
        let said = line["error"].as_str().unwrap_or_default();
        assert!(said.contains(words), "{words}: {line}");
    }
    assert_eq!(process.count("nonsense"), nonsense.len() as u64);
    assert_eq!(process.count("too_slow"), 0);
}

#[test]
fn silent_callers_take_all_places_and_give_them_back() {
    let process = Process::start(1);
    let silent: Vec<_> = (0..8).map(|_| raw(&process.path())).collect();
    let error = try_call(&process.path()).err().expect("no place");
    assert!(error.contains("too many"), "{error}");
    drop(silent);
    // The process sees that they are gone before it lets in who comes after them.
    let report = process.report();
    assert_eq!(value(&report.control, "refused"), 1);
}

/// Sixty thousand listeners are some megabytes: more than a connection holds.
#[test]
fn a_caller_that_does_not_read_keeps_nobody_waiting() {
    let process = Process::start(60_000);
    let (mut lines, _) = raw(&process.path());
    send(
        &lines,
        b"{\"millrace\":1,\"ask\":\"sockets\",\"states\":65535,\"info\":true}\n",
    );
    let before = value(&process.report().workers[0], "inquiries");
    let after = value(&process.report().workers[0], "inquiries");
    assert!(
        after - before < 60_000 / 512,
        "pages are not made for nobody: {before} {after}"
    );

    // And when it reads, it gets them all.
    let mut sockets = 0;
    loop {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).expect("a line");
        if line.starts_with(b"{\"end\"") {
            break;
        }
        sockets += 1;
    }
    assert_eq!(sockets, 60_000);
    assert_eq!(lines.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn a_caller_that_leaves_in_the_midst() {
    let process = Process::start(60_000);
    for _ in 0..20 {
        let (lines, _) = raw(&process.path());
        send(
            &lines,
            b"{\"millrace\":1,\"ask\":\"sockets\",\"states\":65535,\"info\":false}\n",
        );
    }
    assert_eq!(value(&process.report().workers[0], "listeners"), 60_000);
}

#[test]
fn a_worker_that_does_not_run_is_told_of() {
    let (mut worker, _controller) = worker(1);
    let (folder, _clerk) = open(&mut worker);
    let mut call = call(&folder.socket());
    call.ask(Ask::Counters).expect("asked");
    let error = call.line().expect_err("no answer").to_string();
    assert!(error.contains("stopped or stuck"), "{error}");
    drop(worker);
    let mut call = super::process::call(&folder.socket());
    call.ask(Ask::Counters).expect("asked");
    let error = call.line().expect_err("no answer").to_string();
    assert!(
        error.contains("ended") || error.contains("stuck"),
        "{error}"
    );
}

/// What answers with `first`.
#[track_caller]
fn refuses_to_talk_to(first: &str, words: &[&str]) {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.socket()).expect("bind");
    let first = first.to_owned();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        stream.write_all(first.as_bytes()).expect("sent");
    });
    let error = try_call(&folder.socket()).err().expect("refused");
    answering.join().expect("a thread");
    for word in words {
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn processes_of_other_versions_and_other_programs() {
    refuses_to_talk_to(
        "{\"millrace\":2,\"what\":[]}\n",
        &["version 2", "version 1", "same build"],
    );
    refuses_to_talk_to("HTTP/1.1 400 Bad Request\r\n", &["no millrace process"]);
    refuses_to_talk_to("{\"millrace\":1", &["hung up"]);
}

/// It is stopped, say, and callers pile up in front of it.
#[test]
fn a_process_that_lets_nobody_in_is_not_waited_for() {
    let folder = Folder::new();
    let address = SockAddr::unix(folder.socket()).expect("an address");
    let unix = || Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let listener = unix();
    listener.bind(&address).expect("bind");
    listener.listen(1).expect("listen");
    let mut waiting = Vec::new();
    loop {
        let caller = unix();
        caller.set_nonblocking(true).expect("a flag");
        match caller.connect(&address) {
            Ok(()) => waiting.push(caller),
            Err(_) => break,
        }
    }
    let error = try_call(&folder.socket()).err().expect("nobody answers");
    assert!(error.contains("is it stopped?"), "{error}");
}

#[test]
fn a_second_process_is_refused_the_place_of_the_first() {
    let process = Process::start(1);
    let args = ControlArgs {
        control: Some(process.path()),
        no_control: false,
    };
    let error = reserve(&args).err().expect("taken").to_string();
    assert!(
        error.contains("another process") && error.contains("--control"),
        "{error}"
    );
    assert_eq!(process.count("calls"), 1);
}
