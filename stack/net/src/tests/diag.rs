//! Pages of sockets, for `ss`.

use super::data::pair;
use super::*;
use crate::sock::diag::{DiagCursor, DiagSock, DiagTimer};

const ALL: u16 = u16::MAX;

/// All sockets in some states, by pages of `length`.
fn look(stack: &Stack, now: Instant, states: u16, length: usize) -> Vec<DiagSock> {
    let (mut found, mut cursor) = (Vec::new(), Some(DiagCursor::default()));
    while let Some(from) = cursor {
        let mut page = Vec::with_capacity(length);
        cursor = stack.diag_page(now, from, states, &mut page);
        assert!(page.len() <= length, "a page is no longer than it may be");
        found.extend(page);
    }
    found
}

#[test]
fn a_connection_and_its_listener() {
    let (mut net, c, s) = pair();
    net.give(c, b"unread");
    // What is sent now gets lost.
    assert_eq!(net.a.send(net.now, c, b"lost", MsgFlags::NONE), Ok(4));
    net.a.tx(net.now, IfaceId(0), &mut Wire::default());
    let info = net.a.tcp_info(net.now, c).unwrap();
    let [ours] = look(&net.a, net.now, ALL, 1)[..] else {
        panic!("one socket")
    };
    assert_eq!((ours.id, ours.state), (c, TcpState::Established));
    assert_eq!((ours.recv_q, ours.send_q), (0, 4));
    assert_eq!(ours.info, Some(info));
    assert!(matches!(ours.timer, Some((DiagTimer::On, left, 0)) if !left.is_zero()));

    let listen = TcpState::Listen.bit();
    let [waiting] = look(&net.b, net.now, listen, 8)[..] else {
        panic!("one listener")
    };
    assert_eq!(waiting.local, SocketAddrV4::new(B, 80));
    assert_eq!((waiting.recv_q, waiting.send_q), (0, 16));
    let [theirs] = look(&net.b, net.now, ALL & !listen, 8)[..] else {
        panic!("one connection")
    };
    assert_eq!((theirs.id, theirs.recv_q, theirs.send_q), (s, 6, 0));
    assert_eq!((theirs.local, theirs.remote), (ours.remote, ours.local));
    assert!(theirs.memory.unwrap().rcv_ring > 0);
}

#[test]
fn the_end_counts_until_it_is_read() {
    let (mut net, c, s) = pair();
    net.give(c, b"hello");
    net.a.close(net.now, c).unwrap();
    net.settle();
    let recv_q = |net: &Net<Nobody, Nobody>| {
        let [theirs] = look(&net.b, net.now, TcpState::CloseWait.bit(), 8)[..] else {
            panic!("one connection")
        };
        assert_eq!(theirs.shutdown, Some(1));
        theirs.recv_q
    };
    assert_eq!(recv_q(&net), 6);
    let mut buf = [0; 5];
    let peek = MsgFlags::PEEK;
    assert_eq!(net.b.recv(net.now, s, &mut buf, peek), Ok(5));
    assert_eq!(net.b.recv(net.now, s, &mut buf[..3], MsgFlags::NONE), Ok(3));
    assert_eq!(recv_q(&net), 3);
    assert_eq!(net.b.recv(net.now, s, &mut buf[..2], MsgFlags::NONE), Ok(2));
    assert_eq!(recv_q(&net), 0);

    // Alone it waits for whoever comes next, but not for one who only looks.
    let (mut net, c, s) = pair();
    net.a.close(net.now, c).unwrap();
    net.settle();
    assert_eq!(recv_q(&net), 1);
    assert_eq!(net.b.recv(net.now, s, &mut buf, peek), Ok(0));
    assert_eq!(recv_q(&net), 1);
    assert_eq!(net.b.recv(net.now, s, &mut buf, MsgFlags::NONE), Ok(0));
    assert_eq!(recv_q(&net), 0);
}

#[test]
fn mini_sockets() {
    let (mut net, c, s) = pair();
    net.a.close(net.now, c).unwrap();
    net.settle();
    net.b.close(net.now, s).unwrap();
    net.settle();
    let [old] = look(&net.a, net.now, ALL, 4)[..] else {
        panic!("one mini-socket")
    };
    assert_eq!((old.state, old.info), (TcpState::TimeWait, None));
    let Some((DiagTimer::TimeWait, left, 0)) = old.timer else {
        panic!("{:?}", old.timer)
    };
    assert!(left > Duration::from_secs(59) && left <= Duration::from_secs(61));

    // A SYN arrives, and the SYN-ACK is not answered.
    let new = net.a.tcp_socket().unwrap();
    let _ = net.a.connect(net.now, new, SocketAddrV4::new(B, 80));
    let mut wire = Wire::default();
    net.a.tx(net.now, IfaceId(0), &mut wire);
    feed(&mut net.b, net.now, &mut wire, &mut Nobody);
    let [begun] = look(&net.b, net.now, TcpState::SynRecv.bit(), 4)[..] else {
        panic!("one request")
    };
    assert!(
        matches!(begun.timer, Some((DiagTimer::On, left, 0)) if left <= Duration::from_secs(1))
    );
    let [asking] = look(&net.a, net.now, TcpState::SynSent.bit(), 4)[..] else {
        panic!("one attempt")
    };
    assert_eq!((asking.send_q, asking.remote), (1, begun.local));
}

#[test]
fn pages_of_any_length_tell_every_socket_once() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let mut made: Vec<_> = (0..3000).map(|_| net.a.tcp_socket().unwrap()).collect();
    // Empty places in between, more in a row than one page looks at.
    for gone in made.drain(500..2600) {
        net.a.close(net.now, gone).unwrap();
    }
    for length in [1, 7, 64, 5000] {
        let told: Vec<_> = look(&net.a, net.now, ALL, length)
            .iter()
            .map(|sock| sock.id)
            .collect();
        assert_eq!(told, made, "pages of {length}");
    }
}
