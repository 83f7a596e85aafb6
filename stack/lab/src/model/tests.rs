//! A connection by hand: what the model allows, forbids and misses.

use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{TcpFlags, TcpOptions, options::Timestamps};
use millrace_wire::time::Instant;

use super::end::{Calls, End};
use super::segment::Segment;

/// The numbers of both SYNs.
const OWN: u32 = 1_000;
const PEER: u32 = u32::MAX - 10;

const ACK: TcpFlags = TcpFlags::ACK;

/// A segment at `at` octets behind its sender's SYN that acknowledges up to `ack` behind the receiver's.
fn segment((from, to): (u32, u32), at: i64, ack: i64, flags: TcpFlags, len: i64) -> Segment {
    let somebody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    Segment {
        from: somebody,
        to: somebody,
        seq: SeqNum::new(from) + at as u32,
        ack: SeqNum::new(to) + ack as u32,
        flags,
        window: 1_000,
        options: TcpOptions::default(),
        options_len: 0,
        len,
        ecn: 0,
    }
}

fn ours(at: i64, ack: i64, flags: TcpFlags, len: i64) -> Segment {
    segment((OWN, PEER), at, ack, flags, len)
}

fn theirs(at: i64, ack: i64, flags: TcpFlags, len: i64) -> Segment {
    segment((PEER, OWN), at, ack, flags, len)
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// A client's end of an open connection that has written 100 octets; `with` has changed its SYN and the answer.
fn open(with: fn(&mut Segment)) -> End {
    let mut end = End::default();
    end.called(Calls {
        written: 100,
        ..Calls::default()
    });
    let mut syn = ours(0, 0, TcpFlags::SYN, 0);
    with(&mut syn);
    assert_eq!(end.sent(at(0), &syn), Ok(()));
    let mut answer = theirs(0, 1, TcpFlags::SYN | ACK, 0);
    with(&mut answer);
    end.heard(at(0), &answer, false);
    let mut third = ours(1, 1, ACK, 0);
    third.options.timestamps = answer.options.timestamps;
    assert_eq!(end.sent(at(0), &third), Ok(()));
    assert_eq!(end.quiet(at(0), false), Ok(false));
    end
}

fn refused(end: &mut End, now: u64, segment: &Segment) -> String {
    end.sent(at(now), segment).expect_err("it is not allowed")
}

#[test]
fn what_has_not_arrived_is_not_acknowledged() {
    let mut end = open(|_| {});
    end.heard(at(1), &theirs(1, 1, ACK, 10), false);
    assert!(refused(&mut end.clone(), 1, &ours(1, 12, ACK, 0)).contains("1 octets"));
    assert_eq!(end.sent(at(1), &ours(1, 11, ACK, 0)), Ok(()));
}

#[test]
fn data_is_written_and_not_acknowledged_and_within_the_mss() {
    let mut end = open(|_| {});
    assert!(refused(&mut end.clone(), 1, &ours(1, 1, ACK, 101)).contains("nobody wrote"));
    assert_eq!(end.sent(at(1), &ours(1, 1, ACK, 50)), Ok(()));
    end.heard(at(2), &theirs(1, 51, ACK, 0), false);
    assert!(refused(&mut end.clone(), 2, &ours(1, 1, ACK, 50)).contains("acknowledged before"));
    assert!(refused(&mut end, 2, &ours(51, 1, ACK | TcpFlags::FIN, 50)).contains("FIN"));
    let mut end = open(|_| {});
    end.called(Calls {
        written: 2_000,
        ..Calls::default()
    });
    // The SYN-ACK named none: 536 (RFC 9293 MUST-15).
    assert!(refused(&mut end.clone(), 1, &ours(1, 1, ACK, 537)).contains("MSS is 536"));
    assert_eq!(end.sent(at(1), &ours(1, 1, ACK, 536)), Ok(()));
    assert_eq!(end.sent(at(1), &ours(537, 1, ACK, 464)), Ok(()));
    assert!(refused(&mut end, 1, &ours(1_001, 1, ACK, 1)).contains("beyond the window"));
}

#[test]
fn a_timestamp_out_of_order_is_not_echoed() {
    let with = |segment: &mut Segment| {
        segment.options.timestamps = Some(Timestamps { val: 7, ecr: 7 });
    };
    let mut end = open(with);
    let stamped = |mut segment: Segment, val, ecr| {
        segment.options.timestamps = Some(Timestamps { val, ecr });
        segment
    };
    end.heard(at(1), &stamped(theirs(11, 1, ACK, 10), 9, 7), false);
    assert!(refused(&mut end.clone(), 1, &stamped(ours(1, 1, ACK, 0), 8, 9)).contains("echo"));
    assert_eq!(end.sent(at(1), &stamped(ours(1, 1, ACK, 0), 8, 7)), Ok(()));
    end.heard(at(2), &stamped(theirs(1, 1, ACK, 10), 10, 7), false);
    assert_eq!(
        end.sent(at(2), &stamped(ours(1, 21, ACK, 0), 9, 10)),
        Ok(())
    );
}

#[test]
fn answers_are_missed() {
    let mut end = open(|_| {});
    end.heard(at(1), &theirs(11, 1, ACK, 10), false);
    assert!(end.clone().quiet(at(1), false).is_err(), "out of order");
    assert_eq!(end.sent(at(1), &ours(1, 1, ACK, 0)), Ok(()));
    assert_eq!(end.quiet(at(1), false), Ok(false));
    end.heard(at(2), &theirs(1, 1, ACK, 10), false);
    assert_eq!(end.quiet(at(201), false), Ok(true));
    assert!(end.clone().quiet(at(202), false).is_err(), "delayed");
    assert_eq!(end.sent(at(202), &ours(1, 21, ACK, 0)), Ok(()));
    assert_eq!(end.quiet(at(202), false), Ok(false));
    end.heard(at(800), &theirs(31, 1, TcpFlags::RST, 0), false);
    assert!(end.quiet(at(800), false).is_err(), "a challenge");
}

#[test]
fn nobody_repeats_himself_for_nothing() {
    let mut end = open(|_| {});
    let again = ours(1, 1, ACK, 0);
    let mut sent = 0;
    while end.sent(at(1), &again) == Ok(()) {
        sent += 1;
    }
    assert!((1..=5).contains(&sent), "{sent}");
    assert_eq!(end.sent(at(501), &again), Ok(()));
    assert!(end.sent(at(502), &again).is_err());
    end.heard(at(503), &theirs(1, 1, ACK, 1), false);
    assert_eq!(end.sent(at(503), &again), Ok(()), "it answers data");
}

#[test]
fn a_reset_answers_or_stands_at_the_end() {
    let mut end = open(|_| {});
    let rst = TcpFlags::RST;
    assert!(refused(&mut end.clone(), 1, &ours(1, 0, rst, 0)).contains("no segment"));
    end.heard(at(1), &theirs(1, 1, ACK, 5), false);
    assert_eq!(end.clone().sent(at(1), &ours(1, 0, rst, 0)), Ok(()));
    assert!(refused(&mut end.clone(), 1, &ours(1, 6, rst | ACK, 0)).contains("not left"));
    end.called(Calls {
        gone: true,
        ..Calls::default()
    });
    assert!(refused(&mut end.clone(), 1, &ours(2, 6, rst | ACK, 0)).contains("a RST at 2"));
    assert_eq!(end.sent(at(1), &ours(1, 6, rst | ACK, 0)), Ok(()));
    assert!(refused(&mut end, 1, &ours(1, 6, ACK, 0)).contains("after its RST"));
}

#[test]
fn congestion_is_echoed_until_the_sender_knows() {
    let with = |segment: &mut Segment| segment.flags |= TcpFlags::ECE;
    let mut end = open(with);
    let mut marked = theirs(1, 1, ACK, 5);
    marked.ecn = 3;
    end.heard(at(1), &marked, false);
    assert_eq!(end.sent(at(1), &ours(1, 6, ACK | TcpFlags::ECE, 0)), Ok(()));
    assert_eq!(end.quiet(at(1), false), Ok(false));
    end.heard(at(2), &theirs(6, 1, ACK, 5), false);
    assert!(refused(&mut end.clone(), 2, &ours(1, 11, ACK, 0)).contains("no ECE"));
    end.heard(at(2), &theirs(11, 1, ACK | TcpFlags::CWR, 5), false);
    assert_eq!(end.sent(at(2), &ours(1, 16, ACK, 0)), Ok(()));
    assert_eq!(end.quiet(at(2), false), Ok(false));
    let echo = ours(1, 16, ACK | TcpFlags::ECE, 5);
    assert!(refused(&mut end, 3, &echo).contains("no mark"));
}
