//! The sums of a test as this end knows them, with what the peer has told: what text and JSON both show.

use super::params::{Params, Way};
use super::results::{Cpu, Results, stream_id};
use super::run::{Extremes, Part, Role, Run};

/// One end's sum of a stream, or of all streams of a direction.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sum {
    /// Octets.
    pub bytes: u64,
    /// Seconds.
    pub seconds: f64,
    /// Segments sent again, where a sender says so.
    pub retransmits: Option<u64>,
}

impl Sum {
    /// Bits per second.
    pub fn rate(&self) -> f64 {
        rate(self.bytes, self.seconds)
    }
}

/// Bits per second.
pub fn rate(bytes: u64, seconds: f64) -> f64 {
    match seconds > 0.0 {
        true => bytes as f64 * 8.0 / seconds,
        false => 0.0,
    }
}

/// A stream.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StreamSum {
    /// Its number.
    pub id: u64,
    /// What this end did.
    pub part: Part,
    /// The sending end's count, where it is known.
    pub sender: Option<Sum>,
    /// The receiving end's count, where it is known.
    pub receiver: Option<Sum>,
    /// What TCP said, at a sender.
    pub extremes: Extremes,
}

/// A test that is over.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Which end this is.
    pub role: Role,
    /// What was asked for.
    pub params: Params,
    /// The streams.
    pub streams: Vec<StreamSum>,
    /// Seconds at this end.
    pub seconds: f64,
    /// This end's processor time.
    pub cpu: Cpu,
    /// The peer's.
    pub peer_cpu: Cpu,
    /// This end's congestion control.
    pub congestion: String,
    /// The peer's.
    pub peer_congestion: String,
}

impl Sums {
    /// This end's counts, and the peer's if it has told them.
    pub fn new(
        role: Role,
        params: &Params,
        run: &Run,
        own: &Results,
        peer: Option<&Results>,
    ) -> Self {
        let streams = run.streams().iter().enumerate().map(|(place, stream)| {
            let ours = Sum {
                bytes: stream.bytes,
                seconds: run.seconds(),
                retransmits: (stream.part == Part::Sends).then_some(stream.retransmits),
            };
            let theirs = peer
                .and_then(|peer| peer.streams.get(place))
                .map(|told| Sum {
                    bytes: told.bytes,
                    seconds: told.seconds,
                    retransmits: told.retransmits,
                });
            let (sender, receiver) = match stream.part {
                Part::Sends => (Some(ours), theirs),
                Part::Receives => (theirs, Some(ours)),
            };
            StreamSum {
                id: stream_id(place),
                part: stream.part,
                sender,
                receiver,
                extremes: stream.extremes,
            }
        });
        Self {
            role,
            params: params.clone(),
            streams: streams.collect(),
            seconds: run.seconds(),
            cpu: own.cpu,
            peer_cpu: peer.map(|peer| peer.cpu).unwrap_or_default(),
            congestion: own.congestion.clone(),
            peer_congestion: peer.map(|peer| peer.congestion.clone()).unwrap_or_default(),
        }
    }

    /// The parts that this end plays, in the order of streams.
    pub fn parts(&self) -> Vec<Part> {
        parts(&self.params, self.role)
    }

    /// The streams of a part.
    pub fn of(&self, part: Part) -> impl Iterator<Item = &StreamSum> {
        self.streams
            .iter()
            .filter(move |stream| stream.part == part)
    }

    /// Their senders' counts together.
    pub fn sent(&self, part: Part) -> Option<Sum> {
        add(self.of(part).map(|stream| stream.sender))
    }

    /// Their receivers' counts together.
    pub fn received(&self, part: Part) -> Option<Sum> {
        add(self.of(part).map(|stream| stream.receiver))
    }
}

/// The parts that an end plays, in the order of streams.
pub fn parts(params: &Params, role: Role) -> Vec<Part> {
    let first = super::run::part(params, role, 0);
    match (params.way, first) {
        (Way::Both, Part::Sends) => vec![Part::Sends, Part::Receives],
        (Way::Both, Part::Receives) => vec![Part::Receives, Part::Sends],
        (_, first) => vec![first],
    }
}

/// All together; the times are the same but for moments, and the longest counts.
fn add(sums: impl Iterator<Item = Option<Sum>>) -> Option<Sum> {
    sums.reduce(|all, one| {
        let (all, one) = (all?, one?);
        Some(Sum {
            bytes: all.bytes + one.bytes,
            seconds: all.seconds.max(one.seconds),
            retransmits: match (all.retransmits, one.retransmits) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
            },
        })
    })
    .flatten()
}
