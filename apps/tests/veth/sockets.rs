//! `millrace ss` beside the kernel's `ss` at the other end of the same connections.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::command::{eventually, run};
use crate::lab::{Driver, LINUX, Lab, OURS, PORT, SERVER};
use crate::look::ask;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::socket::{connect, read_to_end};

real_peer_tests! {
    the_connections_that_linux_has: af_xdp | tap;
    states_on_both_ends: tap;
    time_wait: tap;
    what_tcp_knows_on_both_ends: af_xdp | tap;
    filters: tap;
}

const LIMIT: Duration = Duration::from_secs(30);

/// A server, its control socket, and the folder in which that lies.
struct Watched {
    server: Server,
    socket: String,
    _scratch: Scratch,
}

impl Watched {
    fn start(lab: &Lab, kind: &str, extra: &[&str]) -> Self {
        let scratch = Scratch::new();
        let socket = scratch.text("a.sock");
        let extra = [&["--control", &socket], extra].concat();
        Self {
            server: Server::start(lab, kind, &extra),
            socket,
            _scratch: scratch,
        }
    }

    /// What `millrace ss` prints.
    #[track_caller]
    fn ss(&self, flags: &str) -> String {
        let flags: Vec<&str> = flags.split_whitespace().collect();
        ask(&self.socket, &[&["ss"], flags.as_slice()].concat()).success()
    }
}

/// What the kernel's `ss` prints in the peer's namespace.
#[track_caller]
fn kernel_ss(lab: &Lab, flags: &str) -> String {
    run(lab.linux("ss").args(flags.split_whitespace()), LIMIT).success()
}

/// State, address and address of each line of `ss -tnH`.
fn rows(text: &str) -> BTreeSet<(String, String, String)> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (
            words[0].to_owned(),
            words[3].to_owned(),
            words[4].to_owned(),
        )
    };
    text.lines().map(row).collect()
}

/// The same seen from the other end.
fn turned(rows: BTreeSet<(String, String, String)>) -> BTreeSet<(String, String, String)> {
    let turn = |(state, local, peer)| (state, peer, local);
    rows.into_iter().map(turn).collect()
}

/// Forty clients hold connections; half of them leave.
fn the_connections_that_linux_has(driver: Driver) {
    let lab = Lab::new(driver);
    let watched = Watched::start(&lab, "echo", &[]);
    assert_eq!(watched.ss("-tnH"), "");
    let listening = watched.ss("-tlnH");
    let words: Vec<&str> = listening.split_whitespace().collect();
    assert_eq!(words, ["LISTEN", "0", "4096", "0.0.0.0:8080", "0.0.0.0:*"]);

    let mut clients: Vec<TcpStream> = lab.as_linux(|| {
        let open = || {
            let mut stream = connect(SERVER);
            stream.write_all(b"hello").expect("write");
            stream.read_exact(&mut [0; 5]).expect("the echo");
            stream
        };
        (0..40).map(|_| open()).collect()
    });
    for left in [40, 20] {
        clients.truncate(left);
        eventually("both ends agree", LIMIT, || {
            let ours = rows(&watched.ss("-tnH"));
            let theirs = turned(rows(&kernel_ss(&lab, "-tnH")));
            let ports: BTreeSet<_> = clients
                .iter()
                .map(|client| client.local_addr().expect("an address").to_string())
                .collect();
            let ours_ports: BTreeSet<_> = ours.iter().map(|row| row.2.clone()).collect();
            match ours == theirs && ours_ports == ports {
                true => Ok(()),
                false => Err(format!("ours: {ours:?}\ntheirs: {theirs:?}")),
            }
        });
        assert_eq!(watched.ss("-tnH").lines().count(), left);
        assert!(
            watched
                .ss("-tnH")
                .lines()
                .all(|line| line.starts_with("ESTAB"))
        );
    }
    // How much space there is depends on the longest port of each column.
    let header = |text: String| text.lines().next().map(|line| line.replace(' ', ""));
    assert_eq!(header(watched.ss("-tn")), header(kernel_ss(&lab, "-tn")));
    drop(clients);
    watched.server.stop();
}

/// A client that does not read; then does not send any more either; and one that the server ends.
fn states_on_both_ends(driver: Driver) {
    let lab = Lab::new(driver);
    let watched = Watched::start(&lab, "chargen", &[]);
    let stuck = lab.as_linux(|| connect(SERVER));
    let peer = stuck.local_addr().expect("an address").to_string();
    let words = |line: String| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // The client's window is full when the server only probes.
    let ours = eventually("the window is full", LIMIT, || {
        let line = watched.ss("-tnoH");
        match line.contains("timer:(persist,") {
            true => Ok(words(line)),
            false => Err(line),
        }
    });
    assert_eq!(
        [&ours[0], &ours[3], &ours[4]],
        ["ESTAB", &SERVER.to_string(), &peer]
    );
    assert_ne!(ours[2], "0", "what the client does not take waits");
    let theirs = words(kernel_ss(&lab, "-tnH"));
    assert_eq!([&theirs[0], &theirs[2]], ["ESTAB", "0"]);
    assert_ne!(theirs[1], "0");

    stuck.shutdown(Shutdown::Write).expect("half-close");
    eventually("the end is known on both sides", LIMIT, || {
        let (ours, theirs) = (watched.ss("-tneH"), kernel_ss(&lab, "-tnH"));
        let known = ours.starts_with("LAST-ACK") && ours.trim_end().ends_with(" ---");
        match known && theirs.starts_with("FIN-WAIT-2") {
            true => Ok(()),
            false => Err(format!("{ours}\n{theirs}")),
        }
    });
    drop(stuck);
    watched.server.stop();
}

/// The server ends the connection first, so its end waits; the client's is gone at once.
fn time_wait(driver: Driver) {
    let lab = Lab::new(driver);
    let watched = Watched::start(&lab, "http", &["--body-size", "10"]);
    lab.as_linux(|| {
        let mut stream = connect(SERVER);
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
        read_to_end(&stream);
    });
    let line = eventually("TIME_WAIT", LIMIT, || {
        let line = watched.ss("-tnoeH state time-wait");
        match line.is_empty() {
            true => Err(watched.ss("-tnaH")),
            false => Ok(line),
        }
    });
    assert!(
        line.contains(" timer:(timewait,") && line.contains("sec,0) ino:0 sk:"),
        "{line}"
    );
    assert!(
        !line.contains("TIME-WAIT"),
        "the state was named already: {line}"
    );
    assert_eq!(watched.ss("-tnH"), "", "not shown if nobody asks");
    assert_eq!(kernel_ss(&lab, "-tnaH"), "");
    watched.server.stop();
}

/// Names and values of a line of `ss -tinO`, in their order.
fn details(line: &str) -> Vec<(String, String)> {
    let mut words = line
        .split_whitespace()
        .skip(5)
        .filter(|word| !word.starts_with("timer:"));
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let value = match word {
            "send" | "pacing_rate" | "delivery_rate" => words.next().unwrap_or_default(),
            _ => word.split_once(':').map_or("", |(_, value)| value),
        };
        let name = word.split(':').next().unwrap_or_default();
        found.push((name.to_owned(), value.to_owned()));
    }
    found
}

#[track_caller]
fn value<'a>(of: &'a [(String, String)], name: &str) -> &'a str {
    let found = of.iter().find(|(found, _)| found == name);
    &found.unwrap_or_else(|| panic!("no {name} in {of:?}")).1
}

/// What is told twice has the same name, stands in the same order, and fits.
fn what_tcp_knows_on_both_ends(driver: Driver) {
    let lab = Lab::new(driver);
    let watched = Watched::start(&lab, "echo", &[]);
    let client = lab.as_linux(|| {
        let mut stream = connect(SERVER);
        for _ in 0..20 {
            stream.write_all(&[1; 3000]).expect("write");
            stream.read_exact(&mut [0; 3000]).expect("the echo");
        }
        stream
    });
    eventually("all is acknowledged", LIMIT, || {
        let lines = [watched.ss("-tnioOH"), kernel_ss(&lab, "-tnioOH")];
        match lines.iter().any(|line| line.contains("unacked")) {
            false => Ok(()),
            true => Err(lines.concat()),
        }
    });
    let (ours, theirs) = (
        details(&watched.ss("-tnioOH")),
        details(&kernel_ss(&lab, "-tnioOH")),
    );
    for (mine, other) in [
        ("bytes_sent", "bytes_received"),
        ("bytes_received", "bytes_sent"),
        ("mss", "mss"),
        ("pmtu", "pmtu"),
        ("advmss", "advmss"),
    ] {
        assert_eq!(
            value(&ours, mine),
            value(&theirs, other),
            "{mine}\n{ours:?}\n{theirs:?}"
        );
    }
    assert_eq!(value(&ours, "bytes_sent"), "60000");
    let (given, taken) = value(&ours, "wscale").split_once(',').expect("two shifts");
    assert_eq!(value(&theirs, "wscale"), format!("{taken},{given}"));

    // The congestion control's name is a word without a value.
    let told = |of: &[(String, String)], by: &[(String, String)]| -> Vec<String> {
        let names = of.iter().map(|(name, _)| name.clone());
        names
            .filter(|name| by.iter().any(|(other, _)| other == name))
            .collect()
    };
    let shared = told(&ours, &theirs);
    assert_eq!(shared, told(&theirs, &ours));
    for name in [
        "ts",
        "sack",
        "wscale",
        "rto",
        "rtt",
        "send",
        "lastsnd",
        "delivered",
        "minrtt",
    ] {
        assert!(
            shared.iter().any(|shared| shared == name),
            "{name}: {ours:?}"
        );
    }

    // On two lines without -O, the second one set in.
    let text = watched.ss("-tin");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[2].starts_with("\t "), "{text}");
    drop(client);
    watched.server.stop();
}

fn filters(driver: Driver) {
    let lab = Lab::new(driver);
    let watched = Watched::start(&lab, "echo", &[]);
    let clients: Vec<TcpStream> = lab.as_linux(|| (0..5).map(|_| connect(SERVER)).collect());
    eventually("five connections", LIMIT, || {
        match watched.ss("-tnH").lines().count() {
            5 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    let port = clients[2].local_addr().expect("an address").port();
    for (filter, count) in [
        (format!("dport = :{port}"), 1),
        (format!("dport != :{port}"), 4),
        (format!("not dport = :{port} and sport = :{PORT}"), 4),
        (format!("dst {LINUX} src {OURS}:{PORT}"), 5),
        (format!("dst {LINUX}/24"), 5),
        ("dst 10.78.0.0/16".to_owned(), 0),
        ("state established".to_owned(), 5),
        ("state listening".to_owned(), 1),
        ("state all".to_owned(), 6),
        ("exclude established".to_owned(), 1),
        (format!("( dport = :{port} or sport = :1 )"), 1),
    ] {
        let ours = watched.ss(&format!("-tnH {filter}"));
        assert_eq!(ours.lines().count(), count, "{filter}: {ours}");
        // The same words choose the same connections at the other end, seen from there.
        let theirs = filter
            .replace("dport", "?")
            .replace("sport", "dport")
            .replace('?', "sport");
        let theirs = theirs
            .replace("dst", "?")
            .replace("src", "dst")
            .replace('?', "src");
        if !filter.starts_with("state") && !filter.starts_with("exclude") {
            let kernel = kernel_ss(&lab, &format!("-tnH {theirs}"));
            assert_eq!(turned(rows(&kernel)), rows(&ours), "{filter}");
        }
    }
    let wrong = ask(&watched.socket, &["ss", "-tn", "sport = :80 or"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(
        wrong.err.contains("  sport = :80 or\n                ^"),
        "{}",
        wrong.err
    );
    drop(clients);
    watched.server.stop();
}
