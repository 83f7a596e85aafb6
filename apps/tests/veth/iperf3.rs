//! `millrace iperf3` against stock iperf3, in both roles.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Finished, eventually, run};
use crate::lab::{Driver, LINUX, Lab, OURS};
use crate::server::millrace;

real_peer_tests! {
    stock_client_sends: af_xdp | tap;
    stock_client_receives: af_xdp;
    stock_client_does_both: af_xdp;
    our_client_sends: af_xdp | tap;
    our_client_receives: af_xdp;
    our_client_does_both: af_xdp;
    numbers_and_options: af_xdp;
    a_busy_server: af_xdp;
    a_client_that_is_killed: af_xdp;
    refusals_that_iperf3_understands: af_xdp;
    nobody_there: af_xdp;
}

const LIMIT: Duration = Duration::from_secs(60);

/// A program under way; killed on drop.
struct Program {
    child: Child,
    said: Arc<Mutex<String>>,
    out: Option<thread::JoinHandle<String>>,
}

impl Program {
    /// Starts it, and waits until it prints `ready`, on either stream.
    #[track_caller]
    fn start(command: &mut Command, ready: &str) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        let said = Arc::new(Mutex::new(String::new()));
        let out = collect(child.stdout.take(), &said);
        collect(child.stderr.take(), &said);
        let program = Self {
            child,
            said,
            out: Some(out),
        };
        program.says(ready);
        program
    }

    /// Waits until it has printed `what`.
    #[track_caller]
    fn says(&self, what: &str) {
        eventually(what, LIMIT, || {
            let said = self.said.lock().expect("said");
            match said.contains(what) {
                true => Ok(()),
                false => Err(said.clone()),
            }
        });
    }

    /// Waits for its end: what it printed on standard output.
    #[track_caller]
    fn ends(mut self) -> String {
        eventually("its end", LIMIT, || match self.child.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let out = self.out.take().expect("a reader");
        out.join().expect("a reader")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail harmlessly on a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream to its end, line by line.
fn collect(
    from: Option<impl Read + Send + 'static>,
    said: &Arc<Mutex<String>>,
) -> thread::JoinHandle<String> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut all = String::new();
        let lines = from
            .into_iter()
            .flat_map(|from| BufReader::new(from).lines());
        for line in lines.map_while(Result::ok) {
            all += &line;
            all.push('\n');
            let mut said = said.lock().expect("said");
            *said += &line;
            said.push('\n');
        }
        all
    })
}

/// Our server, listening.
#[track_caller]
fn our_server(lab: &Lab, flags: &str) -> Program {
    let mut command = millrace(lab, &["iperf3", "-s", "-v"]);
    Program::start(command.args(flags.split_whitespace()), " INFO over ")
}

/// Our client, to its end.
#[track_caller]
fn our_client(lab: &Lab, flags: &str) -> Finished {
    let mut command = millrace(lab, &["iperf3", "-c", &LINUX.to_string()]);
    run(command.args(flags.split_whitespace()), LIMIT)
}

/// Stock iperf3's server for one test.
#[track_caller]
fn stock_server(lab: &Lab) -> Program {
    let mut command = lab.linux("iperf3");
    Program::start(
        command.args(["-s", "-1", "--forceflush"]),
        "Server listening",
    )
}

fn stock(lab: &Lab, flags: &str) -> Command {
    let mut command = lab.linux("iperf3");
    command
        .args(["-c", &OURS.to_string()])
        .args(flags.split_whitespace());
    command
}

/// Stock iperf3's client, to its end.
#[track_caller]
fn stock_client(lab: &Lab, flags: &str) -> Finished {
    run(&mut stock(lab, flags), LIMIT)
}

#[track_caller]
fn document(text: &str) -> Value {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(json.get("error"), None, "{json:#}");
    json
}

#[track_caller]
fn bytes(of: &Value) -> u64 {
    of["bytes"].as_u64().unwrap_or_else(|| panic!("{of}"))
}

/// Checks one direction of a document, and gives what was sent and received.
#[track_caller]
fn direction(json: &Value, suffix: &str, streams: usize) -> (u64, u64) {
    let sender = json["end"][format!("sum_sent{suffix}")]["sender"].clone();
    let all = json["end"]["streams"].as_array().expect("streams");
    let same: Vec<&Value> = all
        .iter()
        .filter(|stream| stream["sender"]["sender"] == sender)
        .collect();
    assert_eq!(same.len(), streams, "{json:#}");
    let sum = |end: &str| same.iter().map(|stream| bytes(&stream[end])).sum::<u64>();
    let (sent, received) = (
        bytes(&json["end"][format!("sum_sent{suffix}")]),
        bytes(&json["end"][format!("sum_received{suffix}")]),
    );
    assert_eq!((sum("sender"), sum("receiver")), (sent, received));
    assert!(sent > 0 && received > 0 && received <= sent, "{json:#}");
    (sent, received)
}

/// A stock client with `flags` at our server; both tell the same, for each of `directions`.
#[track_caller]
fn at_our_server(driver: Driver, flags: &str, directions: &[&str]) {
    let lab = Lab::new(driver);
    for streams in [1, 8] {
        let server = our_server(&lab, "-1 -J");
        let done = stock_client(&lab, &format!("-t 1 -J -P {streams} {flags}"));
        let theirs = document(&done.success());
        let ours = document(&server.ends());
        for suffix in directions {
            let (sent, received) = direction(&theirs, suffix, streams);
            assert_eq!(direction(&ours, suffix, streams), (sent, received));
        }
        let ports = |json: &Value, end: &str| -> Vec<u64> {
            let connected = json["start"]["connected"].as_array().expect("streams");
            connected.iter().filter_map(|c| c[end].as_u64()).collect()
        };
        assert_eq!(ports(&ours, "remote_port"), ports(&theirs, "local_port"));
        assert_eq!(ours["start"]["cookie"], theirs["start"]["cookie"]);
    }
}

fn stock_client_sends(driver: Driver) {
    at_our_server(driver, "", &[""]);
}

fn stock_client_receives(driver: Driver) {
    at_our_server(driver, "-R", &[""]);
}

fn stock_client_does_both(driver: Driver) {
    at_our_server(driver, "--bidir", &["", "_bidir_reverse"]);
}

/// Our client with `flags` at a stock server.
#[track_caller]
fn at_stock_server(driver: Driver, flags: &str, directions: &[&str]) {
    let lab = Lab::new(driver);
    for streams in [1, 8] {
        let server = stock_server(&lab);
        let done = our_client(
            &lab,
            &format!("-t 1 -J -P {streams} --get-server-output {flags}"),
        );
        let ours = document(&done.success());
        for suffix in directions {
            direction(&ours, suffix, streams);
        }
        let text = ours["server_output_text"].as_str().expect("its output");
        assert!(
            text.contains("Accepted connection from 10.77.0.2"),
            "{text}"
        );
        let said = server.ends();
        assert!(said.contains("[ ID]") && !said.contains("error"), "{said}");
    }
}

fn our_client_sends(driver: Driver) {
    at_stock_server(driver, "", &[""]);
}

fn our_client_receives(driver: Driver) {
    at_stock_server(driver, "-R", &[""]);
}

fn our_client_does_both(driver: Driver) {
    at_stock_server(driver, "--bidir", &["", "_bidir_reverse"]);
}

/// Octets, blocks, rates, sizes and what is left out, from both sides.
fn numbers_and_options(driver: Driver) {
    let lab = Lab::new(driver);
    let server = our_server(&lab, "");
    let rate = "-b 8M -l 10K -t 2 -O 1 -M 1000 -N -w 64K -S 8 -J --get-server-output";
    for way in ["", "-R"] {
        let json = document(&stock_client(&lab, &format!("{rate} {way}")).success());
        let (sent, _) = direction(&json, "", 1);
        assert!(
            (1_900_000..2_200_000).contains(&sent),
            "2 s of 1 MB/s: {sent}"
        );
        let text = json["server_output_text"].as_str().expect("our output");
        assert!(text.contains("(omitted)"), "{text}");
    }
    for (flags, least) in [
        ("-n 5M", 5 << 20),
        ("-k 10 -l 64K", 640 << 10),
        ("-n 5M -R", 5 << 20),
    ] {
        let json = document(&stock_client(&lab, &format!("{flags} -J")).success());
        let (sent, _) = direction(&json, "", 1);
        assert!(sent >= least, "{flags}: {sent}");
    }
    let text = stock_client(&lab, "-t 1").success();
    assert!(
        text.contains(" receiver\n") && text.contains("iperf Done."),
        "{text}"
    );
    drop(server);

    for (flags, wanted) in [("-n 5M", 5 << 20), ("-k 10 -l 64K", 640 << 10)] {
        let server = stock_server(&lab);
        let json = document(&our_client(&lab, &format!("{flags} -J -B {OURS}")).success());
        assert_eq!(direction(&json, "", 1).0, wanted, "{flags}");
        server.ends();
    }
    let server = stock_server(&lab);
    let text = our_client(&lab, &rate.replace("-J", "")).success();
    assert!(
        text.contains("(omitted)") && text.contains("iperf Done."),
        "{text}"
    );
    server.ends();
}

fn a_busy_server(driver: Driver) {
    let lab = Lab::new(driver);
    let server = our_server(&lab, "");
    let first = Program::start(&mut stock(&lab, "-t 3 --forceflush"), "[ ID] Interval");
    let second = stock_client(&lab, "-t 1");
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("busy running a test"), "{second:?}");
    let text = first.ends();
    assert!(text.contains("iperf Done."), "{text}");
    drop(server);

    let server = stock_server(&lab);
    let first = Program::start(
        millrace(&lab, &["iperf3", "-c", &LINUX.to_string(), "-t", "2"]).arg("--no-control"),
        "[ ID] Interval",
    );
    let second = run(
        // A second device is not there for a second client of ours: stock says what ours would be told.
        lab.linux("iperf3")
            .args(["-c", &LINUX.to_string(), "-t", "1"]),
        LIMIT,
    );
    assert!(second.err.contains("busy running a test"), "{second:?}");
    assert!(first.ends().contains("iperf Done."));
    server.ends();
}

fn a_client_that_is_killed(driver: Driver) {
    let lab = Lab::new(driver);
    let server = our_server(&lab, "");
    for (flags, next) in [
        ("-t 60 --forceflush", "(test #2)"),
        ("-t 60 -R -P 4 --forceflush", "(test #4)"),
    ] {
        let client = Program::start(&mut stock(&lab, flags), "0.00-1.00");
        drop(client);
        server.says(next);
        let next = stock_client(&lab, "-n 1M").success();
        assert!(next.contains("iperf Done."), "{next}");
    }
    server.says("(test #5)");
}

fn refusals_that_iperf3_understands(driver: Driver) {
    let lab = Lab::new(driver);
    let server = our_server(&lab, "");
    for (flags, words) in [
        ("-u", "Protocol not supported"),
        ("--sctp", "Protocol not supported"),
        ("--fq-rate 1M -R", "Protocol not available"),
        ("-C bbr -R", "TCP_CONGESTION"),
    ] {
        let done = stock_client(&lab, &format!("-t 1 {flags}"));
        assert_eq!(done.code, Some(1), "{flags}: {done:?}");
        assert!(done.err.contains(words), "{flags}: {done:?}");
    }
    server.says("the congestion control is not there (");
    let next = stock_client(&lab, "-n 1M").success();
    assert!(next.contains("iperf Done."), "{next}");
    drop(server);
}

fn nobody_there(driver: Driver) {
    let lab = Lab::new(driver);
    let done = our_client(&lab, "-t 1");
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("nothing listens there"), "{done:?}");
    let server = stock_server(&lab);
    let client = Program::start(
        millrace(&lab, &["iperf3", "-c", &LINUX.to_string(), "-t", "60"]).args(["-i", "0.5"]),
        "0.00-0.50",
    );
    // Its kernel ends the connections, with whichever it comes to first.
    drop(server);
    client.says("millrace: ");
    client.says(" sender\n");
}
