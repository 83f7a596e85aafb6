//! The kernel's own answers, replayed.

use std::collections::BTreeSet;

use millrace_net::{Config, Stack};
use millrace_wire::time::Instant;

use crate::call::{Call, Out, Return};
use crate::process::{Process, Started};

const KERNEL: &str = include_str!("kernel.txt");

/// Where the stack's options differ, and why. One that differs no more must go.
const DIFFERENT: &[(&str, &str)] = &[(
    "get 1 18 16 00000001",
    "SO_RCVLOWAT has another upper bound",
)];

fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::EINVAL => "EINVAL",
        libc::ENOPROTOOPT => "ENOPROTOOPT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EDOM => "EDOM",
        libc::ENOENT => "ENOENT",
        libc::ENOTCONN => "ENOTCONN",
        libc::EPERM => "EPERM",
        other => panic!("errno {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if digits.is_empty() {
        "-".to_owned()
    } else {
        digits
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim_matches('-').as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.map(|pair| byte(pair).expect("hex")).collect()
}

struct Bench {
    stack: Stack,
    process: Process,
    fd: i32,
}

impl Bench {
    fn new() -> Self {
        Self {
            stack: Stack::new(Config::new([1; 32])),
            process: Process::default(),
            fd: -1,
        }
    }

    fn call(&mut self, call: Call) -> Return {
        match self.process.start(&mut self.stack, Instant::ZERO, call) {
            Started::Done(returned) => returned,
            Started::Parked(pending) => panic!("{pending:?}"),
        }
    }

    fn fresh_socket(&mut self) {
        let (domain, ty, protocol) = (libc::AF_INET, libc::SOCK_STREAM, 0);
        let opened = self.call(Call::Socket {
            domain,
            ty,
            protocol,
        });
        self.fd = opened.value as i32;
        assert!(self.fd >= 3);
    }

    /// Asks what a line asks, and answers as it does.
    fn answer(&mut self, words: &[&str]) -> String {
        let fd = self.fd;
        let [verb, level, name, argument, _] = words else {
            panic!("{words:?}");
        };
        let number = |text: &str| text.parse::<i32>().expect("a number");
        let (level, name) = (number(level), number(name));
        let call = match *verb {
            "set" => Call::SetSockOpt {
                fd,
                level,
                name,
                value: unhex(argument),
            },
            _ => Call::GetSockOpt {
                fd,
                level,
                name,
                room: number(argument).cast_unsigned(),
            },
        };
        let returned = self.call(call);
        match returned.out {
            _ if returned.errno != 0 => errno_name(returned.errno).to_owned(),
            Out::Value(value) => hex(&value),
            _ => "ok".to_owned(),
        }
    }
}

#[test]
fn options_are_the_kernels_to_the_byte() {
    let mut bench = Bench::new();
    let mut compared = 0;
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for line in KERNEL.lines().skip(2) {
        let words: Vec<_> = line.split(' ').collect();
        if words[0] == "#" {
            bench.fresh_socket();
            continue;
        }
        let got = bench.answer(&words);
        compared += 1;
        if got == words[4] {
            continue;
        }
        match DIFFERENT.iter().position(|(known, _)| *known == line) {
            Some(at) => {
                seen.insert(at);
            }
            None => wrong.push(format!("{line}: {got}")),
        }
    }
    assert!(compared > 600, "{compared} answers");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    let stale = (0..DIFFERENT.len()).find(|at| !seen.contains(at));
    let stale = stale.map(|at| DIFFERENT[at].1);
    assert_eq!(stale, None, "is as in the kernel now");
}
