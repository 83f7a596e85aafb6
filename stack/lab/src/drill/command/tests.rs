use std::collections::VecDeque;
use std::time::Duration;

use millrace_posix::call::{Call, Return};

use super::{Shell, Unsuccessful};
use crate::machine::{
    Broken, Commanded, LinkChange, Machine, Offload, Passed, Progress, Qdisc, RouteMetrics,
    SentPacket, Ticket,
};

/// A machine that writes down what it is asked.
#[derive(Default)]
struct Notebook {
    settings: Vec<(String, String)>,
    changes: Vec<LinkChange>,
    timeouts: u64,
    shell: Option<i32>,
    sent: VecDeque<SentPacket>,
}

impl Machine for Notebook {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn pass_time(&mut self, _: Duration) -> Result<Passed, Broken> {
        Ok(Passed::Due)
    }

    fn inject(&mut self, _: &[Vec<u8>]) -> Result<(), Broken> {
        Ok(())
    }

    fn sent(&mut self) -> &mut VecDeque<SentPacket> {
        &mut self.sent
    }

    fn start(&mut self, _: Call) -> Result<Progress, Broken> {
        Ok(Progress::Done(Return::ok(0)))
    }

    fn returned(&mut self, _: Ticket) -> Option<(Return, Duration)> {
        None
    }

    fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), Broken> {
        if name.ends_with("no_such") {
            return Err(Broken("no such setting".to_owned()));
        }
        self.settings.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn counter(&mut self, _: &str) -> Option<u64> {
        None
    }

    fn counters(&mut self) -> Vec<(String, u64)> {
        vec![
            ("TcpExtTCPTimeouts".to_owned(), self.timeouts),
            ("TcpExtTCPOther".to_owned(), 0),
        ]
    }

    fn command(&mut self, _: &str) -> Result<Commanded, Broken> {
        Ok(match self.shell {
            None => Commanded::NoShell,
            Some(status) => Commanded::Ran {
                status,
                output: String::new(),
            },
        })
    }

    fn change_link(&mut self, change: &LinkChange) -> Result<(), Broken> {
        self.changes.push(*change);
        Ok(())
    }
}

fn run(text: &str) -> (Result<(), Unsuccessful>, Notebook) {
    let mut machine = Notebook::default();
    let done = Shell::default().run(&mut machine, text);
    (done, machine)
}

fn status(status: i32) -> Unsuccessful {
    let output = String::new();
    Unsuccessful::Status { status, output }
}

#[track_caller]
fn refused(text: &str) {
    let (done, _) = run(text);
    assert!(
        matches!(done, Err(Unsuccessful::Unsupported(_))),
        "{text}: {done:?}"
    );
}

#[test]
fn settings_in_all_spellings() {
    let (done, machine) = run(
        "sysctl -q net.ipv4.tcp_sack=0 net/ipv4/tcp_rmem=\"4096 8192  16384\" -w a=b; true\n\
         ./set_sysctls.py /proc/sys/net/ipv4/tcp_ecn=1 > /dev/null 2>&1\n\
         sysctl -q b=\"4096 $((15*1024*1024))\" c=$((2*3))",
    );
    assert_eq!(done, Ok(()));
    let expected = [
        ("net.ipv4.tcp_sack", "0"),
        ("net.ipv4.tcp_rmem", "4096 8192 16384"),
        ("a", "b"),
        ("net.ipv4.tcp_ecn", "1"),
        ("b", "4096 15728640"),
        ("c", "6"),
    ];
    let got = machine
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    assert!(got.eq(expected), "{:?}", machine.settings);
    refused("sysctl net.ipv4.tcp_sack");
    refused("sysctl -q net.ipv4.no_such=1");
}

#[test]
fn the_profile_comes_with_the_interpreter() {
    let (done, machine) =
        run("../common/defaults.sh\nsysctl -q net.ipv4.tcp_sack=0\n/tmp/sysctl_restore_${PPID}.sh");
    assert_eq!(done, Ok(()));
    let last = |name: &str| {
        machine
            .settings
            .iter()
            .rev()
            .find(|(known, _)| known == name)
    };
    assert_eq!(
        last("net.ipv4.tcp_syn_retries").map(|(_, value)| value.as_str()),
        Some("5")
    );
    assert_eq!(
        last("net.ipv4.tcp_sack").map(|(_, value)| value.as_str()),
        Some("0")
    );
    assert!(
        machine
            .changes
            .contains(&LinkChange::Qdisc(Qdisc::Pfifo(None)))
    );
}

#[test]
fn lists_as_in_a_shell() {
    assert_eq!(run("false; true").0, Ok(()));
    assert_eq!(run("true && false").0, Err(status(1)));
    assert_eq!(run("false || true").0, Ok(()));
    assert_eq!(
        run("false && ip nonsense").0,
        Err(status(1)),
        "what is skipped is not looked at"
    );
    assert_eq!(run("! false # a comment").0, Ok(()));
    refused("for i in 1; do true; done");
    refused("sysctl -q a=$HOME");
    refused("sysctl -q \"a=$(date)\"");
    refused("sysctl -q a=$((x))");
    refused("true > file");
}

#[test]
fn links_and_routes() {
    let (done, machine) = run(
        "ip route change 192.0.2.1 via 192.168.0.2 dev tun0 advmss 1000 mtu lock 1400 initcwnd 3\n\
         ip link set dev tun0 mtu 9000; ethtool -K tun0 tso off gso off; tc qdisc replace dev tun0 root fq\n\
         tc qdisc add dev tun0 root pfifo limit 7 && ip tcp_metrics flush all",
    );
    assert_eq!(done, Ok(()));
    let off = |offload| LinkChange::Offload { offload, on: false };
    let route = RouteMetrics {
        mtu: Some(1400),
        mtu_locked: true,
        advmss: Some(1000),
        initcwnd: Some(3),
        initrwnd: None,
    };
    let expected = [
        LinkChange::Route(route),
        LinkChange::Mtu(9000),
        off(Offload::Tso),
        off(Offload::Gso),
        LinkChange::Qdisc(Qdisc::Fq),
        LinkChange::Qdisc(Qdisc::Pfifo(Some(7))),
        LinkChange::FlushTcpMetrics,
    ];
    assert_eq!(machine.changes, expected);
    for text in [
        "ip route flush cache",
        "ip route change 192.0.2.1 dev tun0 quickack 1",
        "ethtool -K tun0 lro on",
        "tc qdisc replace dev tun0 root netem",
        "ip link set dev tun0 mtu x",
    ] {
        refused(text);
    }
}

#[test]
fn counters_since_they_were_last_shown() {
    let mut machine = Notebook {
        timeouts: 5,
        ..Notebook::default()
    };
    let mut shell = Shell::default();
    let mut run = |machine: &mut Notebook, text: &str| shell.run(machine, text);
    assert_eq!(run(&mut machine, "nstat -n"), Ok(()));
    machine.timeouts = 7;
    assert_eq!(
        run(
            &mut machine,
            "nstat -s | grep TcpExtTCPTimeouts | grep -q \" 2 \""
        ),
        Ok(())
    );
    assert_eq!(
        run(
            &mut machine,
            "nstat | grep TcpExtTCPTimeouts | grep -q \" 2 \""
        ),
        Ok(())
    );
    assert_eq!(
        run(
            &mut machine,
            "nstat | grep TcpExtTCPTimeouts | grep -q \" 2 \""
        ),
        Err(status(1)),
        "shown once"
    );
    assert_eq!(
        run(&mut machine, "nstat -az TcpExtTCPOther | grep -q ' 0 '"),
        Ok(())
    );
    assert_eq!(
        run(&mut machine, "nstat -a 'TcpExt*Time*' | grep -qv Other"),
        Ok(())
    );
    refused("nstat --json");
    refused("nstat | grep 'a[b]'");
}

#[test]
fn a_machine_with_a_shell_uses_it() {
    let mut machine = Notebook {
        shell: Some(3),
        ..Notebook::default()
    };
    let mut shell = Shell::default();
    assert_eq!(shell.run(&mut machine, "anything at all"), Err(status(3)));
    machine.shell = Some(0);
    assert_eq!(shell.run(&mut machine, "anything at all"), Ok(()));
    assert_eq!(shell.run(&mut machine, "./defaults.sh"), Ok(()));
    assert!(!machine.settings.is_empty(), "not on the machine's disk");
}
