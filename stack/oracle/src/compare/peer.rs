//! The peer's half of a connection, played by hand, and the descriptors of the machine's half.

use std::time::Duration;

use millrace_posix::call::Fd;
use millrace_wire::tcp::TcpFlags;

use super::cell::{AckNo, Cell, Seq, Ts};
use super::packet::{Origin, Segment, Sent, describe};

/// The peer's initial sequence number.
const IRS: u32 = 5_000_000;

/// Stands for the machine's initial sequence number while there is none.
const NO_ISS: u32 = 0x1000_0000;

/// The peer's first timestamp.
const CLOCK: u32 = 1_000_000;

/// How far an old timestamp lies before the newest.
const OLDER: u32 = 5_000;

/// Half a sequence space, more or less.
const FAR: u32 = 1 << 30;

/// Stands for the machine's window while it has not advertised one.
const NO_WINDOW: u32 = 64_000;

/// The window that the peer advertises, unscaled.
const WINDOW: u16 = 60_000;

/// How far a new initial sequence number may lie after the old one and still be its successor (TIME_WAIT: 65537); the
/// clock of initial numbers goes that far in 8 ms.
const SUCCESSOR: u32 = 1 << 17;

/// See the module.
#[derive(Debug)]
pub struct Peer {
    /// The machine's port.
    pub port: u16,
    /// The machine's listener.
    pub listener: Option<Fd>,
    /// The machine's end.
    pub fd: Option<Fd>,
    /// What was sent and not yet written down: when, and what.
    pub inbox: Vec<(Duration, String)>,
    /// The oldest octet of the machine that is not acknowledged.
    pub una: u32,
    /// After the last octet that the machine has sent.
    pub nxt: u32,
    ts: Ts,
    origin: Origin,
    known: bool,
    /// The peer's next octet.
    next: u32,
    /// After the machine's window.
    edge: u32,
    shift: u8,
    clock: u32,
    echo: u32,
}

impl Peer {
    /// Nothing has happened yet.
    pub fn new(port: u16, ts: Ts) -> Self {
        Self {
            port,
            listener: None,
            fd: None,
            inbox: Vec::new(),
            una: NO_ISS,
            nxt: NO_ISS,
            ts,
            origin: Origin {
                iss: NO_ISS,
                irs: IRS,
                clock: CLOCK,
                edge: IRS + NO_WINDOW,
            },
            known: false,
            next: IRS,
            edge: IRS + NO_WINDOW,
            shift: 0,
            clock: CLOCK,
            echo: 0,
        }
    }

    /// Takes in a segment of the machine, and writes it down.
    pub fn hears(&mut self, at: Duration, sent: &Sent) {
        let text = if sent.flags.contains(TcpFlags::SYN) {
            self.hears_syn(sent)
        } else {
            let text = describe(sent, self.origin);
            if !sent.flags.contains(TcpFlags::RST) && self.known {
                self.nxt = later(self.nxt, sent.end());
                if sent.flags.contains(TcpFlags::ACK) {
                    self.edge = sent.ack.wrapping_add(u32::from(sent.window) << self.shift);
                }
            }
            text
        };
        if let Some((val, _)) = sent.timestamps()
            && val != 0
        {
            self.echo = val;
        }
        self.inbox.push((at, text));
    }

    fn hears_syn(&mut self, sent: &Sent) -> String {
        let distance = sent.seq.wrapping_sub(self.origin.iss);
        let successor = self.known && distance > 0 && distance < SUCCESSOR;
        let old = self.origin;
        if !self.known || distance != 0 {
            self.known = true;
            self.origin.iss = sent.seq;
            self.una = sent.seq;
        }
        self.nxt = sent.end();
        self.shift = sent.shift().unwrap_or(0);
        if sent.flags.contains(TcpFlags::ACK) {
            self.edge = sent.ack.wrapping_add(u32::from(sent.window));
        }
        describe(sent, if successor { old } else { self.origin })
    }

    /// A segment in its place: the next octet, this acknowledgement.
    pub fn says(&mut self, flags: TcpFlags, len: u32, ack: u32) -> Segment {
        let segment = self.segment(flags, len, self.next, ack);
        let counts = |flag| u32::from(flags.contains(flag));
        self.next = self
            .next
            .wrapping_add(len + counts(TcpFlags::SYN) + counts(TcpFlags::FIN));
        if flags.contains(TcpFlags::ACK) {
            self.una = ack;
        }
        segment
    }

    /// The segment that a cell asks about.
    pub fn probe(&mut self, cell: &Cell) -> Segment {
        self.origin.edge = self.edge;
        let (flags, len) = cell.probe.parts();
        let seq = match cell.seq {
            Seq::FarLeft => self.next.wrapping_sub(FAR),
            Seq::Overlap => self.next.wrapping_sub(5),
            Seq::Left => self.next.wrapping_sub(1),
            Seq::At => self.next,
            Seq::Inside => self.next.wrapping_add(100),
            Seq::Last => self.edge.wrapping_sub(1),
            Seq::Edge => self.edge,
            Seq::Right => self.edge.wrapping_add(1),
            Seq::FarRight => self.next.wrapping_add(FAR),
        };
        let ack = match cell.ack {
            AckNo::None => 0,
            AckNo::VeryOld => self.una.wrapping_sub(FAR),
            AckNo::Old => self.una.wrapping_sub(1),
            AckNo::Una => self.una,
            AckNo::Inside => self.una.wrapping_add(1),
            AckNo::Next => self.nxt,
            AckNo::Beyond => self.nxt.wrapping_add(1),
            AckNo::FarBeyond => self.nxt.wrapping_add(FAR),
        };
        let mut segment = self.segment(flags, len, seq, ack);
        match (cell.ts, &mut segment.timestamps) {
            (Ts::Old, Some((val, _))) => *val = val.wrapping_sub(OLDER),
            (Ts::Missing, stamps) => *stamps = None,
            _ => {}
        }
        segment
    }

    /// What a peer that knows nothing of the probe would send next: ten octets, everything acknowledged.
    pub fn follow_up(&mut self) -> Segment {
        self.segment(TcpFlags::PSH | TcpFlags::ACK, 10, self.next, self.nxt)
    }

    fn segment(&mut self, flags: TcpFlags, len: u32, seq: u32, ack: u32) -> Segment {
        self.clock += 1;
        Segment {
            port: self.port,
            flags,
            seq,
            ack: if flags.contains(TcpFlags::ACK) {
                ack
            } else {
                0
            },
            len,
            window: WINDOW,
            timestamps: (self.ts != Ts::Off).then_some((self.clock, self.echo)),
            // The urgent octet is the segment's last.
            urgent: if flags.contains(TcpFlags::URG) {
                len as u16
            } else {
                0
            },
        }
    }
}

/// The later of two sequence numbers.
fn later(a: u32, b: u32) -> u32 {
    if (b.wrapping_sub(a) as i32) > 0 { b } else { a }
}
