//! One worker: a shard of the stack with its queues, services, clock and counters, and the loop that runs them.
//!
//! An iteration ([`Worker::turn`]) is: commands (bounded) → for each queue: receive a burst, deliver → timers →
//! events and services → for each queue: transmit → one question answered. When it found nothing to do, the idle policy decides how long to
//! wait ([`Worker::rest`]). Each bound that was hit is counted, and busy time is kept apart from empty polling and
//! sleep; the clock is read once per iteration.
//!
//! Nothing here is shared or global: a second worker is a second value.
//!
//! Linux counterpart: `net_rx_action`, `napi_poll`, `net_tx_action` on one processor.

mod answer;
mod block;
mod probe;
mod serve;
mod setup;
mod stats;

use core::time::Duration;
use std::io;

use millrace_net::{IfaceId, SockId, Stack};
use millrace_pmd::{MAX_BURST, Port, Queue};
use millrace_ring::doorbell::Doorbell;
use millrace_wire::time::Instant;

use crate::clock::Clock;
use crate::control::{Command, Controller, Inbox, channel};
use crate::idle::{Idle, Rest, Wait};
use crate::service::{App, ServiceId, Services};

use probe::{Probe, Unwatched, Watched, WatchedSlots};

pub use probe::{Stage, Stopwatch};
pub use serve::Stopped;
pub use setup::{Core, ListenError, PinError, host_seed};
pub use stats::WorkerStats;

/// How long a worker that met a full device sleeps at the most.
const STALL_RETRY: Duration = Duration::from_micros(100);
/// Commands taken in one iteration.
const COMMAND_BUDGET: usize = 16;

/// A core's share of everything.
pub struct Worker {
    stack: Stack,
    services: Services,
    queues: Vec<Box<dyn Queue>>,
    /// What the queue at the same place is used for.
    roles: Vec<Role>,
    /// Kept for what they undo when they are dropped; after the queues.
    ports: Vec<Box<dyn Port>>,
    listeners: Vec<SockId>,
    clock: Box<dyn Clock>,
    idle: Box<dyn Idle>,
    doorbell: Doorbell,
    inbox: Inbox,
    phase: Phase,
    reports: u32,
    now: Instant,
    spent: Spent,
    stats: WorkerStats,
}

/// What a queue is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Role {
    iface: IfaceId,
    tx: Tx,
}

/// Whether frames are sent through a queue. A device hands the frames of its queues on in no common order, so all of a
/// worker's frames for an interface leave by one queue: the interface's first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tx {
    All,
    Nothing,
}

/// What an iteration came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Turn {
    /// Something was done: turn again.
    Worked,
    /// There was nothing to do: rest.
    Idle,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; open ones may finish.
    Draining {
        /// When the drain began.
        since: Instant,
    },
    /// Told to stop at once.
    Aborting,
}

/// What the time since the last reading of the clock went into.
#[derive(Clone, Copy)]
enum Spent {
    Working,
    Polling,
    Sleeping,
}

impl Worker {
    /// A worker around `stack`, and the controller through which other threads command it.
    ///
    /// # Errors
    ///
    /// Those of `eventfd(2)`.
    pub fn new(
        stack: Stack,
        clock: impl Clock + 'static,
        idle: impl Idle + 'static,
    ) -> io::Result<(Self, Controller)> {
        let doorbell = Doorbell::new()?;
        let (controller, inbox) = channel(doorbell.bell());
        let now = clock.now();
        let worker = Self {
            stack,
            services: Services::default(),
            queues: Vec::new(),
            roles: Vec::new(),
            ports: Vec::new(),
            listeners: Vec::new(),
            clock: Box::new(clock),
            idle: Box::new(idle),
            doorbell,
            inbox,
            phase: Phase::Running,
            reports: 0,
            now,
            spent: Spent::Working,
            stats: WorkerStats::default(),
        };
        Ok((worker, controller))
    }

    /// Takes in an application.
    pub fn add_service(&mut self, app: Box<dyn App>) -> ServiceId {
        self.services.add(app)
    }

    /// The stack, for set-up and for sockets outside the services.
    pub fn stack(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// The stack, to be read.
    pub fn stack_ref(&self) -> &Stack {
        &self.stack
    }

    /// The queues, for their statistics and mode.
    pub fn queues(&self) -> &[Box<dyn Queue>] {
        &self.queues
    }

    /// The worker's own counters.
    pub fn stats(&self) -> &WorkerStats {
        &self.stats
    }

    /// Open connections of the services.
    pub fn open(&self) -> usize {
        self.services.open()
    }

    /// Where the worker is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The time of the present iteration.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// One iteration of the loop.
    pub fn turn(&mut self) -> Turn {
        self.turn_with(&mut Unwatched)
    }

    /// One iteration, with the time of each stage. The stopwatch must have been started.
    pub fn turn_watched(&mut self, stopwatch: &mut Stopwatch) -> Turn {
        self.turn_with(stopwatch)
    }

    fn turn_with<P: Probe>(&mut self, probe: &mut P) -> Turn {
        self.read_clock();
        let mut worked = self.commands();
        probe.lap(Stage::Rest);
        worked |= self.receive(probe);
        worked |= self.timers();
        worked |= self.events();
        probe.lap(Stage::Events);
        worked |= self.transmit(probe);
        worked |= self.answer();
        // What the services did to each other's sockets is told in the next iteration.
        worked |= self.stack.has_events();
        self.stats.turns += 1;
        probe.lap(Stage::Rest);
        if worked {
            self.idle.busy();
            self.spent = Spent::Working;
            Turn::Worked
        } else {
            self.spent = Spent::Polling;
            Turn::Idle
        }
    }

    /// Waits as the idle policy says, for the worker's own deadlines and `also` at the latest.
    ///
    /// # Errors
    ///
    /// What sleeping on the devices says.
    pub fn rest(&mut self, also: Option<Instant>) -> io::Result<()> {
        let deadline = [self.next_deadline(), also].into_iter().flatten().min();
        let wait = Wait::new(
            self.now,
            deadline,
            &mut self.queues,
            &mut self.doorbell,
            &mut self.inbox,
        );
        if self.idle.idle(wait)? == Rest::Slept {
            self.spent = Spent::Sleeping;
            self.stats.sleeps += 1;
        }
        Ok(())
    }

    /// When the next iteration has something to do even if nothing arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        let queues = self.queues.iter().filter_map(|queue| queue.next_deadline());
        // A full device does not say when it has room again.
        let stalled = self
            .roles
            .iter()
            .any(|role| self.stack.has_output(role.iface));
        queues
            .chain(self.stack.next_deadline())
            .chain(self.services.next_deadline())
            .chain(stalled.then(|| self.now + STALL_RETRY))
            .min()
    }

    /// Reads the clock, once per iteration, and books the time that has passed.
    fn read_clock(&mut self) {
        let now = self.clock.now();
        let passed = now.as_nanos().saturating_sub(self.now.as_nanos());
        match self.spent {
            Spent::Working => self.stats.busy_ns += passed,
            Spent::Polling => self.stats.poll_ns += passed,
            Spent::Sleeping => self.stats.sleep_ns += passed,
        }
        self.now = now;
    }

    /// Takes commands.
    fn commands(&mut self) -> bool {
        let mut taken = 0;
        while taken < COMMAND_BUDGET {
            let Some(command) = self.inbox.take() else {
                return taken > 0;
            };
            taken += 1;
            match command {
                Command::Drain => self.start_drain(),
                Command::Abort => self.phase = Phase::Aborting,
                Command::Report => self.reports += 1,
            }
        }
        self.stats.command_budget_hits += 1;
        true
    }

    /// One burst from each queue, through the stack and into the services while the frames are lent.
    fn receive<P: Probe>(&mut self, probe: &mut P) -> bool {
        let Self {
            stack,
            services,
            queues,
            roles,
            stats,
            now,
            ..
        } = self;
        let now = *now;
        let mut frames = 0;
        for (queue, role) in queues.iter_mut().zip(roles.iter()) {
            let burst = queue.rx(MAX_BURST, &mut |frames| {
                probe.lap(Stage::DriverRx);
                stack.rx(now, role.iface, frames);
                let mut services = Watched {
                    services: &mut *services,
                    probe: &mut *probe,
                };
                stack.deliver(now, frames, &mut services);
                probe.lap(Stage::StackRx);
            });
            probe.lap(Stage::DriverRx);
            probe.received(burst);
            frames += burst;
            if burst >= MAX_BURST {
                stats.rx_budget_hits += 1;
            }
        }
        stats.rx_frames += frames as u64;
        frames > 0
    }

    /// Timers that are due.
    fn timers(&mut self) -> bool {
        let due = self.stack.next_deadline().is_some_and(|at| at <= self.now);
        if due {
            self.stack.tick(self.now);
            self.stats.timer_turns += 1;
            if self.stack.next_deadline().is_some_and(|at| at <= self.now) {
                self.stats.timer_budget_hits += 1;
            }
        }
        due
    }

    /// Tells the services what changed, and lets them look after themselves.
    fn events(&mut self) -> bool {
        let some = self.stack.has_events();
        self.stack.dispatch(self.now, &mut self.services);
        self.services.tick(&mut self.stack, self.now);
        some
    }

    /// Lets the stack build frames while the devices have room.
    fn transmit<P: Probe>(&mut self, probe: &mut P) -> bool {
        let Self {
            stack,
            queues,
            roles,
            stats,
            now,
            ..
        } = self;
        let mut worked = false;
        for (queue, role) in queues
            .iter_mut()
            .zip(roles.iter())
            .filter(|(_, role)| role.tx == Tx::All)
        {
            // Called even with nothing to send: a driver may hold frames that the device did not take before.
            queue.tx(&mut |batch| {
                if stack.has_output(role.iface) {
                    worked |= batch.room() > 0;
                    probe.lap(Stage::DriverTx);
                    if P::WATCHES {
                        let probe = &mut *probe;
                        let mut slots = WatchedSlots {
                            slots: batch,
                            probe,
                        };
                        stack.tx(*now, role.iface, &mut slots);
                    } else {
                        stack.tx(*now, role.iface, batch);
                    }
                    probe.lap(Stage::StackTx);
                }
            });
            probe.lap(Stage::DriverTx);
            if stack.has_output(role.iface) {
                stats.tx_stalls += 1;
            }
        }
        worked
    }
}
