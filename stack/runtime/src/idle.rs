//! What a worker does when an iteration found nothing to do.
//!
//! [`Adaptive`] polls on for a set time, because work that comes soon is answered soonest by who is still looking, and
//! then sleeps on the devices and the doorbell until the next deadline. [`BusyPoll`] never sleeps. Tests and
//! programs that run two workers in one thread bring their own.

use core::hint::spin_loop;
use core::time::Duration;
use std::io;

use millrace_pmd::{Queue, wait};
use millrace_ring::doorbell::Doorbell;
use millrace_wire::time::Instant;

use crate::control::Inbox;

/// How long [`Adaptive`] polls before it sleeps, unless told otherwise.
pub const DEFAULT_SPIN: Duration = Duration::from_micros(50);

/// What an idle worker lends to its idle policy.
pub struct Wait<'a> {
    /// The time at which the iteration began.
    pub now: Instant,
    /// When the worker has something to do at the latest. `None`: when something arrives.
    pub deadline: Option<Instant>,
    queues: &'a mut [Box<dyn Queue>],
    doorbell: &'a mut Doorbell,
    inbox: &'a mut Inbox,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(
        now: Instant,
        deadline: Option<Instant>,
        queues: &'a mut [Box<dyn Queue>],
        doorbell: &'a mut Doorbell,
        inbox: &'a mut Inbox,
    ) -> Self {
        Self {
            now,
            deadline,
            queues,
            doorbell,
            inbox,
        }
    }

    /// Sleeps until a device has frames, a command arrives or the deadline has come.
    ///
    /// # Errors
    ///
    /// What `ppoll` says.
    pub fn sleep(self) -> io::Result<Rest> {
        let timeout = self.deadline.map(|at| at.since(self.now));
        if timeout.is_some_and(|t| t.is_zero()) {
            return Ok(Rest::Spun);
        }
        // Arm first, look again, sleep then: a command that came in between is seen here, a later one rings.
        self.doorbell.arm();
        let rest = if self.inbox.is_empty() {
            wait(self.queues, Some(self.doorbell.fd()), timeout).map(|_| Rest::Slept)
        } else {
            Ok(Rest::Spun)
        };
        self.doorbell.disarm();
        rest
    }
}

/// How an idle time was spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Polling: the processor was not given away.
    Spun,
    /// Sleeping in the kernel.
    Slept,
}

/// An idle policy.
pub trait Idle: Send {
    /// The iteration found nothing to do.
    ///
    /// # Errors
    ///
    /// What sleeping says; it ends the worker.
    fn idle(&mut self, wait: Wait<'_>) -> io::Result<Rest>;

    /// The iteration found something to do.
    fn busy(&mut self) {}
}

/// Polls on for ever: the shortest answer times, a whole core.
#[derive(Clone, Copy, Debug, Default)]
pub struct BusyPoll;

impl Idle for BusyPoll {
    fn idle(&mut self, _: Wait<'_>) -> io::Result<Rest> {
        spin_loop();
        Ok(Rest::Spun)
    }
}

/// Polls on for a set time after the last work, then sleeps.
#[derive(Clone, Copy, Debug)]
pub struct Adaptive {
    spin: Duration,
    /// When the present idle time began.
    since: Option<Instant>,
}

impl Adaptive {
    /// A policy that polls for `spin` before it sleeps; zero sleeps at once.
    pub fn new(spin: Duration) -> Self {
        Self { spin, since: None }
    }
}

impl Default for Adaptive {
    /// Polls for [`DEFAULT_SPIN`].
    fn default() -> Self {
        Self::new(DEFAULT_SPIN)
    }
}

impl Idle for Adaptive {
    fn idle(&mut self, wait: Wait<'_>) -> io::Result<Rest> {
        let since = *self.since.get_or_insert(wait.now);
        if wait.now.since(since) < self.spin {
            spin_loop();
            return Ok(Rest::Spun);
        }
        wait.sleep()
    }

    fn busy(&mut self) {
        self.since = None;
    }
}
