//! Sending calls.

use super::{Op, Step, Timeout, partial, send_timeout};
use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::flags::MsgFlags;
use crate::sock::msg::SendMsg;
use core::net::SocketAddrV4;
use millrace_wire::time::Instant;
use std::borrow::Cow;

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
