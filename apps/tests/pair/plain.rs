//! Echo, discard and chargen.

use std::io::{Read, Write};
use std::net::Shutdown;

use millrace_apps::services::chargen::byte_at;
use millrace_apps::services::{Chargen, Discard, Echo, Server};

use crate::wire::{AT, Wire, rest};

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[test]
fn echo_gives_back_what_it_gets() {
    let mut wire = Wire::new(Box::new(Server::new(Echo, None)));
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    let data = noise(2_000_000);
    // In steps that fit into the buffers of both ends.
    for piece in data.chunks(50_000) {
        stream.write_all(piece).expect("write");
        let mut back = vec![0; piece.len()];
        stream.read_exact(&mut back).expect("read");
        assert!(back == piece);
    }
    stream.shutdown(Shutdown::Write).expect("half-close");
    assert_eq!(rest(&mut stream), b"");
    stream.close().expect("close");
    wire.nothing_left();
}

/// As much is written as all buffers take before anything is read: nothing may be lost or change its order.
#[test]
fn echo_holds_back_a_client_that_does_not_read() {
    let mut wire = Wire::new(Box::new(Server::new(Echo, None)));
    let mut client = wire.client();
    client.set_timeout(Some(std::time::Duration::from_secs(5)));
    let mut stream = client.connect(AT).expect("connect");
    let data = noise(50_000_000);
    let mut written = 0;
    // Ends when a write has waited for five seconds.
    while let Ok(n) = stream.send(&data[written..]) {
        written += n;
        assert!(written < data.len(), "nothing stopped the client");
    }
    assert!(written > 100_000, "{written}");
    stream.shutdown(Shutdown::Write).expect("half-close");
    assert!(rest(&mut stream) == data[..written]);
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn echo_of_single_bytes() {
    let mut wire = Wire::new(Box::new(Server::new(Echo, None)));
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    let data = noise(2000);
    for byte in &data {
        stream.write_all(&[*byte]).expect("write");
    }
    stream.shutdown(Shutdown::Write).expect("half-close");
    assert!(rest(&mut stream) == data);
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn discard_says_nothing() {
    let mut wire = Wire::new(Box::new(Server::new(Discard, None)));
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    stream.write_all(&noise(3_000_000)).expect("write");
    stream.shutdown(Shutdown::Write).expect("half-close");
    assert_eq!(rest(&mut stream), b"");
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn chargen_sends_until_the_client_ends() {
    let mut wire = Wire::new(Box::new(Server::new(Chargen::new(), None)));
    let mut client = wire.client();
    let mut stream = client.connect(AT).expect("connect");
    let mut text = vec![0; 3_000_000];
    stream.read_exact(&mut text).expect("read");
    assert!(
        text.iter()
            .enumerate()
            .all(|(at, &byte)| byte == byte_at(at))
    );
    stream.shutdown(Shutdown::Write).expect("half-close");
    let more = rest(&mut stream);
    assert!(
        more.iter()
            .zip(3_000_000..)
            .all(|(&byte, at)| byte == byte_at(at))
    );
    stream.close().expect("close");
    wire.nothing_left();
}

#[test]
fn many_connections_one_after_the_other() {
    let mut wire = Wire::new(Box::new(Server::new(Echo, None)));
    for round in 0..500_u32 {
        let mut client = wire.client();
        let mut stream = client.connect(AT).expect("connect");
        stream.write_all(&round.to_be_bytes()).expect("write");
        let mut back = [0; 4];
        stream.read_exact(&mut back).expect("read");
        assert_eq!(u32::from_be_bytes(back), round);
        stream.close().expect("close");
    }
    wire.nothing_left();
}
