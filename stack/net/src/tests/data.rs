//! send and recv: flags, errno, limits, partial results; the kernel's answers (Linux 6.18, asked over loopback).

use super::*;
use crate::ops::{Op, Recv, RecvMsg, Send, Step};

pub(super) type Pair = (Net<Nobody, Nobody>, SockId, SockId);

pub(super) fn pair() -> Pair {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    (net, c, s)
}

impl Net<Nobody, Nobody> {
    pub(super) fn give(&mut self, c: SockId, data: &[u8]) {
        assert_eq!(
            self.a.send(self.now, c, data, MsgFlags::NONE),
            Ok(data.len())
        );
        self.settle();
    }

    /// recv on b of at most `len` octets.
    pub(super) fn get(
        &mut self,
        s: SockId,
        len: usize,
        flags: MsgFlags,
    ) -> Result<Vec<u8>, SockError> {
        let mut buf = vec![0; len];
        let n = self.b.recv(self.now, s, &mut buf, flags)?;
        buf.truncate(n);
        Ok(buf)
    }

    fn reset_from_a(&mut self, c: SockId) {
        self.a.abort(self.now, c);
        self.settle();
    }
}

#[test]
fn never_connected() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let n = net.b.tcp_socket().unwrap();
    assert_eq!(net.get(n, 1, MsgFlags::NONE), Err(SockError::NotConnected));
    for data in [&b""[..], b"x"] {
        for s in [n, l] {
            let sent = net.b.send(net.now, s, data, MsgFlags::NONE);
            assert_eq!(sent, Err(SockError::BrokenPipe));
        }
    }
    assert_eq!(net.b.recv_len(n), Ok(0));
    assert_eq!(net.b.send_queued(n), Ok(0));
    assert_eq!(net.b.send_unsent(n), Ok(0));
    assert_eq!(net.get(l, 1, MsgFlags::NONE), Err(SockError::NotConnected));
    assert_eq!(net.b.recv_len(l), Err(SockError::Invalid));
    assert_eq!(net.b.send_queued(l), Err(SockError::Invalid));
    assert_eq!(net.b.send_unsent(l), Err(SockError::Invalid));
}

#[test]
fn connecting() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let c = net.a.tcp_socket().unwrap();
    let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
    let mut buf = [0; 4];
    assert_eq!(
        net.a.recv(net.now, c, &mut buf, MsgFlags::NONE),
        Err(SockError::WouldBlock)
    );
    assert_eq!(
        net.a.send(net.now, c, b"", MsgFlags::NONE),
        Err(SockError::WouldBlock)
    );
    assert_eq!((net.a.send_queued(c), net.a.recv_len(c)), (Ok(0), Ok(0)));
    // Nobody listens: the error once, then the end.
    net.settle();
    assert_eq!(
        net.a.recv(net.now, c, &mut buf, MsgFlags::NONE),
        Err(SockError::Refused)
    );
    assert_eq!(net.a.recv(net.now, c, &mut buf, MsgFlags::NONE), Ok(0));
    assert_eq!(
        net.a.send(net.now, c, b"x", MsgFlags::NONE),
        Err(SockError::BrokenPipe)
    );
}

#[test]
fn data_comes_before_an_error_and_an_error_before_the_end() {
    let (mut net, c, s) = pair();
    net.give(c, b"abc");
    net.reset_from_a(c);
    assert_eq!(net.get(s, 2, MsgFlags::NONE).unwrap(), b"ab");
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"c");
    assert_eq!(net.get(s, 9, MsgFlags::NONE), Err(SockError::Reset));
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"");
    assert_eq!(
        net.b.send(net.now, s, b"", MsgFlags::NONE),
        Err(SockError::BrokenPipe)
    );
}

#[test]
fn send_takes_the_error_and_recv_still_has_the_data() {
    let (mut net, c, s) = pair();
    net.give(c, b"abc");
    net.reset_from_a(c);
    assert_eq!(
        net.b.send(net.now, s, b"", MsgFlags::NONE),
        Err(SockError::Reset)
    );
    assert_eq!(
        net.b.send(net.now, s, b"x", MsgFlags::NONE),
        Err(SockError::BrokenPipe)
    );
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"abc");
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"");
}

/// A FIN, then a RST: reading sees the end, and the error stays for SO_ERROR.
#[test]
fn the_end_comes_before_a_later_error() {
    let (mut net, c, s) = pair();
    net.a.shutdown(net.now, c, Shutdown::Write).unwrap();
    net.settle();
    net.reset_from_a(c);
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"");
    assert_eq!(net.b.take_error(s), Some(SockError::BrokenPipe));
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"");
}

#[test]
fn shutdown_of_reading_keeps_what_comes() {
    let (mut net, c, s) = pair();
    net.give(c, b"abc");
    net.b.shutdown(net.now, s, Shutdown::Read).unwrap();
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"abc");
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"");
    net.give(c, b"more");
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"more");
}

#[test]
fn peek_and_trunc() {
    let (mut net, c, s) = pair();
    // The kernel looks for data even for an empty buffer.
    assert_eq!(net.get(s, 0, MsgFlags::NONE), Err(SockError::WouldBlock));
    net.give(c, b"hello");
    assert_eq!(net.get(s, 0, MsgFlags::NONE).unwrap(), b"");
    assert_eq!(net.get(s, 9, MsgFlags::PEEK).unwrap(), b"hello");
    // Neither copied nor taken.
    let seen = net.get(s, 3, MsgFlags::PEEK | MsgFlags::TRUNC);
    assert_eq!(seen.unwrap(), [0; 3]);
    assert_eq!(net.b.recv_len(s), Ok(5));
    // Taken, not copied.
    assert_eq!(net.get(s, 3, MsgFlags::TRUNC).unwrap(), [0; 3]);
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"lo");
}

#[test]
fn inq_counts_what_waits_and_the_end_as_one() {
    let (mut net, c, s) = pair();
    let mut buf = [0; 9];
    let mut inq = |net: &mut Net<_, _>, len: usize| {
        let got = net.b.recv_msg(net.now, s, &mut buf[..len], MsgFlags::NONE);
        got.map(|got| (got.len, got.inq))
    };
    net.give(c, b"hello");
    assert_eq!(inq(&mut net, 1), Ok((1, None)));
    net.b.set_option(net.now, s, SockOpt::Inq(true)).unwrap();
    assert_eq!(inq(&mut net, 1), Ok((1, Some(3))));
    assert_eq!(inq(&mut net, 3), Ok((3, Some(0))));
    net.give(c, b"ab");
    net.a.shutdown(net.now, c, Shutdown::Write).unwrap();
    net.settle();
    assert_eq!(inq(&mut net, 1), Ok((1, Some(2))));
    assert_eq!(inq(&mut net, 1), Ok((1, Some(1))));
    assert_eq!(inq(&mut net, 1), Ok((0, Some(1))));
}

#[test]
fn output_queue_counts_the_fin() {
    let (mut net, c, _) = pair();
    net.cut = true;
    net.a.send(net.now, c, b"hello", MsgFlags::NONE).unwrap();
    assert_eq!((net.a.send_queued(c), net.a.send_unsent(c)), (Ok(5), Ok(5)));
    net.settle();
    assert_eq!((net.a.send_queued(c), net.a.send_unsent(c)), (Ok(5), Ok(0)));
    net.a.shutdown(net.now, c, Shutdown::Write).unwrap();
    net.settle();
    assert_eq!((net.a.send_queued(c), net.a.send_unsent(c)), (Ok(6), Ok(0)));
}

/// A blocking recv on b, stepped.
fn step(net: &mut Net<Nobody, Nobody>, op: &mut dyn Op<Output = usize>) -> Step<usize> {
    op.step(&mut net.b, net.now)
}

#[test]
fn waitall_waits_for_all_and_peeks_for_all() {
    let (mut net, c, s) = pair();
    net.give(c, b"abc");
    let (mut buf, mut seen) = ([0; 5], [0; 5]);
    let mut taken = Recv::new(s, &mut buf, MsgFlags::WAITALL);
    let mut peeked = Recv::new(s, &mut seen, MsgFlags::WAITALL | MsgFlags::PEEK);
    assert_eq!(step(&mut net, &mut peeked), Step::Parked);
    net.give(c, b"d");
    assert_eq!(step(&mut net, &mut peeked), Step::Parked);
    net.give(c, b"ef");
    assert_eq!(step(&mut net, &mut peeked), Step::Done(Ok(5)));
    assert_eq!(step(&mut net, &mut taken), Step::Done(Ok(5)));
    assert_eq!((&buf, &seen), (b"abcde", b"abcde"));
    assert_eq!(net.b.recv_len(s), Ok(1));
}

#[test]
fn waitall_ends_with_the_stream_an_error_a_signal_or_in_time() {
    for case in 0..5 {
        let (mut net, c, s) = pair();
        let limit = Some(Duration::from_secs(3));
        net.b
            .set_option(net.now, s, SockOpt::RcvTimeo(limit))
            .unwrap();
        net.give(c, b"abc");
        let mut buf = [0; 9];
        let mut op = Recv::new(s, &mut buf, MsgFlags::WAITALL);
        assert_eq!(step(&mut net, &mut op), Step::Parked);
        let now = net.now;
        assert_eq!(op.deadline(), Some(now + Duration::from_secs(3)));
        match case {
            0 => net.a.shutdown(now, c, Shutdown::Write).unwrap(),
            1 => net.a.abort(now, c),
            2 => net.b.shutdown(now, s, Shutdown::Read).unwrap(),
            3 => net.now = now + Duration::from_secs(3),
            _ => {
                let why = SockError::Interrupted;
                assert_eq!(op.cancel(&mut net.b, now, why), Ok(3));
                continue;
            }
        }
        net.settle();
        assert_eq!(step(&mut net, &mut op), Step::Done(Ok(3)), "case {case}");
        // The error is still there for the next call.
        let next = match case {
            0 | 2 => Ok(vec![]),
            1 => Err(SockError::Reset),
            _ => Err(SockError::WouldBlock),
        };
        assert_eq!(net.get(s, 9, MsgFlags::NONE), next, "case {case}");
    }
}

#[test]
fn lowat_is_what_recv_and_poll_wait_for() {
    let (mut net, c, s) = pair();
    net.b.set_option(net.now, s, SockOpt::RcvLowat(4)).unwrap();
    net.give(c, b"abc");
    assert!(!net.b.readiness(s).unwrap().contains(Readiness::IN));
    let mut buf = [0; 9];
    let mut op = Recv::new(s, &mut buf, MsgFlags::NONE);
    assert_eq!(step(&mut net, &mut op), Step::Parked);
    // What came is not enough to wake it, though it would complete what it wants: the kernel counts from zero.
    net.give(c, b"de");
    assert_eq!(step(&mut net, &mut op), Step::Parked);
    net.give(c, b"fg");
    assert_eq!(step(&mut net, &mut op), Step::Done(Ok(7)));
    // A call that may not wait takes what there is, and a small buffer is enough when full.
    net.give(c, b"fg");
    assert_eq!(net.get(s, 9, MsgFlags::NONE).unwrap(), b"fg");
    net.give(c, b"hi");
    let mut small = [0; 2];
    let mut op = Recv::new(s, &mut small, MsgFlags::NONE);
    assert_eq!(step(&mut net, &mut op), Step::Done(Ok(2)));
    net.give(c, b"jklm");
    assert!(net.b.readiness(s).unwrap().contains(Readiness::IN));
}

#[test]
fn lowat_is_bounded_and_makes_room() {
    let (mut net, _, s) = pair();
    let most = net.b.sysctl().tcp_rmem[2] / 2;
    for (set, got) in [(0, 1), (1, 1), (u32::MAX, most), (200_000, 200_000)] {
        net.b
            .set_option(net.now, s, SockOpt::RcvLowat(set))
            .unwrap();
        assert_eq!(
            net.b.option(s, OptName::RcvLowat),
            Ok(SockOpt::RcvLowat(got))
        );
    }
    let Ok(SockOpt::RcvBuf(buf)) = net.b.option(s, OptName::RcvBuf) else {
        panic!("no SO_RCVBUF");
    };
    assert!(buf / 2 >= most, "the window can hold what is waited for");
}

#[test]
fn a_message_says_what_else_waits() {
    let (mut net, c, s) = pair();
    net.b.set_option(net.now, s, SockOpt::Inq(true)).unwrap();
    let mut buf = [0; 4];
    let mut op = RecvMsg::new(s, &mut buf, MsgFlags::WAITALL);
    net.give(c, b"ab");
    assert_eq!(op.step(&mut net.b, net.now), Step::Parked);
    net.give(c, b"cdefg");
    let Step::Done(Ok(got)) = op.step(&mut net.b, net.now) else {
        panic!("parked");
    };
    assert_eq!((got.len, got.inq), (4, Some(3)));
}

/// A writer that met a full buffer goes on when a third of it is free, not before (Linux `sk_stream_is_writeable`).
#[test]
fn a_waiting_writer_is_told_when_a_third_is_free() {
    let (mut net, c, s) = pair();
    let data = vec![7; 3_000_000];
    net.a
        .set_option(net.now, c, SockOpt::SndBuf(30_000))
        .unwrap();
    let mut op = Send::new(c, &data, MsgFlags::NONE);
    let mut room = Vec::new();
    let mut buf = vec![0; 3000];
    let sent = loop {
        let free = net.a.send_space(c).unwrap();
        match op.step(&mut net.a, net.now) {
            Step::Done(sent) => break sent,
            Step::Parked if net.a.send_space(c).unwrap() < free => room.push(free),
            Step::Parked => {}
        }
        net.run(Duration::from_millis(1));
        let _ = net.b.recv(net.now, s, &mut buf, MsgFlags::NONE);
        net.settle();
    };
    assert_eq!(sent, Ok(3_000_000));
    assert!(room.len() > 50, "{} times", room.len());
    assert!(room.iter().all(|free| *free >= 10_000), "{room:?}");
}

#[test]
fn a_blocked_sender_keeps_what_it_sent() {
    for case in 0..3 {
        let (mut net, c, s) = pair();
        let data = vec![7; 3_000_000];
        let limit = Some(Duration::from_secs(2));
        net.a
            .set_option(net.now, c, SockOpt::SndTimeo(limit))
            .unwrap();
        let mut op = Send::new(c, &data, MsgFlags::NONE);
        assert_eq!(op.step(&mut net.a, net.now), Step::Parked);
        let now = net.now;
        match case {
            0 => net.now = now + Duration::from_secs(2),
            1 => net.b.abort(now, s),
            _ => net.a.shutdown(now, c, Shutdown::Write).unwrap(),
        }
        net.settle();
        let Step::Done(Ok(n)) = op.step(&mut net.a, net.now) else {
            panic!("case {case}");
        };
        assert!(0 < n && n < data.len());
        let next = match case {
            0 => net.a.send(net.now, c, b"", MsgFlags::NONE).map(drop),
            _ => net.a.send(net.now, c, b"x", MsgFlags::NONE).map(drop),
        };
        let expected = [Ok(()), Err(SockError::Reset), Err(SockError::BrokenPipe)];
        assert_eq!(next, expected[case], "case {case}");
    }
}

/// TCP_NOTSENT_LOWAT: what may not go out yet is kept small, and the writer is told when half of it is gone.
#[test]
fn notsent_lowat_limits_what_waits() {
    let (mut net, c, s) = pair();
    net.a
        .set_option(net.now, c, SockOpt::NotSentLowat(10_000))
        .unwrap();
    assert_eq!(
        net.a.option(c, OptName::NotSentLowat),
        Ok(SockOpt::NotSentLowat(10_000))
    );
    net.cut = true;
    let data = vec![7; 1_000_000];
    let taken = net.a.send(net.now, c, &data, MsgFlags::NONE).unwrap();
    net.settle();
    // The initial window is in the network, and at least the limit waits; one more buffer may have begun below it.
    let unsent = net.a.send_unsent(c).unwrap();
    assert_eq!(taken - unsent, 10 * 1448);
    assert!((10_000..10_000 + 65_536).contains(&unsent), "{unsent}");
    assert_eq!(
        net.a.send(net.now, c, b"x", MsgFlags::NONE),
        Err(SockError::WouldBlock)
    );
    assert!(!net.a.readiness(c).unwrap().contains(Readiness::OUT));
    net.cut = false;
    let mut buf = vec![0; 1 << 20];
    for _ in 0..1000 {
        net.run(Duration::from_millis(10));
        let _ = net.b.recv(net.now, s, &mut buf, MsgFlags::NONE);
        let unsent = net.a.send_unsent(c).unwrap();
        let writeable = net.a.readiness(c).unwrap().contains(Readiness::OUT);
        assert!(!writeable || unsent < 5_000, "{unsent}");
        if writeable {
            return;
        }
    }
    panic!("never writeable");
}

/// The lengths and flags of the segments with data that a sends now.
fn segments(net: &mut Net<Nobody, Nobody>) -> Vec<(usize, bool)> {
    use millrace_wire::tcp::{TcpFlags, TcpView};
    let mut all = Vec::new();
    while net.a.has_output(IfaceId(0)) {
        let mut wire = Wire::default();
        net.a.tx(net.now, IfaceId(0), &mut wire);
        for frame in &wire.0 {
            let ip = millrace_wire::ipv4::Ipv4View::parse(frame).unwrap();
            let tcp = TcpView::parse(ip.payload()).unwrap();
            if !tcp.payload().is_empty() {
                all.push((tcp.payload().len(), tcp.flags().contains(TcpFlags::PSH)));
            }
        }
        feed(&mut net.b, net.now, &mut wire, &mut Nobody);
    }
    net.settle();
    all
}

/// MSG_EOR: nothing is added to the segment of a record. What other data follows does not wait; the last does, for
/// Nagle.
#[test]
fn records_do_not_share_segments() {
    let (mut net, c, s) = pair();
    net.a.send(net.now, c, &[1; 100], MsgFlags::EOR).unwrap();
    net.a.send(net.now, c, &[2; 200], MsgFlags::EOR).unwrap();
    net.a.send(net.now, c, &[3; 300], MsgFlags::NONE).unwrap();
    net.a.send(net.now, c, &[4; 1400], MsgFlags::EOR).unwrap();
    assert_eq!(
        segments(&mut net),
        [(100, true), (200, true), (1448, false)]
    );
    net.run(Duration::from_secs(1));
    assert_eq!(net.get(s, 9999, MsgFlags::NONE).unwrap().len(), 2000);
    // Records cost room besides their octets: there is a bound.
    net.cut = true;
    let mut records = 0;
    while net.a.send(net.now, c, b"x", MsgFlags::EOR).is_ok() {
        records += 1;
    }
    assert!(records < 100, "{records}");
    net.cut = false;
    net.run(Duration::from_secs(1));
    assert_eq!(net.b.recv_len(s), Ok(records));
    assert_eq!(net.a.send(net.now, c, b"y", MsgFlags::NONE), Ok(1));
}

/// MSG_MORE holds a partial segment back, unpushed, until the next call or the next ACK.
#[test]
fn more_holds_back() {
    let (mut net, c, s) = pair();
    net.a.send(net.now, c, &[1; 100], MsgFlags::MORE).unwrap();
    assert_eq!(segments(&mut net), []);
    net.a.send(net.now, c, &[1; 100], MsgFlags::NONE).unwrap();
    assert_eq!(segments(&mut net), [(200, true)]);
    net.run(Duration::from_secs(1));
    // An ACK lets it through.
    net.a.send(net.now, c, &[1; 1500], MsgFlags::MORE).unwrap();
    assert_eq!(segments(&mut net), [(1448, false)]);
    net.run(Duration::from_millis(100));
    assert_eq!(net.a.send_queued(c), Ok(0));
    assert_eq!(net.b.recv_len(s), Ok(1700));
}
