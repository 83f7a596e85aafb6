//! Receiving calls.

use super::{Op, Step, Timeout, partial, receive_timeout};
use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::flags::MsgFlags;
use crate::sock::msg::Received;
use crate::sock::options::{OptName, SockOpt};
use millrace_wire::time::Instant;

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
