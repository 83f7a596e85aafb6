//! The simulator: two to eight stacks on an impaired wire, applications, sometimes an attacker, all from one seed.
//!
//! [`run_seed`] draws a [`plan::Plan`], plays it in virtual time and checks on the way and at the end that
//! * what is read is what was written, in order, from the first byte on, and the end of file comes once and only behind
//!   the last byte;
//! * the reference model allows every segment that a stack sends, and misses no answer (`crate::model`);
//! * no segment breaks the peer's window, segment size, or the agreed options, and no offered window is taken back;
//! * after every step the invariants of every stack hold (`Stack::audit`);
//! * once the wire has healed every connection ends as planned, and all stacks' tables are empty afterwards;
//! * nothing panics or spins.
//!
//! In every fourth seed one more host takes part that is no stack of ours: a peer that the model plays, with habits that
//! are legal and that our stack never has (`peer`).
//!
//! The same seed gives the same run to the byte: [`Report::trace_hash`] tells.

mod app;
mod attack;
pub mod describe;
mod dice;
mod judge;
mod lane;
mod middlebox;
mod node;
mod packet;
mod pattern;
mod peer;
pub mod plan;
pub mod shrink;
mod watch;
mod world;

use std::fmt;
use std::time::Duration;

pub use app::End;
pub use lane::LaneCounters;
use plan::Plan;
use world::World;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Violation {
    /// What happened.
    pub what: String,
}

impl Violation {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// What happened in a run, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Frames that the nodes sent.
    pub frames: u64,
    /// Frames that the wire lost.
    pub lost: u64,
    /// Frames that the wire sent twice.
    pub duplicated: u64,
    /// Frames that the wire damaged.
    pub damaged: u64,
    /// Bytes that applications read.
    pub bytes: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        let Self {
            frames,
            lost,
            duplicated,
            damaged,
            bytes,
        } = other;
        self.frames += frames;
        self.lost += lost;
        self.duplicated += duplicated;
        self.damaged += damaged;
        self.bytes += bytes;
    }
}

/// The result of one seed.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was played.
    pub plan: Plan,
    /// How it went.
    pub result: Result<(), Violation>,
    /// Virtual time at the end.
    pub elapsed: Duration,
    /// A number for every frame sent and its time.
    pub trace_hash: u64,
    /// Counters.
    pub totals: Totals,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals {
            frames,
            lost,
            duplicated,
            damaged,
            bytes,
        } = self.totals;
        let elapsed = self.elapsed.as_secs_f64();
        match &self.result {
            Ok(()) => write!(f, "seed {}: ok", self.plan.seed)?,
            Err(violation) => write!(f, "seed {}: {violation}", self.plan.seed)?,
        }
        write!(
            f,
            " ({elapsed:.3} s, {frames} frames, {lost} lost, {duplicated} doubled, {damaged} damaged, {bytes} bytes read)"
        )
    }
}

/// Plays one seed.
pub fn run_seed(seed: u64) -> Report {
    run_plan(Plan::draw(seed))
}

/// Plays a plan.
pub fn run_plan(plan: Plan) -> Report {
    run_observed(plan, &mut |_| {})
}

/// Which way a frame passes between a node and the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// The node sends it.
    Sent,
    /// It arrives at the node.
    Arrived,
}

/// A frame that passes between a node and the wire.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Since the start.
    pub at: Duration,
    /// Which node.
    pub node: usize,
    /// Which way.
    pub passage: Passage,
    /// The frame.
    pub frame: &'a [u8],
}

/// Plays a plan and shows every frame.
pub fn run_observed(plan: Plan, observer: &mut dyn FnMut(Seen<'_>)) -> Report {
    match World::new(plan.clone(), observer) {
        Err(violation) => Report {
            plan,
            result: Err(violation),
            elapsed: Duration::ZERO,
            trace_hash: 0,
            totals: Totals::default(),
        },
        Ok(mut world) => {
            let result = world.run();
            Report {
                plan,
                result,
                elapsed: world.elapsed(),
                trace_hash: world.trace_hash(),
                totals: world.totals(),
            }
        }
    }
}
