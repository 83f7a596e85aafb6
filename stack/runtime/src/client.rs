//! Blocking connections: the calling thread runs its worker until an operation is done.
//!
//! There is no blocking code here: [`Worker::run`] steps an operation of [`millrace_net::ops`] and turns the worker while
//! it is parked. Timeouts are the socket's own (`SO_RCVTIMEO`, `SO_SNDTIMEO`); a worker that is
//! told to stop ends the operation with `EINTR`.

use core::time::Duration;
use std::io;
use std::net::{Shutdown, SocketAddrV4};

use millrace_net::ops::{Close, Connect, Recv, Send};
use millrace_net::{MsgFlags, SockError, SockId, SockOpt};

use crate::worker::{Turn, Worker};

/// Why an operation of a client failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// What the socket says.
    #[error("{0}")]
    Socket(SockError),
    /// The worker cannot wait for its devices.
    #[error("cannot wait for the devices: {0}")]
    Poll(#[from] io::Error),
}

impl From<SockError> for ClientError {
    fn from(error: SockError) -> Self {
        Self::Socket(error)
    }
}

impl From<ClientError> for io::Error {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Socket(error) => Self::from_raw_os_error(error.errno()),
            ClientError::Poll(error) => error,
        }
    }
}

/// Opens blocking connections on a worker.
pub struct Client<'w> {
    worker: &'w mut Worker,
    timeout: Option<Duration>,
}

impl<'w> Client<'w> {
    /// A client that waits for ever.
    pub fn new(worker: &'w mut Worker) -> Self {
        Self {
            worker,
            timeout: None,
        }
    }

    /// How long connecting, each read and each write of connections made from now on may wait. `None`: for ever.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The worker.
    pub fn worker(&mut self) -> &mut Worker {
        self.worker
    }

    /// Connects to `to`.
    ///
    /// # Errors
    ///
    /// What connecting says; after the timeout [`SockError::InProgress`], as Linux does.
    pub fn connect(&mut self, to: SocketAddrV4) -> Result<Stream<'_>, ClientError> {
        let (stack, now) = self.worker.fresh();
        let sock = stack.tcp_socket()?;
        let timeouts = stack
            .set_option(now, sock, SockOpt::RcvTimeo(self.timeout))
            .and_then(|()| stack.set_option(now, sock, SockOpt::SndTimeo(self.timeout)));
        let connected = match timeouts {
            Ok(()) => self.worker.run(&mut Connect::new(sock, to)).map(|_| ()),
            Err(error) => Err(error.into()),
        };
        let stream = Stream {
            worker: self.worker,
            sock: Some(sock),
        };
        // Dropping the stream of a failed attempt closes the socket.
        connected.map(|()| stream)
    }

    /// Runs the worker until what was closed is acknowledged by the peers, at most for `limit`.
    ///
    /// # Errors
    ///
    /// What sleeping on the devices says.
    pub fn settle(&mut self, limit: Duration) -> io::Result<()> {
        let (_, now) = self.worker.fresh();
        let end = now + limit;
        loop {
            let turn = self.worker.turn();
            if self.worker.is_quiet() && turn == Turn::Idle || self.worker.now() >= end {
                return Ok(());
            }
            if turn == Turn::Idle {
                self.worker.rest(Some(end))?;
            }
        }
    }
}

/// A blocking connection. Dropping it closes it without waiting.
pub struct Stream<'w> {
    worker: &'w mut Worker,
    /// `None` once closed.
    sock: Option<SockId>,
}

impl Stream<'_> {
    /// The socket, for options and addresses.
    ///
    /// # Errors
    ///
    /// [`SockError::BadSocket`] once closed.
    pub fn sock(&self) -> Result<SockId, SockError> {
        self.sock.ok_or(SockError::BadSocket)
    }

    /// The worker.
    pub fn worker(&mut self) -> &mut Worker {
        self.worker
    }

    /// Reads at least one byte; zero is the end of the stream.
    ///
    /// # Errors
    ///
    /// What receiving says; [`SockError::WouldBlock`] after the timeout.
    pub fn recv(&mut self, buf: &mut [u8]) -> Result<usize, ClientError> {
        let sock = self.sock()?;
        self.worker.run(&mut Recv::new(sock, buf, MsgFlags::NONE))
    }

    /// Hands all of `data` to the stack.
    ///
    /// # Errors
    ///
    /// What sending says. After a timeout or a stop in the midst of `data` the number of bytes sent is the result.
    pub fn send(&mut self, data: &[u8]) -> Result<usize, ClientError> {
        let sock = self.sock()?;
        self.worker.run(&mut Send::new(sock, data, MsgFlags::NONE))
    }

    /// Ends one or both directions.
    ///
    /// # Errors
    ///
    /// What shutting down says.
    pub fn shutdown(&mut self, how: Shutdown) -> Result<(), ClientError> {
        let sock = self.sock()?;
        let (stack, now) = self.worker.fresh();
        Ok(stack.shutdown(now, sock, how)?)
    }

    /// Closes the connection; waits only when `SO_LINGER` says so.
    ///
    /// # Errors
    ///
    /// What closing says.
    pub fn close(mut self) -> Result<(), ClientError> {
        let sock = self.sock()?;
        self.sock = None;
        self.worker.run(&mut Close::new(sock)).map(|_| ())
    }
}

impl io::Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv(buf)?)
    }
}

impl io::Write for Stream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(self.send(buf)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if let Some(sock) = self.sock.take() {
            let (stack, now) = self.worker.fresh();
            // A stale id only: the connection is gone already.
            let _ = stack.close(now, sock);
        }
    }
}
