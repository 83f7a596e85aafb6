//! The calls of a socket's life: socket, bind, listen, accept, shutdown, close, and what can be asked of it.

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::errqueue;
use crate::sock::readiness::Readiness;
use crate::sock::{readable, space};
use crate::stats::Counter;
use crate::tcp::conn::close;
use crate::tcp::fastopen::{self, client, server};
use crate::tcp::input::urg;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::{Cold, Options};
use crate::tcp::sock::hot::Features;
use crate::tcp::sock::listen::Listen;
use crate::tcp::state::{CAN_QUEUE, StateSet, TcpState, set_state};
use core::net::SocketAddrV4;
use millrace_wire::time::Instant;
use std::net::Shutdown;

impl Stack {
    /// A TCP socket.
    ///
    /// # Errors
    /// ENFILE when `Limits::max_sockets` is reached.
    pub fn tcp_socket(&mut self) -> Result<SockId, SockError> {
        let cold = Box::new(Cold::new(Options::new(&self.ctx.sysctl)));
        self.socks
            .tcp
            .insert_with(|id| TcpSock::new(id, cold))
            .map_err(|_| SockError::TooManyFiles)
    }

    pub(crate) fn sock(&mut self, s: SockId) -> Result<&mut TcpSock, SockError> {
        match self.socks.tcp.get_mut(s) {
            // A socket that was closed is no more for its owner, though TCP still works on it.
            Some(sk) if !sk.rx.features.contains(Features::ORPHAN) => Ok(sk),
            _ => {
                self.ctx.mib.inc(Counter::MillraceStaleIds);
                Err(SockError::BadSocket)
            }
        }
    }

    /// listen; on a listening socket it only changes the backlog. A backlog beyond `somaxconn`, and so a negative one
    /// read as unsigned, is that (Linux `__sys_listen`).
    ///
    /// # Errors
    /// EINVAL in another state, EADDRINUSE when another socket listens there, or no port is left.
    pub fn listen(&mut self, s: SockId, backlog: u32) -> Result<(), SockError> {
        let most = self.ctx.sysctl.somaxconn;
        let sk = self.sock(s)?;
        if let Some(listen) = &mut sk.cold.listen {
            listen.backlog = backlog.min(most);
            return Ok(());
        }
        if sk.rx.state != TcpState::Close || sk.rings.is_some() {
            return Err(SockError::Invalid);
        }
        if sk.cold.port == 0 {
            self.take_port(s, 0)?;
        }
        let sk = self.sock(s)?;
        let (port, addr, claim) = (sk.cold.port, sk.cold.bound, sk.cold.claim);
        // Since bind another socket may have begun to listen that shares the port by SO_REUSEADDR.
        if let Some(claim) = claim
            && self.socks.bhash.is_taken(port, &claim, Some(&claim))
        {
            return Err(SockError::AddrInUse);
        }
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        sk.cold.listen = Some(Box::new(Listen {
            backlog: backlog.min(most),
            ..Listen::default()
        }));
        let all = fastopen::SERVER | fastopen::SERVER_ALL;
        if self.ctx.sysctl.tcp_fastopen & all == all {
            let fastopen = sk.cold.fastopen.get_or_insert_default();
            if fastopen.max_qlen == 0 {
                fastopen.max_qlen = backlog.min(most);
            }
        }
        set_state(sk, &mut self.ctx, TcpState::Listen);
        self.renew_claim(s);
        self.socks.lhash.insert(addr, port, s);
        Ok(())
    }

    /// accept: the oldest complete connection and its peer.
    ///
    /// # Errors
    /// EAGAIN when there is none, EINVAL when the socket does not listen.
    pub fn accept(&mut self, now: Instant, s: SockId) -> Result<(SockId, SocketAddrV4), SockError> {
        self.ctx.now = now;
        self.sock(s)?;
        let (child, peer) = self.take_child(s)?;
        self.settle(child);
        self.settle(s);
        Ok((child, peer))
    }

    /// shutdown.
    ///
    /// # Errors
    /// ENOTCONN unless connected (or listening, where reading ends the listening).
    pub fn shutdown(&mut self, now: Instant, s: SockId, how: Shutdown) -> Result<(), SockError> {
        self.ctx.now = now;
        self.sock(s)?;
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        match sk.rx.state {
            TcpState::Listen if how == Shutdown::Write => {
                // Nothing but that who waits looks again.
                sk.note(Readiness::CHANGE);
                self.settle(s);
                return Ok(());
            }
            // Linux `inet_shutdown`: the attempt ends, whatever the direction.
            TcpState::Listen | TcpState::SynSent => return self.disconnect(now, s),
            TcpState::Close => {
                // It fails and is remembered all the same.
                if how != Shutdown::Write {
                    sk.rx.features.insert(Features::RCV_SHUTDOWN);
                }
                if how != Shutdown::Read {
                    sk.rx.features.insert(Features::SEND_SHUTDOWN);
                }
                sk.note(Readiness::CHANGE);
                self.settle(s);
                return Err(SockError::NotConnected);
            }
            // Its outcome counts as told.
            _ => sk.cold.connecting = false,
        }
        let ctx = &mut self.ctx;
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        if how != Shutdown::Write {
            sk.rx.features.insert(Features::RCV_SHUTDOWN);
            sk.note(Readiness::IN | Readiness::RDHUP);
        }
        if how != Shutdown::Read {
            close::shutdown_send(sk, ctx);
            sk.note(Readiness::OUT);
        }
        sk.note(Readiness::CHANGE);
        self.settle(s);
        Ok(())
    }

    /// close. Never waits (`ops::Close` lingers); the id is dead afterwards, while TCP finishes on its own.
    ///
    /// # Errors
    /// EBADF.
    pub fn close(&mut self, now: Instant, s: SockId) -> Result<(), SockError> {
        self.ctx.now = now;
        let state = self.sock(s)?.rx.state;
        if state == TcpState::Listen {
            self.listen_stop(s);
        }
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        close::close(sk, &mut self.ctx);
        let alive = sk.rx.state != TcpState::Close;
        if alive {
            sk.warm.counted_orphan = true;
            self.ctx.orphans += 1;
        }
        self.settle(s);
        Ok(())
    }

    /// Ends the connection with a RST; what is queued is lost. The id is dead afterwards.
    pub fn abort(&mut self, now: Instant, s: SockId) {
        self.ctx.now = now;
        if self.sock(s).is_err() {
            return;
        }
        if let Some(sk) = self.socks.tcp.get_mut(s) {
            if sk.cold.listen.is_none() {
                close::abort(sk, &mut self.ctx);
            }
            let _ = self.close(now, s);
        }
    }

    /// What poll would report now.
    ///
    /// # Errors
    /// EBADF.
    pub fn readiness(&mut self, s: SockId) -> Result<Readiness, SockError> {
        self.sock(s)?;
        let sysctl = &self.ctx.sysctl;
        let sk = self.socks.tcp.get_mut(s).ok_or(SockError::BadSocket)?;
        let mut ready = Readiness::NONE;
        if let Some(listen) = &sk.cold.listen {
            let waiting = !listen.accept.is_empty();
            return Ok(if waiting {
                Readiness::IN
            } else {
                Readiness::NONE
            });
        }
        let features = sk.rx.features;
        let opening = sk
            .rx
            .state
            .is_in(StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]));
        if features.contains(Features::RCV_SHUTDOWN) {
            ready |= Readiness::IN | Readiness::RDHUP;
        }
        if sk.rx.state == TcpState::Close
            || features.contains(Features::RCV_SHUTDOWN)
                && features.contains(Features::SEND_SHUTDOWN)
        {
            ready |= Readiness::HUP;
        }
        if sk.warm.err.is_some() || errqueue::any(sk) {
            ready |= Readiness::ERR;
        }
        if client::is_deferred(sk) {
            ready |= Readiness::OUT;
        }
        if opening && !server::is_pending(sk) {
            return Ok(ready);
        }
        if sk.rings.is_some() {
            if readable::is_ready(sk) {
                ready |= Readiness::IN;
            }
            if urg::is_here(sk) {
                ready |= Readiness::PRI;
            }
            if features.contains(Features::SEND_SHUTDOWN) || space::is_writeable(sk, sysctl) {
                ready |= Readiness::OUT;
            } else {
                sk.warm.no_space = true;
            }
        } else if sk.rx.state == TcpState::Close {
            ready |= Readiness::OUT;
        }
        Ok(ready)
    }

    /// SO_ERROR: takes the pending error, or else the last one that did not end the connection (Linux `sk_err_soft`).
    pub fn take_error(&mut self, s: SockId) -> Option<SockError> {
        let sk = self.sock(s).ok()?;
        sk.warm.err.take().or_else(|| sk.cold.soft_err.take())
    }

    /// getsockname.
    ///
    /// # Errors
    /// EBADF.
    pub fn local_addr(&self, s: SockId) -> Result<SocketAddrV4, SockError> {
        Ok(self
            .socks
            .tcp
            .get(s)
            .ok_or(SockError::BadSocket)?
            .tuple()
            .local_addr())
    }

    /// getpeername.
    ///
    /// # Errors
    /// ENOTCONN, EBADF.
    pub fn peer_addr(&self, s: SockId) -> Result<SocketAddrV4, SockError> {
        let sk = self.socks.tcp.get(s).ok_or(SockError::BadSocket)?;
        let none = StateSet::of(&[TcpState::Close, TcpState::Listen, TcpState::SynSent]);
        if sk.rx.state.is_in(none) {
            Err(SockError::NotConnected)
        } else {
            Ok(sk.tuple().remote_addr())
        }
    }

    /// The state of the connection.
    ///
    /// # Errors
    /// EBADF.
    pub fn state(&self, s: SockId) -> Result<TcpState, SockError> {
        Ok(self.socks.tcp.get(s).ok_or(SockError::BadSocket)?.rx.state)
    }

    /// Octets that a send would take now.
    ///
    /// # Errors
    /// EBADF.
    pub fn send_space(&mut self, s: SockId) -> Result<usize, SockError> {
        let sk = self.sock(s)?;
        if !sk.rx.state.is_in(CAN_QUEUE) {
            return Ok(0);
        }
        Ok(sk.rings.as_mut().map_or(0, |r| r.snd_in.free() as usize))
    }
}
