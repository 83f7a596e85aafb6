//! `serve http` as curl sees it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::command::{Finished, run};
use crate::lab::{Driver, Lab, SERVER};
use crate::scratch::{Scratch, file_sha256};
use crate::server::Server;
use crate::socket::connect;

real_peer_tests! {
    curl_1000_new_connections_in_sequence: af_xdp | xsk_rs | tap;
    curl_64_parallel_downloads_of_10_mb: af_xdp | xsk_rs | tap;
    curl_reuses_a_connection: af_xdp | tap;
    curl_head: af_xdp | tap;
    curl_404_and_405: af_xdp | tap;
    curl_cannot_leave_the_root: af_xdp | tap;
    client_that_resets_in_mid_download: af_xdp | tap;
    client_that_vanishes_silently: af_xdp | tap;
}

fn curl(lab: &Lab, args: &[&str]) -> Finished {
    run(
        lab.linux("curl")
            .args(["-sS", "--http1.1", "--max-time", "120"])
            .args(args),
        Duration::from_secs(130),
    )
}

fn url(path: &str) -> String {
    format!("http://{SERVER}{path}")
}

/// A document root with a page, a folder, 10 MB of noise, and a secret beside it.
fn document_root(scratch: &Scratch) -> String {
    fs::create_dir_all(scratch.path("root/folder")).expect("folders");
    fs::write(scratch.path("root/index.html"), "<h1>it works</h1>\n").expect("index");
    fs::write(scratch.path("root/folder/note.txt"), "a note\n").expect("note");
    fs::write(scratch.path("secret.txt"), "SECRET\n").expect("secret");
    symlink("../secret.txt", scratch.path("root/link.txt")).expect("symlink");
    scratch.text("root")
}

/// One curl, a thousand URLs; each reply says `Connection: close`, so each request needs a new connection.
fn curl_1000_new_connections_in_sequence(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "http", &["--body-size", "1000"]);
    let before = server.stats();
    let report = "%{http_code} %{num_connects} %{size_download}\n";
    let said = curl(
        &lab,
        &[
            "-H",
            "Connection: close",
            "-o",
            "/dev/null",
            "-w",
            report,
            &url("/?[1-1000]"),
        ],
    )
    .success();
    assert_eq!(said.lines().count(), 1000);
    assert!(said.lines().all(|line| line == "200 1 1000"), "{said}");
    let after = server.settles(&before);
    assert_eq!(
        after.mib("TcpPassiveOpens") - before.mib("TcpPassiveOpens"),
        1000
    );
    server.stop();
}

fn curl_64_parallel_downloads_of_10_mb(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let root = document_root(&scratch);
    let sum = scratch.random_file("root/big.bin", 10_000_000, 20);
    let mut server = Server::start(&lab, "http", &["--root", &root]);
    let before = server.stats();
    let into = scratch.text("copy.#1");
    let all = [
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        "64",
        "-o",
        &into,
        &url("/big.bin?[1-64]"),
    ];
    curl(&lab, &all).success();
    for number in 1..=64 {
        assert_eq!(
            file_sha256(&scratch.path(&format!("copy.{number}"))),
            sum,
            "download {number}"
        );
    }
    server.settles(&before);
    server.stop();
}

fn curl_reuses_a_connection(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "http", &["--body-size", "1000"]);
    let before = server.stats();
    let report = "%{http_code} %{size_download}\n";
    let said = curl(&lab, &["-o", "/dev/null", "-w", report, &url("/?[1-50]")]).success();
    assert!(
        said.lines().count() == 50 && said.lines().all(|line| line == "200 1000"),
        "{said}"
    );
    let after = server.settles(&before);
    assert_eq!(
        after.mib("TcpPassiveOpens") - before.mib("TcpPassiveOpens"),
        1,
        "keep-alive"
    );
    server.stop();
}

fn curl_head(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "http", &["--body-size", "1234567"]);
    // Two at once: a body after the first reply would spoil the second.
    let said = curl(&lab, &["-I", &url("/"), &url("/")]).success();
    assert_eq!(said.matches("HTTP/1.1 200").count(), 2, "{said}");
    assert_eq!(
        said.to_ascii_lowercase()
            .matches("content-length: 1234567")
            .count(),
        2,
        "{said}"
    );
    server.stop();
}

fn curl_404_and_405(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let root = document_root(&scratch);
    let server = Server::start(&lab, "http", &["--root", &root]);
    let code = |args: &[&str]| {
        curl(
            &lab,
            &[&["-o", "/dev/null", "-w", "%{http_code}"], args].concat(),
        )
        .success()
    };
    assert_eq!(code(&[&url("/")]), "200");
    assert_eq!(code(&[&url("/folder/note.txt")]), "200");
    assert_eq!(code(&[&url("/absent")]), "404");
    assert_eq!(code(&[&url("/folder/absent.txt")]), "404");
    assert_eq!(code(&["-X", "DELETE", &url("/")]), "405");
    // The connection survives an error reply.
    let both = curl(
        &lab,
        &[
            "-w",
            "%{http_code} %{num_connects}\n",
            "-o",
            "/dev/null",
            &url("/absent"),
            "-o",
            "/dev/null",
            &url("/"),
        ],
    );
    assert_eq!(both.success(), "404 1\n200 0\n");
    server.stop();
}

fn curl_cannot_leave_the_root(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let root = document_root(&scratch);
    let server = Server::start(&lab, "http", &["--root", &root]);
    for path in [
        "/../secret.txt",
        "/folder/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/folder/..%2f..%2fsecret.txt",
        "//../secret.txt",
        "/link.txt",
        "/folder/../../../../../../../../etc/passwd",
    ] {
        let said = curl(&lab, &["--path-as-is", "-w", "\n%{http_code}", &url(path)]).success();
        let code = said.lines().last().unwrap_or_default();
        assert!(["400", "403", "404"].contains(&code), "{path}: {said}");
        assert!(
            !said.contains("SECRET") && !said.contains("root:"),
            "{path}: {said}"
        );
    }
    let listing = curl(&lab, &[&url("/folder/")]).success();
    assert!(
        listing.contains("note.txt") && !listing.contains("SECRET"),
        "{listing}"
    );
    server.stop();
}

/// The kernel answers with RST when a socket is closed with data unread: our side must free everything at once.
fn client_that_resets_in_mid_download(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "http", &["--body-size", "50000000"]);
    let before = server.stats();
    lab.as_linux(|| {
        for _ in 0..20 {
            let mut stream = connect(SERVER);
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .expect("request");
            stream
                .read_exact(&mut [0; 10_000])
                .expect("the beginning of the reply");
        }
    });
    let after = server.settles(&before);
    assert!(
        after.mib("TcpEstabResets") > before.mib("TcpEstabResets"),
        "the resets were counted"
    );
    assert_eq!(
        curl(
            &lab,
            &["-o", "/dev/null", "-w", "%{size_download}", &url("/")]
        )
        .success(),
        "50000000"
    );
    server.stop();
}

/// The client is cut off in mid-download and never heard of again; the server gives up after its retries. (`tcp_retries2`
/// is lowered from the 15 that take a quarter of an hour.)
fn client_that_vanishes_silently(driver: Driver) {
    let lab = Lab::new(driver);
    let retries = ["--sysctl", "net.ipv4.tcp_retries2=3"];
    let mut server = Server::start(
        &lab,
        "http",
        &[&["--body-size", "50000000"], &retries[..]].concat(),
    );
    let before = server.stats();
    lab.as_linux(|| {
        let mut stream = connect(SERVER);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("request");
        stream
            .read_exact(&mut [0; 10_000])
            .expect("the beginning of the reply");
        lab.cut();
        // Unread data makes this close a RST, which is lost on the cut link.
    });
    server.settles(&before);
    lab.mend();
    assert_eq!(
        curl(
            &lab,
            &["-o", "/dev/null", "-w", "%{size_download}", &url("/")]
        )
        .success(),
        "50000000"
    );
    server.stop();
}
