//! Urgent data, with the kernel's answers (Linux 6.18, asked over loopback).

use super::data::pair;
use super::*;
use crate::ops::{Op, Recv, Step};
use millrace_wire::ipv4::Ipv4View;
use millrace_wire::tcp::{TcpFlags, TcpView};

const ALL: usize = 10;

impl Net<Nobody, Nobody> {
    fn give_urgent(&mut self, c: SockId, data: &[u8]) {
        let sent = self.a.send(self.now, c, data, MsgFlags::OOB);
        assert_eq!(sent, Ok(data.len()));
        self.settle();
    }

    /// SIOCINQ and SIOCATMARK on b.
    fn waiting(&mut self, s: SockId) -> (usize, bool) {
        (self.b.recv_len(s).unwrap(), self.b.at_mark(s).unwrap())
    }

    fn ready(&mut self, s: SockId) -> Readiness {
        self.b.readiness(s).unwrap().without(Readiness::OUT)
    }
}

#[test]
fn reading_stops_at_the_mark_and_passes_over_the_octet() {
    let (mut net, c, s) = pair();
    assert_eq!(net.get(s, 1, MsgFlags::OOB), Err(SockError::Invalid));
    net.give(c, b"abc");
    net.give_urgent(c, b"de");
    net.give(c, b"fg");
    assert_eq!(net.waiting(s), (4, false));
    assert_eq!(net.get(s, ALL, MsgFlags::PEEK).unwrap(), b"abcd");
    assert_eq!(net.get(s, ALL, MsgFlags::NONE).unwrap(), b"abcd");
    assert_eq!(net.waiting(s), (0, true));
    assert_eq!(net.get(s, 1, MsgFlags::OOB).unwrap(), b"e");
    assert_eq!(net.get(s, 1, MsgFlags::OOB), Err(SockError::Invalid));
    assert_eq!(net.waiting(s), (0, true));
    assert_eq!(net.get(s, ALL, MsgFlags::NONE).unwrap(), b"fg");
    assert_eq!(net.waiting(s), (0, false));
    assert_eq!(net.get(s, 1, MsgFlags::OOB), Err(SockError::Invalid));
}

#[test]
fn a_newer_mark_replaces_the_older_whose_octet_is_lost() {
    let (mut net, c, s) = pair();
    net.give_urgent(c, b"a");
    net.give_urgent(c, b"b");
    assert_eq!(net.waiting(s), (0, true));
    assert_eq!(net.get(s, ALL, MsgFlags::NONE), Err(SockError::WouldBlock));
    assert_eq!(net.waiting(s), (0, false));
    assert_eq!(net.get(s, 1, MsgFlags::OOB), Err(SockError::Invalid));
}

#[test]
fn an_older_octet_in_the_middle_becomes_data() {
    let (mut net, c, s) = pair();
    net.give_urgent(c, b"xa");
    net.give_urgent(c, b"yb");
    assert_eq!(net.get(s, ALL, MsgFlags::NONE).unwrap(), b"xay");
    assert_eq!(net.get(s, 1, MsgFlags::OOB).unwrap(), b"b");
}

#[test]
fn inline_urgent_data_is_data_with_a_mark() {
    let (mut net, c, s) = pair();
    net.b
        .set_option(net.now, s, SockOpt::OobInline(true))
        .unwrap();
    net.give_urgent(c, b"xy");
    net.give(c, b"z");
    assert_eq!(net.waiting(s), (3, false));
    assert_eq!(net.get(s, 1, MsgFlags::OOB), Err(SockError::Invalid));
    assert_eq!(net.get(s, ALL, MsgFlags::NONE).unwrap(), b"x");
    assert_eq!(net.waiting(s), (2, true));
    assert_eq!(net.get(s, ALL, MsgFlags::NONE).unwrap(), b"yz");
    assert_eq!(net.waiting(s), (0, false));
}

#[test]
fn poll_tells_of_the_octet_and_of_data_behind_it() {
    let (mut net, c, s) = pair();
    net.give_urgent(c, b"q");
    assert_eq!(net.ready(s), Readiness::PRI);
    assert_eq!(net.waiting(s), (0, true));
    net.give(c, b"r");
    assert_eq!(net.ready(s), Readiness::PRI | Readiness::IN);
    let mut none = [];
    let flags = MsgFlags::OOB | MsgFlags::PEEK;
    let got = net.b.recv_msg(net.now, s, &mut none, flags).unwrap();
    assert_eq!((got.len, got.flags), (0, MsgFlags::OOB | MsgFlags::TRUNC));
    let mut one = [0];
    let got = net.b.recv_msg(net.now, s, &mut one, MsgFlags::OOB).unwrap();
    assert_eq!((got.len, got.flags, one), (1, MsgFlags::OOB, *b"q"));
    assert_eq!(net.ready(s), Readiness::IN);
    assert_eq!(net.get(s, 1, MsgFlags::NONE).unwrap(), b"r");
    assert_eq!(net.waiting(s), (0, false));
}

/// The segment with the octet was lost on the way: it is announced, not here; asking for it never waits.
#[test]
fn announced_and_not_here() {
    let (mut net, c, s) = pair();
    net.a.send(net.now, c, &[7; 2000], MsgFlags::OOB).unwrap();
    let mut wire = Wire::default();
    net.a.tx(net.now, IfaceId(0), &mut wire);
    wire.0.truncate(1);
    feed(&mut net.b, net.now, &mut wire, &mut Nobody);
    let mut one = [0];
    let mut op = Recv::new(s, &mut one, MsgFlags::OOB);
    assert_eq!(
        op.step(&mut net.b, net.now),
        Step::Done(Err(SockError::WouldBlock))
    );
    assert_eq!(net.waiting(s), (1448, false));
    assert_eq!(net.ready(s), Readiness::IN);
    net.run(Duration::from_secs(3));
    assert_eq!(net.waiting(s), (1999, false));
    assert_eq!(net.get(s, 1, MsgFlags::OOB).unwrap(), [7]);
    net.b.shutdown(net.now, s, Shutdown::Read).unwrap();
    assert_eq!(net.get(s, 1, MsgFlags::OOB), Err(SockError::Invalid));
}

#[test]
fn an_urgent_octet_behind_a_hole() {
    let (mut net, c, s) = pair();
    net.cut = true;
    net.give(c, &[7; 2000]);
    net.give_urgent(c, b"u");
    net.cut = false;
    // Only the second segment arrives: an urgent octet behind a hole is at hand before the data is.
    net.a.send(net.now, c, b"v", MsgFlags::OOB).unwrap();
    net.settle();
    assert_eq!(net.get(s, 1, MsgFlags::OOB).unwrap(), b"v");
    net.run(Duration::from_secs(3));
    let mut buf = vec![0; 4000];
    let mut op = Recv::new(s, &mut buf, MsgFlags::WAITALL);
    assert_eq!(op.step(&mut net.b, net.now), Step::Done(Ok(2001)), "mark");
    assert_eq!(buf[1999..2001], [7, b'u']);
    assert_eq!(net.waiting(s), (0, true));
}

/// What a sends now: urgent pointer, sequence number from the first, length.
fn sent(net: &mut Net<Nobody, Nobody>) -> Vec<(Option<u16>, u32, usize)> {
    let mut wire = Wire::default();
    net.a.tx(net.now, IfaceId(0), &mut wire);
    let all: Vec<_> = wire
        .0
        .iter()
        .map(|frame| {
            let tcp = TcpView::parse(Ipv4View::parse(frame).unwrap().payload()).unwrap();
            let urgent = tcp.flags().contains(TcpFlags::URG).then(|| tcp.urgent());
            (urgent, tcp.seq().raw(), tcp.payload().len())
        })
        .collect();
    let first = all.first().map_or(0, |s| s.1);
    feed(&mut net.b, net.now, &mut wire, &mut Nobody);
    all.into_iter()
        .map(|(u, seq, len)| (u, seq.wrapping_sub(first), len))
        .collect()
}

#[test]
fn every_segment_before_the_pointer_carries_it() {
    let (mut net, c, s) = pair();
    net.a.send(net.now, c, &[1; 2000], MsgFlags::NONE).unwrap();
    net.a.send(net.now, c, &[2; 1000], MsgFlags::OOB).unwrap();
    net.a.send(net.now, c, &[3; 2000], MsgFlags::NONE).unwrap();
    assert_eq!(
        sent(&mut net),
        [
            (Some(3000), 0, 1448),
            (Some(1552), 1448, 1448),
            (Some(104), 2896, 1448),
            (None, 4344, 656),
        ]
    );
    net.settle();
    // Once it is acknowledged, nothing is urgent any more.
    net.a.send(net.now, c, &[4; 100], MsgFlags::NONE).unwrap();
    assert_eq!(sent(&mut net), [(None, 0, 100)]);
    let mut buf = vec![0; 9000];
    net.settle();
    let n = net.b.recv(net.now, s, &mut buf, MsgFlags::NONE);
    assert_eq!(n, Ok(2999));
}

/// RFC 9293 MUST-66: a RST counts though the window is closed.
#[test]
fn a_closed_window_does_not_hide_a_reset() {
    let (mut net, c, s) = pair();
    for _ in 0..200 {
        let _ = net.a.send(net.now, c, &[7; 8192], MsgFlags::NONE);
        net.run(Duration::from_millis(10));
    }
    assert_eq!(net.a.socks.tcp.get(c).unwrap().tx.snd_wnd, 0);
    assert!(net.a.send_unsent(c).unwrap() > 0);
    let abort = SockOpt::Linger(true, Duration::ZERO);
    net.a.set_option(net.now, c, abort).unwrap();
    net.a.close(net.now, c).unwrap();
    net.settle();
    assert_eq!(net.b.state(s), Ok(TcpState::Close));
    assert_eq!(net.b.take_error(s), Some(SockError::Reset));
}

/// A closed window: the pointer goes out with a probe all the same.
#[test]
fn a_closed_window_does_not_hide_the_mark() {
    let (mut net, c, s) = pair();
    for _ in 0..200 {
        let _ = net.a.send(net.now, c, &[7; 8192], MsgFlags::NONE);
        net.run(Duration::from_millis(10));
    }
    let unread = net.b.recv_len(s).unwrap();
    assert!(net.a.send_unsent(c).unwrap() > 0);
    let space = net.a.send_space(c).unwrap();
    assert!(space > 0 || net.a.send_unsent(c).unwrap() < 65_535);
    net.a
        .set_option(net.now, c, SockOpt::SndBuf(4_000_000))
        .unwrap();
    net.a.send(net.now, c, b"!", MsgFlags::OOB).unwrap();
    let far = net.a.send_unsent(c).unwrap();
    net.run(Duration::from_secs(400));
    assert_eq!(net.b.recv_len(s), Ok(unread), "still closed");
    // The pointer reaches 65,535 octets; ours is nearer or not.
    let marked = net.b.socks.tcp.get(s).unwrap().cold.urgent.is_some();
    assert_eq!(marked, far < 65_535, "{far}");
}

/// Header prediction rests until the mark is read, and the fast path comes back.
#[test]
fn prediction_is_off_while_there_is_a_mark() {
    let (mut net, c, s) = pair();
    net.give(c, &[7; 100]);
    assert!(net.b.socks.tcp.get(s).unwrap().rx.predict);
    net.give_urgent(c, b"u");
    net.give(c, &[7; 100]);
    assert!(!net.b.socks.tcp.get(s).unwrap().rx.predict);
    while net.get(s, 1000, MsgFlags::NONE).is_ok() {}
    assert!(net.b.socks.tcp.get(s).unwrap().rx.predict);
    let hits = net.b.mib().value(Counter::TcpExtTCPHPHits);
    net.give(c, &[7; 100]);
    assert_eq!(net.b.mib().value(Counter::TcpExtTCPHPHits), hits + 1);
}

/// A service is not lent what the mark must be looked for in: it reads from the ring, and hears of the mark.
#[test]
fn a_service_sees_the_mark() {
    #[derive(Default)]
    struct Reader {
        lent: Vec<u8>,
        read: Vec<u8>,
        urgent: Vec<u8>,
    }
    impl Service for Reader {
        fn data(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, bytes: &[u8]) -> usize {
            self.lent.extend_from_slice(bytes);
            bytes.len()
        }
        fn ready(&mut self, stack: &mut Stack, now: Instant, s: SockId, _: u64, r: Readiness) {
            if stack.state(s) == Ok(TcpState::Listen) {
                while stack.accept(now, s).is_ok() {}
                return;
            }
            let mut buf = [0; 64];
            if r.contains(Readiness::PRI) {
                let n = stack.recv(now, s, &mut buf, MsgFlags::OOB).unwrap();
                self.urgent.extend_from_slice(&buf[..n]);
            }
            while let Ok(n) = stack.recv(now, s, &mut buf, MsgFlags::NONE) {
                self.read.extend_from_slice(&buf[..n]);
            }
        }
    }
    let mut net = Net::new(LinkKind::Ip, (Nobody, Reader::default()));
    listener(&mut net.b, true);
    let c = net.a.tcp_socket().unwrap();
    let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
    net.settle();
    for (data, flags) in [
        (&b"ab"[..], MsgFlags::NONE),
        (b"cd", MsgFlags::OOB),
        (b"ef", MsgFlags::NONE),
    ] {
        net.a.send(net.now, c, data, flags).unwrap();
        net.settle();
    }
    let app = &net.apps.1;
    assert_eq!(
        (&app.lent[..], &app.read[..], &app.urgent[..]),
        (&b"abef"[..], &b"c"[..], &b"d"[..])
    );
}
