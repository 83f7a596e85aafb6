//! The control side of a worker: commands from other threads, and what the kernel knows about an interface.
//!
//! A command crosses by an SPSC ring, of which the worker drains a bounded number in each iteration, and a doorbell
//! that wakes a sleeping worker. Questions ([`inquiry`]) have a pair of rings of their own.

pub mod import;
pub mod inquiry;

use inquiry::Desk;
use millrace_ring::doorbell::Bell;
use millrace_ring::spsc::{Consumer, Producer, spsc};

/// Commands that can wait for a worker.
const CAPACITY: usize = 64;

/// What another thread may ask of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Accept nothing more, let open connections finish within the drain time, then stop.
    Drain,
    /// Reset all connections and stop now.
    Abort,
    /// Hand out the statistics at the end of this iteration.
    Report,
}

/// A worker did not take its commands: [`CAPACITY`] are waiting, or it is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the worker does not take commands")]
pub struct Unheard;

/// The sending end: belongs to one thread.
pub struct Controller {
    commands: Producer<Command>,
    bell: Bell,
}

impl Controller {
    /// Sends a command and wakes the worker.
    ///
    /// # Errors
    ///
    /// [`Unheard`] when the worker has ended or 64 commands wait already.
    pub fn send(&mut self, command: Command) -> Result<(), Unheard> {
        if self.commands.is_abandoned() {
            return Err(Unheard);
        }
        self.commands.push(command).map_err(|_| Unheard)?;
        self.bell.ring();
        Ok(())
    }
}

/// The receiving end: belongs to the worker.
pub(crate) struct Inbox {
    commands: Consumer<Command>,
    /// Where questions arrive, if anybody may ask.
    pub(crate) desk: Option<Desk>,
}

impl Inbox {
    /// The next command.
    pub(crate) fn take(&mut self) -> Option<Command> {
        self.commands.pop()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.commands.is_empty() && self.desk.as_mut().is_none_or(Desk::is_empty)
    }
}

/// A worker's inbox and the controller that fills it.
pub(crate) fn channel(bell: Bell) -> (Controller, Inbox) {
    let (producer, consumer) = spsc(CAPACITY);
    (
        Controller {
            commands: producer,
            bell,
        },
        Inbox {
            commands: consumer,
            desk: None,
        },
    )
}
