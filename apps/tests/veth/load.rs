//! wrk: many connections for five seconds without one error, and nothing left behind.

use std::time::Duration;

use crate::command::run;
use crate::lab::{Driver, Lab, SERVER};
use crate::server::Server;

real_peer_tests! {
    wrk_1_connection: af_xdp | tap;
    wrk_64_connections: af_xdp | tap;
    wrk_512_connections: af_xdp | tap;
}

fn wrk(driver: Driver, connections: u32) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "http", &["--body-size", "128"]);
    let before = server.stats();
    let mut command = lab.linux("wrk");
    command.args([
        "-t1",
        &format!("-c{connections}"),
        "-d5s",
        "--timeout",
        "10s",
        &format!("http://{SERVER}/"),
    ]);
    let said = run(&mut command, Duration::from_secs(60)).success();
    // wrk prints these lines only when there is something to complain about.
    assert!(
        !said.contains("Socket errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    let requests: u64 = said
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or_else(|| panic!("no count of requests in {said}"));
    assert!(requests >= u64::from(connections), "{said}");
    let after = server.settles(&before);
    assert!(after.mib("TcpPassiveOpens") - before.mib("TcpPassiveOpens") >= u64::from(connections));
    server.stop();
}

fn wrk_1_connection(driver: Driver) {
    wrk(driver, 1);
}

fn wrk_64_connections(driver: Driver) {
    wrk(driver, 64);
}

fn wrk_512_connections(driver: Driver) {
    wrk(driver, 512);
}
