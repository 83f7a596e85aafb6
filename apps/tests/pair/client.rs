//! `get`: whole bodies over a bad wire, and the errors of broken ones.

use std::time::Duration;

use millrace::Instant;
use millrace::pmd::ImpairConfig;
use millrace::pmd::impair::Faults;
use millrace_apps::get::fetch::{FetchError, Fetched, fetch};
use millrace_apps::get::url::Url;
use millrace_apps::http::{Http, fixed};
use millrace_apps::services::{Activity, Behaviour, Discard, Flow, Io, Read, Sent, Server};

use crate::wire::Wire;

fn url(text: &str) -> Url {
    text.parse().expect(text)
}

fn get(wire: &mut Wire, at: &str) -> (Result<Fetched, FetchError>, Vec<u8>) {
    let mut body = Vec::new();
    let fetched = fetch(&mut wire.client(), &url(at), &mut body);
    (fetched, body)
}

#[test]
fn a_body_over_a_bad_wire() {
    for seed in 0..5 {
        let faults = Faults {
            loss_ppm: 20_000,
            duplicate_ppm: 10_000,
            corrupt_ppm: 10_000,
            reorder_ppm: 20_000,
            delay: Duration::from_millis(2),
            jitter: Duration::from_micros(500),
            ..Faults::default()
        };
        let http = Server::new(Http::fixed(1_000_000), None);
        let mut wire = Wire::with_faults(
            Box::new(http),
            Some(ImpairConfig {
                seed,
                rx: faults,
                tx: faults,
            }),
        );
        let (fetched, body) = get(&mut wire, "http://10.0.0.2/");
        let fetched = fetched.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(
            fetched,
            Fetched {
                code: 200,
                body: 1_000_000
            }
        );
        assert!(
            (0..)
                .zip(&body)
                .all(|(at, &byte)| byte == fixed::byte_at(at)),
            "seed {seed}"
        );
    }
}

#[test]
fn no_connection() {
    let mut wire = Wire::new(Box::new(Server::new(Discard, None)));
    for (at, words) in [
        ("http://10.0.0.2:81/", "refused"),
        ("http://10.0.0.77/", "unreachable"),
        ("http://192.0.2.1/", "no route"),
    ] {
        let (fetched, _) = get(&mut wire, at);
        let error = fetched.expect_err(at).to_string();
        assert!(error.contains(words), "{at}: {error}");
    }
    wire.nothing_left();
}

#[test]
fn a_server_that_never_answers() {
    let mut wire = Wire::new(Box::new(Server::new(Discard, None)));
    let (fetched, _) = get(&mut wire, "http://10.0.0.2/");
    let error = fetched.expect_err("no answer").to_string();
    assert!(error.contains("timed out"), "{error}");
    wire.nothing_left();
}

/// Answers anything with these bytes, then ends in this way.
struct Canned {
    bytes: Vec<u8>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The stream ends after the bytes.
    Close,
    /// A reset, as soon as the client has taken some of them (they must be more than the send buffer holds).
    Reset,
}

impl Canned {
    fn answer(&self, io: &mut Io<'_>) -> Flow {
        match (io.send(&self.bytes), self.end) {
            (Sent::All, End::Close) => Flow::Over,
            (Sent::Some(_), End::Reset) => Flow::Open,
            (sent, _) => panic!("{sent:?}"),
        }
    }
}

impl Behaviour for Canned {
    type Conn = Request;

    fn open(&mut self, _: Instant) -> Request {
        Request::Awaited
    }

    fn data(
        &mut self,
        io: &mut Io<'_>,
        _: &mut [u8],
        request: &mut Request,
        bytes: &[u8],
    ) -> (usize, Flow) {
        *request = Request::Answered;
        (bytes.len(), self.answer(io))
    }

    fn pump(&mut self, io: &mut Io<'_>, scratch: &mut [u8], request: &mut Request) -> Flow {
        match *request {
            Request::Awaited if matches!(io.consume(scratch), Read::Some(_)) => {
                *request = Request::Answered;
                self.answer(io)
            }
            Request::Awaited => Flow::Open,
            Request::Answered => {
                io.stack.abort(io.now, io.sock);
                Flow::Broken
            }
        }
    }

    fn drain(&mut self, _: &mut Request) -> Flow {
        Flow::Over
    }

    fn activity(&self, _: &Request) -> Activity {
        Activity::Idle
    }
}

/// Whether the request has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    Awaited,
    Answered,
}

fn canned(head: &str, body: usize, end: End) -> Wire {
    let bytes = [head.as_bytes(), &vec![b'x'; body]].concat();
    Wire::new(Box::new(Server::new(Canned { bytes, end }, None)))
}

fn error_of(wire: &mut Wire) -> String {
    get(wire, "http://10.0.0.2/")
        .0
        .expect_err("an error")
        .to_string()
}

#[test]
fn bodies_of_all_framings() {
    for (head, body) in [
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
            "hello world",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nold but well", "old but well"),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
    ] {
        let mut wire = canned(head, 0, End::Close);
        let (fetched, got) = get(&mut wire, "http://10.0.0.2/");
        assert_eq!(fetched.expect(head).body, body.len() as u64);
        assert_eq!(String::from_utf8_lossy(&got), body);
        wire.nothing_left();
    }
}

#[test]
fn bodies_that_are_cut_short() {
    for (head, words) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
            "5 bytes of the body, which is too short (100 were promised)",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello",
            "5 bytes of the body, which is too short",
        ),
        ("HTTP/1.1 200 OK\r\nContent-", "half a response head"),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "404 Not Found",
        ),
        (
            "HTTP/1.1 301 Moved\r\nLocation: /a/\r\nContent-Length: 0\r\n\r\n",
            "it is at /a/",
        ),
        ("220 smtp.example\r\n", "not an HTTP response"),
    ] {
        let mut wire = canned(head, 0, End::Close);
        let error = error_of(&mut wire);
        assert!(error.contains(words), "{error}");
        wire.nothing_left();
    }
}

#[test]
fn a_reset_in_mid_body() {
    let mut wire = canned(
        "HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n",
        50_000_000,
        End::Reset,
    );
    let error = error_of(&mut wire);
    assert!(error.contains("was reset by the peer"), "{error}");
    wire.nothing_left();
}
