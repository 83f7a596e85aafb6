//! Starting, stopping, dying and starting again; and connections that come and go by the thousand.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use rustix::process::Signal;

use crate::command::eventually;
use crate::lab::{Driver, Lab, SERVER};
use crate::server::Server;
use crate::socket::{connect, read_to_end, reset, try_connect};

real_peer_tests! {
    ten_thousand_connections_one_after_another: af_xdp | tap;
    restart_right_after_sigkill: af_xdp | xsk_rs | tap;
    restart_right_after_sigterm: af_xdp | tap;
    sigint_drains_an_open_connection: af_xdp | tap;
    nothing_stays_on_the_interface: af_xdp | xsk_rs;
    native_mode_is_announced: af_xdp | xsk_rs;
}

/// Every tenth says something, every hundredth ends with RST; the others just connect and close.
fn ten_thousand_connections_one_after_another(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    lab.as_linux(|| {
        for number in 0..10_000_u32 {
            let mut stream =
                try_connect(SERVER).unwrap_or_else(|e| panic!("connection {number}: {e}"));
            if number % 10 == 0 {
                stream.write_all(b"hello").expect("write");
                let mut answer = [0; 5];
                stream
                    .read_exact(&mut answer)
                    .unwrap_or_else(|e| panic!("connection {number}: {e}"));
                assert_eq!(&answer, b"hello", "connection {number}");
            }
            if number % 100 == 0 {
                reset(stream);
            }
        }
    });
    let after = server.settles(&before);
    assert_eq!(
        after.mib("TcpPassiveOpens") - before.mib("TcpPassiveOpens"),
        10_000
    );
    server.stop();
}

#[track_caller]
fn echoes(lab: &Lab) {
    lab.as_linux(|| {
        let mut stream = connect(SERVER);
        stream.write_all(b"are you there").expect("write");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("half-close");
        assert_eq!(read_to_end(&stream), b"are you there");
    });
}

/// The kernel client still thinks that it is connected; the new server knows nothing of it and says so with RST.
fn restart_right_after_sigkill(driver: Driver) {
    let lab = Lab::new(driver);
    for _ in 0..3 {
        let server = Server::start(&lab, "echo", &[]);
        echoes(&lab);
        let mut orphan = lab.as_linux(|| connect(SERVER));
        server.kill();
        let server = Server::start(&lab, "echo", &[]);
        echoes(&lab);
        let outcome = orphan
            .write_all(b"hello?")
            .and_then(|()| orphan.read(&mut [0; 8]));
        assert_eq!(
            outcome.map_err(|e| e.kind()),
            Err(ErrorKind::ConnectionReset)
        );
        server.kill();
    }
}

fn restart_right_after_sigterm(driver: Driver) {
    let lab = Lab::new(driver);
    for _ in 0..3 {
        let server = Server::start(&lab, "echo", &[]);
        echoes(&lab);
        server.stop();
    }
}

/// A drain refuses new connections, lets the open one finish its exchange, and ends with code 0.
fn sigint_drains_an_open_connection(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &["--drain-timeout", "20"]);
    let mut stream = lab.as_linux(|| connect(SERVER));
    stream.write_all(b"before").expect("write");
    stream.read_exact(&mut [0; 6]).expect("echo");
    let client = std::thread::spawn(move || {
        // Both orders of this and of the signal are right; the bytes must come back in either.
        stream.write_all(b"after").expect("write");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("half-close");
        read_to_end(&stream)
    });
    let stats = server.stop_with(Signal::INT);
    assert_eq!(client.join().expect("client"), b"after");
    assert_eq!(stats.census("established"), 0);
}

/// Neither after SIGKILL nor after an orderly end is an XDP program left.
fn nothing_stays_on_the_interface(driver: Driver) {
    let lab = Lab::new(driver);
    let attached = || {
        lab.ours_sh(&format!("ip -details link show {}", lab.our_dev()))
            .contains("prog/xdp")
    };
    for end in [Server::kill as fn(Server), |server| drop(server.stop())] {
        let server = Server::start(&lab, "echo", &[]);
        assert!(
            attached(),
            "a running server has its program on the interface"
        );
        end(server);
        eventually(
            "the XDP program goes",
            Duration::from_secs(5),
            || match attached() {
                false => Ok(()),
                true => Err(String::from("still attached")),
            },
        );
    }
}

fn native_mode_is_announced(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &[]);
    let said = server.transcript();
    assert!(
        said.contains("copy native") || said.contains("zero-copy native"),
        "{said}"
    );
    let sockets = match driver {
        Driver::XskRs => "xsk-rs",
        Driver::AfXdp | Driver::Tap => "own sockets",
    };
    assert!(said.contains(&format!("native, {sockets}, ")), "{said}");
    server.stop();
}
