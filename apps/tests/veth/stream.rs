//! Byte streams through `serve echo`, `discard` and `chargen` on a clean link: bulk in both directions at once, tiny writes
//! and every way of half-closing.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use crate::lab::{Driver, Lab, OURS, PORT, SERVER};
use crate::scratch::{Pattern, Scratch, file_sha256};
use crate::server::Server;
use crate::socket::{connect, echo_all, read_to_end};

real_peer_tests! {
    echo_200_mb_both_ways_at_once: af_xdp | xsk_rs | tap;
    echo_through_nc: af_xdp | tap;
    echo_of_one_byte_writes: af_xdp | xsk_rs | tap;
    half_close_by_the_client: af_xdp | tap;
    half_close_by_the_server: af_xdp | tap;
    discard_takes_everything: af_xdp | tap;
    chargen_stops_when_the_reader_does: af_xdp | tap;
    eight_connections_at_once: af_xdp | xsk_rs;
}

fn echo_200_mb_both_ways_at_once(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    lab.as_linux(|| echo_all(&connect(SERVER), 200_000_000, 1, &AtomicU64::new(0)));
    server.settles(&before);
    server.stop();
}

/// `nc -N` sends a file, half-closes at its end and writes what comes back.
fn echo_through_nc(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let sent = scratch.random_file("in", 20_000_000, 2);
    let server = Server::start(&lab, "echo", &[]);
    let status = lab
        .linux("timeout")
        .args(["60", "nc", "-N", &OURS.to_string(), &PORT.to_string()])
        .stdin(File::open(scratch.path("in")).expect("the input"))
        .stdout(File::create(scratch.path("out")).expect("the output"))
        .stderr(Stdio::inherit())
        .status()
        .expect("nc");
    assert_eq!(status.code(), Some(0), "nc (124 is its time limit)");
    assert_eq!(
        fs::metadata(scratch.path("out")).expect("the output").len(),
        20_000_000
    );
    assert_eq!(file_sha256(&scratch.path("out")), sent);
    server.stop();
}

/// One byte a segment: first in lock-step, each byte awaited before the next one is written, then as fast as they go.
fn echo_of_one_byte_writes(driver: Driver) {
    const LOCK_STEP: usize = 5_000;
    const BYTES: usize = 25_000;
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    lab.as_linux(|| {
        let stream = connect(SERVER);
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut sent = vec![0; BYTES];
        Pattern::new(3).fill(&mut sent);
        for (number, byte) in sent[..LOCK_STEP].iter().enumerate() {
            (&stream).write_all(&[*byte]).expect("write");
            let mut answer = [0];
            (&stream).read_exact(&mut answer).expect("read");
            assert_eq!(answer[0], *byte, "byte {number}");
        }
        let received = thread::scope(|scope| {
            let reader = scope.spawn(|| read_to_end(&stream));
            for byte in &sent[LOCK_STEP..] {
                (&stream).write_all(&[*byte]).expect("write");
            }
            stream.shutdown(Shutdown::Write).expect("half-close");
            reader.join().expect("reader")
        });
        assert!(
            received == sent[LOCK_STEP..],
            "the bytes that came back differ"
        );
    });
    let after = server.settles(&before);
    assert!(after.mib("TcpInSegs") - before.mib("TcpInSegs") >= LOCK_STEP as u64);
    server.stop();
}

/// After the client's FIN the server still sends what it owes, then closes its half.
fn half_close_by_the_client(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    lab.as_linux(|| {
        for length in [0, 1, 1_460, 300_000] {
            let stream = connect(SERVER);
            let mut sent = vec![0; length];
            Pattern::new(4).fill(&mut sent);
            // Nothing is read before the FIN; 300,000 bytes fit into the buffers on the way.
            (&stream).write_all(&sent).expect("write");
            stream.shutdown(Shutdown::Write).expect("half-close");
            assert!(read_to_end(&stream) == sent, "{length} bytes");
        }
    });
    server.settles(&before);
    server.stop();
}

/// The server's FIN comes first (HTTP/1.0 reply); our half stays open for a while and is closed afterwards.
fn half_close_by_the_server(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "http", &["--body-size", "100000"]);
    let before = server.stats();
    lab.as_linux(|| {
        let stream = connect(SERVER);
        (&stream)
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .expect("request");
        let reply = read_to_end(&stream);
        assert!(
            reply.starts_with(b"HTTP/1.") && reply.len() > 100_000,
            "{} bytes",
            reply.len()
        );
        // EOF was read, so the server's half is closed; ours is closed by a FIN, which must be acknowledged, not reset.
        stream.shutdown(Shutdown::Write).expect("half-close");
        assert_eq!(
            stream.take_error().expect("SO_ERROR").map(|e| e.kind()),
            None
        );
    });
    server.settles(&before);
    server.stop();
}

fn discard_takes_everything(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "discard", &[]);
    let before = server.stats();
    lab.as_linux(|| {
        let stream = connect(SERVER);
        let block = vec![7; 1 << 20];
        for _ in 0..32 {
            (&stream).write_all(&block).expect("write");
        }
        stream.shutdown(Shutdown::Write).expect("half-close");
        assert_eq!(
            read_to_end(&stream),
            b"",
            "discard answers with nothing but its FIN"
        );
    });
    server.settles(&before);
    server.stop();
}

/// The reader takes some megabytes, pauses with its window closed, goes on, and leaves with data unread.
fn chargen_stops_when_the_reader_does(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "chargen", &[]);
    let before = server.stats();
    lab.as_linux(|| {
        let stream = connect(SERVER);
        let mut block = vec![0; 1 << 20];
        for round in 0..3 {
            for _ in 0..4 {
                (&stream).read_exact(&mut block).expect("read");
            }
            assert!(
                block
                    .iter()
                    .all(|b| b.is_ascii_graphic() || b" \r\n".contains(b)),
                "round {round}"
            );
            // Not waiting for anything: the pause itself is the test, long enough for zero-window probes.
            thread::sleep(Duration::from_millis(700));
        }
    });
    server.settles(&before);
    server.stop();
}

fn eight_connections_at_once(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    lab.as_linux(|| {
        thread::scope(|scope| {
            for seed in 0..8 {
                scope.spawn(move || {
                    echo_all(&connect(SERVER), 8_000_000, 100 + seed, &AtomicU64::new(0))
                });
            }
        });
    });
    server.settles(&before);
    server.stop();
}
