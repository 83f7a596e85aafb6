use std::collections::VecDeque;
use std::time::Duration;

use millrace_posix::call::{Call, Return};

use super::{
    Checks, Delivery, Ground, Record, RunConfig, Verdict, Way, parse, run, run_on, run_text,
};
use crate::machine::{
    Broken, Machine, Passed, Progress, SentPacket, StackConfig, StackMachine, Ticket,
};

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
fn how_long_a_script_takes() {
    let script = parse(
        "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+.5 close(3) = 0\n+0...2.5 accept(3, ..., ...) = 4\n\
         1 < S 0:0(0) win 9\n+.1~+.3 > S. 0:0(0) ack 1\n",
    )
    .expect("a script");
    assert_eq!(script.duration(), 3_000_000);
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

/// A stack in a time that is as late as a busy machine's: every wait lasts `late` too long.
struct Busy {
    inner: StackMachine,
    late: Duration,
}

impl Machine for Busy {
    fn now(&self) -> Duration {
        self.inner.now()
    }

    fn pass_time(&mut self, until: Duration) -> Result<Passed, Broken> {
        self.inner.pass_time(until + self.late)
    }

    fn inject(&mut self, packets: &[Vec<u8>]) -> Result<(), Broken> {
        self.inner.inject(packets)
    }

    fn sent(&mut self) -> &mut VecDeque<SentPacket> {
        self.inner.sent()
    }

    fn start(&mut self, call: Call) -> Result<Progress, Broken> {
        self.inner.start(call)
    }

    fn returned(&mut self, ticket: Ticket) -> Option<(Return, Duration)> {
        self.inner.returned(ticket)
    }

    fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), Broken> {
        self.inner.set_sysctl(name, value)
    }

    fn counter(&mut self, name: &str) -> Option<u64> {
        self.inner.counter(name)
    }

    fn is_real_time(&self) -> bool {
        true
    }
}

#[test]
fn a_busy_machine_gets_no_verdict() {
    let script = parse("0 `true`\n+.1 < icmp echo_request\n+0 > icmp echo_reply").unwrap();
    let ground = Ground::of(&script).unwrap();
    let verdict = |late: u64, config: RunConfig| {
        let mut machine = Busy {
            inner: StackMachine::new(StackConfig::new(ground.local)).unwrap(),
            late: Duration::from_millis(late),
        };
        run_on(&script, config, &mut machine).verdict
    };
    let config = RunConfig::new(Delivery::OneByOne, Checks::Upstream);
    assert_eq!(verdict(1, config), Verdict::Pass);
    assert_eq!(
        verdict(20, config),
        Verdict::Late {
            line: 1,
            by: 20_000
        }
    );
    let patient = RunConfig {
        lateness: Some(30_000),
        ..config
    };
    assert_eq!(verdict(20, patient), Verdict::Pass);
}

#[test]
fn what_happened_is_kept_on_request() {
    let script = parse(&format!("{LISTEN}+0 write(4, ..., 10) = 10")).unwrap();
    let config = RunConfig {
        record: Record::Everything,
        ..RunConfig::new(Delivery::OneByOne, Checks::Upstream)
    };
    let report = run(&script, config);
    assert_eq!(report.verdict, Verdict::Pass);
    let ways: Vec<Way> = report.packets.iter().map(|packet| packet.way).collect();
    assert_eq!(
        ways,
        [Way::In, Way::Out, Way::In, Way::Out],
        "what nobody expected is there too"
    );
    assert!(report.packets.is_sorted_by_key(|packet| packet.at));
    assert_eq!(
        report.log.last().map(|entry| entry.what.as_str()),
        Some("write = 10")
    );
}

#[test]
fn mismatches_that_the_script_calls_harmless() {
    let wrong =
        format!("{LISTEN}+0 close(9) = 0\n+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 2\n");
    fails_at(verdict(&wrong, Checks::Strict), 8, "close");
    let calls = format!("--non_fatal=syscall\n{wrong}");
    fails_at(
        verdict(&calls, Checks::Strict),
        11,
        "acknowledgement number",
    );
    let both = format!("--non_fatal=packet,syscall\n{wrong}");
    assert_eq!(verdict(&both, Checks::Strict), Verdict::Pass);
}

#[test]
fn code_is_judged_at_the_end_and_a_child_has_a_descriptor_once_accepted() {
    fails_at(
        connected("+0 %{ assert tcpi_snd_cwnd == 11 }%"),
        8,
        "assertion",
    );
    assert_eq!(
        connected("+0 %{ assert tcpi_state == TCP_ESTABLISHED }%"),
        Verdict::Pass
    );
    fails_at(
        connected("+0 %{ assert False }%\n+0 close(9) = 0"),
        9,
        "close",
    );
    is_unsupported(connected("+0 %{ assert tcpi_no_such }%"), 8);
    let early = LISTEN.replace("+0 accept(3, ..., ...) = 4\n", "+0 %{ assert True }%\n");
    is_unsupported(verdict(&early, Checks::Upstream), 7);
}

#[test]
fn exit_statuses_are_judged() {
    fails_at(connected("+0 `false`"), 8, "exit status");
    assert_eq!(
        connected("+0 `nstat -az | grep TcpPassiveOpens | grep -q ' 1 '`"),
        Verdict::Pass
    );
}
