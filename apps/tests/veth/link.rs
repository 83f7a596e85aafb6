//! Below TCP: ARP and ICMP as ping and arping see them, answers for ports that nobody has, and damaged segments.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::command::{eventually, run};
use crate::lab::{Driver, LINUX, Lab, OURS, PORT, SERVER};
use crate::server::Server;
use crate::socket::try_connect;

real_peer_tests! {
    ping_from_a_cold_neighbour_table: af_xdp | tap;
    arping_is_answered_for_our_address_alone: af_xdp | tap;
    udp_to_an_unused_port_gets_port_unreachable: af_xdp | tap;
    tcp_to_an_unused_port_is_refused: af_xdp | tap;
    wrong_tcp_checksum_is_dropped_and_counted: af_xdp | tap;
}

const LIMIT: Duration = Duration::from_secs(30);

/// ICMP payloads of 56 bytes, none, and the most that fits an MTU of 1500; the first packet of each run waits for ARP.
fn ping_from_a_cold_neighbour_table(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &[]);
    for size in ["56", "0", "1472"] {
        lab.linux_sh(&format!("ip neigh flush dev {}", lab.linux_dev()));
        let mut ping = lab.linux("ping");
        ping.args([
            "-n",
            "-c",
            "5",
            "-i",
            "0.05",
            "-W",
            "5",
            "-M",
            "do",
            "-s",
            size,
            &OURS.to_string(),
        ]);
        let said = run(&mut ping, LIMIT).success();
        assert!(
            said.contains("5 packets transmitted, 5 received, 0% packet loss"),
            "-s {size}: {said}"
        );
        assert!(
            !said.contains("wrong data byte") && !said.contains("DUP!"),
            "-s {size}: {said}"
        );
    }
    let stats = server.stop();
    assert_eq!(stats.mib("IcmpInEchos"), 15);
    assert_eq!(stats.mib("IcmpOutEchoReps"), 15);
}

fn arping_is_answered_for_our_address_alone(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &[]);
    let arping = |address: &str| {
        let mut command = lab.linux("arping");
        command.args(["-c", "3", "-w", "4", "-I", lab.linux_dev(), address]);
        run(&mut command, LIMIT)
    };
    let ours = arping(&OURS.to_string()).success();
    assert!(ours.contains("Received 3 response(s)"), "{ours}");
    let other = arping("10.77.0.3");
    assert!(other.out.contains("Received 0 response(s)"), "{other:?}");
    server.stop();
}

fn udp_to_an_unused_port_gets_port_unreachable(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &[]);
    let answer = lab.as_linux(|| {
        let socket = UdpSocket::bind((LINUX, 0)).expect("bind");
        socket.connect((OURS, 9)).expect("connect");
        socket.set_read_timeout(Some(LIMIT)).expect("timeout");
        socket.send(b"anybody?").expect("send");
        socket.recv(&mut [0; 64]).map_err(|e| e.kind())
    });
    assert_eq!(
        answer,
        Err(ErrorKind::ConnectionRefused),
        "ICMP port unreachable reaches the socket"
    );
    let stats = server.stop();
    assert_eq!(stats.mib("IcmpOutDestUnreachs"), 1);
    assert_eq!(stats.mib("UdpNoPorts"), 1);
}

fn tcp_to_an_unused_port_is_refused(driver: Driver) {
    let lab = Lab::new(driver);
    let server = Server::start(&lab, "echo", &[]);
    let answer = lab.as_linux(|| {
        try_connect(SocketAddrV4::new(OURS, PORT + 1))
            .map(|_| ())
            .map_err(|e| e.kind())
    });
    assert_eq!(answer, Err(ErrorKind::ConnectionRefused));
    let stats = server.stop();
    assert_eq!(stats.mib("TcpOutRsts"), 1);
}

/// Two SYNs that differ in nothing but the checksum: the right one is answered, the wrong one only counted.
fn wrong_tcp_checksum_is_dropped_and_counted(driver: Driver) {
    let lab = Lab::new(driver);
    let mut server = Server::start(&lab, "echo", &[]);
    let before = server.stats();
    lab.as_linux(|| {
        // Warms ARP, and shows that the same path works.
        drop(try_connect(SERVER).expect("a sound connection"));
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).expect("raw socket");
        raw.set_read_timeout(Some(LIMIT)).expect("timeout");
        let to = SockAddr::from(SocketAddr::from((OURS, 0)));
        let sound = syn(40_001);
        let mut damaged = syn(40_002);
        damaged[16] ^= 0x55;
        raw.send_to(&damaged, &to).expect("send");
        raw.send_to(&sound, &to).expect("send");
        // Frames stay in order, so an answer to the damaged SYN would come first.
        assert_eq!(next_syn_ack(&raw), 40_001);
    });
    let after = eventually("the checksum error is counted", LIMIT, || {
        let now = server.stats();
        match now.mib("TcpInCsumErrors") - before.mib("TcpInCsumErrors") {
            1 => Ok(now),
            n => Err(format!("TcpInCsumErrors rose by {n}")),
        }
    });
    assert!(
        after.dropped() > before.dropped(),
        "a refused packet has a drop reason"
    );
    server.stop();
}

/// A SYN from `port` to the server, without options, checksum right.
fn syn(port: u16) -> [u8; 20] {
    let mut segment = [0; 20];
    segment[0..2].copy_from_slice(&port.to_be_bytes());
    segment[2..4].copy_from_slice(&PORT.to_be_bytes());
    segment[4..8].copy_from_slice(&1_000_u32.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = 0x02;
    segment[14..16].copy_from_slice(&64_000_u16.to_be_bytes());
    let mut sum: u32 = 6 + 20;
    for bytes in [&LINUX.octets()[..], &OURS.octets()[..], &segment[..]] {
        sum += bytes
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum::<u32>();
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    segment[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    segment
}

/// The port that the next SYN-ACK for one of the hand-made SYNs is addressed to.
fn next_syn_ack(mut raw: &Socket) -> u16 {
    loop {
        let mut buffer = [0; 2048];
        let length = raw.read(&mut buffer).expect("a SYN-ACK");
        let packet = &buffer[..length];
        let header = usize::from(packet[0] & 15) * 4;
        let tcp = &packet[header..];
        let to = u16::from_be_bytes([tcp[2], tcp[3]]);
        if (40_001..=40_002).contains(&to) && tcp[13] & 0x12 == 0x12 {
            return to;
        }
    }
}
