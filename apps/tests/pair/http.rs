//! `serve http` with a body of a given size.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use millrace_apps::http::{Http, fixed};
use millrace_apps::services::Server;

use crate::wire::{AT, Response, To, Wire, response, rest};

/// A server of bodies of `size` bytes.
fn serve(size: u64) -> Wire {
    Wire::new(Box::new(Server::new(
        Http::fixed(size),
        Some(Duration::from_secs(75)),
    )))
}

fn body(size: u64) -> Vec<u8> {
    (0..size).map(fixed::byte_at).collect()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn one_request() {
    let mut wire = serve(100);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(GET).expect("request");
    let got = response(&mut stream, &mut Vec::new(), To::Get);
    assert_eq!(
        got,
        Response {
            code: 200,
            body: body(100)
        }
    );
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn a_body_larger_than_the_send_buffer() {
    let mut wire = serve(5_000_000);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(GET).expect("request");
    let got = response(&mut stream, &mut Vec::new(), To::Get);
    assert!(got.code == 200 && got.body == body(5_000_000));
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn an_empty_body() {
    let mut wire = serve(0);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(GET).expect("request");
    assert_eq!(
        response(&mut stream, &mut Vec::new(), To::Get),
        Response {
            code: 200,
            body: Vec::new()
        }
    );
    stream.close().expect("close");
    wire.nothing_left();
}

/// All requests are written before any answer is read; the answers do not fit into the buffers.
#[test]
fn pipelining_with_a_client_that_does_not_read() {
    let mut wire = serve(100_000);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    for _ in 0..100 {
        stream.write_all(GET).expect("request");
    }
    let mut buffer = Vec::new();
    let expected = Response {
        code: 200,
        body: body(100_000),
    };
    for number in 0..100 {
        assert!(
            response(&mut stream, &mut buffer, To::Get) == expected,
            "response {number}"
        );
    }
    assert!(buffer.is_empty());
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn pipelined_in_one_segment_with_different_answers() {
    let mut wire = serve(10);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /";
    let head = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n";
    let missing = b"GET /missing HTTP/1.1\r\nHost: x\r\n\r\n";
    stream
        .write_all(&[GET, post, head, missing, GET].concat())
        .expect("requests");
    let mut buffer = Vec::new();
    let codes: Vec<u16> = [To::Get, To::Get, To::Head, To::Get, To::Get]
        .map(|to| response(&mut stream, &mut buffer, to).code)
        .to_vec();
    assert_eq!(codes, [200, 405, 200, 404, 200]);
    assert!(buffer.is_empty());
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn a_request_in_single_bytes() {
    let mut wire = serve(10);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    let mut buffer = Vec::new();
    for _ in 0..2 {
        for byte in GET {
            stream.write_all(&[*byte]).expect("byte");
        }
        assert_eq!(response(&mut stream, &mut buffer, To::Get).code, 200);
    }
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn the_connection_ends_when_the_client_wants_it() {
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut wire = serve(200_000);
        let mut client = wire.client();
        let mut stream = client.connect(AT).expect("connect");
        // What follows is not answered, and does not disturb the answer.
        stream
            .write_all(&[request.as_bytes(), GET].concat())
            .expect("request");
        let mut buffer = Vec::new();
        let got = response(&mut stream, &mut buffer, To::Get);
        assert!(
            got == Response {
                code: 200,
                body: body(200_000)
            }
        );
        assert_eq!((buffer.len(), rest(&mut stream).len()), (0, 0));
        stream.close().expect("close");
        wire.nothing_left();
    }
}

#[test]
fn an_old_client_may_ask_to_stay() {
    let mut wire = serve(10);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    let mut buffer = Vec::new();
    for _ in 0..3 {
        stream
            .write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .expect("request");
        assert_eq!(response(&mut stream, &mut buffer, To::Get).code, 200);
    }
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn what_cannot_be_understood_ends_the_connection() {
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "y".repeat(40_000)
    );
    for (request, code) in [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            501,
        ),
        ("GET / HTTP/3.0\r\n\r\n", 505),
        (&long, 431),
    ] {
        let mut wire = serve(10);
        let mut client = wire.client();
        let mut stream = client.connect(AT).expect("connect");
        stream.write_all(request.as_bytes()).expect("request");
        let mut buffer = Vec::new();
        assert_eq!(
            response(&mut stream, &mut buffer, To::Get).code,
            code,
            "{request:.40}"
        );
        assert_eq!((buffer.len(), rest(&mut stream).len()), (0, 0));
        stream.close().expect("close");
        wire.nothing_left();
    }
}

#[test]
fn a_half_close_after_the_request_is_answered() {
    let mut wire = serve(1_000_000);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(GET).expect("request");
    stream.shutdown(Shutdown::Write).expect("half-close");
    let mut buffer = Vec::new();
    assert!(
        response(&mut stream, &mut buffer, To::Get)
            == Response {
                code: 200,
                body: body(1_000_000)
            }
    );
    assert_eq!(rest(&mut stream), b"");
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn half_a_request_and_a_half_close_are_no_request() {
    let mut wire = serve(10);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(&GET[..10]).expect("half a request");
    stream.shutdown(Shutdown::Write).expect("half-close");
    assert_eq!(rest(&mut stream), b"");
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn a_client_that_resets_in_mid_download() {
    let mut wire = serve(50_000_000);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(GET).expect("request");
    let mut some = [0; 10_000];
    std::io::Read::read_exact(&mut stream, &mut some).expect("the beginning");
    // Closing with unread data resets.
    stream.close().expect("close");
    wire.pass(Duration::from_secs(1));
    wire.server_has_nothing_left();
}

#[test]
fn a_client_that_vanishes_in_mid_download() {
    let mut wire = serve(50_000_000);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(GET).expect("request");
    let mut some = [0; 10_000];
    std::io::Read::read_exact(&mut stream, &mut some).expect("the beginning");
    drop(stream);
    wire.server_alone(Duration::from_secs(3600));
    wire.server_has_nothing_left();
}

#[test]
fn a_silent_client_is_closed_after_the_idle_timeout() {
    let mut wire = serve(10);
    let mut client = wire.client();
    client.set_timeout(Some(Duration::from_secs(100)));
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(GET).expect("request");
    let mut buffer = Vec::new();
    assert_eq!(response(&mut stream, &mut buffer, To::Get).code, 200);
    assert_eq!(
        rest(&mut stream),
        b"",
        "the server's end comes within 100 s"
    );
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn draining_ends_an_idle_connection_and_refuses_new_ones() {
    let mut wire = serve(10);
    let server = wire.server();
    drop(server);
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(GET).expect("request");
    assert_eq!(response(&mut stream, &mut Vec::new(), To::Get).code, 200);
    let sock = stream.sock().expect("open");
    std::mem::forget(stream);
    wire.server().start_drain();
    wire.pass(Duration::from_millis(100));
    let mut client = wire.client();
    assert!(client.connect(AT).is_err(), "nobody listens any more");
    let (stack, now) = client.worker().fresh();
    let mut byte = [0];
    assert_eq!(
        stack.recv(now, sock, &mut byte, millrace::net::MsgFlags::NONE),
        Ok(0),
        "the server has ended"
    );
    stack.close(now, sock).expect("close");
    wire.pass(Duration::from_millis(100));
    let server = wire.server();
    assert!(server.is_quiet());
}
