//! bind, and the choice of ports (Linux `__inet_bind`, `inet_csk_find_open_port`, `__inet_hash_connect`).

use crate::core::Stack;
use crate::ids::SockId;
use crate::sock::bhash::{Claim, Traits};
use crate::sock::error::SockError;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::PortOrigin;
use crate::tcp::state::TcpState;
use core::net::{Ipv4Addr, SocketAddrV4};

/// The ports that a search may give.
#[derive(Clone, Copy)]
pub(super) struct PortRange {
    low: u32,
    /// The last one included.
    high: u32,
    /// IP_LOCAL_PORT_RANGE narrowed it.
    own: bool,
}

impl PortRange {
    /// Ports in it.
    fn len(self) -> u32 {
        self.high - self.low + 1
    }

    /// Linux searches a range of more than one port as pairs, so that bind can prefer one parity and connect the
    /// other; the last port of an odd number of ports is never chosen.
    fn paired(self) -> u32 {
        match self.len() {
            1 => 1,
            n => n & !1,
        }
    }

    /// The lower half or the upper one: bind with SO_REUSEADDR looks in the lower half first.
    fn halves(self) -> [Self; 2] {
        let middle = self.low + (self.len() / 4) * 2;
        [
            Self {
                high: middle - 1,
                ..self
            },
            Self {
                low: middle,
                ..self
            },
        ]
    }
}

/// What a socket in its present state claims of its port.
pub(crate) fn claim_of(sk: &TcpSock) -> Claim {
    let opts = &sk.cold.opts;
    let mut traits = Traits::default();
    traits.set(Traits::REUSE_ADDR, opts.reuse_addr);
    traits.set(Traits::REUSE_PORT, opts.reuse_port);
    traits.set(Traits::LISTENING, sk.rx.state == TcpState::Listen);
    traits.set(Traits::CONNECT, sk.cold.port_origin == PortOrigin::Connect);
    Claim {
        addr: sk.rx.tuple.local,
        traits,
    }
}

impl Stack {
    /// bind: port 0 lets the stack choose. Every port may be named: the stack's owner is its administrator.
    ///
    /// # Errors
    /// EADDRNOTAVAIL for an address that is not ours (multicast and broadcast addresses pass, and with IP_FREEBIND or
    /// `ip_nonlocal_bind` all do), EINVAL when bound already, EADDRINUSE.
    pub fn bind(&mut self, s: SockId, addr: SocketAddrV4) -> Result<(), SockError> {
        let (ip, port) = (*addr.ip(), addr.port());
        let sk = self.sock(s)?;
        let freebind = sk.cold.opts.freebind;
        let bound = sk.cold.port != 0 || sk.rx.state != TcpState::Close;
        let late_port = port == 0 && sk.cold.opts.bind_address_no_port;
        if !self.may_bind(ip) && !freebind && !self.ctx.sysctl.ip_nonlocal_bind {
            return Err(SockError::AddrNotAvailable);
        }
        if bound {
            return Err(SockError::Invalid);
        }
        let sk = self.sock(s)?;
        let before = (sk.cold.bound, sk.rx.tuple.local);
        sk.cold.bound = ip;
        sk.rx.tuple.local = ip;
        if late_port {
            sk.rx.tuple.lport = 0;
            return Ok(());
        }
        let taken = self.take_port(s, port);
        if taken.is_err() {
            let sk = self.sock(s)?;
            (sk.cold.bound, sk.rx.tuple.local) = before;
        }
        taken
    }

    /// Linux `inet_addr_valid_or_nonlocal`.
    fn may_bind(&self, ip: Ipv4Addr) -> bool {
        let routes = &self.ctx.routes;
        ip.is_unspecified() || routes.is_local(ip) || ip.is_multicast() || routes.is_broadcast(ip)
    }

    /// Gives a socket the port, or any port for 0, with the address that it has.
    ///
    /// # Errors
    /// EADDRINUSE.
    pub(super) fn take_port(&mut self, s: SockId, port: u16) -> Result<(), SockError> {
        let sk = self.sock(s)?;
        let claim = claim_of(sk);
        let port_origin = if port == 0 {
            PortOrigin::Chosen
        } else {
            PortOrigin::Named
        };
        let chosen = match port {
            0 => self.free_port(s, &claim),
            port => (!self.socks.bhash.is_taken(port, &claim, None)).then_some(port),
        };
        let port = chosen.ok_or(SockError::AddrInUse)?;
        self.hold_port(s, port, port_origin);
        Ok(())
    }

    /// Enters a socket into the bind table.
    pub(crate) fn hold_port(&mut self, s: SockId, port: u16, origin: PortOrigin) {
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return;
        };
        sk.cold.port = port;
        sk.cold.port_origin = origin;
        sk.rx.tuple.lport = port;
        let claim = claim_of(sk);
        sk.cold.claim = Some(claim);
        self.socks.bhash.add(port, claim);
    }

    /// Takes a socket out of the bind table.
    pub(crate) fn drop_port(&mut self, s: SockId) {
        if let Some(sk) = self.socks.tcp.get_mut(s)
            && let Some(claim) = sk.cold.claim.take()
        {
            self.socks.bhash.remove(sk.cold.port, &claim);
            sk.cold.port = 0;
        }
    }

    /// A connection ends or a listener stops: the port stays only if it was named (Linux `SOCK_BINDPORT_LOCK`).
    pub(crate) fn drop_unnamed_port(&mut self, s: SockId) {
        let named = |sk: &TcpSock| sk.cold.port_origin == PortOrigin::Named;
        if !self.socks.tcp.get(s).is_some_and(named) {
            self.drop_port(s);
        }
    }

    /// The bind table follows the socket's address, options and state.
    pub(crate) fn renew_claim(&mut self, s: SockId) {
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return;
        };
        let new = claim_of(sk);
        if let Some(old) = sk.cold.claim
            && old != new
        {
            sk.cold.claim = Some(new);
            self.socks.bhash.remove(sk.cold.port, &old);
            self.socks.bhash.add(sk.cold.port, new);
        }
    }

    /// `ip_local_port_range`, narrowed by IP_LOCAL_PORT_RANGE (Linux `inet_sk_get_local_port_range`).
    pub(super) fn port_range(&self, s: SockId) -> PortRange {
        let [mut low, mut high] = self.ctx.sysctl.ip_local_port_range;
        let within = low..=high;
        let own = self
            .socks
            .tcp
            .get(s)
            .map_or((0, 0), |sk| sk.cold.opts.local_port_range);
        if within.contains(&u32::from(own.0)) {
            low = u32::from(own.0);
        }
        if within.contains(&u32::from(own.1)) {
            high = u32::from(own.1);
        }
        PortRange {
            low,
            high,
            own: own != (0, 0),
        }
    }

    fn is_reserved(&self, port: u16) -> bool {
        self.ctx.sysctl.ip_local_reserved_ports.contains(port)
    }

    /// Linux `inet_csk_find_open_port`: from a random place on, odd distances first.
    fn free_port(&mut self, s: SockId, claim: &Claim) -> Option<u16> {
        let range = self.port_range(s);
        if claim.traits.contains(Traits::REUSE_ADDR) && range.len() >= 4 {
            let halves = range.halves();
            return halves
                .iter()
                .find_map(|half| self.free_port_in(*half, claim));
        }
        self.free_port_in(range, claim)
    }

    fn free_port_in(&mut self, range: PortRange, claim: &Claim) -> Option<u16> {
        let count = range.paired();
        let start = (self.ctx.keys.random() % u64::from(count)) as u32 | 1;
        let ports = |first: u32| {
            (0..count)
                .step_by(2)
                .map(move |i| (range.low + (first + i) % count) as u16)
        };
        ports(start)
            .chain(ports(start - 1))
            .find(|port| !self.is_reserved(*port) && self.socks.bhash.is_free(*port, claim.addr))
    }

    /// RFC 6056 algorithm 4 (Linux `__inet_hash_connect`): a keyed offset per destination and a counter hidden in
    /// randomness; even distances first. `try_port` says whether the port will do.
    ///
    /// # Errors
    /// EADDRNOTAVAIL when none will.
    pub(super) fn choose_port<T>(
        &mut self,
        s: SockId,
        tuple: &crate::tcp::demux::Tuple,
        mut try_port: impl FnMut(&Self, u16) -> Option<T>,
    ) -> Result<(u16, T), SockError> {
        let range = self.port_range(s);
        let offset = self.ctx.keys.port_offset(tuple);
        let (count, step) = match range.own {
            true => (range.len(), 1),
            false => (range.paired(), 2),
        };
        let start = offset.start % count;
        let start = if range.own { start } else { start & !1 };
        let passes = if count > 1 { step } else { 1 };
        for first in (0..passes).map(|odd| start + odd) {
            for i in (0..count).step_by(step as usize) {
                let port = (range.low + (first + i) % count) as u16;
                if self.is_reserved(port) || !self.socks.bhash.is_open_to_connect(port) {
                    continue;
                }
                if let Some(found) = try_port(self, port) {
                    self.ctx.keys.port_chosen(&offset, i, step);
                    return Ok((port, found));
                }
            }
        }
        Err(SockError::AddrNotAvailable)
    }
}
