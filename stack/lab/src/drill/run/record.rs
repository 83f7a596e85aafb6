//! Keeps what happened during a run, for those who ask.

use std::time::Duration;

use crate::drill::report::{LogEntry, Report, TracedPacket, Way};
use crate::drill::verdict::Verdict;
use crate::machine::SentPacket;

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    log: Vec<LogEntry>,
    packets: Vec<TracedPacket>,
}

impl Recorder {
    pub(super) fn note(&mut self, entry: LogEntry) {
        self.log.push(entry);
    }

    pub(super) fn injected(&mut self, at: Duration, packets: &[Vec<u8>]) {
        self.packets
            .extend(packets.iter().map(|bytes| TracedPacket {
                at,
                way: Way::In,
                bytes: bytes.clone(),
            }));
    }

    pub(super) fn sent(&mut self, packet: &SentPacket) {
        self.packets.push(TracedPacket {
            at: packet.at,
            way: Way::Out,
            bytes: packet.bytes.clone(),
        });
    }

    pub(super) fn into_report(mut self, verdict: Verdict) -> Report {
        self.packets.sort_by_key(|packet| packet.at);
        Report {
            verdict,
            log: self.log,
            packets: self.packets,
        }
    }
}
