//! One question: a state, and a segment that comes in it.

use std::fmt;

use millrace_lab::machine::{Broken, Machine};
use millrace_wire::tcp::TcpFlags;

use super::matrix;
use super::question::{Observed, Question, axis};

axis! {
    /// What the machine's end is in when the segment comes.
    State {
        /// No socket on the port.
        Closed = "CLOSED",
        /// A listener.
        Listen = "LISTEN",
        /// connect has sent its SYN.
        SynSent = "SYN_SENT",
        /// A listener has answered a SYN.
        SynRecv = "SYN_RECV",
        /// Both ends have sent a SYN (simultaneous open).
        SynRecvSimultaneous = "SYN_RECV_SIMULTANEOUS",
        /// Accepted and idle.
        Established = "ESTABLISHED",
        /// 1000 octets are in the network.
        EstablishedUnacked = "ESTABLISHED_UNACKED",
        /// 10 octets have come and have not been read.
        EstablishedUnread = "ESTABLISHED_UNREAD",
        /// shutdown has sent a FIN.
        FinWait1 = "FIN_WAIT1",
        /// As FIN_WAIT1, with 1000 octets before the FIN.
        FinWait1Unacked = "FIN_WAIT1_UNACKED",
        /// As FIN_WAIT1, by close.
        FinWait1Orphan = "FIN_WAIT1_ORPHAN",
        /// The peer has acknowledged the FIN.
        FinWait2 = "FIN_WAIT2",
        /// As FIN_WAIT2, by close.
        FinWait2Orphan = "FIN_WAIT2_ORPHAN",
        /// FINs have crossed.
        Closing = "CLOSING",
        /// As CLOSING, by close.
        ClosingOrphan = "CLOSING_ORPHAN",
        /// Both FINs are acknowledged, ours was first.
        TimeWait = "TIME_WAIT",
        /// The peer's FIN has come.
        CloseWait = "CLOSE_WAIT",
        /// shutdown after the peer's FIN.
        LastAck = "LAST_ACK",
        /// close after the peer's FIN.
        LastAckOrphan = "LAST_ACK_ORPHAN",
    }
}

impl State {
    /// The peer knows numbers of a connection.
    pub const fn connected(self) -> bool {
        !matches!(self, Self::Closed | Self::Listen | Self::SynSent)
    }

    /// Octets between the oldest unacknowledged and the next one to send.
    pub const fn in_flight(self) -> u32 {
        match self {
            Self::EstablishedUnacked | Self::FinWait1Unacked => 1000,
            _ => 0,
        }
    }
}

axis! {
    /// Flags and payload of the segment.
    Probe {
        /// RST.
        Rst = "RST",
        /// RST with an acknowledgement.
        RstAck = "RST-ACK",
        /// SYN.
        Syn = "SYN",
        /// SYN with an acknowledgement.
        SynAck = "SYN-ACK",
        /// SYN with data.
        SynData = "SYN-data",
        /// SYN and FIN.
        SynFin = "SYN-FIN",
        /// FIN alone.
        Fin = "FIN",
        /// FIN with an acknowledgement.
        FinAck = "FIN-ACK",
        /// A bare acknowledgement.
        Ack = "ACK",
        /// Ten octets.
        Data = "data",
        /// Ten octets and a FIN.
        DataFin = "data-FIN",
        /// No flag.
        Nothing = "none",
        /// Ten octets without a flag.
        NothingData = "none-data",
        /// FIN, PSH, URG (a "Christmas tree").
        Tree = "FPU",
    }
}

impl Probe {
    /// Flags and payload length.
    pub fn parts(self) -> (TcpFlags, u32) {
        use TcpFlags as F;
        match self {
            Self::Rst => (F::RST, 0),
            Self::RstAck => (F::RST | F::ACK, 0),
            Self::Syn => (F::SYN, 0),
            Self::SynAck => (F::SYN | F::ACK, 0),
            Self::SynData => (F::SYN, 10),
            Self::SynFin => (F::SYN | F::FIN, 0),
            Self::Fin => (F::FIN, 0),
            Self::FinAck => (F::FIN | F::ACK, 0),
            Self::Ack => (F::ACK, 0),
            Self::Data => (F::PSH | F::ACK, 10),
            Self::DataFin => (F::FIN | F::PSH | F::ACK, 10),
            Self::Nothing => (F::NONE, 0),
            Self::NothingData => (F::NONE, 10),
            Self::Tree => (F::FIN | F::PSH | F::URG, 0),
        }
    }
}

axis! {
    /// Where the segment begins.
    Seq {
        /// Half a space before what is expected.
        FarLeft = "far-left",
        /// Five octets before: ten octets overlap the edge.
        Overlap = "overlap",
        /// One octet before.
        Left = "left",
        /// What is expected.
        At = "at",
        /// A hundred octets into the window.
        Inside = "inside",
        /// The last octet of the window.
        Last = "last",
        /// One past the window.
        Edge = "edge",
        /// Two past it.
        Right = "right",
        /// Far past it.
        FarRight = "far-right",
    }
}

axis! {
    /// What the segment acknowledges.
    AckNo {
        /// The segment has no ACK flag.
        None = "none",
        /// Half a space back.
        VeryOld = "very-old",
        /// One octet before the oldest unacknowledged.
        Old = "old",
        /// The oldest unacknowledged.
        Una = "una",
        /// Inside of what is in flight.
        Inside = "inside",
        /// The next one to be sent.
        Next = "next",
        /// One octet more.
        Beyond = "beyond",
        /// Half a space more.
        FarBeyond = "far-beyond",
    }
}

axis! {
    /// Timestamps.
    Ts {
        /// The connection has none.
        Off = "off",
        /// The connection has them, the segment's is newer than all before.
        On = "on",
        /// The segment's is older than the last one (PAWS).
        Old = "old",
        /// The connection has them, the segment has not.
        Missing = "missing",
    }
}

/// A cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// In this state
    pub state: State,
    /// this comes,
    pub probe: Probe,
    /// with this sequence number,
    pub seq: Seq,
    /// this acknowledgement
    pub ack: AckNo,
    /// and these timestamps.
    pub ts: Ts,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} seq={} ack={} ts={}",
            self.state, self.probe, self.seq, self.ack, self.ts
        )
    }
}

impl Question for Cell {
    fn axes(&self) -> Vec<(&'static str, String)> {
        let names = [
            ("state", self.state.name()),
            ("probe", self.probe.name()),
            ("seq", self.seq.name()),
            ("ack", self.ack.name()),
            ("ts", self.ts.name()),
        ];
        names.map(|(axis, name)| (axis, name.to_owned())).to_vec()
    }

    fn axis(name: &str) -> Vec<String> {
        match name {
            "state" => State::names(),
            "probe" => Probe::names(),
            "seq" => Seq::names(),
            "ack" => AckNo::names(),
            "ts" => Ts::names(),
            _ => Vec::new(),
        }
    }

    fn put(machine: &mut dyn Machine, all: &[Self], first: u16) -> Result<Vec<Observed>, Broken> {
        matrix::run(machine, all, first)
    }
}

/// All cells, in order.
pub fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for &state in State::ALL {
        for &probe in Probe::ALL {
            let has_ack = probe.parts().0.contains(TcpFlags::ACK);
            for &ack in AckNo::ALL {
                let fits = match ack {
                    AckNo::None => !has_ack,
                    AckNo::Inside => has_ack && state.in_flight() > 1,
                    _ => has_ack,
                };
                if !fits {
                    continue;
                }
                for &seq in Seq::ALL {
                    for &ts in Ts::ALL {
                        if state.connected() || matches!(ts, Ts::Off | Ts::On) {
                            cells.push(Cell {
                                state,
                                probe,
                                seq,
                                ack,
                                ts,
                            });
                        }
                    }
                }
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_meets_every_segment() {
        let cells = all();
        assert!(cells.len() > 20_000, "{}", cells.len());
        for state in State::ALL {
            for probe in Probe::ALL {
                let found = cells
                    .iter()
                    .any(|cell| (cell.state, cell.probe) == (*state, *probe));
                assert!(found, "{state} {probe}");
            }
        }
    }
}
