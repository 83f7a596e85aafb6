//! What the engine asks of a transport, and what it is told by one: kernel sockets and our own stack look alike.

use std::io;

use millrace::Instant;

use super::engine::Engine;
use crate::Failure;

/// How a connection is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Ending {
    /// With a FIN, as programs do; the port stays in TIME_WAIT.
    Fin,
    /// With a reset; the port is free at once.
    Reset,
}

/// The connections, each with a number that the engine gives.
pub trait Wire {
    /// Begins to connect; [`Engine::connected`] or [`Engine::ended`] follows.
    ///
    /// # Errors
    ///
    /// What connecting says at once.
    fn open(&mut self, conn: usize) -> io::Result<()>;

    /// Sends as much as there is room for; [`Engine::room`] follows when not all was taken.
    ///
    /// # Errors
    ///
    /// What sending says.
    fn send(&mut self, conn: usize, bytes: &[u8]) -> io::Result<usize>;

    /// Ends a connection; nothing more is told of it.
    fn close(&mut self, conn: usize, ending: Ending);
}

/// Names and values of counters, the difference over a run.
pub type Counters = Vec<(String, u64)>;

/// What a transport knows of a run besides the engine.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How frames travel.
    pub mode: String,
    /// Nanoseconds from start to end.
    pub elapsed_ns: u64,
    /// Nanoseconds in iterations that did something.
    pub busy_ns: u64,
    /// How long such iterations took.
    pub loop_ns: hdrhistogram::Histogram<u64>,
    /// TCP counters.
    pub tcp: Counters,
    /// Counters of the driver.
    pub driver: Counters,
    /// Packets refused, by reason.
    pub drops: Counters,
    /// Frames that driver or device lost.
    pub driver_lost: u64,
}

/// Kernel sockets, or a driver with our stack.
pub trait Transport {
    /// Runs `engine` to its end.
    ///
    /// # Errors
    ///
    /// [`Failure`] when waiting fails; what goes wrong with connections is told to the engine.
    fn run(&mut self, engine: Engine) -> Result<(Engine, Ran), Failure>;
}

/// How long before a deadline a loop stops sleeping: waking up takes time that would be measured as the server's.
const SPIN: core::time::Duration = core::time::Duration::from_micros(100);

/// When a loop that has something to do at `at` must be awake.
pub fn awake(at: Instant) -> Instant {
    at - SPIN
}

/// What was added to each counter; those that did not move are left out.
pub fn difference(before: &Counters, after: &Counters) -> Counters {
    let old = |name: &str| {
        before
            .iter()
            .find(|(n, _)| n == name)
            .map_or(0, |(_, v)| *v)
    };
    after
        .iter()
        .map(|(name, value)| (name.clone(), value.saturating_sub(old(name))))
        .filter(|(_, value)| *value > 0)
        .collect()
}
