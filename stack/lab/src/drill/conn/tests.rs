use super::*;
use crate::drill::ast::{Action, Body};
use crate::drill::parse::parse;

fn addr(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new([192, 0, 2, last].into(), port)
}

fn tcp(text: &str) -> Tcp {
    match &parse(&format!("0 {text}")).unwrap().events[0].action {
        Action::Packet(packet) => match &packet.body {
            Body::Tcp(tcp) => tcp.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Script ISNs 1000 (peer) and 0 (ours); live ISN of ours 500 000.
fn passive() -> Conn {
    let mut conn = Conn::new(Opener::Peer, addr(1, 80), addr(2, 1234));
    assert_eq!(
        conn.live_segment(&tcp("< S 1000:1000(0) win 9"), EcrMapping::Seen)
            .unwrap()
            .seq,
        1000
    );
    conn.learn_local_isn(0, 500_000);
    conn
}

#[test]
fn injected_numbers_are_relative_to_both_isns() {
    let mut conn = passive();
    let live = conn
        .live_segment(
            &tcp("< . 1:11(10) ack 1 win 9 <nop,nop,sack 101:201>"),
            EcrMapping::Seen,
        )
        .unwrap();
    assert_eq!((live.seq, live.ack), (1001, Some(500_001)));
    let Options::List(list) = live.options else {
        panic!()
    };
    assert_eq!(list[2], TcpOption::Sack(vec![(500_101, 500_201)]));
    let old = conn
        .live_segment(&tcp("< . 1:1(0) ack 4294967295 win 9"), EcrMapping::Seen)
        .unwrap();
    assert_eq!(old.ack, Some(499_999), "arithmetic is modulo 2^32");
}

#[test]
fn expected_numbers_come_back() {
    let conn = passive();
    let mut live = tcp("> . 500001:500002(1) ack 1011 <nop,nop,sack 1101:1201>");
    let script = conn.to_script(&live);
    assert_eq!((script.seq, script.ack), (1, Some(11)));
    assert_eq!(
        script.options,
        tcp("> . 1:1(0) <nop,nop,sack 101:201>").options
    );
    live.flags.bits = Flags::SYN | Flags::ACK;
    live.seq = 500_000;
    let syn = conn.to_script(&live);
    assert_eq!(
        (syn.seq, syn.ack),
        (0, Some(1011)),
        "SYN segments keep the peer's absolute number"
    );
}

#[test]
fn an_active_openers_address_is_learnt_once() {
    let mut conn = Conn::new(Opener::Stack, addr(1, 0), addr(2, 80));
    let mut live = LiveTcp {
        src: addr(1, 40_000),
        dst: addr(2, 80),
        segment: tcp("> S 7:7(0)"),
        reserved: 0,
        payload: Vec::new(),
    };
    assert_eq!(conn.owns(&live), Belongs::Here);
    assert_eq!(conn.local(), addr(1, 40_000));
    conn.learn_local_isn(0, 7);
    live.src = addr(1, 40_001);
    assert_eq!(conn.owns(&live), Belongs::Elsewhere);
}

#[test]
fn echoes_are_translated() {
    let mut conn = passive();
    let settings = Settings {
        ts_tick: Some(1000),
        ..Settings::default()
    };
    let at = |ms: u64| ms * 1_000;
    assert_eq!(
        conn.timestamp(100, 7000, at(0), &settings),
        Timestamp::AsWritten
    );
    assert_eq!(
        conn.timestamp(110, 7012, at(10), &settings),
        Timestamp::AsWritten,
        "within 4 ms"
    );
    assert_eq!(
        conn.timestamp(110, 7016, at(10), &settings),
        Timestamp::Off(116)
    );
    let segment = tcp("< . 1:1(0) ack 1 win 9 <nop,nop,TS val 5 ecr 100>");
    let Options::List(list) = conn
        .live_segment(&segment, EcrMapping::Seen)
        .unwrap()
        .options
    else {
        panic!()
    };
    assert_eq!(list[2], TcpOption::Timestamps { val: 5, ecr: 7000 });
    let unseen = tcp("< . 1:1(0) ack 1 win 9 <nop,nop,TS val 5 ecr 104>");
    assert!(conn.live_segment(&unseen, EcrMapping::Seen).is_err());
    let Options::List(list) = conn
        .live_segment(&unseen, EcrMapping::Scaled)
        .unwrap()
        .options
    else {
        panic!()
    };
    assert_eq!(list[2], TcpOption::Timestamps { val: 5, ecr: 7004 });
}
