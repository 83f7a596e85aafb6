//! Where the time of an iteration goes: a probe is told the end of each stage.
//!
//! The loop is generic over its probe, and the caller chooses one for each iteration: [`Worker::turn`](super::Worker::turn)
//! has none and costs nothing more, [`Worker::turn_watched`](super::Worker::turn_watched) has a [`Stopwatch`].

use millrace_net::{Readiness, Service, SockId, Stack};
use millrace_wire::frame::TxBatch;
use millrace_wire::time::Instant;

use crate::clock::{Clock, TscClock};
use crate::service::Services;

/// The stages of an iteration, in the order in which a request meets them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The driver: looking for frames, lending them, taking them back.
    DriverRx,
    /// The stack on the way in: from the frame to the socket, and what surrounds the services' calls.
    StackRx,
    /// Services; what they ask of the stack (sending) included.
    Service,
    /// Timers, and services that are told what changed.
    Events,
    /// The stack on the way out: choosing flows, cutting segments, copying, checksums.
    StackTx,
    /// The driver: lending slots, and making the device take what was filled.
    DriverTx,
    /// Clock, commands, questions.
    Rest,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 7] = [
        Self::DriverRx,
        Self::StackRx,
        Self::Service,
        Self::Events,
        Self::StackTx,
        Self::DriverTx,
        Self::Rest,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DriverRx => "driver rx",
            Self::StackRx => "stack rx",
            Self::Service => "service",
            Self::Events => "events",
            Self::StackTx => "stack tx",
            Self::DriverTx => "driver tx",
            Self::Rest => "rest",
        }
    }
}

/// What is told of an iteration's stages.
pub(super) trait Probe {
    /// Whether it wants to know at all; what costs more than a call is left out otherwise.
    const WATCHES: bool;

    /// The time since the last call went into `stage`.
    fn lap(&mut self, stage: Stage);

    /// Frames were received.
    fn received(&mut self, frames: usize);

    /// A slot was filled.
    fn sent(&mut self);

    /// A service was lent bytes.
    fn served(&mut self);
}

/// Nobody looks on.
pub(super) struct Unwatched;

impl Probe for Unwatched {
    const WATCHES: bool = false;

    #[inline(always)]
    fn lap(&mut self, _: Stage) {}

    #[inline(always)]
    fn received(&mut self, _: usize) {}

    #[inline(always)]
    fn sent(&mut self) {}

    #[inline(always)]
    fn served(&mut self) {}
}

/// Time stamps (TSC) of one iteration, added up by stage: each moment belongs to one stage, so that the stages together are
/// the iteration.
#[derive(Debug)]
pub struct Stopwatch {
    clock: TscClock,
    last: Instant,
    spent: [u64; Stage::ALL.len()],
    stamps: u64,
    received: u64,
    sent: u64,
    served: u64,
}

impl Stopwatch {
    /// A stopwatch by this clock.
    pub fn new(clock: TscClock) -> Self {
        let last = clock.now();
        Self {
            clock,
            last,
            spent: [0; Stage::ALL.len()],
            stamps: 0,
            received: 0,
            sent: 0,
            served: 0,
        }
    }

    /// Back to zero: an iteration follows.
    pub fn start(&mut self) {
        (self.spent, self.stamps) = ([0; Stage::ALL.len()], 1);
        (self.received, self.sent, self.served) = (0, 0, 0);
        self.last = self.clock.now();
    }

    /// Nanoseconds in a stage.
    pub fn spent(&self, stage: Stage) -> u64 {
        self.spent[stage as usize]
    }

    /// Nanoseconds in all stages.
    pub fn total(&self) -> u64 {
        self.spent.iter().sum()
    }

    /// How often the clock was read.
    pub fn stamps(&self) -> u64 {
        self.stamps
    }

    /// Frames received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Frames sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Times that a service was lent bytes.
    pub fn served(&self) -> u64 {
        self.served
    }
}

impl Probe for Stopwatch {
    const WATCHES: bool = true;

    fn lap(&mut self, stage: Stage) {
        let now = self.clock.now();
        self.spent[stage as usize] += now.since(self.last).as_nanos() as u64;
        self.stamps += 1;
        self.last = now;
    }

    fn received(&mut self, frames: usize) {
        self.received += frames as u64;
    }

    fn sent(&mut self) {
        self.sent += 1;
    }

    fn served(&mut self) {
        self.served += 1;
    }
}

/// The services, and who looks on.
pub(super) struct Watched<'a, P> {
    pub services: &'a mut Services,
    pub probe: &'a mut P,
}

impl<P: Probe> Service for Watched<'_, P> {
    fn data(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        bytes: &[u8],
    ) -> usize {
        self.probe.lap(Stage::StackRx);
        let taken = self.services.data(stack, now, sock, user, bytes);
        self.probe.lap(Stage::Service);
        self.probe.served();
        taken
    }

    fn ready(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        ready: Readiness,
    ) {
        self.services.ready(stack, now, sock, user, ready);
    }
}

/// Slots, and who looks on: lending one may take a system call.
pub(super) struct WatchedSlots<'a, P> {
    pub slots: &'a mut dyn TxBatch,
    pub probe: &'a mut P,
}

impl<P: Probe> TxBatch for WatchedSlots<'_, P> {
    fn room(&self) -> usize {
        self.slots.room()
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        self.probe.lap(Stage::StackTx);
        let slot = self.slots.next(len);
        self.probe.lap(Stage::DriverTx);
        if slot.is_some() {
            self.probe.sent();
        }
        slot
    }
}
