//! `millrace pingpong`: frames to and fro between two ends of ours, and between one and the kernel.

use serde_json::Value;

use crate::command::{Finished, run};
use crate::generate::{LIMIT, complains};
use crate::lab::{Driver, LINUX, Lab, OURS};
use crate::scratch::Scratch;
use crate::server::MILLRACE;

real_peer_tests! {
    to_and_fro_with_a_kernel: af_xdp | tap;
    to_and_fro_between_two_ends: af_xdp;
    nobody_at_the_other_end: af_xdp | tap;
}

fn pingpong(lab: &Lab, flags: &str) -> Finished {
    let mut command = lab.ours(MILLRACE.as_str());
    run(
        command.arg("pingpong").args(flags.split_whitespace()),
        LIMIT,
    )
}

fn record(scratch: &Scratch) -> Value {
    let text = std::fs::read_to_string(scratch.path("a.json")).expect("a record");
    serde_json::from_str(&text).expect("JSON")
}

/// The kernel has counted as many echo requests as we have sent.
fn to_and_fro_with_a_kernel(driver: Driver) {
    let (lab, scratch) = (Lab::new(driver), Scratch::new());
    let flags = format!(
        "--driver {} --to {LINUX} --addr {OURS} --depth 2 --wait adaptive --size 200 -t 0.5 --warm-up 0 --json {}",
        lab.spec(),
        scratch.text("a.json")
    );
    let done = pingpong(&lab, &flags);
    let record = record(&scratch);
    assert!(record["replies"].as_u64() > Some(0), "{done:?}");
    assert_eq!(
        (&record["lost"], &record["late"]),
        (&0.into(), &0.into()),
        "{done:?}"
    );
    let counted = lab.linux_sh("nstat -az IcmpInEchos | awk '/IcmpInEchos/ { print $2 }'");
    assert_eq!(record["sent"].to_string(), counted.trim(), "{done:?}");
}

fn to_and_fro_between_two_ends(driver: Driver) {
    let (lab, scratch) = (Lab::new(driver), Scratch::new());
    lab.ours_sh(
        "ip link add near0 type veth peer name far0 && ip link set near0 up && ip link set far0 up",
    );
    for (wait, depth) in [("spin", 1), ("adaptive", 32), ("sleep", 1)] {
        let flags = format!(
            "--driver af-xdp:near0 --to af-xdp:far0 --depth {depth} --wait {wait} -t 0.5 --warm-up 0 --json {}",
            scratch.text("a.json")
        );
        let done = pingpong(&lab, &flags);
        let record = record(&scratch);
        let number = |end: &str, what: &str| record[end]["counters"][what].as_u64().unwrap_or(0);
        assert!(record["replies"].as_u64() > Some(0), "{done:?}");
        assert_eq!(
            (&record["lost"], &record["late"]),
            (&0.into(), &0.into()),
            "{done:?}"
        );
        assert!(
            number("far", "tx_packets") >= record["replies"].as_u64().unwrap_or(u64::MAX),
            "{done:?}"
        );
        assert_eq!(record["near"]["mode"], "copy native", "{done:?}");
    }
}

fn nobody_at_the_other_end(driver: Driver) {
    let lab = Lab::new(driver);
    let flags = format!("--driver {} --to 10.77.0.99 --addr {OURS} -t 1", lab.spec());
    complains(&pingpong(&lab, &flags), &["nobody answers to ARP"]);
    lab.ours_sh("ip link add near0 type veth peer name far0 && ip link set far0 up");
    let down = pingpong(&lab, "--driver af-xdp:near0 --to af-xdp:far0 -t 1");
    complains(&down, &["near0 is down", "ip link set near0 up"]);
}
