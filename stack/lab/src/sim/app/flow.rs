//! Bytes out and in: written as planned, checked as they come.

use std::time::Duration;

use millrace_net::{MsgFlags, SockError, SockId, Stack};
use millrace_wire::time::Instant;

use super::super::Violation;
use super::super::plan::{Access, Finish};
use super::{App, Eof, Gate, Step};

impl App {
    pub(super) fn write(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
    ) -> Result<Step, Violation> {
        let mut step = Step::Idle;
        let until = match self.plan.finish {
            Finish::Abort(after) | Finish::LingerZero(after) => after,
            Finish::Polite | Finish::CloseAtOnce => self.plan.total,
        };
        while self.progress.written < until
            && self.next_write <= now
            && self.write_gate == Gate::Open
        {
            let len = self
                .dice
                .range(1..=self.plan.write_chunk)
                .min(until - self.progress.written);
            self.buffer.resize(len as usize, 0);
            self.writes.fill(self.progress.written, &mut self.buffer);
            match stack.send(now, sock, &self.buffer, MsgFlags::NONE) {
                Ok(taken) if taken as u64 > len => {
                    return Err(self.violation("send took more than it got"));
                }
                Ok(taken) => {
                    step = Step::Moved;
                    self.progress.written += taken as u64;
                    self.next_write =
                        now + self.dice.duration(Duration::ZERO..=self.plan.write_pause);
                    self.write_gate = self.gate_after(taken as u64 == len);
                    if taken == 0 {
                        return Err(self.violation("send took nothing and said nothing"));
                    }
                }
                Err(SockError::WouldBlock | SockError::NoBuffers) => {
                    self.write_gate = self.gate_after(false);
                    break;
                }
                Err(error) => {
                    self.fail(stack, now, sock, error)?;
                    return Ok(Step::Moved);
                }
            }
        }
        Ok(step)
    }

    /// An in-loop end that got less than it wanted waits for the event; a polled one asks again.
    fn gate_after(&self, whole: bool) -> Gate {
        if whole || self.plan.access == Access::Polled {
            Gate::Open
        } else {
            Gate::Shut
        }
    }

    pub(super) fn read(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
    ) -> Result<Step, Violation> {
        let mut step = Step::Idle;
        while self.sock() == Some(sock)
            && self.progress.eof == Eof::Unseen
            && self.next_read <= now
            && self.read_gate == Gate::Open
        {
            let len = self.dice.range(1..=self.plan.read_chunk) as usize;
            self.buffer.resize(len, 0);
            let mut buffer = std::mem::take(&mut self.buffer);
            let result = stack.recv(now, sock, &mut buffer, MsgFlags::NONE);
            self.buffer = buffer;
            match result {
                Ok(0) => {
                    step = Step::Moved;
                    self.progress.eof = Eof::Seen;
                    self.end_of_file_stays(stack, now, sock)?;
                }
                Ok(n) if n > len => {
                    return Err(self.violation("recv gave more than there was room"));
                }
                Ok(n) => {
                    step = Step::Moved;
                    self.check(now, n)?;
                }
                Err(SockError::WouldBlock) => {
                    self.read_gate = self.gate_after(false);
                    break;
                }
                Err(error) => {
                    self.fail(stack, now, sock, error)?;
                    return Ok(Step::Moved);
                }
            }
        }
        Ok(step)
    }

    fn end_of_file_stays(
        &self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
    ) -> Result<(), Violation> {
        match stack.recv(now, sock, &mut [0; 8], MsgFlags::NONE) {
            Ok(0) => Ok(()),
            other => Err(self.violation(format!("{other:?} behind the end of file"))),
        }
    }

    /// Checks the first `n` bytes of the buffer.
    fn check(&mut self, now: Instant, n: usize) -> Result<(), Violation> {
        let buffer = std::mem::take(&mut self.buffer);
        let checked = self.check_bytes(now, &buffer[..n]);
        self.buffer = buffer;
        checked
    }

    fn check_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Violation> {
        if let Some(offset) = self.reads.first_wrong(self.progress.read, bytes) {
            let at = self.progress.read + offset as u64;
            return Err(self.violation(format!(
                "wrong byte {:#04x} at position {at}",
                bytes[offset]
            )));
        }
        self.progress.read += bytes.len() as u64;
        self.next_read = now + self.dice.duration(Duration::ZERO..=self.plan.read_pause);
        Ok(())
    }

    /// In-order bytes lent inside the receive call; how many are taken.
    pub(in crate::sim) fn lent(&mut self, now: Instant, bytes: &[u8]) -> Result<usize, Violation> {
        if self.sock().is_none() {
            return Err(self.violation("data for a socket that is closed"));
        }
        if self.progress.eof == Eof::Seen {
            return Err(self.violation("data behind the end of file"));
        }
        self.read_gate = Gate::Open;
        if self.next_read > now {
            return Ok(0);
        }
        let taken = self
            .dice
            .range(1..=self.plan.read_chunk)
            .min(bytes.len() as u64) as usize;
        self.check_bytes(now, &bytes[..taken])?;
        Ok(taken)
    }
}
