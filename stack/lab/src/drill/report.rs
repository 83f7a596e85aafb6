//! What is known of a run besides its verdict.

use std::time::Duration;

use super::verdict::Verdict;

/// How much a run keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Record {
    /// The verdict.
    #[default]
    Verdict,
    /// Also what happened, and all packets.
    Everything,
}

/// What became of one run of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// What happened, in order ([`Record::Everything`]).
    pub log: Vec<LogEntry>,
    /// All packets of the interface, in order of time ([`Record::Everything`]).
    pub packets: Vec<TracedPacket>,
}

impl From<Verdict> for Report {
    fn from(verdict: Verdict) -> Self {
        Self {
            verdict,
            log: Vec::new(),
            packets: Vec::new(),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When, since the start.
    pub at: Duration,
    /// The script's line, from 1.
    pub line: u32,
    /// What, in the script's notation.
    pub what: String,
}

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the machine.
    In,
    /// From the machine.
    Out,
}

/// A packet of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedPacket {
    /// When, since the start.
    pub at: Duration,
    /// Which way.
    pub way: Way,
    /// From the IP header on.
    pub bytes: Vec<u8>,
}
