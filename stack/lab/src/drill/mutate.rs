//! Wrong scripts from a right one: each differs in one expected value. A runner that passes one of them does not look
//! at that value.

mod calls;

use super::ast::{
    Action, Body, Direction, Event, Flags, Icmp, Options, Script, Tcp, TcpOption, When,
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
/// segments, types and codes of ICMP messages, times, and all that calls return.
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
                let tcp = match &packet.body {
                    Body::Tcp(tcp) => tcp,
                    Body::Icmp(icmp) => {
                        for wrong in icmp_mutants(icmp) {
                            let packet = super::ast::Packet {
                                body: Body::Icmp(wrong),
                                ..packet.clone()
                            };
                            add("icmp", Action::Packet(packet), event.when);
                        }
                        continue;
                    }
                    Body::Udp { ports, len } => {
                        let packet = super::ast::Packet {
                            body: Body::Udp {
                                ports: *ports,
                                len: len.wrapping_add(1),
                            },
                            ..packet.clone()
                        };
                        add("udp length", Action::Packet(packet), event.when);
                        continue;
                    }
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
                for (what, wrong) in calls::mutants(call) {
                    add(what, Action::Syscall(wrong), event.when);
                }
            }
            _ => {}
        }
    }
    list
}

/// Another type, and another code.
fn icmp_mutants(icmp: &Icmp) -> [Icmp; 2] {
    let ty = Icmp {
        ty: "type_77".to_owned(),
        code: None,
        ..icmp.clone()
    };
    let code = Icmp {
        code: Some("code_77".to_owned()),
        ..icmp.clone()
    };
    [ty, code]
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
