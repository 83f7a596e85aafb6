//! connect: route, source address, source port, SYN (Linux `tcp_v4_connect`, `__inet_hash_connect`).

use crate::core::Stack;
use crate::ids::{SockId, SockKind};
use crate::route::{HopKind, RouteError};
use crate::sock::error::SockError;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::TIMEWAIT_MS;
use crate::tcp::conn::active::{self, Resume};
use crate::tcp::conn::close;
use crate::tcp::demux::Tuple;
use crate::tcp::fastopen::client;
use crate::tcp::output;
use crate::tcp::sock::cold::PortOrigin;
use crate::tcp::sock::hot::{Features, RxHot, TxHot};
use crate::tcp::sock::timewait::Substate;
use crate::tcp::sock::warm::Warm;
use crate::tcp::stamps;
use crate::tcp::state::{StateSet, TcpState};
use core::net::SocketAddrV4;
use millrace_wire::time::Instant;

/// Between the last number of the old connection and the first of the new one on its tuple.
const RESUME_GAP: u32 = 65_535 + 2;

impl Stack {
    /// connect, without waiting: EINPROGRESS first, then EALREADY until it has ended, then the outcome once.
    ///
    /// # Errors
    /// EINPROGRESS, EALREADY, EISCONN, the connection's error; ENETUNREACH, EHOSTUNREACH, EACCES by the routes;
    /// EADDRNOTAVAIL when no port is left.
    pub fn connect(&mut self, now: Instant, s: SockId, to: SocketAddrV4) -> Result<(), SockError> {
        self.ctx.now = now;
        let sk = self.sock(s)?;
        match sk.rx.state {
            TcpState::SynSent if client::is_deferred(sk) => return Err(SockError::IsConnected),
            TcpState::SynSent | TcpState::SynRecv => return Err(SockError::Already),
            TcpState::Listen => return Err(SockError::IsConnected),
            TcpState::Close => {}
            _ if core::mem::take(&mut sk.cold.connecting) => return Ok(()),
            _ => return Err(SockError::IsConnected),
        }
        if sk.rings.is_some() {
            if !core::mem::take(&mut sk.cold.connecting) {
                // It was connected once (Linux `SS_CONNECTED`).
                return Err(SockError::IsConnected);
            }
            let error = sk.warm.err.take().unwrap_or(SockError::Aborted);
            self.forget_connection(s);
            return Err(error);
        }
        self.start_connect(s, to)?;
        self.defer_connect(s)
    }

    /// connect would look at its address: nothing is connected, is being connected, or waits to be told of. What it
    /// answers otherwise does not depend on the address.
    pub fn connects_anew(&self, s: SockId) -> bool {
        let sk = self.socks.tcp.get(s);
        sk.is_some_and(|sk| sk.rx.state == TcpState::Close && sk.rings.is_none())
    }

    /// What became of the handshake that a send began, once.
    pub(crate) fn connect_outcome(&mut self, now: Instant, s: SockId) -> Result<(), SockError> {
        let sk = self.sock(s)?;
        if sk.rx.state == TcpState::Close && sk.rings.is_none() {
            // Somebody dissolved it.
            return Err(sk.warm.err.take().unwrap_or(SockError::Aborted));
        }
        let nobody = SocketAddrV4::new(core::net::Ipv4Addr::UNSPECIFIED, 0);
        match self.connect(now, s, nobody) {
            // Another call was told first.
            Err(SockError::IsConnected) => Ok(()),
            outcome => outcome,
        }
    }

    /// A connect that has returned, while the SYN waits for data (TCP_FASTOPEN_CONNECT).
    pub fn is_deferred(&self, s: SockId) -> bool {
        self.socks.tcp.get(s).is_some_and(client::is_deferred)
    }

    /// connect to AF_UNSPEC (Linux `tcp_disconnect`): the connection ends at once, with a RST if there was one; a
    /// listener listens no more. Afterwards the socket is as after bind, or socket if that chose no port by name; the
    /// error ECONNRESET is left if a connection or an attempt was ended.
    ///
    /// # Errors
    /// EBADF.
    pub fn disconnect(&mut self, now: Instant, s: SockId) -> Result<(), SockError> {
        self.ctx.now = now;
        let opening = self.sock(s)?.rx.state == TcpState::SynSent;
        if self.sock(s)?.rx.state == TcpState::Listen {
            self.listen_stop(s);
        }
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        if close::dissolve(sk, &mut self.ctx) || opening {
            sk.warm.err = Some(SockError::Reset);
        }
        self.settle(s);
        self.forget_connection(s);
        Ok(())
    }

    /// As after socket(), with options, a named port and the pending error kept. For a socket in CLOSE.
    fn forget_connection(&mut self, s: SockId) {
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return;
        };
        self.ctx.wheel.cancel(&mut sk.warm.wheel);
        if let Some(rings) = sk.rings.take() {
            rings.release(&mut self.ctx.chunks);
            let next = sk.tx.write_seq + sk.tx.max_window + 2;
            let stamped = sk.rx.features.contains(Features::TIMESTAMPS);
            sk.cold.next_iss = Some((next, stamped.then_some(sk.rx.tuple.remote)));
        }
        sk.records.clear();
        let mut rx = RxHot::default();
        rx.features.insert(sk.rx.features & Features::OWNED);
        rx.tuple.local = sk.cold.bound;
        // Linux keeps `inet_sport`: getsockname shows the port that it had, though it may be another's by now.
        rx.tuple.lport = sk.rx.tuple.lport;
        sk.rx = rx;
        // It may still stand in a qdisc, or in the event queue.
        sk.tx = TxHot {
            queued: sk.tx.queued,
            // TCP_MAXSEG goes on telling it.
            mss_cache: sk.tx.mss_cache,
            ..TxHot::default()
        };
        sk.warm = Warm {
            user: sk.warm.user,
            event_queued: sk.warm.event_queued,
            err: sk.warm.err,
            ..Warm::new(s)
        };
        sk.cold.soft_err = None;
        sk.cold.urgent = None;
        sk.cold.stamps = None;
        stamps::watch_arrivals(sk);
        sk.cold.events = Default::default();
        sk.cold.last_oow_ack = None;
        sk.cold.connecting = false;
        sk.note(Readiness::CHANGE);
        self.renew_claim(s);
        self.settle(s);
    }

    fn start_connect(&mut self, s: SockId, to: SocketAddrV4) -> Result<(), SockError> {
        let sk = self.sock(s)?;
        let bound = sk.cold.bound;
        let named_port = sk.cold.port;
        // A socket bound to a group or a broadcast address sends from an address of its own.
        let named = !bound.is_unspecified() && !bound.is_multicast();
        let source = (named && !self.ctx.routes.is_broadcast(bound)).then_some(bound);
        if source.is_some_and(|source| !self.ctx.routes.is_local(source)) {
            return Err(SockError::NetUnreachable);
        }
        let hop = self
            .ctx
            .routes
            .lookup(*to.ip(), source)
            .map_err(|error| match error {
                RouteError::Unreachable => SockError::NetUnreachable,
                RouteError::HostUnreachable => SockError::HostUnreachable,
                RouteError::Prohibited => SockError::AccessDenied,
                RouteError::Blackhole => SockError::Invalid,
            })?;
        // Our own addresses are not reachable from within (there is no loopback device), nor is a group by TCP.
        if hop.kind != HopKind::Unicast || hop.src.is_unspecified() {
            return Err(SockError::NetUnreachable);
        }
        let mut tuple = Tuple {
            local: hop.src,
            remote: *to.ip(),
            lport: named_port,
            rport: to.port(),
        };
        if source.is_some_and(|source| source.is_loopback()) {
            return Err(SockError::Invalid);
        }
        let predecessor = match named_port {
            0 => {
                let occupant = |stack: &Self, lport| stack.vacancy(&Tuple { lport, ..tuple });
                let (port, found) = self.choose_port(s, &tuple, occupant)?;
                tuple.lport = port;
                found
            }
            _ => self.vacancy(&tuple).ok_or(SockError::AddrNotAvailable)?,
        };
        let dst = self
            .ctx
            .route(tuple.remote, Some(tuple.local))
            .ok_or(SockError::NetUnreachable)?;
        let hash = tuple.hash(&self.ctx.keys);
        let own = self.sock(s)?.cold.next_iss.take();
        let own = own.filter(|(_, peer)| peer.is_none_or(|peer| peer == tuple.remote));
        let resume = predecessor
            .and_then(|tw| self.succeed(tw))
            .or(own.map(|(iss, _)| Resume {
                iss,
                ts_recent: 0,
                ts_recent_stamp: 0,
            }));
        self.socks.ehash.insert(hash, s.place());
        if let Some(sk) = self.socks.tcp.get_mut(s) {
            sk.rx.tuple = tuple;
        }
        match named_port {
            0 => self.hold_port(s, tuple.lport, PortOrigin::Connect),
            _ => self.renew_claim(s),
        }
        let ctx = &mut self.ctx;
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        sk.cold.connecting = true;
        client::reset(&mut sk.cold.fastopen);
        sk.warm.err = None;
        sk.warm.hash = hash;
        sk.warm.hashed = true;
        sk.warm.dst = dst;
        output::apply_options(sk);
        active::start(sk, ctx, resume);
        self.settle(s);
        Ok(())
    }

    /// Whether the tuple is to be had: none if it is in use, and the TIME_WAIT mini-socket that must go first, if any.
    fn vacancy(&self, tuple: &Tuple) -> Option<Option<SockId>> {
        let hash = tuple.hash(&self.ctx.keys);
        let socks = &self.socks;
        let found = socks.ehash.lookup(hash, |p| match p.kind() {
            SockKind::Tcp => socks
                .tcp
                .at(p.index())
                .is_some_and(|sk| sk.rx.tuple == *tuple),
            SockKind::Request => socks
                .requests
                .at(p.index())
                .is_some_and(|r| r.tuple == *tuple),
            SockKind::TimeWait => socks.tw.at(p.index()).is_some_and(|t| t.tuple == *tuple),
        });
        match found {
            None => Some(None),
            Some(p) if p.kind() == SockKind::TimeWait && self.may_replace(p.index()) => {
                Some(Some(socks.tw.id_at(p.index())))
            }
            Some(_) => None,
        }
    }

    /// Linux `tcp_twsk_unique`: `tcp_tw_reuse_delay` after it began, if timestamps tell old from new.
    fn may_replace(&self, index: u32) -> bool {
        let sysctl = &self.ctx.sysctl;
        self.socks.tw.at(index).is_some_and(|tw| {
            let loopback = tw.tuple.local.is_loopback() || tw.tuple.remote.is_loopback();
            let wanted = match sysctl.tcp_tw_reuse {
                1 => true,
                2 => loopback,
                _ => false,
            };
            let age = (self.ctx.now.as_millis() + TIMEWAIT_MS).saturating_sub(tw.deadline_ms);
            wanted
                && tw.substate == Substate::TimeWait
                && tw.ts_ok
                && age > u64::from(sysctl.tcp_tw_reuse_delay)
        })
    }

    /// Takes a TIME_WAIT mini-socket out of the way of its successor.
    fn succeed(&mut self, tw: SockId) -> Option<Resume> {
        let resume = self.socks.tw.get(tw).map(|mini| Resume {
            iss: mini.snd_nxt + RESUME_GAP,
            ts_recent: mini.ts_recent,
            ts_recent_stamp: mini.ts_recent_stamp,
        });
        self.ctx.mib.inc(Counter::TcpExtTWRecycled);
        self.kill_time_wait(tw);
        resume
    }

    /// The states in which connect has not ended.
    pub(crate) fn is_connecting(&self, s: SockId) -> bool {
        let opening = StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]);
        self.socks
            .tcp
            .get(s)
            .is_some_and(|sk| sk.rx.state.is_in(opening))
    }
}
