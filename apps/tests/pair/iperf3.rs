//! Our iperf3 client and server against each other and against peers that misbehave.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_apps::iperf3::client::{Client, Errand, Outcome};
use millrace_apps::iperf3::params::{End, Params, Way};
use millrace_apps::iperf3::protocol::{COOKIE, State, message};
use millrace_apps::iperf3::server::{Post, Server};
use millrace_apps::iperf3::teller::{Form, Out, Teller};
use millrace_apps::iperf3::text::Unit;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::wire::{AT, Wire, rest};

/// What one end prints.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn out(&self) -> Out {
        let said = Arc::clone(&self.0);
        Box::new(move |text| said.lock().expect("said").push_str(text))
    }

    fn text(&self) -> String {
        self.0.lock().expect("said").clone()
    }

    #[track_caller]
    fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }
}

/// A server on the wire, what it prints and what it complains of.
struct Lab {
    wire: Wire,
    server: Said,
    complaints: Said,
    ended: Receiver<Outcome>,
}

impl Lab {
    fn new(form: Form, one_off: bool) -> Self {
        let (server, complaints) = (Said::default(), Said::default());
        let (done, ended) = channel();
        let post = Post {
            at: AT,
            every: Some(Duration::from_secs(1)),
            one_off,
        };
        let app = Server::new(
            post,
            Teller::new(form, server.out()),
            complaints.out(),
            ChaCha8Rng::seed_from_u64(1),
            done,
        );
        Self {
            wire: Wire::new(Box::new(app)),
            server,
            complaints,
            ended,
        }
    }

    /// A client is there; it runs when time passes.
    fn client(&mut self, params: Params, form: Form) -> (Said, Receiver<Outcome>) {
        let said = Said::default();
        let (done, outcome) = channel();
        let errand = Errand {
            to: AT,
            from: None,
            every: Some(Duration::from_secs(1)),
            params,
        };
        let random = ChaCha8Rng::seed_from_u64(2);
        let app = Client::new(errand, Teller::new(form, said.out()), random, done);
        self.wire.add_client_app(Box::new(app));
        (said, outcome)
    }

    /// Runs a client to its end.
    #[track_caller]
    fn run(&mut self, params: Params, form: Form) -> (Said, Outcome) {
        let (said, outcome) = self.client(params, form);
        self.wire.run_client_apps();
        let outcome = outcome.recv().expect("an outcome");
        (said, outcome)
    }

    /// A connection that says `bytes` and hears the rest.
    fn strange(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut client = self.wire.client();
        let mut stream = client.connect(AT).expect("connect");
        stream.write_all(bytes).expect("write");
        let heard = rest(&mut stream);
        stream.close().expect("close");
        heard
    }

    /// The server takes a test after all that, and has nothing left.
    #[track_caller]
    fn stays_well(mut self) {
        let params = Params {
            end: End::Bytes(1000),
            ..Params::default()
        };
        let (_, outcome) = self.run(params, Form::Text(Unit::Adaptive));
        assert_eq!(outcome, Ok(()));
        self.wire.pass(Duration::from_secs(120));
        // It is open as long as it serves; nothing of the stack is.
        let census = self.wire.server().stack_ref().census();
        assert_eq!(
            (census.sockets, census.established, census.ring_chunks),
            (1, 0, 0)
        );
    }
}

fn paced(way: Way, streams: u64) -> Params {
    Params {
        way,
        streams,
        rate: 8_000_000,
        block: 10_000,
        end: End::Time(Duration::from_secs(3)),
        omit: Duration::from_secs(1),
        server_output: true,
        ..Params::default()
    }
}

#[test]
fn bytes_on_eight_streams() {
    let mut lab = Lab::new(Form::Text(Unit::Adaptive), false);
    let params = Params {
        streams: 8,
        end: End::Bytes(40_000_000),
        server_output: true,
        ..Params::default()
    };
    let (said, outcome) = lab.run(params, Form::Text(Unit::Adaptive));
    assert_eq!(outcome, Ok(()), "{}", lab.complaints.text());
    let text = said.text();
    assert_eq!(text.matches(" sender\n").count(), 9, "{text}");
    assert!(text.contains("[SUM]   0.00-"), "{text}");
    assert!(
        text.contains("\nServer output:\nAccepted connection from"),
        "{text}"
    );
    assert!(text.ends_with("\niperf Done.\n"), "{text}");
    lab.wire.pass(Duration::from_secs(1));
    let server = lab.server.text();
    assert!(
        server.contains("Server listening on 80 (test #2)"),
        "{server}"
    );
    lab.stays_well();
}

/// What was sent and received in each direction, from both documents.
#[test]
fn both_directions_in_json() {
    for way in [Way::Forward, Way::Reverse, Way::Both] {
        let mut lab = Lab::new(Form::Json, true);
        let (said, outcome) = lab.run(paced(way, 2), Form::Json);
        assert_eq!(outcome, Ok(()), "{way:?}");
        lab.wire.pass(Duration::from_secs(1));
        assert_eq!(lab.ended.try_recv(), Ok(Ok(())));
        let (client, server) = (said.json(), lab.server.json());
        assert_eq!(client["start"]["test_start"]["omit"], 1);
        let intervals = client["intervals"].as_array().expect("intervals");
        assert_eq!(intervals.len(), 4, "{intervals:?}");
        assert_eq!(intervals[0]["sum"]["omitted"], true);
        let sums = match way {
            Way::Both => vec!["", "_bidir_reverse"],
            _ => vec![""],
        };
        for suffix in sums {
            let sum = |of: &Value, what: &str| {
                let sum = &of["end"][format!("{what}{suffix}")];
                (
                    sum["bytes"].as_u64(),
                    sum["seconds"].as_f64().expect("seconds"),
                )
            };
            let (sent, seconds) = sum(&client, "sum_sent");
            assert!((seconds - 3.0).abs() < 0.01, "{seconds}");
            // Two streams of 1 MB/s each for 3 s, less or more the block under way.
            let sent = sent.expect("bytes");
            assert!((5_900_000..6_100_000).contains(&sent), "{way:?} {sent}");
            let received = sum(&client, "sum_received").0.expect("bytes");
            assert!(received.abs_diff(sent) <= 40_000, "{sent} {received}");
            let inside: u64 = intervals[1..]
                .iter()
                .filter_map(|i| i[format!("sum{suffix}")]["bytes"].as_u64())
                .sum();
            let ours = match client["end"][format!("sum_sent{suffix}")]["sender"] == true {
                true => sent,
                false => received,
            };
            assert_eq!(inside, ours, "the intervals are the sum");
            assert_eq!(sum(&server, "sum_sent").0, Some(sent), "both tell the same");
            assert_eq!(sum(&server, "sum_received").0, Some(received));
        }
        assert!(client["server_output_json"]["end"].is_object());
    }
}

#[test]
fn blocks_with_socket_options() {
    let mut lab = Lab::new(Form::Text(Unit::Adaptive), false);
    let params = Params {
        end: End::Blocks(50),
        block: 5000,
        mss: 1000,
        window: 40_000,
        tos: 8,
        no_delay: true,
        repeating: true,
        ..Params::default()
    };
    let (said, outcome) = lab.run(params, Form::Json);
    assert_eq!(outcome, Ok(()), "{}", lab.complaints.text());
    let client = said.json();
    assert_eq!(client["end"]["sum_sent"]["bytes"], 250_000);
    assert!(client["start"]["tcp_mss"].as_u64().expect("a size") <= 1000);
    assert_eq!(client["start"]["sndbuf_actual"], 80_000);
    lab.stays_well();
}

#[test]
fn who_comes_during_a_test_is_told_so() {
    let mut lab = Lab::new(Form::Text(Unit::Adaptive), false);
    let (first, outcome) = lab.client(paced(Way::Forward, 1), Form::Text(Unit::Adaptive));
    lab.wire.pass(Duration::from_secs(2));
    assert!(first.text().contains("(omitted)"));
    let (_, busy) = lab.client(Params::default(), Form::Text(Unit::Adaptive));
    lab.wire.pass(Duration::from_millis(100));
    let why = busy.try_recv().expect("an outcome").expect_err("busy");
    assert!(why.contains("busy"), "{why}");
    // A stream at the wrong time is refused the same way, and so is one that says nothing for long.
    assert_eq!(lab.strange(&[b'x'; COOKIE]), [State::AccessDenied.octet()]);
    lab.wire.run_client_apps();
    assert_eq!(outcome.recv().expect("an outcome"), Ok(()));
    assert_eq!(lab.complaints.text(), "");
    lab.stays_well();
}

/// A cookie, then something else than a client says.
#[test]
fn nonsense_is_refused_and_the_next_test_runs() {
    let say = |text: &str| [&[b'y'; COOKIE][..], &message(text)].concat();
    let refusal = |code: u8, errno: u8| vec![9, 0xfe, 0, 0, 0, code, 0, 0, 0, errno];
    let mut lab = Lab::new(Form::Text(Unit::Adaptive), false);
    for (bytes, answer) in [
        (say(r#"{"udp":true,"parallel":1}"#), refusal(202, 93)),
        (say(r#"{"tcp":true,"parallel":1000}"#), refusal(114, 22)),
        (
            say(r#"{"tcp":true,"parallel":1,"congestion":"bbr"}"#),
            refusal(134, 2),
        ),
        (say("[[[["), refusal(114, 0)),
        ([&[b'y'; COOKIE][..], &[0xff; 4]].concat(), refusal(114, 0)),
    ] {
        assert_eq!(lab.strange(&bytes), answer);
    }
    let state = [say(r#"{"tcp":true,"parallel":1}"#), vec![4]].concat();
    assert_eq!(
        lab.strange(&state),
        [vec![9, 10, 0xfe], vec![0, 0, 0, 110, 0, 0, 0, 0]].concat()
    );
    assert_eq!(
        lab.complaints.text().matches("the client").count(),
        6,
        "{}",
        lab.complaints.text()
    );
    lab.stays_well();
}

/// Clients that say nothing more, at each stage: they are given up, others are served.
#[test]
fn clients_that_fall_silent() {
    let params = message(r#"{"tcp":true,"parallel":1}"#);
    for said in [
        vec![],
        vec![b'z'; 5],
        vec![b'z'; COOKIE],
        [&[b'z'; COOKIE][..], &params[..10]].concat(),
        [&[b'z'; COOKIE][..], &params].concat(),
    ] {
        let mut lab = Lab::new(Form::Text(Unit::Adaptive), false);
        let mut client = lab.wire.client();
        client.set_timeout(Some(Duration::from_secs(100)));
        let mut stream = client.connect(AT).expect("connect");
        stream.write_all(&said).expect("write");
        let mut heard = Vec::new();
        let mut piece = [0; 64];
        // The server ends it.
        while let Ok(n @ 1..) = stream.read(&mut piece) {
            heard.extend_from_slice(&piece[..n]);
        }
        drop(stream);
        assert_eq!(heard.first().copied(), (said.len() >= COOKIE).then_some(9));
        lab.stays_well();
    }
}

/// The client's machine dies in the middle of a test: no FIN, no RST.
#[test]
fn a_client_that_vanishes() {
    for way in [Way::Forward, Way::Both] {
        let mut lab = Lab::new(Form::Text(Unit::Adaptive), false);
        let (_, outcome) = lab.client(paced(way, 2), Form::Text(Unit::Adaptive));
        lab.wire.pass(Duration::from_secs(2));
        lab.wire.server_alone(Duration::from_secs(60));
        assert!(
            lab.complaints.text().contains("gone"),
            "{}",
            lab.complaints.text()
        );
        let server = lab.server.text();
        assert!(server.contains("(test #2)"), "{server}");
        drop(outcome);
    }
}
