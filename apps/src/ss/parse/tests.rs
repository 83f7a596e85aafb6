//! Filters that are read, what they let through, and those that are not read.

use std::borrow::Cow;
use std::net::SocketAddrV4;

use millrace::net::TcpState;

use super::*;
use crate::control::protocol::Sock;

fn services() -> Services {
    Services::parse("http 80/tcp www # WorldWideWeb\nntp 123/udp\nhttps\t443/tcp\n")
}

fn read(text: &str) -> Filter {
    filter(text, &services()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn sock(local: &str, peer: &str) -> Sock {
    let at = |text: &str| text.parse::<SocketAddrV4>().expect("an address");
    Sock {
        id: 1,
        state: Cow::Borrowed("ESTAB"),
        local: at(local),
        peer: at(peer),
        recv_q: 0,
        send_q: 0,
        shutdown: None,
        timer: None,
        memory: None,
        congestion: None,
        info: None,
    }
}

#[test]
fn what_expressions_let_through() {
    let sock = sock("10.77.0.2:80", "192.168.3.4:40000");
    for (text, through) in [
        ("", true),
        ("sport = :80", true),
        ("sport :80", true),
        ("sport = 80", true),
        ("sport == :http", true),
        ("sport eq www", true),
        ("sport=:80", true),
        ("dport = :80", false),
        ("dport != :80", true),
        ("dport neq :40000", false),
        ("dport > :39999 & dport < :40001", true),
        ("dport ge :40000 and dport leq :40000", true),
        ("dport gt :40000", false),
        ("dport lt :40000", false),
        ("src 10.77.0.2", true),
        ("src = 10.77.0.2:80", true),
        ("src 10.77.0.2:81", false),
        ("src 10.77/16", true),
        ("src 10.0.0.0/8:http", true),
        ("src inet:10.77.0.2", true),
        ("src *:80", true),
        ("src :81", false),
        ("dst 192.168.3.0/30", false),
        ("dst 192.168.3.4/30", true),
        ("dst *", true),
        ("not dst 192.168.3.4", false),
        ("! sport = :443", true),
        ("not not sport = :80", true),
        ("sport = :443 or dport = :40000", true),
        ("sport = :80 dport = :1", false),
        // `and` binds closer than `or`, `not` closer than both.
        ("sport = :80 or sport = :443 and dport = :1", true),
        ("( sport = :80 or sport = :443 ) and dport = :1", false),
        ("not sport = :443 and dport = :40000", true),
        ("not ( sport = :443 or dport = :40000 )", false),
        ("(sport=:80&&(dst 192.168.0.0/16||dport<:1))", true),
    ] {
        assert_eq!(read(text).matches(&sock), through, "{text}");
    }
}

#[test]
fn states_before_the_expression() {
    let established = TcpState::Established.bit();
    assert_eq!(read("sport = :80").states, None);
    assert_eq!(read("state established").states, Some(established));
    let both = read("state established state listening sport = :80");
    assert_eq!(both.states, Some(established | TcpState::Listen.bit()));
    assert!(both.expression.is_some());
    assert_eq!(read("exclude established").states, Some(ALL & !established));
    let but = read("state connected exclude time-wait excl syn-sent").states;
    let some = but.expect("states");
    for state in TcpState::ALL {
        let out = ["LISTEN", "UNCONN", "TIME-WAIT", "SYN-SENT"].contains(&state.name());
        assert_eq!(some & state.bit() == 0, out, "{}", state.name());
    }
    let bucket = TcpState::SynRecv.bit() | TcpState::TimeWait.bit();
    assert_eq!(read("state bucket").states, Some(bucket));
    assert_eq!(read("state big").states, Some(ALL & !bucket));
    assert_eq!(read("state all").states, Some(ALL));
}

/// Each with what is said and the column of the mark.
#[test]
fn what_is_wrong_and_where() {
    for (text, why, column) in [
        ("state bogus", "`bogus` stands where a state such as", 6),
        ("state", "it ends where a state", 5),
        ("sport = :80 and", "it ends where src, dst", 15),
        ("( sport = :80", "it ends where `)`", 13),
        ("sport = :80 )", "`)` stands where `and`", 12),
        ("foo = 3", "`foo` stands where src", 0),
        ("sport = :nosuch", "`nosuch` is no port", 8),
        ("sport = :65536", "`65536` is no port", 8),
        ("src 1.2.3.4/40", "`1.2.3.4/40` is no IPv4 address", 4),
        ("src 1.2.3.4.5", "`1.2.3.4.5` is no IPv4", 4),
        ("src example.org", "`example.org` is no IPv4", 4),
        ("dst != 10.0.0.1", "only compared with `=`", 4),
        ("sport = :80 dev eth0", "not known", 12),
        ("src =", "it ends where an address", 5),
        ("sport = ü", "no port", 8),
        ("ü sport", "stands where src", 0),
    ] {
        let error = filter(text, &services()).expect_err(text);
        let lines: Vec<&str> = error.lines().collect();
        assert!(lines[0].contains(why), "{error}");
        assert_eq!(lines[1].trim_start(), text);
        assert_eq!(lines[2].find('^'), Some(column + 2), "{error}");
    }
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    let deep = format!("{}sport = :80", "( ".repeat(100_000));
    let error = filter(&deep, &services()).expect_err("too deep");
    assert!(error.contains("nested deeper"), "{}", &error[..80]);
    let error = filter(&"not ".repeat(100_000), &services()).expect_err("too deep");
    assert!(error.contains("nested deeper"));
}
