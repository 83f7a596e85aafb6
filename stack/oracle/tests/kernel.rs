//! The kernel behind a TUN device, as a machine. Needs root.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_lab::machine::{Machine, Passed, Progress, Ticket};
use millrace_oracle::{KernelMachine, Setup};
use millrace_posix::call::{Call, Out, Return, SockAddr};
use millrace_wire::ipv4::{self, Ipv4Header, Ipv4View, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{self, TcpFlags, TcpHeader, TcpView};

const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, 1), 8080);
const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4000);

fn machine() -> KernelMachine {
    KernelMachine::new(&Setup::default()).expect("a machine")
}

fn done(machine: &mut KernelMachine, call: Call) -> Return {
    match machine.start(call).expect("the machine works") {
        Progress::Done(answer) => answer,
        Progress::Waits(_) => panic!("this call should not wait"),
    }
}

fn waits(machine: &mut KernelMachine, call: Call) -> Ticket {
    match machine.start(call).expect("the machine works") {
        Progress::Waits(ticket) => ticket,
        Progress::Done(answer) => panic!("this call should wait: {answer:?}"),
    }
}

fn listener(machine: &mut KernelMachine) -> i32 {
    let fd = done(
        machine,
        Call::Socket {
            domain: libc::AF_INET,
            ty: libc::SOCK_STREAM,
            protocol: 0,
        },
    )
    .value as i32;
    let addr = SockAddr::V4(LOCAL);
    assert_eq!(done(machine, Call::Bind { fd, addr }).errno, 0);
    assert_eq!(done(machine, Call::Listen { fd, backlog: 5 }).errno, 0);
    fd
}

fn segment(flags: TcpFlags, seq: u32, ack: u32) -> Vec<u8> {
    let mut packet = vec![0; ipv4::MIN_HEADER_LEN + tcp::MIN_HEADER_LEN];
    let ip = Ipv4Header {
        src: *PEER.ip(),
        dst: *LOCAL.ip(),
        protocol: protocol::TCP,
        ttl: 64,
        tos: 0,
        id: 0,
        dont_fragment: true,
    };
    ip.emit(&mut packet, tcp::MIN_HEADER_LEN as u16);
    let header = TcpHeader {
        src_port: PEER.port(),
        dst_port: LOCAL.port(),
        seq: SeqNum::new(seq),
        ack: SeqNum::new(ack),
        flags,
        window: 1000,
        urgent: 0,
    };
    let bytes = &mut packet[ipv4::MIN_HEADER_LEN..];
    header.emit(bytes, &[]);
    tcp::fill_checksum(bytes, *PEER.ip(), *LOCAL.ip());
    packet
}

#[test]
#[ignore = "needs root"]
fn a_blocked_accept_returns_at_the_last_segment_of_the_handshake() {
    let mut machine = machine();
    let fd = listener(&mut machine);
    assert_eq!(fd, 3, "descriptors count from 3");
    let accept = waits(&mut machine, Call::Accept { fd, flags: 0 });
    let before = machine.now();
    machine
        .inject(&[segment(TcpFlags::SYN, 100, 0)])
        .expect("injected");
    let answer = machine.sent().pop_front().expect("a SYN-ACK");
    assert!(
        answer.at >= before && answer.at <= machine.now(),
        "{answer:?}"
    );
    let ip = Ipv4View::parse(&answer.bytes).expect("IPv4");
    let tcp = TcpView::parse(ip.payload()).expect("TCP");
    assert!(ip.checksum_ok() && tcp.checksum_ok(ip.src(), ip.dst()));
    assert_eq!(tcp.flags(), TcpFlags::SYN | TcpFlags::ACK);
    assert!(machine.returned(accept).is_none());
    let iss = tcp.seq().raw();
    machine
        .inject(&[segment(TcpFlags::ACK, 101, iss.wrapping_add(1))])
        .expect("injected");
    // It may have returned before anybody asked, and then there is nothing to wait for.
    let mut returned = machine.returned(accept);
    if returned.is_none() {
        let until = machine.now() + Duration::from_secs(5);
        assert_eq!(machine.pass_time(until), Ok(Passed::Something));
        returned = machine.returned(accept);
    }
    let (answer, at) = returned.expect("accept has returned");
    assert_eq!(
        (answer.value, answer.out),
        (4, Out::Addr(SockAddr::V4(PEER)))
    );
    assert!(at <= machine.now());
    assert_eq!(machine.counter("TcpPassiveOpens"), Some(1));
}

#[test]
#[ignore = "needs root"]
fn machines_are_apart_and_leave_nothing_behind() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let ended = std::thread::spawn(move || {
        let before = descriptors();
        for _ in 0..3 {
            let (mut one, mut two) = (machine(), machine());
            let (a, b) = (listener(&mut one), listener(&mut two));
            // The same address and port in both, and calls that wait when the machine goes.
            waits(&mut one, Call::Accept { fd: a, flags: 0 });
            waits(&mut two, Call::Accept { fd: b, flags: 0 });
            one.set_sysctl("net.ipv4.tcp_sack", "0").expect("a setting");
            let read = |machine: &mut KernelMachine| {
                let output = machine
                    .shell("cat /proc/sys/net/ipv4/tcp_sack")
                    .expect("sh");
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
            };
            assert_eq!((read(&mut one), read(&mut two)), ("0".into(), "1".into()));
        }
        (before, descriptors())
    });
    // Other tests run beside this one, so the number is not exact; three rounds of leaks would be seen.
    let (before, after) = ended.join().expect("no panic");
    assert!(after < before + 30, "{before} descriptors became {after}");
    assert!(threads() < 40, "{} threads", threads());
}
