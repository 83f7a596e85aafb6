//! connect: route, source address, source port, SYN (Linux `tcp_v4_connect`, `__inet_hash_connect`).

use crate::core::Stack;
use crate::ids::{SockId, SockKind};
use crate::route::{HopKind, RouteError};
use crate::sock::error::SockError;
use crate::stats::Counter;
use crate::tcp::conn::active;
use crate::tcp::demux::Tuple;
use crate::tcp::output;
use crate::tcp::sock::hot::{Features, RxHot, TxHot};
use crate::tcp::sock::warm::Warm;
use crate::tcp::state::{StateSet, TcpState};
use core::net::SocketAddrV4;
use millrace_wire::time::Instant;

/// What stands at a tuple.
enum Occupant {
    Nobody,
    /// A TIME_WAIT mini-socket that may be replaced.
    Replaceable(SockId),
    Somebody,
}

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
            self.disconnect(s);
            return Err(error);
        }
        self.start_connect(s, to)?;
        Err(SockError::InProgress)
    }

    /// As after socket(), with options and bind kept (Linux `tcp_disconnect`). For a socket in CLOSE.
    pub(crate) fn disconnect(&mut self, s: SockId) {
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return;
        };
        self.ctx.wheel.cancel(&mut sk.warm.wheel);
        if let Some(rings) = sk.rings.take() {
            rings.release(&mut self.ctx.chunks);
        }
        sk.records.clear();
        let mut rx = RxHot::default();
        if sk.rx.features.contains(Features::ATTACHED) {
            rx.features.insert(Features::ATTACHED);
        }
        rx.tuple.local = sk.cold.bound;
        rx.tuple.lport = sk.cold.port;
        sk.rx = rx;
        // It may still stand in a qdisc, or in the event queue.
        sk.tx = TxHot {
            queued: sk.tx.queued,
            ..TxHot::default()
        };
        sk.warm = Warm {
            user: sk.warm.user,
            event_queued: sk.warm.event_queued,
            ..Warm::new(s)
        };
        sk.cold.soft_err = None;
        sk.cold.last_oow_ack = None;
        sk.cold.connecting = false;
    }

    fn start_connect(&mut self, s: SockId, to: SocketAddrV4) -> Result<(), SockError> {
        let sk = self.sock(s)?;
        let bound = sk.cold.bound;
        let named_port = sk.cold.port;
        if to.port() == 0 {
            return Err(SockError::AddrNotAvailable);
        }
        let source = (!bound.is_unspecified()).then_some(bound);
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
        let taken = if named_port == 0 {
            self.choose_port(&mut tuple)?
        } else {
            self.occupant(&tuple)
        };
        match taken {
            Occupant::Nobody => {}
            Occupant::Replaceable(tw) => {
                self.ctx.mib.inc(Counter::TcpExtTWRecycled);
                self.kill_time_wait(tw);
            }
            Occupant::Somebody => return Err(SockError::AddrNotAvailable),
        }
        let dst = self
            .ctx
            .route(tuple.remote, Some(tuple.local))
            .ok_or(SockError::NetUnreachable)?;
        let hash = tuple.hash(&self.ctx.keys);
        self.socks.ehash.insert(hash, s.place());
        if named_port == 0 {
            self.socks.bhash.add_child(tuple.lport);
        }
        let ctx = &mut self.ctx;
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        sk.rx.tuple = tuple;
        sk.cold.port = tuple.lport;
        sk.cold.connecting = true;
        sk.warm.hash = hash;
        sk.warm.hashed = true;
        sk.warm.dst = dst;
        output::apply_options(sk);
        active::start(sk, ctx);
        self.settle(s);
        Ok(())
    }

    /// RFC 6056 algorithm 4: a keyed offset per destination, and a counter hidden in randomness.
    fn choose_port(&mut self, tuple: &mut Tuple) -> Result<Occupant, SockError> {
        let [low, high] = self.ctx.sysctl.ip_local_port_range;
        let count = high - low + 1;
        let offset = self.ctx.keys.port_offset(tuple);
        let start = offset.start % count;
        for i in 0..count {
            let port = (low + (start + i) % count) as u16;
            if !self.socks.bhash.is_unowned(port) {
                continue;
            }
            tuple.lport = port;
            match self.occupant(tuple) {
                Occupant::Somebody => {}
                free => {
                    self.ctx.keys.port_chosen(&offset, i);
                    return Ok(free);
                }
            }
        }
        Err(SockError::AddrNotAvailable)
    }

    fn occupant(&self, tuple: &Tuple) -> Occupant {
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
            None => Occupant::Nobody,
            Some(p) if p.kind() == SockKind::TimeWait && self.may_replace(p.index()) => {
                Occupant::Replaceable(socks.tw.id_at(p.index()))
            }
            Some(_) => Occupant::Somebody,
        }
    }

    /// Linux `tcp_twsk_unique`: a second after its last segment, if timestamps tell old from new.
    fn may_replace(&self, index: u32) -> bool {
        self.ctx.sysctl.tcp_tw_reuse == 1
            && self.socks.tw.at(index).is_some_and(|tw| {
                tw.ts_ok && self.ctx.seconds().wrapping_sub(tw.ts_recent_stamp) >= 1
            })
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
