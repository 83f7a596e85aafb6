//! The services of `millrace serve`: echo, discard, chargen (here) and http ([`crate::http`]).
//!
//! What they share is in [`server`]: accepting, a side table of connections, ends of streams, timeouts and draining. A
//! service proper is a [`Behaviour`]: what to do with bytes that arrive and with room to send.

pub mod chargen;
mod conns;
pub mod discard;
pub mod echo;
pub mod server;

use millrace::net::MsgFlags;
use millrace::{Instant, SockError, SockId, Stack};

pub use chargen::Chargen;
pub use discard::Discard;
pub use echo::Echo;
pub use server::Server;

/// What a behaviour may use during a call.
pub struct Io<'a> {
    /// The stack.
    pub stack: &'a mut Stack,
    /// The time.
    pub now: Instant,
    /// The connection.
    pub sock: SockId,
}

/// What sending came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// All was taken.
    All,
    /// So many bytes were taken, then the send buffer was full; `OUT` follows.
    Some(usize),
    /// The connection is broken.
    Broken,
}

/// What reading came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// So many bytes, at least one.
    Some(usize),
    /// Nothing now; `IN` follows.
    Empty,
    /// The peer has sent all it will.
    End,
    /// The connection is broken.
    Broken,
}

impl Io<'_> {
    /// Sends as much of `data` as there is room for.
    pub fn send(&mut self, data: &[u8]) -> Sent {
        match self.stack.send(self.now, self.sock, data, MsgFlags::NONE) {
            Ok(n) if n >= data.len() => Sent::All,
            Ok(n) => Sent::Some(n),
            Err(SockError::WouldBlock | SockError::NoBuffers | SockError::NoMemory) => {
                Sent::Some(0)
            }
            Err(_) => Sent::Broken,
        }
    }

    /// Looks at what has arrived without consuming it; the bytes stand at the front of `buf`.
    pub fn peek(&mut self, buf: &mut [u8]) -> Read {
        self.recv(buf, MsgFlags::PEEK)
    }

    /// Consumes what has arrived, as much as `buf` holds.
    pub fn consume(&mut self, buf: &mut [u8]) -> Read {
        self.recv(buf, MsgFlags::NONE)
    }

    fn recv(&mut self, buf: &mut [u8], flags: MsgFlags) -> Read {
        match self.stack.recv(self.now, self.sock, buf, flags) {
            Ok(0) => Read::End,
            Ok(n) => Read::Some(n),
            Err(SockError::WouldBlock) => Read::Empty,
            Err(_) => Read::Broken,
        }
    }
}

/// What becomes of a connection after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Flow {
    /// It goes on.
    Open,
    /// It is over: close it; what was sent is delivered.
    Over,
    /// We have said all; the peer may still be sending, which is thrown away until it ends or a few seconds have passed.
    /// (Closing at once would answer it with a reset, which can destroy what we said on its way.)
    Linger,
    /// It is broken: forget it.
    Broken,
}

/// What a service does with one connection. `scratch` is memory for the length of a call, 64 KiB.
pub trait Behaviour: Send {
    /// What it remembers of a connection.
    type Conn: Send;

    /// A connection was accepted.
    fn open(&mut self, now: Instant) -> Self::Conn;

    /// Bytes have arrived, in order, with none before them waiting. Returns how many were taken; the others are kept and
    /// stop the peer when there are too many. They are offered through [`Behaviour::pump`] when the connection is
    /// ready for sending again, or when more arrive.
    fn data(
        &mut self,
        io: &mut Io<'_>,
        scratch: &mut [u8],
        conn: &mut Self::Conn,
        bytes: &[u8],
    ) -> (usize, Flow);

    /// There may be room to send, bytes to read, or an end of the stream: does all that can be done now.
    fn pump(&mut self, io: &mut Io<'_>, scratch: &mut [u8], conn: &mut Self::Conn) -> Flow;

    /// The program wants to stop: whether this connection can end now.
    fn drain(&mut self, conn: &mut Self::Conn) -> Flow;

    /// Whether the connection is in the middle of something; one that is not may be closed for idleness.
    fn activity(&self, conn: &Self::Conn) -> Activity;
}

/// Whether a connection is doing something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It waits for the peer to begin something.
    Idle,
    /// Something is under way.
    Busy,
}
