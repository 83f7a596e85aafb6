//! The same streams over a bad link: loss made by nftables at the kernel's end, everything else by our `--impair`, and a
//! link that goes down in mid-transfer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::command::{eventually, run};
use crate::lab::{Driver, Lab, SERVER};
use crate::server::Server;
use crate::socket::{connect, echo_all};
use crate::stats::Stats;

real_peer_tests! {
    echo_20_mb_with_one_percent_loss: af_xdp | tap;
    echo_5_mb_with_five_percent_loss: af_xdp | tap;
    echo_with_reordering: af_xdp | tap;
    echo_with_duplicates: af_xdp | tap;
    echo_with_corruption: af_xdp | tap;
    echo_with_all_faults_together: af_xdp | tap;
    the_kernels_end_goes_down_and_up: af_xdp | tap;
    our_end_goes_down_and_up: af_xdp;
}

/// Drops `per_mille` of the packets in each direction, at the kernel's end, and counts them. The kernel cuts its
/// super-segments only after the egress hook, so it must not make any: else one drop would take 64 KB.
fn lose(lab: &Lab, per_mille: u32) {
    let dev = lab.linux_dev();
    lab.linux_sh(&format!("ip link set {dev} gso_max_segs 1"));
    let chain = |hook: &str| {
        format!(
            "chain {hook} {{ type filter hook {hook} device \"{dev}\" priority 0; policy accept; \
             numgen random mod 1000 < {per_mille} counter drop; }}\n"
        )
    };
    let table = format!(
        "table netdev loss {{\n{}{}}}\n",
        chain("ingress"),
        chain("egress")
    );
    run(lab.linux("nft").arg(&table), Duration::from_secs(10)).success();
}

/// How many packets the kernel's end has dropped, by direction.
fn lost(lab: &Lab) -> Vec<u64> {
    let rules = lab.linux_sh("nft list table netdev loss");
    let counts = rules
        .split("packets ")
        .skip(1)
        .filter_map(|rest| rest.split(' ').next()?.parse().ok());
    counts.collect()
}

fn echo_with_loss(driver: Driver, total: u64, per_mille: u32) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    lose(&lab, per_mille);
    lab.as_linux(|| echo_all(&connect(SERVER), total, 5, &AtomicU64::new(0)));
    let dropped = lost(&lab);
    // Each way carries at least total/1448 data segments; a third of the expected number of losses is far from chance.
    let least = total / 1448 * u64::from(per_mille) / 3000;
    assert!(
        dropped.len() == 2 && dropped.iter().all(|n| *n >= least),
        "{dropped:?} dropped, at least {least} expected"
    );
    let after = server.settles(&before);
    assert!(
        after.mib("TcpRetransSegs") > before.mib("TcpRetransSegs"),
        "losses were mended by retransmissions"
    );
    server.stop();
}

fn echo_20_mb_with_one_percent_loss(driver: Driver) {
    echo_with_loss(driver, 20_000_000, 10);
}

fn echo_5_mb_with_five_percent_loss(driver: Driver) {
    echo_with_loss(driver, 5_000_000, 50);
}

fn echo_impaired(driver: Driver, impair: &str) -> Stats {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &["--impair", impair]);
    let before = server.stats();
    lab.as_linux(|| echo_all(&connect(SERVER), 5_000_000, 6, &AtomicU64::new(0)));
    server.settles(&before);
    server.stop()
}

/// Each fault leaves traces in the counters: without them nothing was tested.
fn echo_with_reordering(driver: Driver) {
    let stats = echo_impaired(driver, "reorder=3%,seed=11");
    assert!(stats.mib("TcpExtTCPOFOQueue") > 0);
}

fn echo_with_duplicates(driver: Driver) {
    let stats = echo_impaired(driver, "dup=3%,seed=12");
    // Of old data, or of data that waits out of order.
    let reported = stats.mib("TcpExtTCPDSACKOldSent") + stats.mib("TcpExtTCPDSACKOfoSent");
    assert!(reported > 0);
}

fn echo_with_corruption(driver: Driver) {
    let stats = echo_impaired(driver, "corrupt=1%,seed=13");
    assert!(stats.mib("TcpInCsumErrors") > 0);
}

fn echo_with_all_faults_together(driver: Driver) {
    let stats = echo_impaired(driver, "loss=1%,dup=1%,reorder=2%,corrupt=1%,seed=14");
    for trace in ["TcpExtTCPOFOQueue", "TcpInCsumErrors", "TcpRetransSegs"] {
        assert!(stats.mib(trace) > 0, "{trace}");
    }
}

/// Takes a link down in mid-transfer and up again; the transfer finishes.
fn interrupted(lab: &Lab, down: impl Fn() + Sync, up: impl Fn() + Sync) {
    const TOTAL: u64 = 150_000_000;
    let mut server = Server::start(lab, "echo", &[]);
    let before = server.stats();
    let echoed = AtomicU64::new(0);
    thread::scope(|scope| {
        let transfer =
            scope.spawn(|| lab.as_linux(|| echo_all(&connect(SERVER), TOTAL, 7, &echoed)));
        eventually(
            "the transfer is under way",
            Duration::from_secs(30),
            || match echoed.load(Ordering::Relaxed) {
                n if n > TOTAL / 20 => Ok(()),
                n => Err(format!("{n} bytes")),
            },
        );
        down();
        let at = echoed.load(Ordering::Relaxed);
        // The length of the outage, not a wait for anything: several retransmission timeouts.
        thread::sleep(Duration::from_millis(1_500));
        up();
        assert!(at < TOTAL, "the link went down too late to test anything");
        transfer.join().expect("the transfer finishes");
    });
    server.settles(&before);
    server.stop();
}

fn the_kernels_end_goes_down_and_up(driver: Driver) {
    let lab = Lab::new(driver);
    let dev = lab.linux_dev();
    interrupted(
        &lab,
        || drop(lab.linux_sh(&format!("ip link set {dev} down"))),
        || drop(lab.linux_sh(&format!("ip link set {dev} up"))),
    );
}

fn our_end_goes_down_and_up(driver: Driver) {
    let lab = Lab::new(driver);
    let dev = lab.our_dev();
    interrupted(
        &lab,
        || drop(lab.ours_sh(&format!("ip link set {dev} down"))),
        || drop(lab.ours_sh(&format!("ip link set {dev} up"))),
    );
}
