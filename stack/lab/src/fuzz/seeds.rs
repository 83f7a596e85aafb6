//! The first members of the corpora: tapes that reach the places worth mutating from.

use super::tape::{Offset, Op, Segment};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// A tape with its name.
#[derive(Debug, Clone)]
pub struct Seed {
    /// File name in the corpus.
    pub name: &'static str,
    /// The tape.
    pub bytes: Vec<u8>,
}

const ACCEPT: Op = Op::Call {
    what: 0,
    which: 0,
    n: 0,
};

fn exactly(flags: u8, len: u16) -> Segment {
    Segment {
        flags,
        len,
        window: 500,
        options: 1,
        detail: 1,
        ..Segment::default()
    }
}

fn at(distance: i16) -> Offset {
    Offset {
        kind: 4,
        value: distance,
    }
}

fn data(distance: i16, len: u16) -> Op {
    Op::Segment(Segment {
        seq: at(distance),
        ..exactly(ACK | PSH, len)
    })
}

fn acked(behind: i16) -> Op {
    Op::Segment(Segment {
        ack: at(-behind),
        ..exactly(ACK, 0)
    })
}

fn wait_ms(ms: u8) -> Op {
    Op::Wait {
        exponent: 20,
        mantissa: ms,
    }
}

fn call(what: u8, n: u16) -> Op {
    Op::Call { what, which: 1, n }
}

fn sysctl(which: u8, n: u16) -> Op {
    Op::Call { what: 25, which, n }
}

/// A client asks for a cookie, and comes back with it and data in its SYN.
fn fast_open_server() -> Vec<Op> {
    let syn = |who, detail, len| {
        Op::Segment(Segment {
            who,
            flags: SYN,
            window: 60_000,
            options: 8,
            detail,
            len,
            ..Segment::default()
        })
    };
    let option = Op::Call {
        what: 28,
        which: 0,
        n: 0x0503,
    };
    vec![
        sysctl(2, 0),
        option,
        syn(0, 0, 0),
        wait_ms(10),
        syn(1, 2, 100),
        ACCEPT,
        syn(2, 1, 50),
        wait_ms(255),
    ]
}

fn handshake(who: u8) -> Vec<Op> {
    let syn = Segment {
        who,
        flags: SYN,
        window: 64_240,
        options: 4,
        detail: 8,
        ..Segment::default()
    };
    let ack = Segment {
        who,
        ..exactly(ACK, 0)
    };
    vec![Op::Segment(syn), Op::Segment(ack), ACCEPT]
}

fn tape(name: &'static str, head: &[u8], ops: &[Op]) -> Seed {
    let mut bytes = head.to_vec();
    ops.iter().for_each(|op| op.encode(&mut bytes));
    Seed { name, bytes }
}

/// Seeds for [`super::listening`].
pub fn listening() -> Vec<Seed> {
    let syn = |who, options| {
        Op::Segment(Segment {
            who,
            flags: SYN,
            window: 1_000,
            options,
            detail: 3,
            ..Segment::default()
        })
    };
    let reset = Op::Segment(Segment {
        flags: RST,
        ..Segment::default()
    });
    let closed_port = Op::Segment(Segment {
        who: 3,
        seq: at(9),
        ..exactly(ACK, 10)
    });
    let request = Op::Arp { op: 0, spoof: 0 };
    let echo_request = Op::Frame {
        link: 0,
        bytes: vec![
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0x66, 0xdd, 10, 0, 0, 2, 10, 0, 0, 1, 8, 0, 0xf7,
            0xfe, 0, 1, 0, 0,
        ],
    };
    let with = |mut head: Vec<Op>, tail: &[Op]| {
        head.extend_from_slice(tail);
        head
    };
    vec![
        tape("syn", &[], &[syn(0, 4), wait_ms(255), wait_ms(255)]),
        tape("handshake", &[], &handshake(0)),
        tape(
            "handshake-data-close",
            &[],
            &with(
                handshake(1),
                &[data(0, 100), call(5, 50), call(9, 0), acked(0)],
            ),
        ),
        tape(
            "four-syns",
            &[],
            &[syn(0, 0), syn(1, 4), syn(2, 6), syn(3, 5), wait_ms(200)],
        ),
        tape("syn-reset", &[], &[syn(0, 4), reset]),
        tape("stray", &[], &[closed_port, wait_ms(1)]),
        tape(
            "batch",
            &[],
            &with(
                vec![Op::Batch { count: 3 }],
                &with(handshake(0), &[data(0, 9), data(9, 9)]),
            ),
        ),
        tape(
            "arp",
            &[],
            &[request, Op::Arp { op: 1, spoof: 1 }, echo_request],
        ),
        tape("fast-open-server", &[], &fast_open_server()),
        tape(
            "fast-open-client",
            &[],
            &[
                Op::Call {
                    what: 22,
                    which: 0,
                    n: 500,
                },
                wait_ms(255),
                Op::Call {
                    what: 22,
                    which: 1,
                    n: 0x8000 | 500,
                },
                wait_ms(255),
            ],
        ),
        tape(
            "signed-listener",
            &[],
            &with(
                vec![Op::Call {
                    what: 23,
                    which: 0,
                    n: 32 << 8 | 1,
                }],
                &with(handshake(0), &[syn(1, 10), syn(2, 4)]),
            ),
        ),
        tape(
            "cookies",
            &[],
            &with(
                vec![sysctl(0, 1)],
                &with(handshake(0), &[data(0, 50), sysctl(0, 0), wait_ms(255)]),
            ),
        ),
        tape(
            "connect",
            &[],
            &[
                Op::Call {
                    what: 14,
                    which: 0,
                    n: 0,
                },
                wait_ms(255),
                wait_ms(255),
            ],
        ),
    ]
}

/// Seeds for [`super::established`].
pub fn established() -> Vec<Seed> {
    let head = [0, 7];
    let fin = Op::Segment(exactly(FIN | ACK, 0));
    let reset = |distance| {
        Op::Segment(Segment {
            seq: at(distance),
            ..exactly(RST, 0)
        })
    };
    let sack = Op::Segment(Segment {
        ack: at(-9_000),
        options: 3,
        detail: 15,
        ..exactly(ACK, 0)
    });
    let closed_window = Op::Segment(Segment {
        window: 0,
        ..exactly(ACK, 0)
    });
    let write = call(2, 20_000);
    let frag_needed = Op::Icmp {
        who: 0,
        ty: 3,
        code: 4,
        mtu: 600,
        seq: -100,
    };
    vec![
        tape(
            "echo",
            &head,
            &[
                data(0, 1_000),
                call(5, 2_000),
                call(2, 1_000),
                acked(0),
                wait_ms(50),
            ],
        ),
        tape(
            "out-of-order",
            &head,
            &[
                data(1_000, 500),
                data(2_000, 500),
                data(0, 1_000),
                data(0, 1_000),
                wait_ms(50),
            ],
        ),
        tape(
            "loss",
            &head,
            &[
                write.clone(),
                sack.clone(),
                sack.clone(),
                wait_ms(255),
                wait_ms(255),
                acked(0),
            ],
        ),
        tape(
            "rto",
            &head,
            &[
                write.clone(),
                wait_ms(255),
                wait_ms(255),
                wait_ms(255),
                acked(5_000),
                wait_ms(255),
            ],
        ),
        tape(
            "zero-window",
            &head,
            &[
                closed_window.clone(),
                write.clone(),
                wait_ms(255),
                wait_ms(255),
                acked(0),
            ],
        ),
        tape(
            "close-active",
            &head,
            &[call(9, 0), acked(0), fin.clone(), wait_ms(255)],
        ),
        tape(
            "close-passive",
            &head,
            &[fin.clone(), call(5, 10), call(9, 0), acked(0)],
        ),
        tape(
            "close-both",
            &head,
            &[call(8, 1), fin.clone(), acked(0), call(9, 0), wait_ms(255)],
        ),
        tape(
            "unread-close",
            &head,
            &[data(0, 100), call(9, 0), data(0, 10)],
        ),
        tape(
            "resets",
            &head,
            &[reset(100), reset(-1), data(0, 5), reset(0)],
        ),
        tape(
            "path-mtu",
            &head,
            &[write, frag_needed, wait_ms(255), acked(0)],
        ),
        tape(
            "no-options",
            &[3, 0],
            &[
                data(0, 1_460),
                data(1_460, 1_460),
                call(5, 9_000),
                call(2, 9_000),
                acked(0),
            ],
        ),
        tape(
            "urgent-out",
            &head,
            &[
                call(16, 9),
                call(2, 10),
                acked(0),
                call(16, 1),
                wait_ms(255),
            ],
        ),
        tape(
            "urgent-in",
            &head,
            &[
                Op::Segment(Segment {
                    damage: 5,
                    window: 5,
                    ..exactly(ACK | PSH | URG, 10)
                }),
                call(18, 0),
                call(5, 100),
                call(18, 0),
                call(19, 0),
                call(5, 100),
            ],
        ),
        tape(
            "message-flags",
            &head,
            &[
                data(0, 1_000),
                call(20, 1_600),
                call(21, 0x0122),
                call(21, 0x4160),
                call(17, 0x8080),
                acked(0),
                call(17, 0x4080),
            ],
        ),
        tape(
            "disconnect",
            &head,
            &[
                data(0, 100),
                call(26, 0),
                call(27, 2),
                call(31, 3),
                wait_ms(255),
            ],
        ),
        tape(
            "rare-options",
            &head,
            &[
                call(28, 0x0001),
                call(28, 0x0110),
                data(0, 100),
                call(5, 10),
                call(28, 0x0740),
                data(100, 900),
                call(30, 1),
                call(5, 2_000),
            ],
        ),
        tape(
            "settings-change",
            &head,
            &[
                sysctl(10, 0),
                data(0, 1_400),
                data(1_400, 1_400),
                sysctl(6, 0),
                sysctl(8, 0),
                data(3_000, 100),
                sysctl(10, 1),
                data(2_800, 200),
                call(5, 5_000),
            ],
        ),
        tape(
            "key-comes",
            &head,
            &[call(23, 32 << 8 | 1), data(0, 10), call(2, 10)],
        ),
        tape(
            "keepalive",
            &head,
            &[
                Op::Call {
                    what: 11,
                    which: 3,
                    n: 1,
                },
                Op::Wait {
                    exponent: 33,
                    mantissa: 255,
                },
                Op::Wait {
                    exponent: 33,
                    mantissa: 255,
                },
                Op::Wait {
                    exponent: 33,
                    mantissa: 255,
                },
                Op::Wait {
                    exponent: 33,
                    mantissa: 255,
                },
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::tape::Tape;

    #[test]
    fn names_are_unique_and_tapes_are_whole() {
        for (seeds, head) in [(listening(), 0), (established(), 2)] {
            let mut names: Vec<_> = seeds.iter().map(|seed| seed.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), seeds.len());
            for seed in seeds {
                let mut tape = Tape::new(&seed.bytes[head..]);
                assert!(
                    std::iter::from_fn(|| tape.op()).count() > 1,
                    "{}",
                    seed.name
                );
            }
        }
    }
}
