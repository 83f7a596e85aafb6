//! One end of a connection as it can be known from outside: the segments that it was given, those that it sent, and
//! what its application did.

mod heard;
mod quiet;
mod reset;
mod sent;

use std::time::Duration;

use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{TcpFlags, TcpOptions};
use millrace_wire::time::Instant;

use super::line::Place;
use super::ranges::Ranges;
use super::segment::Segment;

/// Answers to what is not acceptable come this often at most (`tcp_invalid_ratelimit`), less a tick.
const RATE_LIMIT: Duration = Duration::from_millis(499);

/// A connection's life has four parts that count such answers each for itself: the request, the socket, FIN_WAIT2 and
/// TIME_WAIT.
const LIVES: u32 = 4;

/// What the application has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Calls {
    /// Octets that `send` took.
    pub written: u64,
    /// Octets read.
    pub read: u64,
    /// It has shut its side.
    pub shut: bool,
    /// It has closed, aborted, or was told of an error.
    pub gone: bool,
    /// Its connection is probed when idle.
    pub keepalive: bool,
}

/// A SYN, with or without ACK.
#[derive(Debug, Clone, Copy)]
struct Offer {
    isn: SeqNum,
    options: TcpOptions,
    window: i64,
    /// ECE was set.
    ecn: bool,
}

impl Offer {
    fn of(segment: &Segment) -> Self {
        Self {
            isn: segment.seq,
            options: segment.options,
            window: i64::from(segment.window),
            ecn: segment.has(TcpFlags::ECE),
        }
    }
}

/// What an end has been given of its peer's stream.
#[derive(Debug, Clone, Default)]
struct Got {
    /// It must have taken it.
    surely: Ranges,
    /// It may have.
    perhaps: Ranges,
    /// It has seen it, whatever it thought of it.
    seen: Ranges,
    /// The place of the peer's FIN.
    fin: Option<Place>,
    /// The longest segment in order.
    longest: i64,
}

/// What is known of the peer's acknowledgements and windows.
#[derive(Debug, Clone, Copy, Default)]
struct Una {
    /// Acknowledged for sure.
    surely: Place,
    perhaps: Place,
    /// The furthest right edge that was ever offered.
    edge: Place,
    /// The largest window.
    largest: i64,
    /// A window has arrived that ends before what was sent.
    shrunk: bool,
}

/// What it has to say about congestion.
#[derive(Debug, Clone, Copy, Default)]
struct Echo {
    must: bool,
    may: bool,
    /// What holds as soon as what was made before has left.
    must_soon: bool,
    may_soon: bool,
}

/// What it owes.
#[derive(Debug, Clone, Copy, Default)]
struct Owed {
    /// An acknowledgement at once, for this.
    now: Option<&'static str>,
    /// One at this time.
    due: Option<Instant>,
}

/// What an end knows and has said since it sent its own SYN.
#[derive(Debug, Clone)]
struct Said {
    own: Offer,
    /// The peer's SYN, once one was taken.
    irs: Option<SeqNum>,
    /// The end of what it has sent, and whether that is its FIN.
    end: Place,
    ended: bool,
    una: Una,
    got: Got,
    /// What it has acknowledged.
    acked: Place,
    /// The right edge that it offered last, and the furthest.
    last_edge: Place,
    edge: Place,
    /// Values that TS.Recent may have, and the latest that it surely has taken.
    recents: Vec<u32>,
    recent: Option<u32>,
    echo: Echo,
    /// It has reset the connection, or its peer perhaps has.
    reset: bool,
    /// It has ended by a RST of its own.
    over: bool,
    owed: Owed,
    /// What it sent last may have been lost before it left.
    doubt: bool,
    /// Acknowledgements that say nothing new which it may send now.
    repeats: u32,
    /// The same for those that are limited in time: spare ones, and when the last was sent.
    spare: u32,
    limited: Option<Instant>,
    challenges: Challenges,
}

/// Answers that come only so often: whether the next must come.
#[derive(Debug, Clone, Copy, Default)]
struct Challenges {
    /// Since all was quiet: something has come that may draw one, and an ACK has gone.
    provoked: bool,
    answered: bool,
    /// When one was perhaps sent.
    spent: Option<Instant>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct End {
    /// SYNs that it was given.
    syns: Vec<Offer>,
    said: Option<Said>,
    /// What its application did; none while nobody has accepted it.
    calls: Option<Calls>,
    /// What it was given that a RST may answer: the number of its ACK, if it has one, and its end.
    answerable: Vec<(Option<SeqNum>, SeqNum)>,
}

impl Said {
    fn new(own: Offer) -> Self {
        Self {
            own,
            irs: None,
            end: 1,
            ended: false,
            una: Una::default(),
            got: Got::default(),
            acked: 0,
            last_edge: 0,
            edge: 0,
            recents: Vec::new(),
            recent: None,
            echo: Echo::default(),
            reset: false,
            over: false,
            owed: Owed::default(),
            doubt: false,
            repeats: 0,
            spare: LIVES,
            limited: None,
            challenges: Challenges::default(),
        }
    }

    /// RCV.NXT at least.
    fn least(&self) -> Place {
        self.got.surely.next_missing(1)
    }

    /// RCV.NXT at most.
    fn most(&self) -> Place {
        self.got.perhaps.next_missing(1)
    }

    /// The peer's SYN.
    fn open(&mut self, offer: &Offer) {
        self.irs = Some(offer.isn);
        self.una.edge = self.una.perhaps + offer.window;
        self.una.largest = self.una.largest.max(offer.window);
        let value = offer.options.timestamps.map(|ts| ts.val);
        self.recents
            .extend(value.filter(|value| !self.recents.contains(value)));
    }

    /// The window scales of this end and of its peer, if both agreed on scaling.
    fn shifts(&self, theirs: Option<&TcpOptions>) -> (u8, u8) {
        match (self.own.options.wscale, theirs.and_then(|o| o.wscale)) {
            (Some(own), Some(their)) => (own.min(14), their.min(14)),
            _ => (0, 0),
        }
    }
}

impl End {
    /// The peer's SYNs with the number that the connection was opened with: a later one may offer less.
    fn offers(&self) -> impl Iterator<Item = &Offer> {
        let irs = self.said.as_ref().and_then(|said| said.irs);
        self.syns.iter().filter(move |offer| Some(offer.isn) == irs)
    }

    /// The peer's options.
    fn theirs(&self) -> Option<TcpOptions> {
        self.offers().next().map(|offer| offer.options)
    }

    /// Both ends have said that they have this option.
    fn agreed(&self, has: fn(&TcpOptions) -> bool) -> bool {
        let own = self
            .said
            .as_ref()
            .is_some_and(|said| has(&said.own.options));
        own && self.theirs().is_some_and(|theirs| has(&theirs))
    }

    fn ecn_agreed(&self) -> bool {
        let own = self.said.as_ref().is_some_and(|said| said.own.ecn);
        own && self.offers().any(|offer| offer.ecn)
    }

    /// Its application has it and wants more of it.
    fn is_live(&self) -> bool {
        self.calls.is_some_and(|calls| !calls.gone)
    }

    /// The application has called.
    pub(super) fn called(&mut self, calls: Calls) {
        self.calls = Some(calls);
    }
}
