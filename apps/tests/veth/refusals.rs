//! Set-up that cannot work: one sentence that names the thing and the mending command, exit code 1, nothing half set up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::command::{Finished, run};
use crate::lab::{Driver, Lab, OURS};
use crate::scratch::Scratch;
use crate::server::{MILLRACE, Server, millrace};

real_peer_tests! {
    unknown_interface: af_xdp;
    no_permission: af_xdp | tap;
    port_given_twice: af_xdp;
    interface_in_use: af_xdp | tap;
    mtu_too_large: af_xdp | xsk_rs;
    another_xdp_program_attached: af_xdp;
    no_huge_pages_is_no_obstacle: af_xdp;
    bad_flags: af_xdp;
}

const LIMIT: Duration = Duration::from_secs(30);

/// Exit code 1 and one line on standard error with all of `words`.
#[track_caller]
fn refuses(done: &Finished, words: &[&str]) {
    assert_eq!(done.code, Some(1), "{done:?}");
    let complaint: Vec<&str> = done
        .err
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    assert_eq!(complaint.len(), 1, "one sentence: {done:?}");
    for word in words {
        assert!(done.err.contains(word), "{word:?} not in {done:?}");
    }
    assert!(!done.err.contains("panicked"), "{done:?}");
}

/// `millrace serve echo` that is expected to fail.
fn attempt(lab: &Lab, extra: &[&str]) -> Finished {
    run(
        millrace(lab, &["serve", "echo", "--port", "7"]).args(extra),
        LIMIT,
    )
}

/// What a failed start must leave: an interface without a program, on which a proper start works.
#[track_caller]
fn still_works(lab: &Lab) {
    let link = lab.ours_sh(&format!("ip -details link show {}", lab.our_dev()));
    assert!(!link.contains("prog/xdp"), "{link}");
    Server::start(lab, "echo", &[]).stop();
}

fn unknown_interface(driver: Driver) {
    let lab = Lab::new(driver);
    let mut command = lab.ours(MILLRACE.as_str());
    command.args([
        "serve",
        "echo",
        "--driver",
        "af-xdp:nosuch0",
        "--addr",
        &format!("{OURS}/24"),
        "--port",
        "7",
    ]);
    refuses(&run(&mut command, LIMIT), &["nosuch0", "ip link"]);
}

/// As `nobody`, without any capability.
fn no_permission(driver: Driver) {
    let lab = Lab::new(driver);
    // The build folder may lie where nobody cannot look.
    let scratch = Scratch::new();
    let copy = scratch.path("millrace");
    fs::copy(MILLRACE.as_str(), &copy).expect("copy the binary");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut command: Command = lab.ours("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]);
    command.arg(copy).args([
        "serve",
        "echo",
        "--driver",
        lab.spec(),
        "--addr",
        &format!("{OURS}/24"),
        "--port",
        "7",
    ]);
    refuses(&run(&mut command, LIMIT), &["permission", "root"]);
    still_works(&lab);
}

/// Two listeners of one process on one address and port.
fn port_given_twice(driver: Driver) {
    let lab = Lab::new(driver);
    let at = format!("{OURS}:7");
    let mut command = millrace(&lab, &["serve", "echo", "--listen", &at, "--listen", &at]);
    refuses(&run(&mut command, LIMIT), &["in use", "7"]);
    still_works(&lab);
}

fn interface_in_use(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &[]);
    refuses(&attempt(&lab, &[]), &[lab.our_dev()]);
    // The one that was first is not disturbed.
    let ping = run(
        lab.linux("ping")
            .args(["-n", "-c", "1", "-W", "5", &OURS.to_string()]),
        LIMIT,
    );
    ping.success();
    server.stop();
    still_works(&lab);
}

fn mtu_too_large(driver: Driver) {
    let mtu = match driver {
        Driver::XskRs => 9000,
        Driver::AfXdp | Driver::Tap => 9217,
    };
    let lab = Lab::with_mtu(driver, mtu);
    refuses(
        &attempt(&lab, &[]),
        &[&mtu.to_string(), "ip link set", "mtu"],
    );
    lab.ours_sh("ip link set mill0 mtu 1500");
    lab.linux_sh("ip link set peer0 mtu 1500");
    still_works(&lab);
}

fn another_xdp_program_attached(driver: Driver) {
    let lab = Lab::new(driver);
    let scratch = Scratch::new();
    let source = "__attribute__((section(\"xdp\"), used)) int pass(void *ctx) { return 2; }\n\
                  char _license[] __attribute__((section(\"license\"), used)) = \"GPL\";\n";
    fs::write(scratch.path("pass.c"), source).expect("a program");
    let object = scratch.text("pass.o");
    let mut clang = Command::new("clang");
    run(
        clang.args([
            "-O2",
            "-g",
            "-target",
            "bpf",
            "-c",
            &scratch.text("pass.c"),
            "-o",
            &object,
        ]),
        LIMIT,
    )
    .success();
    lab.ours_sh(&format!(
        "ip link set dev mill0 xdpdrv obj {object} sec xdp"
    ));
    refuses(&attempt(&lab, &[]), &["XDP", "mill0", "ip link set", "xdp"]);
    let link = lab.ours_sh("ip -details link show mill0");
    assert!(
        link.contains("prog/xdp"),
        "somebody else's program was removed: {link}"
    );
    lab.ours_sh("ip link set dev mill0 xdpdrv off");
    still_works(&lab);
}

/// The machine's pool is empty unless somebody filled it: the server starts all the same and says what it uses.
fn no_huge_pages_is_no_obstacle(driver: Driver) {
    let lab = Lab::new(driver);
    let pool = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
    let server = Server::start(&lab, "echo", &[]);
    if pool.trim() == "0" {
        let said = server.transcript();
        assert!(
            said.to_lowercase().contains("huge"),
            "says that it fell back to 4 KiB pages: {said}"
        );
    }
    server.stop();
}

/// Wrong command lines end with code 2, whatever the state of the machine.
fn bad_flags(driver: Driver) {
    let lab = Lab::new(driver);
    let serve = |flags: &str| {
        let mut command = lab.ours(MILLRACE.as_str());
        run(
            command.args(["serve", "echo"]).args(flags.split(' ')),
            LIMIT,
        )
    };
    let device = "--driver af-xdp:mill0 --addr 10.77.0.2/24";
    for flags in [
        "--addr 10.77.0.2/24",
        "--driver carrier-pigeon:loft --addr 10.77.0.2/24",
        "--driver af-xdp:mill0 --addr 10.77.0.300/24",
        &format!("{device} --no-such-flag"),
        &format!("{device} --port 70000"),
        &format!("{device} --impair loss=120%"),
        &format!("{device} --sysctl net.ipv4.tcp_no_such=1"),
        &format!("{device} --sysctl net.ipv4.tcp_sack=maybe"),
        &format!("{device} --root /"),
    ] {
        let done = serve(flags);
        assert_eq!(done.code, Some(2), "{flags}: {done:?}");
        assert!(
            !done.err.is_empty() && !done.err.contains("panicked"),
            "{flags}: {done:?}"
        );
    }
    still_works(&lab);
}
