//! Bytes as a sequence of things that happen to a stack, and back.
//!
//! Every byte string is a tape; fields have fixed places behind their tag so that a mutation of one byte changes one
//! decision. Operations cut off by the end of the tape do not happen.

/// Most operations of one tape: longer ones find nothing that several short ones do not.
pub const MAX_OPS: usize = 256;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// These bytes arrive behind the link header (which is well-formed when `link` is).
    Frame {
        /// How the link header is made: 0 well-formed, 1 taken from the bytes, else another type.
        link: u8,
        /// At most 255.
        bytes: Vec<u8>,
    },
    /// A TCP segment made from a template arrives.
    Segment(Segment),
    /// Time passes: `(mantissa + 1) << (exponent % 34)` nanoseconds, up to 36 minutes.
    Wait {
        /// Binary exponent.
        exponent: u8,
        /// Factor.
        mantissa: u8,
    },
    /// The application makes a call.
    Call {
        /// Which call.
        what: u8,
        /// On which socket.
        which: u8,
        /// A length or a value.
        n: u16,
    },
    /// An ICMP error about a segment of ours arrives.
    Icmp {
        /// Which connection it is about.
        who: u8,
        /// ICMP type.
        ty: u8,
        /// ICMP code.
        code: u8,
        /// Next-hop MTU.
        mtu: u16,
        /// The quoted sequence number, from the newest sent one.
        seq: i16,
    },
    /// The next `count % 16 + 1` arrivals come in one batch.
    Batch {
        /// How many.
        count: u8,
    },
    /// An ARP packet arrives.
    Arp {
        /// Operation code.
        op: u8,
        /// Which addresses are wrong.
        spoof: u8,
    },
}

/// A TCP segment relative to what the peer knows of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Which of the peer's ports it comes from.
    pub who: u8,
    /// TCP flags.
    pub flags: u8,
    /// Sequence number, relative to what the stack expects.
    pub seq: Offset,
    /// Acknowledgement number, relative to the end of what the stack has sent.
    pub ack: Offset,
    /// Window field.
    pub window: u16,
    /// Which options.
    pub options: u8,
    /// A parameter of the options.
    pub detail: u8,
    /// Payload length; 3000 and more wrap round.
    pub len: u16,
    /// What is wrong with the packet around it; mostly nothing.
    pub damage: u8,
}

/// A distance on the circle of sequence numbers, mostly small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offset {
    /// Selects the factor.
    pub kind: u8,
    /// The number to be scaled.
    pub value: i16,
}

impl Offset {
    /// The distance: none, small, in units of 64, or anywhere.
    pub fn distance(self) -> u32 {
        let value = i32::from(self.value);
        let scaled = match self.kind % 8 {
            0..=3 => 0,
            4 | 5 => value,
            6 => value << 6,
            _ => value << 16,
        };
        scaled.cast_unsigned()
    }
}

/// Reads operations from bytes.
#[derive(Debug, Clone)]
pub struct Tape<'a> {
    rest: &'a [u8],
}

impl<'a> Tape<'a> {
    /// A tape at its beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// One byte of set-up.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn offset(&mut self) -> Option<Offset> {
        Some(Offset {
            kind: self.byte()?,
            value: self.word()?.cast_signed(),
        })
    }

    /// The next operation.
    pub fn op(&mut self) -> Option<Op> {
        Some(match self.byte()? % 8 {
            0 => {
                let link = self.byte()?;
                let len = usize::from(self.byte()?).min(self.rest.len());
                let (bytes, rest) = self.rest.split_at(len);
                self.rest = rest;
                Op::Frame {
                    link,
                    bytes: bytes.to_vec(),
                }
            }
            1 => Op::Wait {
                exponent: self.byte()?,
                mantissa: self.byte()?,
            },
            2 => Op::Call {
                what: self.byte()?,
                which: self.byte()?,
                n: self.word()?,
            },
            3 => Op::Icmp {
                who: self.byte()?,
                ty: self.byte()?,
                code: self.byte()?,
                mtu: self.word()?,
                seq: self.word()?.cast_signed(),
            },
            4 => Op::Batch {
                count: self.byte()?,
            },
            5 => Op::Arp {
                op: self.byte()?,
                spoof: self.byte()?,
            },
            _ => Op::Segment(Segment {
                who: self.byte()?,
                flags: self.byte()?,
                seq: self.offset()?,
                ack: self.offset()?,
                window: self.word()?,
                options: self.byte()?,
                detail: self.byte()?,
                len: self.word()?,
                damage: self.byte()?,
            }),
        })
    }
}

impl Op {
    /// Appends the bytes that [`Tape::op`] reads as this operation.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Frame { link, bytes } => {
                let len = bytes.len().min(255);
                out.extend([0, *link, len as u8]);
                out.extend(&bytes[..len]);
            }
            Self::Wait { exponent, mantissa } => out.extend([1, *exponent, *mantissa]),
            Self::Call { what, which, n } => {
                out.extend([2, *what, *which]);
                out.extend(n.to_be_bytes());
            }
            Self::Icmp {
                who,
                ty,
                code,
                mtu,
                seq,
            } => {
                out.extend([3, *who, *ty, *code]);
                out.extend(mtu.to_be_bytes());
                out.extend(seq.to_be_bytes());
            }
            Self::Batch { count } => out.extend([4, *count]),
            Self::Arp { op, spoof } => out.extend([5, *op, *spoof]),
            Self::Segment(segment) => {
                let Segment {
                    who,
                    flags,
                    seq,
                    ack,
                    window,
                    options,
                    detail,
                    len,
                    damage,
                } = *segment;
                out.extend([6, who, flags]);
                for Offset { kind, value } in [seq, ack] {
                    out.push(kind);
                    out.extend(value.to_be_bytes());
                }
                out.extend(window.to_be_bytes());
                out.extend([options, detail]);
                out.extend(len.to_be_bytes());
                out.push(damage);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_is_written_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut tape = Tape::new(&bytes);
            let ops: Vec<Op> = std::iter::from_fn(|| tape.op()).collect();
            let mut written = Vec::new();
            ops.iter().for_each(|op| op.encode(&mut written));
            let mut again = Tape::new(&written);
            prop_assert_eq!(std::iter::from_fn(|| again.op()).collect::<Vec<_>>(), ops);
        }
    }

    #[test]
    fn offsets_reach_everywhere() {
        let distance = |kind, value| Offset { kind, value }.distance();
        assert_eq!(distance(0, 77), 0);
        assert_eq!(distance(4, -1), u32::MAX);
        assert_eq!(distance(6, 100), 6_400);
        assert_eq!(distance(7, i16::MIN), 1 << 31);
    }
}
