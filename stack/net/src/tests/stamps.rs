//! SO_TIMESTAMPING, SO_TIMESTAMP and the error queue, with the kernel's answers (Linux 6.18, asked over loopback).

use super::data::pair;
use super::*;

const SND: u32 = 0;
const SCHED: u32 = 1;
const ACK: u32 = 2;

fn all() -> Timestamping {
    Timestamping::SOFTWARE
        | Timestamping::TX_SOFTWARE
        | Timestamping::TX_SCHED
        | Timestamping::TX_ACK
        | Timestamping::OPT_TSONLY
}

impl Net<Nobody, Nobody> {
    fn stamp_a(&mut self, c: SockId, flags: Timestamping) {
        let option = SockOpt::Timestamping(flags.bits());
        self.a.set_option(self.now, c, option).unwrap();
    }

    /// What, octet number and time (ms from the start of the test) of all that the error queue of a tells.
    fn told(&mut self, c: SockId, start: Instant) -> Vec<(u32, u32, u128)> {
        let mut told = Vec::new();
        while let Ok(got) = self.a.recv_msg(self.now, c, &mut [], MsgFlags::ERRQUEUE) {
            let error = got.error.unwrap();
            assert_eq!(
                (error.errno, error.origin, error.ty, error.code),
                (42, 4, 0, 0)
            );
            assert!(got.flags.contains(MsgFlags::ERRQUEUE));
            let at = got.timestamp.unwrap().since(start).as_millis();
            told.push((error.info, error.data, at));
        }
        told
    }
}

#[test]
fn bits_are_checked() {
    let (mut net, c, _) = pair();
    let l = listener_on(&mut net, 81);
    let n = net.a.tcp_socket().unwrap();
    let tsonly = Timestamping::OPT_TSONLY;
    let id = Timestamping::OPT_ID;
    let ok = Ok(());
    let invalid = Err(SockError::Invalid);
    let missing = Err(SockError::OpNotSupported);
    for (flags, connected, other) in [
        (0, ok, ok),
        (all().bits(), ok, ok),
        ((all() | id).bits(), ok, invalid),
        (1 << 19, invalid, invalid),
        (u32::MAX, invalid, invalid),
        (Timestamping::OPT_ID_TCP.bits(), invalid, invalid),
        ((Timestamping::OPT_ID_TCP | id).bits(), ok, invalid),
        (Timestamping::OPT_STATS.bits(), invalid, invalid),
        // The kernel has these; a stack that has not must not say so.
        ((Timestamping::OPT_STATS | tsonly).bits(), missing, missing),
        (Timestamping::BIND_PHC.bits(), missing, missing),
    ] {
        let option = SockOpt::Timestamping(flags);
        assert_eq!(net.a.set_option(net.now, c, option), connected, "{flags:x}");
        if connected.is_ok() {
            assert_eq!(net.a.option(c, OptName::Timestamping), Ok(option));
        }
        for s in [n, l] {
            assert_eq!(net.a.set_option(net.now, s, option), other, "{flags:x}");
        }
    }
}

fn listener_on(net: &mut Net<Nobody, Nobody>, port: u16) -> SockId {
    let l = net.a.tcp_socket().unwrap();
    net.a.bind(l, SocketAddrV4::new(A, port)).unwrap();
    net.a.listen(l, 1).unwrap();
    l
}

#[test]
fn queued_sent_and_acknowledged_in_this_order() {
    let (mut net, c, _) = pair();
    net.stamp_a(c, all());
    let start = net.now;
    assert_eq!(net.told(c, start), []);
    net.cut = true;
    net.a.send(net.now, c, b"hello", MsgFlags::NONE).unwrap();
    assert!(!net.a.readiness(c).unwrap().contains(Readiness::ERR));
    net.settle();
    assert!(net.a.readiness(c).unwrap().contains(Readiness::ERR));
    // The error queue is no error of the connection, and is never waited for.
    assert_eq!(net.a.take_error(c), None);
    assert_eq!(net.told(c, start), [(SCHED, 0, 0), (SND, 0, 0)]);
    assert!(!net.a.readiness(c).unwrap().contains(Readiness::ERR));
    net.cut = false;
    net.run(Duration::from_secs(1));
    // It went again after the time-out, and the ACK is the last.
    let told = net.told(c, start);
    assert_eq!(told.last().map(|t| t.0), Some(ACK));
    assert!(told.last().unwrap().2 >= 200, "{told:?}");
    assert_eq!(
        told[..2].iter().map(|t| t.0).collect::<Vec<_>>(),
        [SCHED, SND]
    );
    let mut op = ops::RecvMsg::new(c, &mut [], MsgFlags::ERRQUEUE);
    assert_eq!(
        ops::Op::step(&mut op, &mut net.a, net.now),
        ops::Step::Done(Err(SockError::WouldBlock))
    );
}

#[test]
fn octets_are_numbered_from_the_option_on() {
    let (mut net, c, _) = pair();
    let start = net.now;
    net.give(c, b"before");
    let acks = Timestamping::TX_ACK | Timestamping::OPT_ID | Timestamping::OPT_TSONLY;
    net.stamp_a(c, acks);
    let numbers = |net: &mut Net<_, _>| -> Vec<u32> {
        net.run(Duration::from_millis(300));
        net.told(c, start).into_iter().map(|t| t.1).collect()
    };
    net.give(c, b"abc");
    net.give(c, b"de");
    assert_eq!(numbers(&mut net), [2, 4]);
    // Setting it again goes on counting; turning it off and on begins anew.
    net.stamp_a(c, acks);
    net.give(c, b"abc");
    assert_eq!(numbers(&mut net), [7]);
    net.stamp_a(c, Timestamping::empty());
    net.give(c, b"zzzz");
    net.run(Duration::from_millis(300));
    net.stamp_a(c, acks);
    net.give(c, b"abc");
    assert_eq!(numbers(&mut net), [2]);
    // Nothing sent, nothing told. Calls that share a segment have the last one's number.
    net.give(c, b"");
    net.a.send(net.now, c, b"x", MsgFlags::MORE).unwrap();
    net.a.send(net.now, c, b"y", MsgFlags::NONE).unwrap();
    assert_eq!(numbers(&mut net), [4]);
    net.stamp_a(c, Timestamping::empty());
    net.give(c, b"none");
    assert_eq!(numbers(&mut net), []);
}

#[test]
fn one_call_may_ask_for_itself() {
    let (mut net, c, _) = pair();
    let start = net.now;
    net.stamp_a(c, Timestamping::SOFTWARE | Timestamping::OPT_TSONLY);
    let msg = SendMsg {
        timestamping: Some(Timestamping::TX_ACK),
        ..SendMsg::default()
    };
    net.a.send_msg(net.now, c, b"xyz", &msg).unwrap();
    net.run(Duration::from_millis(300));
    assert_eq!(net.told(c, start).len(), 1);
    net.give(c, b"xyz");
    net.run(Duration::from_millis(300));
    assert_eq!(net.told(c, start), []);
}

/// Without OPT_TSONLY the packet is told too; it is not kept here, which MSG_TRUNC says.
#[test]
fn a_packet_that_is_not_told_is_cut_off() {
    let (mut net, c, _) = pair();
    let tsonly = all();
    for (flags, cut) in [
        (tsonly, false),
        (tsonly.difference(Timestamping::OPT_TSONLY), true),
    ] {
        net.stamp_a(c, flags);
        net.give(c, b"hello");
        let got = net
            .a
            .recv_msg(net.now, c, &mut [], MsgFlags::ERRQUEUE)
            .unwrap();
        assert_eq!(got.flags.contains(MsgFlags::TRUNC), cut);
        net.told(c, net.now);
    }
}

#[test]
fn the_queue_is_bounded_by_the_receive_buffer() {
    let (mut net, c, _) = pair();
    net.a.set_option(net.now, c, SockOpt::RcvBuf(7680)).unwrap();
    net.a
        .set_option(net.now, c, SockOpt::NoDelay(true))
        .unwrap();
    net.stamp_a(c, all());
    for _ in 0..50 {
        net.give(c, b"x");
        net.run(Duration::from_millis(50));
    }
    assert_eq!(net.told(c, Instant::ZERO).len(), 2 * 7680 / 768 - 1);
    assert!(net.a.mib().value(Counter::MillraceErrQueueFull) > 0);
}

#[test]
fn a_reset_ends_what_was_awaited() {
    let (mut net, c, s) = pair();
    net.stamp_a(c, Timestamping::TX_ACK | Timestamping::OPT_TSONLY);
    net.give(c, b"unread");
    net.run(Duration::from_millis(300));
    assert_eq!(net.told(c, net.now).len(), 1);
    net.cut = true;
    net.a.send(net.now, c, b"lost", MsgFlags::NONE).unwrap();
    net.settle();
    net.cut = false;
    net.b.close(net.now, s).unwrap();
    net.run(Duration::from_secs(1));
    assert_eq!(net.a.state(c), Ok(TcpState::Close));
    assert_eq!(net.told(c, net.now), []);
}

#[test]
fn arrivals_are_told_with_the_octets() {
    let (mut net, c, s) = pair();
    let start = net.now;
    let mut buf = [0; 16];
    let mut when = |net: &mut Net<_, _>, len: usize, flags| {
        let got = net.b.recv_msg(net.now, s, &mut buf[..len], flags).unwrap();
        got.timestamp.map(|at| at.since(start).as_millis())
    };
    net.give(c, b"unseen");
    net.b
        .set_option(net.now, s, SockOpt::SoTimestampNs(true))
        .unwrap();
    assert_eq!(
        net.b.option(s, OptName::SoTimestamp),
        Ok(SockOpt::SoTimestamp(false))
    );
    assert_eq!(when(&mut net, 6, MsgFlags::NONE), None);
    for _ in 0..2 {
        net.run(Duration::from_millis(100));
        net.give(c, b"abc");
    }
    net.run(Duration::from_millis(100));
    assert_eq!(when(&mut net, 3, MsgFlags::PEEK), Some(100));
    assert_eq!(when(&mut net, 4, MsgFlags::PEEK), Some(200));
    assert_eq!(when(&mut net, 2, MsgFlags::NONE), Some(100));
    assert_eq!(when(&mut net, 16, MsgFlags::NONE), Some(200));
    net.b
        .set_option(net.now, s, SockOpt::SoTimestampNs(false))
        .unwrap();
    net.give(c, b"abc");
    assert_eq!(when(&mut net, 16, MsgFlags::NONE), None);
}

/// What waited behind a hole has its own time, not that of the segment that filled it.
#[test]
fn arrivals_out_of_order_have_their_own_time() {
    let (mut net, c, s) = pair();
    let flags = Timestamping::RX_SOFTWARE | Timestamping::SOFTWARE;
    net.b
        .set_option(net.now, s, SockOpt::Timestamping(flags.bits()))
        .unwrap();
    let start = net.now;
    net.a.send(net.now, c, &[7; 2896], MsgFlags::NONE).unwrap();
    let mut wire = Wire::default();
    net.a.tx(net.now, IfaceId(0), &mut wire);
    assert_eq!(wire.0.len(), 2);
    let mut first = Wire(vec![wire.0.remove(0)]);
    feed(&mut net.b, net.now, &mut wire, &mut Nobody);
    net.now = net.now + Duration::from_millis(5);
    feed(&mut net.b, net.now, &mut first, &mut Nobody);
    let mut buf = vec![0; 1448];
    for expected in [5, 0] {
        let got = net
            .b
            .recv_msg(net.now, s, &mut buf, MsgFlags::NONE)
            .unwrap();
        let at = got.timestamp.unwrap().since(start).as_millis();
        assert_eq!((got.len, at), (1448, expected));
    }
}
