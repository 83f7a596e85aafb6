//! Blocking calls as resumable values: `step` until it is done. The blocking client, scripts and all other ways to
//! wait are built on these; there is no second implementation.
//!
//! A parked operation is stepped again when anything happened to its socket, and at its deadline at the latest.

mod recv;
mod send;

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::options::{OptName, SockOpt};
use crate::tcp::state::TcpState;
use core::net::SocketAddrV4;
use core::time::Duration;
use millrace_wire::time::Instant;

pub use recv::{Recv, RecvMsg};
pub use send::Send;

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Step<T> {
    /// The call returns.
    Done(Result<T, SockError>),
    /// It waits for its socket.
    Parked,
}

/// A call that may wait.
pub trait Op {
    /// What the call returns.
    type Output;

    /// Goes as far as possible without waiting.
    fn step(&mut self, stack: &mut Stack, now: Instant) -> Step<Self::Output>;

    /// When to step again at the latest: then the call returns for its time-out. None waits for ever.
    fn deadline(&self) -> Option<Instant>;

    /// The socket it waits for.
    fn sock(&self) -> SockId;

    /// Ends the call early: `why` is EINTR for a signal. What was done so far is returned if there is any.
    ///
    /// # Errors
    /// `why`, when nothing was done.
    fn cancel(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        why: SockError,
    ) -> Result<Self::Output, SockError>;
}

/// The time that a call may take, counted from its first step.
#[derive(Debug, Default)]
struct Timeout {
    until: Option<Instant>,
    started: bool,
}

impl Timeout {
    fn start(&mut self, now: Instant, limit: Option<Duration>) {
        if !self.started {
            self.started = true;
            self.until = limit.map(|d| now + d);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|at| now >= at)
    }
}

fn receive_timeout(stack: &Stack, s: SockId) -> Option<Duration> {
    match stack.option(s, OptName::RcvTimeo) {
        Ok(SockOpt::RcvTimeo(limit)) => limit,
        _ => None,
    }
}

fn send_timeout(stack: &Stack, s: SockId) -> Option<Duration> {
    match stack.option(s, OptName::SndTimeo) {
        Ok(SockOpt::SndTimeo(limit)) => limit,
        _ => None,
    }
}

/// connect(2).
#[derive(Debug)]
pub struct Connect {
    sock: SockId,
    to: SocketAddrV4,
    timeout: Timeout,
}

impl Connect {
    /// Connects `sock` to `to`.
    pub fn new(sock: SockId, to: SocketAddrV4) -> Self {
        Self {
            sock,
            to,
            timeout: Timeout::default(),
        }
    }
}

impl Op for Connect {
    type Output = ();

    fn step(&mut self, stack: &mut Stack, now: Instant) -> Step<()> {
        if !self.timeout.started {
            self.timeout.start(now, send_timeout(stack, self.sock));
            return match stack.connect(now, self.sock, self.to) {
                Err(SockError::InProgress | SockError::Already) => Step::Parked,
                done => Step::Done(done),
            };
        }
        if stack.is_connecting(self.sock) {
            // Linux: the connection attempt goes on after a time-out.
            return if self.timeout.is_over(now) {
                Step::Done(Err(SockError::InProgress))
            } else {
                Step::Parked
            };
        }
        // The outcome, once; a failed attempt leaves the socket ready for another.
        Step::Done(stack.connect(now, self.sock, self.to))
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.until
    }

    fn sock(&self) -> SockId {
        self.sock
    }

    fn cancel(&mut self, _: &mut Stack, _: Instant, why: SockError) -> Result<(), SockError> {
        Err(why)
    }
}

/// accept(2).
#[derive(Debug)]
pub struct Accept {
    sock: SockId,
    timeout: Timeout,
}

impl Accept {
    /// Accepts a connection from `sock`.
    pub fn new(sock: SockId) -> Self {
        Self {
            sock,
            timeout: Timeout::default(),
        }
    }
}

impl Op for Accept {
    type Output = (SockId, SocketAddrV4);

    fn step(&mut self, stack: &mut Stack, now: Instant) -> Step<Self::Output> {
        self.timeout.start(now, receive_timeout(stack, self.sock));
        match stack.accept(now, self.sock) {
            Err(SockError::WouldBlock) if !self.timeout.is_over(now) => Step::Parked,
            done => Step::Done(done),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.until
    }

    fn sock(&self) -> SockId {
        self.sock
    }

    fn cancel(
        &mut self,
        _: &mut Stack,
        _: Instant,
        why: SockError,
    ) -> Result<Self::Output, SockError> {
        Err(why)
    }
}

/// close(2), which waits for SO_LINGER until the peer has everything.
#[derive(Debug)]
pub struct Close {
    sock: SockId,
    timeout: Timeout,
}

impl Close {
    /// Closes `sock`.
    pub fn new(sock: SockId) -> Self {
        Self {
            sock,
            timeout: Timeout::default(),
        }
    }
}

impl Op for Close {
    type Output = ();

    fn step(&mut self, stack: &mut Stack, now: Instant) -> Step<()> {
        if !self.timeout.started {
            let linger = match stack.option(self.sock, OptName::Linger) {
                Ok(SockOpt::Linger(true, time)) => time,
                _ => Duration::ZERO,
            };
            self.timeout.start(now, Some(linger));
            let closed = stack.close(now, self.sock);
            if closed.is_err() || linger.is_zero() {
                return Step::Done(closed);
            }
        }
        // The full socket is gone once our FIN is acknowledged (or it all ended otherwise).
        let sending = stack.state(self.sock).is_ok_and(|state| {
            matches!(
                state,
                TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck
            )
        });
        if sending && !self.timeout.is_over(now) {
            Step::Parked
        } else {
            Step::Done(Ok(()))
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.until
    }

    fn sock(&self) -> SockId {
        self.sock
    }

    fn cancel(&mut self, _: &mut Stack, _: Instant, _: SockError) -> Result<(), SockError> {
        // The socket is closed; only the waiting ends.
        Ok(())
    }
}

/// What a call that did `done` octets returns when it cannot go on.
fn partial(done: usize, error: SockError) -> Result<usize, SockError> {
    if done > 0 { Ok(done) } else { Err(error) }
}
