use std::net::{Ipv4Addr, Ipv6Addr};

use super::{parse, parse_with};
use crate::drill::ast::{
    Action, Body, Command, Direction, Echoed, Ecn, EcnFlags, Encap, Event, Expr, Field, Flags,
    MplsLabel, Options, Packet, Script, Tcp, TcpOption, When,
};
use proptest::prelude::*;

#[track_caller]
fn events(source: &str) -> Vec<Event> {
    match parse(source) {
        Ok(script) => script.events,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn packet(source: &str) -> Packet {
    match events(source).pop().map(|event| event.action) {
        Some(Action::Packet(packet)) => packet,
        other => panic!("not a packet: {other:?}"),
    }
}

#[track_caller]
fn tcp(source: &str) -> Tcp {
    match packet(source).body {
        Body::Tcp(tcp) => tcp,
        other => panic!("not TCP: {other:?}"),
    }
}

#[test]
fn a_whole_script() {
    let Script { options, init, events, cleanup } = parse(
        "// a comment\n--ip_version=ipv4\n--tolerance_usecs=100000 --strict_segments\n--define=\"a b\"\n\
         `sysctl -q net.ipv4.tcp_sack=0`\n\
         0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3 /* three */\n\
         +.1 < S 0:0(0) win 100\n\
         `true`\n",
    )
    .unwrap();
    let options: Vec<_> = options
        .iter()
        .map(|o| (o.line, o.name.as_str(), o.value.as_deref()))
        .collect();
    let expected = [
        (2, "ip_version", Some("ipv4")),
        (3, "tolerance_usecs", Some("100000")),
        (3, "strict_segments", None),
        (4, "define", Some("a b")),
    ];
    assert_eq!(options, expected);
    assert_eq!(
        init,
        Some(Command {
            line: 5,
            text: "sysctl -q net.ipv4.tcp_sack=0".to_owned()
        })
    );
    assert_eq!(
        events.iter().map(|event| event.line).collect::<Vec<_>>(),
        [6, 7]
    );
    assert_eq!(
        cleanup,
        Some(Command {
            line: 8,
            text: "true".to_owned()
        })
    );
}

#[test]
fn times() {
    let when: Vec<When> = events(
        "0 `a` +0 `b` 0.5 `c` +.1234567 `d` * > . 1:1(0) 1~2 > . 1:1(0) +.1~+.2 > . 1:1(0) +1~2.5 > . 1:1(0)",
    )
    .iter()
    .map(|event| event.when)
    .collect();
    let expected = [
        When::At(0),
        When::After(0),
        When::At(500_000),
        When::After(123_456),
        When::Any,
        When::AtRange(1_000_000, 2_000_000),
        When::AfterRange(100_000, 200_000),
        When::AfterRange(1_000_000, 2_500_000),
    ];
    assert_eq!(when, expected);
}

#[test]
fn blocking_times_need_no_blanks() {
    let ends: Vec<_> =
        events("+0...0.2 read(3, ..., 1) = 1\n.1...0.200 read(3, ..., 1) = 1\n1...2 close(3) = 0")
            .into_iter()
            .map(|event| match event.action {
                Action::Syscall(call) => (event.when, call.end),
                other => panic!("{other:?}"),
            })
            .collect();
    let expected = [
        (When::After(0), Some(200_000)),
        (When::At(100_000), Some(200_000)),
        (When::At(1_000_000), Some(2_000_000)),
    ];
    assert_eq!(ends, expected);
}

#[test]
fn flags_in_all_spellings() {
    let flags = |text: &str| tcp(&format!("0 > {text} 1:1(0)")).flags;
    assert_eq!(
        flags("S."),
        Flags {
            bits: Flags::SYN | Flags::ACK,
            ece: EcnFlags::Letters(0)
        }
    );
    assert_eq!(
        flags("."),
        Flags {
            bits: Flags::ACK,
            ece: EcnFlags::Letters(0)
        }
    );
    assert_eq!(flags("-"), Flags::default());
    assert_eq!(
        flags("FP."),
        Flags {
            bits: Flags::FIN | Flags::PSH | Flags::ACK,
            ece: EcnFlags::Letters(0)
        }
    );
    assert_eq!(
        flags("SEW"),
        Flags {
            bits: Flags::SYN,
            ece: EcnFlags::Letters(EcnFlags::E | EcnFlags::W)
        }
    );
    assert_eq!(
        flags(".5"),
        Flags {
            bits: Flags::ACK,
            ece: EcnFlags::Ace(5)
        }
    );
    assert_eq!(
        flags("P.7"),
        Flags {
            bits: Flags::PSH | Flags::ACK,
            ece: EcnFlags::Ace(7)
        }
    );
}

#[test]
fn segments_with_everything() {
    let segment = tcp(
        "0 < [ect0] 1234 > 80 PU. 1:1001(1000) ack 2794967397 win 257 urg 5 <nop,nop,TS val 7 ecr 8>",
    );
    assert_eq!(segment.ports, Some((1234, 80)));
    assert_eq!(
        (segment.seq, segment.len, segment.ack),
        (1, 1000, Some(2_794_967_397))
    );
    assert_eq!((segment.win, segment.urg), (Some(257), Some(5)));
    let options = vec![
        TcpOption::Nop,
        TcpOption::Nop,
        TcpOption::Timestamps { val: 7, ecr: 8 },
    ];
    assert_eq!(segment.options, Options::List(options));
    assert_eq!(packet("0 < [ect0] . 1:1(0) win 1").ip.ecn, Some(Ecn::Ect0));
    let ip = packet("0 > (tos 0x10, ttl 64) . 1:1(0)").ip;
    assert_eq!((ip.tos, ip.ttl), (Some(16), Some(64)));
    assert_eq!(tcp("0 > . 1:1(0) ack 1 <...>").options, Options::Ignored);
}

#[test]
fn options_of_all_kinds() {
    let segment = tcp(
        "0 > S 0:0(0) <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7,FO 00112233,sack 1:2 3:4,FOEXP,eol>",
    );
    let Options::List(list) = segment.options else {
        panic!("options")
    };
    let expected = [
        TcpOption::Mss(1460),
        TcpOption::SackPermitted,
        TcpOption::Timestamps { val: 1, ecr: 0 },
        TcpOption::Nop,
        TcpOption::WindowScale(7),
        TcpOption::FastOpen(vec![0, 0x11, 0x22, 0x33]),
        TcpOption::Sack(vec![(1, 2), (3, 4)]),
        TcpOption::FastOpenExp(Vec::new()),
        TcpOption::Eol,
    ];
    assert_eq!(list, expected);
}

#[test]
fn icmp_and_udp() {
    let Body::Icmp(icmp) = packet("0 < icmp unreachable frag_needed mtu 1400 [1:1461(1460)]").body
    else {
        panic!("icmp")
    };
    assert_eq!(
        (icmp.ty.as_str(), icmp.code.as_deref(), icmp.mtu),
        ("unreachable", Some("frag_needed"), Some(1400))
    );
    assert_eq!(icmp.echoed, Some(Echoed::Tcp { seq: 1, len: 1460 }));
    assert_eq!(
        packet("0 > udp (10)").body,
        Body::Udp {
            ports: None,
            len: 10
        }
    );
}

#[test]
fn calls_with_every_argument_form() {
    let call = |source: &str| match events(source).pop().map(|event| event.action) {
        Some(Action::Syscall(call)) => call,
        other => panic!("{other:?}"),
    };
    let linger = call("0 setsockopt(3, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0");
    let field = |name: &str, n| Field {
        name: Some(name.to_owned()),
        args: Vec::new(),
        value: Expr::Int(n),
    };
    assert_eq!(
        linger.args[3],
        Expr::Struct(vec![field("onoff", 1), field("linger", 0)])
    );
    let read = call("0 read(4, ..., 1000) = -1 EAGAIN (Resource temporarily unavailable)");
    assert_eq!(
        (read.result, read.errno.as_deref()),
        (Expr::Int(-1), Some("EAGAIN"))
    );
    assert_eq!(read.args, [Expr::Int(4), Expr::Ellipsis, Expr::Int(1000)]);
    let fcntl = call("0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0");
    let symbol = |name: &str| Expr::Symbol(name.to_owned());
    assert_eq!(
        fcntl.args[2],
        Expr::Or(vec![symbol("O_RDWR"), symbol("O_NONBLOCK")])
    );
    let flags = call("0 fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)");
    assert_eq!((flags.result, flags.errno), (Expr::Int(2), None));
    let key = call("0 setsockopt(3, IPPROTO_TCP, TCP_FASTOPEN_KEY, \"\\x01a\" \"b\\n\", 4) = 0");
    assert_eq!(key.args[3], Expr::Str(vec![1, b'a', b'b', b'\n']));
    let message =
        call("0 sendmsg(3, {msg_name(...)=..., msg_iov(1)=[{..., 1000}], msg_flags=0}, 0) = 1000");
    let Expr::Struct(fields) = &message.args[1] else {
        panic!("struct")
    };
    assert_eq!(
        fields.iter().map(|f| f.name.as_deref()).collect::<Vec<_>>(),
        [Some("msg_name"), Some("msg_iov"), Some("msg_flags")]
    );
}

#[test]
fn code_blocks() {
    let code = events("0 %{\nassert tcpi_snd_cwnd == 10, tcpi_snd_cwnd\n}%");
    assert_eq!(
        code[0].action,
        Action::Code("assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd".to_owned())
    );
}

#[test]
fn what_is_wrong_is_refused_with_its_line() {
    let line = |source: &str| parse(source).map_err(|error| error.line).unwrap_err();
    assert_eq!(
        line("0 `a`\n+0 < . 1:1(0) ack 1\n+0 `b`"),
        3,
        "no window on an injected segment: seen at the next token"
    );
    assert_eq!(line("0 `a`\n+0 > . 1:2(2)"), 2, "the range does not add up");
    assert_eq!(
        line("0 `a`\n\n+0 > . 1:1(0) <mss>"),
        3,
        "an option without its number"
    );
    assert_eq!(line("1 `late start`"), 1);
    assert_eq!(line("0 `a`\n2 `b`\n1 `c`"), 3, "time goes backwards");
    assert_eq!(line("0 `a`\n* `b`"), 2, "only expected packets may float");
    assert_eq!(
        line("0 read(3, ..., 1) = -1 EAGAIN"),
        1,
        "an errno needs its words"
    );
    assert_eq!(line("0 \"unfinished"), 1);
    assert!(parse("").is_err());
}

#[test]
fn headers_around_a_packet() {
    let encap = |text: &str| packet(&format!("0 < {text} . 1:1(0) ack 1 win 1")).encap;
    let v4 = |text: &str| text.parse::<Ipv4Addr>().expect("an address");
    let v6 = |text: &str| text.parse::<Ipv6Addr>().expect("an address");
    assert_eq!(
        encap("ipv4 192.0.2.1 > 192.168.0.1:"),
        [Encap::Ipv4(v4("192.0.2.1"), v4("192.168.0.1"))]
    );
    assert_eq!(
        encap("ipv6 2001:db8::1 > fd3d:a0b:17d6::1: [ect0]"),
        [Encap::Ipv6(v6("2001:db8::1"), v6("fd3d:a0b:17d6::1"))]
    );
    let gre = Encap::Gre {
        sum: None,
        off: None,
        key: Some(80),
        seq: Some(7),
    };
    assert_eq!(encap("gre [key 80, seq 7]:"), [gre]);
    let label = |label, bottom, ttl| MplsLabel {
        label,
        tc: 0,
        bottom,
        ttl,
    };
    assert_eq!(
        encap("mpls (label 0, tc 0, ttl 0) (label 1048575, tc 0, [S], ttl 255):"),
        [Encap::Mpls(vec![
            label(0, false, 0),
            label(1_048_575, true, 255)
        ])]
    );
    assert!(parse("0 < mpls (label 1048576, tc 0, ttl 0): . 1:1(0) win 1").is_err());
}

#[test]
fn words_that_stand_for_something_else() {
    let define = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let source = "--define=LEN=5\n0 read(FD, ..., LEN) = LEN\n+0 setsockopt(3, 1, 2, KEY, 1) = 0\n+0 CMD\n+0 \"FD\"";
    let error = parse_with(
        source,
        &[
            define("FD", "4"),
            define("KEY", "\"k\""),
            define("CMD", "`a b`"),
        ],
    );
    assert_eq!(
        error.map_err(|error| error.line).unwrap_err(),
        5,
        "no replacement in strings"
    );
    let source = source.trim_end_matches("+0 \"FD\"");
    let given = [
        define("FD", "4"),
        define("KEY", "\"k\""),
        define("CMD", "`a b`"),
        define("LEN", "0x10"),
    ];
    let actions: Vec<Action> = parse_with(source, &given)
        .unwrap()
        .events
        .into_iter()
        .map(|event| event.action)
        .collect();
    let Action::Syscall(read) = &actions[0] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        read.args,
        [Expr::Int(4), Expr::Ellipsis, Expr::Int(16)],
        "the command line wins"
    );
    let Action::Syscall(set) = &actions[1] else {
        panic!("{actions:?}")
    };
    assert_eq!(set.args[3], Expr::Str(b"k".to_vec()));
    assert_eq!(actions[2], Action::Command("a b".to_owned()));
}

#[test]
fn errors_have_a_place() {
    let source = "0 `a`\n+0 > . 1:1(0) ack 1 <mss>";
    let error = parse(source).unwrap_err();
    assert_eq!((error.line, error.column), (2, 25), "{error}");
    assert_eq!(
        error.excerpt(source),
        "+0 > . 1:1(0) ack 1 <mss>\n                        ^"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_answered(text in "[ -~\n]{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn printed_segments_read_back(
        bits in 0u8..64, seq: u32, len in 0u32..2000, ack: Option<u32>, win: u16, urg: Option<u16>,
        mss: u16, blocks in proptest::collection::vec(any::<(u32, u32)>(), 1..4), val: u32, ecr: u32,
    ) {
        let options = vec![
            TcpOption::Mss(mss),
            TcpOption::Nop,
            TcpOption::Timestamps { val, ecr },
            TcpOption::Sack(blocks),
        ];
        let segment = Tcp {
            ports: None,
            flags: Flags { bits, ece: EcnFlags::Letters(0) },
            seq,
            len,
            ack,
            win: Some(win),
            urg,
            options: Options::List(options),
        };
        let read = packet(&format!("0 < {segment}"));
        prop_assert_eq!(read.dir, Direction::Inject);
        prop_assert_eq!(read.body, Body::Tcp(segment));
    }
}
