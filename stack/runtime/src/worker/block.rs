//! Blocking: an operation is stepped, and the worker turned while it is parked.

use millrace_net::ops::{Op, Step};
use millrace_net::{Instant, SockError, Stack};

use super::{Phase, Turn, Worker};
use crate::client::ClientError;

impl Worker {
    /// Runs until `op` is done, its deadline has passed, or the worker is told to stop.
    ///
    /// # Errors
    ///
    /// What the operation says; [`SockError::Interrupted`] when the worker is told to stop before anything was done.
    pub fn run<O: Op>(&mut self, op: &mut O) -> Result<O::Output, ClientError> {
        self.read_clock();
        loop {
            if let Step::Done(result) = op.step(&mut self.stack, self.now) {
                return Ok(result?);
            }
            if self.phase != Phase::Running {
                return Ok(op.cancel(&mut self.stack, self.now, SockError::Interrupted)?);
            }
            if self.turn() == Turn::Idle {
                self.rest(op.deadline())?;
            }
        }
    }

    /// The stack and the time, for a call outside an iteration.
    pub fn fresh(&mut self) -> (&mut Stack, Instant) {
        self.read_clock();
        (&mut self.stack, self.now)
    }
}
