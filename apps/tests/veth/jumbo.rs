//! A link with an MTU of 9000: frames that lie in several pieces of memory, each way.

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::command::run;
use crate::lab::{Driver, Lab, OURS, PORT, SERVER};
use crate::scratch::{Scratch, file_sha256};
use crate::server::Server;
use crate::socket::{connect, echo_all};

real_peer_tests! {
    echo_100_mb_of_large_segments: af_xdp;
    nc_and_back_by_large_segments: af_xdp;
    curl_downloads_by_large_segments: af_xdp;
    large_segments_behind_the_driver: af_xdp;
    every_length_about_a_page: af_xdp;
}

const MTU: u16 = 9000;
/// A stream takes less than one frame for so many octets, acknowledgements in it: large segments carry 8948 octets, those of
/// an MTU of 1500 carry 1448.
const PER_FRAME: u64 = 3000;

/// `bytes` went in and `bytes` out, in segments that a page does not hold.
fn echoed_large(driver: Driver, bytes: u64, flags: &[&str]) {
    let lab = Lab::with_mtu(driver, MTU);
    let mut server = Server::start(&lab, "echo", flags);
    let before = server.stats();
    lab.as_linux(|| echo_all(&connect(SERVER), bytes, 1, &AtomicU64::new(0)));
    let after = server.settles(&before);
    let moved = |name| after.device(name) - before.device(name);
    assert_eq!(moved("rx_invalid") + moved("tx_invalid"), 0);
    for (way, packets) in [("rx", moved("rx_packets")), ("tx", moved("tx_packets"))] {
        assert!(
            packets < bytes / PER_FRAME,
            "{packets} frames ({way}) for {bytes} bytes"
        );
    }
    server.stop();
}

fn echo_100_mb_of_large_segments(driver: Driver) {
    echoed_large(driver, 100_000_000, &[]);
}

fn large_segments_behind_the_driver(driver: Driver) {
    echoed_large(driver, 20_000_000, &["--xdp-mode", "generic"]);
}

fn nc_and_back_by_large_segments(driver: Driver) {
    let lab = Lab::with_mtu(driver, MTU);
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
    assert_eq!(file_sha256(&scratch.path("out")), sent);
    server.stop();
}

fn curl_downloads_by_large_segments(driver: Driver) {
    let lab = Lab::with_mtu(driver, MTU);
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("root")).expect("folder");
    let sum = scratch.random_file("root/noise", 50_000_000, 3);
    let mut server = Server::start(&lab, "http", &["--root", &scratch.text("root")]);
    let before = server.stats();
    let out = scratch.text("out");
    run(
        lab.linux("curl")
            .args(["-sS", "--max-time", "60", "-o", &out])
            .arg(format!("http://{SERVER}/noise")),
        Duration::from_secs(70),
    )
    .success();
    assert_eq!(file_sha256(&scratch.path("out")), sum);
    let after = server.settles(&before);
    let frames = after.device("tx_packets") - before.device("tx_packets");
    assert!(frames < 50_000_000 / PER_FRAME, "{frames} frames");
    server.stop();
}

/// Pings of all lengths about one, two and the most pieces come back with the bytes that they had.
fn every_length_about_a_page(driver: Driver) {
    let lab = Lab::with_mtu(driver, MTU);
    let server = Server::start(&lab, "echo", &[]);
    // Ethernet, IP and ICMP headers are 42 bytes; a received piece has 3840 bytes, a sent one 4096.
    for piece in [3840, 4096, 7680, 8192, 9014] {
        for len in
            (piece - 44..=piece - 42).chain([piece - 41].into_iter().filter(|_| piece < 9014))
        {
            let ping = format!("ping -n -c 1 -W 5 -M do -s {len} {OURS}");
            let said = lab.linux_sh(&ping);
            assert!(
                said.contains(" 0% packet loss") && !said.contains("wrong data"),
                "{said}"
            );
        }
    }
    server.stop();
}
