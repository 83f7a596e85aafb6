//! Running a worker until it is told to stop, and stopping: drain first, reset what is left when time is up.

use core::time::Duration;
use std::io;

use super::{Phase, Turn, Worker};

/// Iterations in which the last resets are sent after an abort.
const FAREWELL_TURNS: usize = 64;

/// How a worker stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// Every connection had ended.
    Drained,
    /// Some connections were reset: how many.
    Aborted {
        /// Connections that were reset.
        connections: usize,
    },
}

impl Worker {
    /// Runs until a [`Command::Drain`](crate::Command::Drain) or [`Command::Abort`](crate::Command::Abort) has been
    /// carried out. Open connections get `drain_timeout` to finish. `report` is called for each
    /// [`Command::Report`](crate::Command::Report).
    ///
    /// # Errors
    ///
    /// What sleeping on the devices says.
    pub fn serve(
        &mut self,
        drain_timeout: Duration,
        report: &mut dyn FnMut(&Self),
    ) -> io::Result<Stopped> {
        loop {
            let turn = self.turn();
            for _ in 0..core::mem::take(&mut self.reports) {
                report(self);
            }
            let deadline = match self.phase {
                Phase::Running => None,
                Phase::Draining { .. } if self.is_quiet() => return Ok(Stopped::Drained),
                Phase::Draining { since } if self.now.since(since) < drain_timeout => {
                    Some(since + drain_timeout)
                }
                Phase::Draining { .. } | Phase::Aborting => return Ok(self.abort()),
            };
            if turn == Turn::Idle {
                self.rest(deadline)?;
            }
        }
    }

    /// Closes the listeners and asks the services to come to an end. A second time changes nothing.
    pub fn start_drain(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Draining { since: self.now };
        self.close_listeners();
        self.services.drain(&mut self.stack, self.now);
    }

    fn close_listeners(&mut self) {
        for listener in self.listeners.drain(..) {
            // Only a stale id can fail here, and such a listener is closed already.
            let _ = self.stack.close(self.now, listener);
        }
    }

    /// Whether no connection is open and none is closing (TIME_WAIT, which only waits, aside).
    pub fn is_quiet(&self) -> bool {
        self.services.open() == 0 && self.stack.census().orphans == 0
    }

    /// Resets what is open and sends the resets.
    fn abort(&mut self) -> Stopped {
        self.close_listeners();
        let connections = self.services.open();
        self.services.abort(&mut self.stack, self.now);
        for _ in 0..FAREWELL_TURNS {
            if self.turn() == Turn::Idle {
                break;
            }
        }
        if connections == 0 && self.is_quiet() {
            Stopped::Drained
        } else {
            Stopped::Aborted { connections }
        }
    }
}
