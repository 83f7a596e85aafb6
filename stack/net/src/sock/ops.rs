//! Blocking calls as resumable values: `step` until it is done. The blocking client, scripts and all other ways to
//! wait are built on these; there is no second implementation.
//!
//! A parked operation is stepped again when anything happened to its socket, and at its deadline at the latest.

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::flags::MsgFlags;
use crate::sock::msg::{Received, SendMsg};
use crate::sock::options::{OptName, SockOpt};
use crate::tcp::state::TcpState;
use core::net::SocketAddrV4;
use core::time::Duration;
use millrace_wire::time::Instant;
use std::borrow::Cow;

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

/// sendmsg(2) of all bytes.
#[derive(Debug)]
pub struct Send<'a> {
    sock: SockId,
    data: Cow<'a, [u8]>,
    msg: SendMsg,
    done: usize,
    /// It met a full buffer: only room, an error or the end lets it go on.
    waits_for_space: bool,
    opening: Opening,
    timeout: Timeout,
}

/// Whether a send opens the connection (Linux `tcp_sendmsg_fastopen`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// Not looked yet: with MSG_FASTOPEN to this peer, or on a socket whose SYN waits for data.
    Unknown(Option<SocketAddrV4>),
    /// The SYN is out, the handshake has not ended.
    Handshake,
    /// It does not, or no more.
    Open,
}

impl<'a> Send<'a> {
    /// Sends `data`.
    pub fn new(sock: SockId, data: &'a [u8], flags: MsgFlags) -> Self {
        Self::with_msg(sock, data, flags.into())
    }

    /// Sends `data` as a message.
    pub fn with_msg(sock: SockId, data: &'a [u8], msg: SendMsg) -> Self {
        Self::of(sock, Cow::Borrowed(data), msg)
    }

    /// Sends `data` as a message, and keeps it until then.
    pub fn owned(sock: SockId, data: Vec<u8>, msg: SendMsg) -> Send<'static> {
        Send::of(sock, Cow::Owned(data), msg)
    }

    fn of(sock: SockId, data: Cow<'a, [u8]>, msg: SendMsg) -> Self {
        Self {
            sock,
            data,
            msg,
            done: 0,
            waits_for_space: false,
            opening: Opening::Unknown(None),
            timeout: Timeout::default(),
        }
    }

    /// The same with MSG_FASTOPEN: connects, with data in the SYN if the peer's cookie is known, waits for the end of
    /// the handshake, and sends the rest.
    #[must_use]
    pub fn opening(mut self, to: SocketAddrV4) -> Self {
        self.opening = Opening::Unknown(Some(to));
        self
    }

    /// Opens the connection if that is to be done first; the answer is there when the call goes no further.
    fn open(&mut self, stack: &mut Stack, now: Instant) -> Option<Step<usize>> {
        if let Opening::Unknown(to) = self.opening {
            let sent = match to {
                Some(to) => stack.send_fastopen(now, self.sock, to, &self.data),
                None if stack.is_deferred(self.sock) => {
                    stack.send_part(now, self.sock, &self.data, &self.msg, 0)
                }
                None => {
                    self.opening = Opening::Open;
                    return None;
                }
            };
            match sent {
                Ok(n) => self.done = n,
                Err(SockError::InProgress) => {}
                Err(error) => return Some(Step::Done(Err(error))),
            }
            self.opening = Opening::Handshake;
        }
        if self.opening == Opening::Open {
            return None;
        }
        if stack.is_connecting(self.sock) {
            // The handshake goes on by itself.
            let over = self.msg.flags.contains(MsgFlags::DONTWAIT) || self.timeout.is_over(now);
            stack.set_write_waits(self.sock, !over && self.done < self.data.len());
            let progress = || Step::Done(partial(self.done, SockError::InProgress));
            return Some(if over { progress() } else { Step::Parked });
        }
        self.opening = Opening::Open;
        stack.set_write_waits(self.sock, false);
        // The time for the rest counts from here.
        self.timeout = Timeout::default();
        self.timeout.start(now, send_timeout(stack, self.sock));
        match stack.connect_outcome(now, self.sock) {
            Ok(()) if self.done > 0 && self.done == self.data.len() => {
                Some(Step::Done(Ok(self.done)))
            }
            Ok(()) => None,
            Err(error) => Some(Step::Done(Err(error))),
        }
    }

    fn wait(&mut self, now: Instant) -> Step<usize> {
        if self.msg.flags.contains(MsgFlags::DONTWAIT) || self.timeout.is_over(now) {
            return Step::Done(partial(self.done, SockError::WouldBlock));
        }
        Step::Parked
    }
}

impl Op for Send<'_> {
    type Output = usize;

    fn step(&mut self, stack: &mut Stack, now: Instant) -> Step<usize> {
        let limit = send_timeout(stack, self.sock);
        self.timeout.start(now, limit);
        if self.opening != Opening::Open
            && let Some(over) = self.open(stack, now)
        {
            return over;
        }
        if self.waits_for_space && stack.awaits_space(self.sock) {
            return self.wait(now);
        }
        loop {
            let rest = &self.data[self.done..];
            match stack.send_part(now, self.sock, rest, &self.msg, self.done) {
                Ok(n) => {
                    self.done += n;
                    if self.done == self.data.len() {
                        return Step::Done(Ok(self.done));
                    }
                }
                Err(error @ (SockError::WouldBlock | SockError::NoBuffers)) => {
                    self.waits_for_space = error == SockError::WouldBlock;
                    return self.wait(now);
                }
                // What was done counts now; the error is for the next call.
                Err(error) => return Step::Done(partial(self.done, error)),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.until
    }

    fn sock(&self) -> SockId {
        self.sock
    }

    fn cancel(&mut self, _: &mut Stack, _: Instant, why: SockError) -> Result<usize, SockError> {
        partial(self.done, why)
    }
}

/// What a call that did `done` octets returns when it cannot go on.
fn partial(done: usize, error: SockError) -> Result<usize, SockError> {
    if done > 0 { Ok(done) } else { Err(error) }
}

/// Where received octets go.
#[derive(Debug)]
enum Room<'a> {
    Lent(&'a mut [u8]),
    Own(Vec<u8>),
}

impl Room<'_> {
    fn get(&mut self) -> &mut [u8] {
        match self {
            Self::Lent(buf) => buf,
            Self::Own(buf) => buf,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Lent(buf) => buf.len(),
            Self::Own(buf) => buf.len(),
        }
    }
}

/// recvmsg(2): returns with SO_RCVLOWAT octets (all of the buffer with MSG_WAITALL), or with what there is when no
/// more comes, at the urgent mark, after SO_RCVTIMEO, and on a signal.
#[derive(Debug)]
pub struct RecvMsg<'a> {
    sock: SockId,
    buf: Room<'a>,
    flags: MsgFlags,
    /// What was received; with MSG_PEEK what was seen at the last step.
    got: Received,
    /// It waits for a wake-up.
    asleep: bool,
    timeout: Timeout,
}

impl<'a> RecvMsg<'a> {
    /// Receives into `buf`.
    pub fn new(sock: SockId, buf: &'a mut [u8], flags: MsgFlags) -> Self {
        Self::into(sock, Room::Lent(buf), flags)
    }

    /// Receives at most `room` octets into a buffer of its own; see [`RecvMsg::take_data`].
    pub fn owned(sock: SockId, room: usize, flags: MsgFlags) -> RecvMsg<'static> {
        RecvMsg::into(sock, Room::Own(vec![0; room]), flags)
    }

    /// The first `len` octets of the buffer of its own; empty when the caller lent one.
    pub fn take_data(&mut self, len: usize) -> Vec<u8> {
        match &mut self.buf {
            Room::Lent(_) => Vec::new(),
            Room::Own(buf) => {
                let mut data = core::mem::take(buf);
                data.truncate(len);
                data
            }
        }
    }

    fn into(sock: SockId, buf: Room<'a>, flags: MsgFlags) -> Self {
        Self {
            sock,
            buf,
            flags,
            got: Received::default(),
            asleep: false,
            timeout: Timeout::default(),
        }
    }

    /// Octets without which the call waits (Linux `sock_rcvlowat`).
    fn target(&self, stack: &Stack) -> usize {
        if self.flags.contains(MsgFlags::WAITALL) {
            return self.buf.len().max(1);
        }
        match stack.option(self.sock, OptName::RcvLowat) {
            Ok(SockOpt::RcvLowat(lowat)) => self.buf.len().min(lowat as usize).max(1),
            _ => 1,
        }
    }

    fn take(&mut self, got: Received) {
        let before = if self.flags.contains(MsgFlags::PEEK) {
            0
        } else {
            self.got.len
        };
        self.got = Received {
            len: before + got.len,
            timestamp: got.timestamp.or(self.got.timestamp),
            ..got
        };
    }

    fn partial(&self, error: SockError) -> Result<Received, SockError> {
        partial(self.got.len, error).map(|_| self.got)
    }
}

impl Op for RecvMsg<'_> {
    type Output = Received;

    fn step(&mut self, stack: &mut Stack, now: Instant) -> Step<Received> {
        let limit = receive_timeout(stack, self.sock);
        self.timeout.start(now, limit);
        if self.asleep && !self.timeout.is_over(now) && !stack.wakes_reader(self.sock) {
            return Step::Parked;
        }
        let peek = self.flags.contains(MsgFlags::PEEK);
        let before = if peek { 0 } else { self.got.len };
        match stack.recv_part(
            now,
            self.sock,
            &mut self.buf.get()[before..],
            self.flags,
            before,
        ) {
            Ok(part) => {
                self.take(part.msg);
                let enough = self.got.len >= self.target(stack) || self.got.len == self.buf.len();
                if part.stop || enough || part.msg.len == 0 && before == 0 {
                    return Step::Done(Ok(self.got));
                }
            }
            Err(SockError::WouldBlock) => {}
            Err(error) => return Step::Done(self.partial(error)),
        }
        // Urgent data and the error queue are never waited for.
        let never = MsgFlags::DONTWAIT | MsgFlags::OOB | MsgFlags::ERRQUEUE;
        if self.flags.intersects(never) || self.timeout.is_over(now) {
            return Step::Done(self.partial(SockError::WouldBlock));
        }
        self.asleep = true;
        Step::Parked
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.until
    }

    fn sock(&self) -> SockId {
        self.sock
    }

    fn cancel(&mut self, _: &mut Stack, _: Instant, why: SockError) -> Result<Received, SockError> {
        self.partial(why)
    }
}

/// recv(2): [`RecvMsg`] for the octets alone.
#[derive(Debug)]
pub struct Recv<'a>(RecvMsg<'a>);

impl<'a> Recv<'a> {
    /// Receives into `buf`.
    pub fn new(sock: SockId, buf: &'a mut [u8], flags: MsgFlags) -> Self {
        Self(RecvMsg::new(sock, buf, flags))
    }
}

impl Op for Recv<'_> {
    type Output = usize;

    fn step(&mut self, stack: &mut Stack, now: Instant) -> Step<usize> {
        match self.0.step(stack, now) {
            Step::Done(result) => Step::Done(result.map(|got| got.len)),
            Step::Parked => Step::Parked,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    fn sock(&self) -> SockId {
        self.0.sock()
    }

    fn cancel(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        why: SockError,
    ) -> Result<usize, SockError> {
        self.0.cancel(stack, now, why).map(|got| got.len)
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
