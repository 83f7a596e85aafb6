//! `millrace latency` under a kernel client: what it counts is what the client sent, and the stages are the whole.

use std::fs;

use serde_json::Value;

use crate::command::run;
use crate::generate::{LIMIT, from_linux, requests};
use crate::lab::{Driver, Lab, PORT, SERVER};
use crate::scratch::Scratch;
use crate::server::{Server, millrace};

real_peer_tests! {
    stages_of_an_echo: af_xdp | tap;
    nobody_comes: af_xdp;
}

fn stages_of_an_echo(driver: Driver) {
    let (lab, scratch) = (Lab::new(driver), Scratch::new());
    let mut command = millrace(&lab, &["latency", "echo", "--every", "1"]);
    command.args(["--port", &PORT.to_string()]);
    command.args([
        "--json",
        &scratch.text("a.json"),
        "--hgrm",
        &scratch.text("a"),
    ]);
    let server = Server::run(command);
    let done = from_linux(
        &lab,
        &SERVER.to_string(),
        "-c 3 -t 1 --warm-up 0 --percentile 50",
    );
    server.end();
    let answered = requests(&done).answered;

    let text = fs::read_to_string(scratch.path("a.json")).expect("a record");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    let number = |what: &str| {
        record[what]
            .as_u64()
            .unwrap_or_else(|| panic!("{what} in {record}"))
    };
    // One segment for each request, each lent to the service once; the first of each of three connections may have come
    // before it was accepted.
    let served = number("served");
    assert!(
        served <= answered && answered - served <= 3,
        "{served} of {answered}: {record}"
    );
    assert!(
        number("frames_in") >= answered && number("frames_out") >= answered,
        "{record}"
    );
    // All but what came while it was about to stop.
    assert!(
        number("frames_in") <= number("worker_frames_in"),
        "{record}"
    );
    assert!(
        number("worker_frames_in") - number("frames_in") <= 16,
        "{record}"
    );

    let stages = record["stages"].as_array().expect("stages");
    let sum: u64 = stages
        .iter()
        .filter_map(|stage| stage["sum_ns"].as_u64())
        .sum();
    assert_eq!(record["total"]["sum_ns"], sum, "{record}");
    for stage in stages.iter().chain([&record["total"]]) {
        assert_eq!(stage["curve"]["count"], number("iterations"), "{stage}");
        let name = stage["name"].as_str().expect("a name").replace(' ', "-");
        let curve =
            fs::read_to_string(scratch.path(&format!("a.{name}.hgrm"))).expect("a distribution");
        assert!(curve.contains("Total count"), "{curve}");
    }
    // Each of the five that matter takes time.
    for stage in ["driver rx", "stack rx", "service", "stack tx", "driver tx"] {
        let of = stages
            .iter()
            .find(|of| of["name"] == stage)
            .expect("the stage");
        assert!(of["sum_ns"].as_u64() >= Some(answered), "{of}");
    }
}

fn nobody_comes(driver: Driver) {
    let lab = Lab::new(driver);
    let done = run(
        &mut millrace(&lab, &["latency", "echo", "-t", "0.2"]),
        LIMIT,
    );
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err.contains("no frame came in a stamped iteration"),
        "{done:?}"
    );
}
