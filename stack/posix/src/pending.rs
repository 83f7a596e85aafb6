//! A call that waits.

use millrace_net::ops::{self, Op, Step};
use millrace_net::{SockError, Stack};
use millrace_wire::time::Instant;

use crate::call::{Fd, Return};
use crate::epoll::EpollWait;
use crate::file::FileId;
use crate::pipe::PipeWait;
use crate::poll::PollWait;
use crate::process::Process;
use crate::splice::SpliceWait;
use crate::{msg, socket};

/// What a call waits for.
#[derive(Debug)]
pub(crate) enum Wait {
    Connect(ops::Connect),
    Accept(AcceptWait),
    Send(SendWait),
    Recv(RecvWait),
    Close(ops::Close),
    Poll(PollWait),
    Epoll(EpollWait),
    Pipe(PipeWait),
    Splice(SpliceWait),
}

/// accept, which has its descriptor before it has a connection.
#[derive(Debug)]
pub(crate) struct AcceptWait {
    pub op: ops::Accept,
    pub fd: Fd,
    /// `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
    pub flags: i32,
}

/// send.
#[derive(Debug)]
pub(crate) struct SendWait {
    pub op: ops::Send<'static>,
    /// A null pointer stands for this many octets: EFAULT instead of success.
    pub fault: bool,
}

/// recv.
#[derive(Debug)]
pub(crate) struct RecvWait {
    pub op: ops::RecvMsg<'static>,
    /// The pointer is null: octets that would be copied give EFAULT.
    pub fault: bool,
    /// Octets are dropped, not copied (`MSG_TRUNC`).
    pub discard: bool,
    /// Room for control messages, octets.
    pub control_room: usize,
}

/// A call that waits: see [`Process::start`](crate::process::Process::start).
#[derive(Debug)]
pub struct Pending {
    /// Held while the call waits.
    file: Option<FileId>,
    wait: Wait,
    /// What the call returns once the close that it waits for is over.
    after: Option<Return>,
}

impl Pending {
    pub(crate) fn new(file: Option<FileId>, wait: Wait) -> Self {
        Self {
            file,
            wait,
            after: None,
        }
    }

    /// Goes on as far as possible. To be called when anything happened to the stack, and at the deadline; not again
    /// after the call has returned.
    pub fn step(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
    ) -> Option<Return> {
        let returned = self.wait.step(process, stack, now)?;
        self.leave(process, stack, now, returned)
    }

    /// When the call returns at the latest; `None` waits for ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.wait.deadline()
    }

    /// A signal comes: the call ends with EINTR, or with what it has done so far. What must be waited for still
    /// (a lingering close) is not.
    pub fn cancel(mut self, process: &mut Process, stack: &mut Stack, now: Instant) -> Return {
        let returned = self.wait.cancel(process, stack, now);
        let after = self.after.take();
        match self.leave(process, stack, now, returned) {
            Some(returned) => after.unwrap_or(returned),
            None => after.or(self.after).unwrap_or(Return::ok(0)),
        }
    }

    /// The call lets go of its file; if it was the last to hold it, the close is part of the call.
    fn leave(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
        returned: Return,
    ) -> Option<Return> {
        let held = self.file.take().into_iter().chain(self.wait.also_held());
        let held: Vec<FileId> = held.collect();
        let mut closing = None;
        for file in held {
            closing = process.let_go(stack, now, file).or(closing);
        }
        match closing {
            Some(close) => {
                self.wait = Wait::Close(close);
                self.after = Some(returned);
                None
            }
            None => Some(self.after.take().unwrap_or(returned)),
        }
    }
}

impl Wait {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Connect(op) => op.deadline(),
            Self::Accept(wait) => wait.op.deadline(),
            Self::Send(wait) => wait.op.deadline(),
            Self::Recv(wait) => wait.op.deadline(),
            Self::Close(op) => op.deadline(),
            Self::Poll(wait) => wait.deadline,
            Self::Epoll(wait) => wait.deadline,
            Self::Pipe(_) => None,
            Self::Splice(wait) => wait.deadline(),
        }
    }

    /// Further files that the call holds. Of the two of a splice one is a pipe, which closes at once; of those of a poll
    /// at most one lingers, as far as anybody can tell.
    fn also_held(&self) -> Vec<FileId> {
        match self {
            Self::Splice(wait) => vec![wait.held()],
            Self::Poll(wait) => wait.held().collect(),
            _ => Vec::new(),
        }
    }

    /// One step; what the call returns if it is over.
    pub(crate) fn step(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
    ) -> Option<Return> {
        match self {
            Self::Connect(op) => over(op.step(stack, now)).map(nothing),
            Self::Accept(wait) => {
                let accepted = over(wait.op.step(stack, now))?;
                Some(socket::accepted(process, wait.fd, wait.flags, accepted))
            }
            Self::Send(wait) => {
                let sent = over(wait.op.step(stack, now))?;
                Some(msg::sent(wait, sent))
            }
            Self::Recv(wait) => {
                let received = over(wait.op.step(stack, now))?;
                Some(msg::received(wait, received, stack))
            }
            Self::Close(op) => over(op.step(stack, now)).map(nothing),
            Self::Poll(wait) => wait.step(process, stack, now),
            Self::Epoll(wait) => wait.step(process, stack, now),
            Self::Pipe(wait) => wait.step(process),
            Self::Splice(wait) => wait.step(process, stack, now),
        }
    }

    fn cancel(&mut self, process: &mut Process, stack: &mut Stack, now: Instant) -> Return {
        let why = SockError::Interrupted;
        match self {
            Self::Connect(op) => nothing(op.cancel(stack, now, why)),
            Self::Accept(wait) => {
                let accepted = wait.op.cancel(stack, now, why);
                socket::accepted(process, wait.fd, wait.flags, accepted)
            }
            Self::Send(wait) => {
                let sent = wait.op.cancel(stack, now, why);
                msg::sent(wait, sent)
            }
            Self::Recv(wait) => {
                let received = wait.op.cancel(stack, now, why);
                msg::received(wait, received, stack)
            }
            Self::Close(op) => nothing(op.cancel(stack, now, why)),
            Self::Poll(_) => Return::fail(libc::EINTR),
            Self::Epoll(wait) => {
                wait.leave(process);
                Return::fail(libc::EINTR)
            }
            Self::Pipe(wait) => wait.cancel(),
            Self::Splice(wait) => wait.cancel(process, stack, now),
        }
    }
}

fn over<T>(step: Step<T>) -> Option<Result<T, SockError>> {
    match step {
        Step::Done(result) => Some(result),
        Step::Parked => None,
    }
}

fn nothing(result: Result<(), SockError>) -> Return {
    match result {
        Ok(()) => Return::ok(0),
        Err(error) => Return::fail(error.errno()),
    }
}
