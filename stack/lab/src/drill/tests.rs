use super::{Checks, Delivery, RunConfig, Verdict, run_text};

const LISTEN: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0\n\
    +0 < S 0:0(0) win 1000 <mss 1000>\n+0 > S. 0:0(0) ack 1 <mss 1460>\n\
    +.01 < . 1:1(0) ack 1 win 1000\n+0 accept(3, ..., ...) = 4\n";

fn verdict(events: &str, checks: Checks) -> Verdict {
    let config = RunConfig::new(Delivery::OneByOne, checks);
    run_text(events, config)
}

/// The verdict on events behind a handshake of seven lines.
fn connected(events: &str) -> Verdict {
    verdict(&format!("{LISTEN}{events}"), Checks::Strict)
}

#[track_caller]
fn fails_at(verdict: Verdict, line: u32, what: &str) {
    match verdict {
        Verdict::Fail(failure) => {
            assert_eq!(
                (failure.line, failure.what.as_str()),
                (line, what),
                "{failure:?}"
            );
        }
        other => panic!("{other}"),
    }
}

#[track_caller]
fn is_unsupported(verdict: Verdict, line: u32) {
    match verdict {
        Verdict::Unsupported { line: at, .. } => assert_eq!(at, line),
        other => panic!("{other}"),
    }
}

#[test]
fn a_right_script_passes() {
    assert_eq!(connected(""), Verdict::Pass);
}

#[test]
fn what_is_not_known_is_never_passed() {
    is_unsupported(connected("+0 %{ import os }%"), 8);
    is_unsupported(connected("+0 `ip route flush cache`"), 8);
    is_unsupported(connected("+0 `sysctl -q net.ipv4.no_such=1`"), 8);
    is_unsupported(
        connected("+0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 1}], msg_flags=0}, 0) = 1"),
        8,
    );
    is_unsupported(
        connected("+0 setsockopt(4, SOL_SOCKET, SO_NO_SUCH, [1], 4) = 0"),
        8,
    );
    is_unsupported(connected("+0 ptrace(4, ..., 10) = 0"), 8);
    is_unsupported(connected("+0 < gre: . 1:1(0) ack 1 win 1"), 8);
    is_unsupported(
        connected("+0 > mpls (label 7, tc 0, ttl 9): . 1:1(0) ack 1"),
        8,
    );
    is_unsupported(connected("+0 < icmp packet_too_big mtu 1280"), 8);
    is_unsupported(connected("+0 < . 1:1(0) ack 1 win 1 <...>"), 8);
    is_unsupported(verdict("--ip_version=ipv6\n0 `true`", Checks::Strict), 1);
    is_unsupported(verdict("0 nonsense", Checks::Strict), 1);
}

#[test]
fn times_are_judged() {
    let write = "+0 write(4, ..., 10) = 10\n";
    let at = |time: &str| connected(&format!("{write}{time} > P. 1:11(10) ack 1\n"));
    assert_eq!(at("+0"), Verdict::Pass);
    assert_eq!(at("*"), Verdict::Pass);
    assert_eq!(at("+.003"), Verdict::Pass, "4 ms are tolerated");
    assert_eq!(at("+0~+.1"), Verdict::Pass);
    fails_at(at("+.01"), 9, "time of the packet");
    fails_at(at("+.1~+.2"), 9, "time of the packet");
}

#[test]
fn packets_that_do_not_come_or_are_too_many() {
    fails_at(connected("+0 > P. 1:11(10) ack 1"), 8, "packet");
    let left = format!("{LISTEN}+0 write(4, ..., 10) = 10\n");
    fails_at(verdict(&left, Checks::Strict), 8, "end of the script");
    assert_eq!(verdict(&left, Checks::Upstream), Verdict::Pass);
}

#[test]
fn blocking_calls_return_when_they_should() {
    let read = |end: &str| {
        connected(&format!(
            "+0...{end} read(4, ..., 10) = 10\n+.1 < P. 1:11(10) ack 1 win 1000\n* > . 1:1(0) ack 11"
        ))
    };
    assert_eq!(read(".1"), Verdict::Pass);
    fails_at(read(".05"), 8, "return time of read");
    fails_at(read(".2"), 8, "return time of read");
    fails_at(connected("+0 read(4, ..., 10) = 10"), 8, "read");
    fails_at(connected("+0...1 read(4, ..., 10) = 10"), 8, "read");
}

#[test]
fn results_are_compared() {
    fails_at(connected("+0 close(9) = 0"), 8, "close");
    assert_eq!(
        connected("+0 close(9) = -1 EBADF (Bad file descriptor)"),
        Verdict::Pass
    );
    fails_at(connected("+0 listen(4, 1) = 0"), 8, "listen");
    assert_eq!(
        connected("+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [0], [4]) = 0"),
        Verdict::Pass
    );
    fails_at(
        connected("+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0"),
        8,
        "getsockopt",
    );
}

#[test]
fn segments_are_glued_unless_strict() {
    let script = "+0 write(4, ..., 1000) = 1000\n+0 > P. 1:1001(1000) ack 1\n";
    assert_eq!(
        connected(script),
        Verdict::Pass,
        "two segments of half the window"
    );
    let strict = format!("--strict_segments\n{LISTEN}{script}");
    fails_at(verdict(&strict, Checks::Strict), 10, "flags");
}
