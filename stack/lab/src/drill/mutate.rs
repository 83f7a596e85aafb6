//! Wrong scripts from a right one: each differs in one expected value. A runner that passes one of them does not look
//! at that value.

use super::ast::{
    Action, Body, Direction, Event, Expr, Flags, Options, Script, Tcp, TcpOption, When,
};

/// A script with one wrong expectation.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// The line that is wrong.
    pub line: u32,
    /// What is wrong there.
    pub what: &'static str,
    /// The script.
    pub script: Script,
}

/// What the mutants' author must know besides the event itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SynSeen {
    /// This is the stack's first SYN: its number defines the script's number space and is right by definition.
    First,
    /// The number space is defined.
    Before,
}

/// All mutants of `script`: sequence, acknowledgement and window numbers, flags, lengths and options of expected
/// segments, their times, and results of calls.
pub fn mutants(script: &Script) -> Vec<Mutant> {
    let mut list = Vec::new();
    let mut syn = SynSeen::First;
    for (at, event) in script.events.iter().enumerate() {
        let mut add = |what: &'static str, action: Action, when: When| {
            let mut script = script.clone();
            script.events[at] = Event {
                line: event.line,
                when,
                action,
            };
            list.push(Mutant {
                line: event.line,
                what,
                script,
            });
        };
        match &event.action {
            Action::Packet(packet) if packet.dir == Direction::Expect => {
                let Body::Tcp(tcp) = &packet.body else {
                    continue;
                };
                for (what, wrong) in segment_mutants(tcp, syn) {
                    let packet = super::ast::Packet {
                        body: Body::Tcp(wrong),
                        ..packet.clone()
                    };
                    add(what, Action::Packet(packet), event.when);
                }
                if let Some(late) = later(event.when) {
                    add("time", event.action.clone(), late);
                }
                if tcp.flags.has(Flags::SYN) {
                    syn = SynSeen::Before;
                }
            }
            Action::Syscall(call) => {
                if let Expr::Int(result) = call.result {
                    let wrong = wrong_result(&call.name, result);
                    add(
                        "result",
                        Action::Syscall(super::ast::Syscall {
                            result: Expr::Int(wrong),
                            ..call.clone()
                        }),
                        event.when,
                    );
                }
                if call.errno.is_some() {
                    let errno = Some("EDOM".to_owned());
                    add(
                        "errno",
                        Action::Syscall(super::ast::Syscall {
                            errno,
                            ..call.clone()
                        }),
                        event.when,
                    );
                }
            }
            _ => {}
        }
    }
    list
}

/// Any number will do for a new descriptor, so only failure is a wrong result there.
fn wrong_result(name: &str, result: i64) -> i64 {
    match name {
        "socket" | "accept" if result >= 0 => -1,
        _ => result + 1,
    }
}

/// A time that is too late for the tolerance, whatever came before.
fn later(when: When) -> Option<When> {
    const MUCH: u64 = 100_000_000;
    match when {
        When::At(at) => Some(When::At(at + MUCH)),
        When::After(after) => Some(When::After(after + MUCH)),
        When::AtRange(..) | When::AfterRange(..) | When::Any => None,
    }
}

fn segment_mutants(tcp: &Tcp, syn: SynSeen) -> Vec<(&'static str, Tcp)> {
    let mut list = Vec::new();
    let mut add = |what: &'static str, change: &dyn Fn(&mut Tcp)| {
        let mut wrong = tcp.clone();
        change(&mut wrong);
        list.push((what, wrong));
    };
    if !(tcp.flags.has(Flags::SYN) && syn == SynSeen::First) {
        add("sequence number + 1", &|wrong| {
            wrong.seq = wrong.seq.wrapping_add(1)
        });
    }
    add("acknowledgement number + 1", &|wrong| {
        wrong.ack = Some(wrong.ack.unwrap_or(0).wrapping_add(1))
    });
    if let Some(win) = tcp.win {
        add("window + 1", &|wrong| wrong.win = Some(win.wrapping_add(1)));
    }
    for (what, bit) in [
        ("FIN", Flags::FIN),
        ("SYN", Flags::SYN),
        ("RST", Flags::RST),
        ("PSH", Flags::PSH),
        ("ACK", Flags::ACK),
        ("URG", Flags::URG),
    ] {
        add(what, &|wrong| wrong.flags.bits ^= bit);
    }
    add("length + 1", &|wrong| wrong.len += 1);
    if tcp.len > 0 {
        add("length - 1", &|wrong| wrong.len -= 1);
    }
    if let Options::List(options) = &tcp.options {
        for (at, option) in options.iter().enumerate() {
            for (what, other) in option_mutants(option) {
                add(what, &|wrong| replace(wrong, at, Some(other.clone())));
            }
            add("one option less", &|wrong| replace(wrong, at, None));
        }
    }
    list
}

fn replace(tcp: &mut Tcp, at: usize, option: Option<TcpOption>) {
    let Options::List(list) = &mut tcp.options else {
        return;
    };
    match option {
        Some(option) => list[at] = option,
        None => drop(list.remove(at)),
    }
}

fn option_mutants(option: &TcpOption) -> Vec<(&'static str, TcpOption)> {
    match option {
        TcpOption::Nop => vec![("nop to eol", TcpOption::Eol)],
        TcpOption::Mss(mss) => vec![("mss + 1", TcpOption::Mss(mss.wrapping_add(1)))],
        TcpOption::WindowScale(shift) => {
            vec![("wscale + 1", TcpOption::WindowScale(shift.wrapping_add(1)))]
        }
        TcpOption::SackPermitted => vec![("sackOK to nop", TcpOption::Nop)],
        TcpOption::Timestamps { val, ecr } => {
            vec![(
                "ecr + 1",
                TcpOption::Timestamps {
                    val: *val,
                    ecr: ecr.wrapping_add(1),
                },
            )]
        }
        TcpOption::Sack(blocks) => {
            let mut left = blocks.clone();
            let mut right = blocks.clone();
            if let (Some(first), Some(last)) = (left.first_mut(), right.last_mut()) {
                first.0 = first.0.wrapping_add(1);
                last.1 = last.1.wrapping_add(1);
            }
            vec![
                ("left edge + 1", TcpOption::Sack(left)),
                ("right edge + 1", TcpOption::Sack(right)),
            ]
        }
        _ => Vec::new(),
    }
}
