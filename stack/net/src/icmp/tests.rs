use core::time::Duration;
use std::net::Ipv4Addr;

use millrace_wire::icmpv4::unreachable;
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::drop::DropReason;
use crate::ip::Dst;
use crate::link::Cast;

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const FIELDS: IpFields = IpFields { ttl: 64, id: 77 };

fn ip_packet(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header {
        src,
        dst,
        protocol,
        ttl: 60,
        tos: 0x12,
        id: 9,
        dont_fragment: true,
    };
    let mut bytes = vec![0; 20 + payload.len()];
    let at = header.emit(&mut bytes, payload.len() as u16);
    bytes[at..].copy_from_slice(payload);
    bytes
}

fn icmp_packet(ty: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 8 + payload.len()];
    icmpv4::emit(&mut message, ty, code, rest, payload);
    ip_packet(ROUTER, US, protocol::ICMP, &message)
}

/// A TCP segment of ours with `len` bytes of data: ports 4660 and 80, seq 0x01020304.
fn our_segment(len: usize) -> Vec<u8> {
    let mut tcp = vec![0; 20 + len];
    tcp[..8].copy_from_slice(&[0x12, 0x34, 0, 80, 1, 2, 3, 4]);
    ip_packet(US, PEER, protocol::TCP, &tcp)
}

fn read(bytes: &[u8]) -> Result<IcmpInput<'_>, DropReason> {
    input(&Ipv4View::parse(bytes).unwrap(), Dst::Local)
}

fn read_error(
    ty: u8,
    code: u8,
    rest: [u8; 4],
    quote: &[u8],
) -> Result<(IcmpError, Quoted), DropReason> {
    match read(&icmp_packet(ty, code, rest, quote))? {
        IcmpInput::Error { error, quoted } => Ok((error, quoted)),
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn echo_is_answered_with_the_same_data() {
    let request = icmp_packet(icmp_type::ECHO_REQUEST, 0, [1, 2, 3, 4], b"data!");
    let view = Ipv4View::parse(&request).unwrap();
    let Ok(IcmpInput::EchoRequest(echo)) = input(&view, Dst::Local) else {
        panic!("no echo request")
    };
    let reply = echo_reply(&view, &echo, FIELDS);
    let view = Ipv4View::parse(&reply).unwrap();
    assert!(view.checksum_ok());
    assert_eq!(
        (view.src(), view.dst(), view.ttl(), view.tos(), view.id()),
        (US, ROUTER, 64, 0x12, 77)
    );
    let Ok(IcmpInput::EchoReply(echo)) = input(&view, Dst::Local) else {
        panic!("no echo reply")
    };
    assert_eq!((echo.rest(), echo.payload()), ([1, 2, 3, 4], &b"data!"[..]));
}

#[test]
fn what_is_not_meant_for_us_alone_is_ignored() {
    let request = icmp_packet(icmp_type::ECHO_REQUEST, 0, [0; 4], &[]);
    let view = Ipv4View::parse(&request).unwrap();
    for dst in [Dst::Broadcast, Dst::Multicast] {
        assert_eq!(input(&view, dst).unwrap_err(), DropReason::IcmpIgnored);
    }
}

/// RFC 1122 3.2.2: a message of unknown type is dropped without a word.
#[test]
fn unknown_types_are_ignored() {
    for ty in [1, 2, 6, 7, 19, 42, 255] {
        let bytes = icmp_packet(ty, 0, [0; 4], &our_segment(8));
        assert_eq!(read(&bytes).unwrap_err(), DropReason::IcmpIgnored, "{ty}");
    }
}

#[test]
fn errors_name_the_quoted_packet() {
    let quoted = Quoted {
        protocol: protocol::TCP,
        src: US,
        dst: PEER,
        sport: 0x1234,
        dport: 80,
        seq: SeqNum::new(0x0102_0304),
    };
    let segment = our_segment(100);
    // Cut to the minimum that RFC 792 demands.
    let quote = &segment[..28];
    let unreachable = |code| read_error(icmp_type::DEST_UNREACHABLE, code, [0; 4], quote);
    assert_eq!(
        unreachable(unreachable::PORT),
        Ok((IcmpError::Unreachable { code: 3 }, quoted))
    );
    assert_eq!(
        unreachable(15),
        Ok((IcmpError::Unreachable { code: 15 }, quoted))
    );
    assert_eq!(unreachable(16), Err(DropReason::IcmpIgnored));
    let other = |ty, code| read_error(ty, code, [0; 4], quote).map(|(error, _)| error);
    assert_eq!(
        other(icmp_type::TIME_EXCEEDED, 1),
        Ok(IcmpError::TimeExceeded { code: 1 })
    );
    assert_eq!(
        other(icmp_type::PARAMETER_PROBLEM, 0),
        Ok(IcmpError::ParameterProblem)
    );
    assert_eq!(
        other(icmp_type::SOURCE_QUENCH, 0),
        Ok(IcmpError::SourceQuench)
    );
    assert_eq!(other(icmp_type::REDIRECT, 0), Err(DropReason::IcmpIgnored));
    assert_eq!(
        other(13, 0),
        Err(DropReason::IcmpIgnored),
        "timestamp request"
    );
}

#[test]
fn next_hop_mtu_or_the_plateau_below() {
    let mtu = |rest, len: usize| {
        let quote = our_segment(len - 40);
        read_error(
            icmp_type::DEST_UNREACHABLE,
            unreachable::FRAG_NEEDED,
            rest,
            &quote[..28],
        )
        .map(|(error, _)| error)
    };
    assert_eq!(
        mtu([0, 0, 0x05, 0x14], 1500),
        Ok(IcmpError::FragNeeded { mtu: 1300 })
    );
    assert_eq!(mtu([0; 4], 1500), Ok(IcmpError::FragNeeded { mtu: 1492 }));
    assert_eq!(mtu([0; 4], 1492), Ok(IcmpError::FragNeeded { mtu: 1006 }));
    assert_eq!(mtu([0; 4], 9000), Ok(IcmpError::FragNeeded { mtu: 8166 }));
    assert_eq!(mtu([0; 4], 60), Ok(IcmpError::FragNeeded { mtu: 68 }));
}

#[test]
fn quotes_that_say_too_little_are_malformed() {
    let quote = our_segment(0);
    let try_quote =
        |quote: &[u8]| read_error(icmp_type::DEST_UNREACHABLE, 0, [0; 4], quote).map(|_| ());
    assert_eq!(try_quote(&quote[..28]), Ok(()));
    assert_eq!(try_quote(&quote[..27]), Err(DropReason::IcmpMalformed));
    assert_eq!(try_quote(&[]), Err(DropReason::IcmpMalformed));
    for (at, value) in [(0, 0x65), (0, 0x44), (0, 0x48), (7, 1)] {
        let mut bad = quote.clone();
        bad[at] = value;
        assert_eq!(
            try_quote(&bad[..28]),
            Err(DropReason::IcmpMalformed),
            "byte {at} = {value:#x}"
        );
    }
    let mut damaged = icmp_packet(icmp_type::ECHO_REQUEST, 0, [0; 4], b"x");
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(read(&damaged).unwrap_err(), DropReason::IcmpBadChecksum);
    assert_eq!(
        read(&ip_packet(PEER, US, protocol::ICMP, &[8, 0, 0])).unwrap_err(),
        DropReason::IcmpMalformed
    );
}

/// An error about `offending`, as to a packet that was sent to us alone.
fn about(offending: &[u8], kind: ErrorKind) -> Result<Vec<u8>, NoError> {
    error(
        &Ipv4View::parse(offending).unwrap(),
        Dst::Local,
        Cast::Unicast,
        kind,
        US,
        FIELDS,
    )
}

#[test]
fn errors_quote_up_to_576_bytes() {
    for (data, wanted) in [(0, 28 + 28), (519, 28 + 547), (520, 576), (1400, 576)] {
        let offending = ip_packet(PEER, US, protocol::UDP, &vec![7; 8 + data]);
        let bytes = about(&offending, ErrorKind::PortUnreachable).unwrap();
        assert_eq!(bytes.len(), wanted, "{data} bytes of data");
        let view = Ipv4View::parse(&bytes).unwrap();
        assert!(view.checksum_ok());
        assert_eq!((view.src(), view.dst(), view.tos()), (US, PEER, 0xd2));
        let message = Icmpv4View::parse(view.payload()).unwrap();
        assert!(message.checksum_ok());
        assert_eq!((message.ty(), message.code()), (3, 3));
        assert_eq!(message.payload(), &offending[..wanted - 28]);
    }
}

#[test]
fn errors_tell_what_they_should() {
    let offending = ip_packet(PEER, US, protocol::UDP, &[0; 8]);
    let told = |kind| {
        let bytes = about(&offending, kind).unwrap();
        let Ok(IcmpInput::Error { error, quoted }) = read(&bytes) else {
            panic!("unreadable")
        };
        assert_eq!((quoted.src, quoted.dst), (PEER, US));
        error
    };
    let code = |code| IcmpError::Unreachable { code };
    assert_eq!(told(ErrorKind::NetUnreachable), code(0));
    assert_eq!(told(ErrorKind::HostUnreachable), code(1));
    assert_eq!(told(ErrorKind::ProtocolUnreachable), code(2));
    assert_eq!(told(ErrorKind::AdminProhibited), code(13));
    assert_eq!(
        told(ErrorKind::FragNeeded { mtu: 1280 }),
        IcmpError::FragNeeded { mtu: 1280 }
    );
    assert_eq!(
        told(ErrorKind::TtlExceeded),
        IcmpError::TimeExceeded { code: 0 }
    );
    assert_eq!(
        told(ErrorKind::ReassemblyTimeExceeded),
        IcmpError::TimeExceeded { code: 1 }
    );
}

#[test]
fn some_packets_are_never_answered() {
    let kind = ErrorKind::PortUnreachable;
    let udp = ip_packet(PEER, US, protocol::UDP, &[0; 8]);
    let view = Ipv4View::parse(&udp).unwrap();
    let refused = |dst, cast| error(&view, dst, cast, kind, US, FIELDS).unwrap_err();
    assert_eq!(
        refused(Dst::Broadcast, Cast::Broadcast),
        NoError::NotUnicast
    );
    assert_eq!(
        refused(Dst::Multicast, Cast::Multicast),
        NoError::NotUnicast
    );
    assert_eq!(
        refused(Dst::Local, Cast::Broadcast),
        NoError::NotUnicast,
        "ours in a broadcast frame"
    );

    for src in [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::BROADCAST,
    ] {
        let offending = ip_packet(src, US, protocol::UDP, &[0; 8]);
        assert_eq!(about(&offending, kind), Err(NoError::BadSource), "{src}");
    }
    let mut fragment = udp.clone();
    fragment[7] = 1;
    assert_eq!(about(&fragment, kind), Err(NoError::Fragment));
    for ty in [3, 4, 5, 11, 12, 1, 200] {
        let offending = ip_packet(PEER, US, protocol::ICMP, &[ty, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            about(&offending, kind),
            Err(NoError::AboutError),
            "type {ty}"
        );
    }
    assert_eq!(
        about(&ip_packet(PEER, US, protocol::ICMP, &[]), kind),
        Err(NoError::AboutError)
    );
    assert!(
        about(&ip_packet(PEER, US, protocol::ICMP, &[8; 8]), kind).is_ok(),
        "an echo request is a query"
    );
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(3_600_000 + millis)
}

fn host(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0b00_0000 + n)
}

/// How many of `n` port-unreachable errors to `dst` may go at `now`.
fn allowed(limits: &mut IcmpLimits, now: Instant, dst: Ipv4Addr, n: u32) -> u32 {
    (0..n)
        .filter(|_| limits.allow_error(now, dst, ErrorKind::PortUnreachable) == Verdict::Send)
        .count() as u32
}

#[test]
fn a_destination_gets_six_at_once_and_one_per_second() {
    let mut limits = IcmpLimits::new(IcmpConfig::default(), 1);
    assert_eq!(allowed(&mut limits, at(0), PEER, 20), 6);
    assert_eq!(allowed(&mut limits, at(999), PEER, 20), 0);
    assert_eq!(allowed(&mut limits, at(1000), PEER, 20), 1);
    assert_eq!(
        allowed(&mut limits, at(60_000), PEER, 20),
        6,
        "no more than the burst is saved up"
    );
    assert_eq!(limits.counters().host, 14 + 20 + 19 + 14);
    assert_eq!(
        limits.counters().global,
        0,
        "one host does not use up what is for all"
    );
}

#[test]
fn echo_replies_and_path_mtu_are_not_limited() {
    let mut limits = IcmpLimits::new(IcmpConfig::default(), 1);
    for _ in 0..1000 {
        assert_eq!(
            limits.allow(at(0), PEER, icmp_type::ECHO_REPLY),
            Verdict::Send
        );
        assert_eq!(
            limits.allow_error(at(0), PEER, ErrorKind::FragNeeded { mtu: 1400 }),
            Verdict::Send
        );
        assert_eq!(limits.allow(at(0), PEER, 255), Verdict::Send);
    }
    assert_eq!(allowed(&mut limits, at(0), PEER, 1), 1);
}

#[test]
fn all_together_are_limited_with_a_random_part() {
    let counts: Vec<u32> = (0..8)
        .map(|seed| {
            let mut limits = IcmpLimits::new(IcmpConfig::default(), seed * 0x1234_5678_9abc);
            let mut burst = 0;
            for n in 0..500 {
                burst += allowed(&mut limits, at(0), host(n), 1);
            }
            let mut sustained = 0;
            for n in 0..20_000 {
                sustained += allowed(&mut limits, at(1 + u64::from(n) / 4), host(1000 + n), 1);
            }
            assert!(
                (4_000..6_000).contains(&sustained),
                "1000 a second for 5 s: {sustained}"
            );
            assert!(limits.counters().evicted > 0);
            burst
        })
        .collect();
    assert!(
        counts.iter().all(|count| (25..100).contains(count)),
        "{counts:?}"
    );
    assert!(
        counts.iter().any(|count| *count != counts[0]),
        "the burst is not the same for all: {counts:?}"
    );
}

#[test]
fn slow_limits_still_refill() {
    let config = IcmpConfig {
        msgs_per_sec: 1,
        msgs_burst: 1,
        ..IcmpConfig::default()
    };
    let mut limits = IcmpLimits::new(config, 1);
    while allowed(&mut limits, at(0), host(0), 1) == 1 {}
    let asked = (1..1000)
        .filter(|n| allowed(&mut limits, at(u64::from(*n) * 25), host(*n), 1) == 1)
        .count();
    assert!(asked > 10, "{asked} messages in 25 s");
}

proptest! {
    #[test]
    fn arbitrary_messages_never_panic(ty in 0u8..20, code in 0u8..20, rest: [u8; 4], payload in vec(any::<u8>(), 0..80)) {
        let bytes = icmp_packet(ty, code, rest, &payload);
        let _ = read(&bytes);
        if let Ok(error) = about(&bytes, ErrorKind::TtlExceeded) {
            prop_assert!(read(&error).is_ok(), "what we send can be read");
        }
    }
}
