//! The table: interfaces, routes by longest prefix, lookup (Linux `fib_trie.c`, `ip_route_output_key_hash`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use prefix_trie::PrefixMap;

use super::local::{Address, AddressRank, Locals, Scope};
use super::{Hop, HopKind, Route, RouteError, RouteKind, RouteTableError};
use crate::ids::IfaceId;

/// Largest packet of local delivery; Linux's loopback takes one byte more than IPv4 can say.
const LOCAL_MTU: u16 = u16::MAX;

/// Addresses and routes of one stack.
#[derive(Debug)]
pub struct RouteTable {
    /// MTU by interface.
    ifaces: BTreeMap<IfaceId, u16>,
    locals: Locals,
    /// By prefix: the routes in order of metric, never empty.
    routes: PrefixMap<Ipv4Net, Vec<Route>>,
    generation: u32,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new()
    }
}

impl RouteTable {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            ifaces: BTreeMap::new(),
            locals: Locals::default(),
            routes: PrefixMap::new(),
            generation: 1,
        }
    }

    /// Moves with every change (a counter that wraps); a cached [`Hop`] of another generation is out of date. Never 0.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    fn bump(&mut self) {
        self.generation = self.generation.wrapping_add(1).max(1);
    }

    /// Brings up an interface, or changes its MTU (bytes).
    pub fn set_iface(&mut self, iface: IfaceId, mtu: u16) {
        self.ifaces.insert(iface, mtu);
        self.bump();
    }

    /// Takes down an interface, with its addresses and routes.
    pub fn remove_iface(&mut self, iface: IfaceId) {
        self.ifaces.remove(&iface);
        self.locals.remove_iface(iface);
        self.drop_routes(None);
        self.bump();
    }

    /// Makes `net.addr()` an address of ours. The first address of a subnet also adds the route to its neighbours,
    /// unless there is one.
    ///
    /// # Errors
    /// [`RouteTableError::NoSuchIface`], [`RouteTableError::Exists`], [`RouteTableError::BadAddress`].
    pub fn add_address(
        &mut self,
        iface: IfaceId,
        net: Ipv4Net,
        scope: Scope,
    ) -> Result<Address, RouteTableError> {
        if !self.ifaces.contains_key(&iface) {
            return Err(RouteTableError::NoSuchIface);
        }
        let address = self.locals.add(iface, net, scope)?;
        self.bump();
        if let Some(route) = connected_route(&address) {
            // A route that is already there serves as well.
            let (Ok(()) | Err(_)) = self.add(route);
        }
        Ok(address)
    }

    /// Removes an address of ours. With the first of a subnet go the others of that subnet and the connected route;
    /// with each go the routes that name it as their source, as in Linux.
    ///
    /// # Errors
    /// [`RouteTableError::NotFound`].
    pub fn remove_address(
        &mut self,
        iface: IfaceId,
        addr: Ipv4Addr,
    ) -> Result<Address, RouteTableError> {
        let gone = self.locals.remove(iface, addr)?;
        self.drop_routes(connected_route(&gone));
        self.bump();
        Ok(gone)
    }

    /// All addresses of ours, in the order in which they were added.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.locals.iter()
    }

    /// Adds a route (`ip route add`).
    ///
    /// # Errors
    /// [`RouteTableError::Exists`] when there is one with the same destinations and metric;
    /// [`RouteTableError::NoSuchIface`]; [`RouteTableError::BadAddress`] when `prefsrc` is not ours.
    pub fn add(&mut self, route: Route) -> Result<(), RouteTableError> {
        let (place, at) = self.place(&route)?;
        let Err(at) = at else {
            return Err(RouteTableError::Exists);
        };
        place.insert(at, route);
        self.bump();
        Ok(())
    }

    /// Adds a route in place of the one with the same destinations and metric, if there is one
    /// (`ip route replace`); returns that.
    ///
    /// # Errors
    /// [`RouteTableError::NoSuchIface`]; [`RouteTableError::BadAddress`] when `prefsrc` is not ours.
    pub fn replace(&mut self, route: Route) -> Result<Option<Route>, RouteTableError> {
        let (place, at) = self.place(&route)?;
        let old = match at {
            Ok(at) => place.get_mut(at).map(|old| core::mem::replace(old, route)),
            Err(at) => {
                place.insert(at, route);
                None
            }
        };
        self.bump();
        Ok(old)
    }

    /// The routes with the same destinations, and where among them one of this metric is or would be.
    fn place(
        &mut self,
        route: &Route,
    ) -> Result<(&mut Vec<Route>, Result<usize, usize>), RouteTableError> {
        if route.kind == RouteKind::Unicast && !self.ifaces.contains_key(&route.iface) {
            return Err(RouteTableError::NoSuchIface);
        }
        if route.prefsrc.is_some_and(|src| !self.locals.is_local(src)) {
            return Err(RouteTableError::BadAddress);
        }
        let place = self.routes.entry(route.dst.trunc()).or_default();
        let at = place.binary_search_by_key(&route.metric, |other| other.metric);
        Ok((place, at))
    }

    /// Removes the route for exactly these destinations with this metric, or the one of least metric
    /// (`ip route del`); returns it.
    ///
    /// # Errors
    /// [`RouteTableError::NotFound`].
    pub fn remove(&mut self, dst: Ipv4Net, metric: Option<u32>) -> Result<Route, RouteTableError> {
        let dst = dst.trunc();
        let place = self.routes.get_mut(&dst).ok_or(RouteTableError::NotFound)?;
        let at = place
            .iter()
            .position(|route| metric.is_none_or(|metric| route.metric == metric))
            .ok_or(RouteTableError::NotFound)?;
        let gone = place.remove(at);
        if place.is_empty() {
            self.routes.remove(&dst);
        }
        self.bump();
        Ok(gone)
    }

    /// All routes, in order of their destinations.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().flatten()
    }

    /// Drops `connected`, and the routes whose interface or source is gone.
    fn drop_routes(&mut self, connected: Option<Route>) {
        let Self {
            ifaces,
            locals,
            routes,
            ..
        } = self;
        for place in routes.values_mut() {
            place.retain(|route| {
                let iface_up =
                    route.kind != RouteKind::Unicast || ifaces.contains_key(&route.iface);
                let src_ours = route.prefsrc.is_none_or(|src| locals.is_local(src));
                iface_up && src_ours && Some(*route) != connected
            });
        }
        routes.retain(|_, place| !place.is_empty());
    }

    /// `addr` is ours.
    #[inline]
    pub fn is_local(&self, addr: Ipv4Addr) -> bool {
        self.locals.is_local(addr)
    }

    /// `addr` is the limited broadcast address, or that of a subnet of ours.
    #[inline]
    pub fn is_broadcast(&self, addr: Ipv4Addr) -> bool {
        addr.is_broadcast() || self.locals.is_subnet_broadcast(addr)
    }

    /// Where packets for `dst` go. `src`, when given, is kept as it is: the caller knows that it may be used.
    ///
    /// # Errors
    /// [`RouteError`]: no route, or one that refuses.
    pub fn lookup(&self, dst: Ipv4Addr, src: Option<Ipv4Addr>) -> Result<Hop, RouteError> {
        if dst.is_unspecified() {
            return Err(RouteError::Unreachable);
        }
        if let Some(iface) = self
            .locals
            .is_local(dst)
            .then(|| self.locals.owner(dst))
            .flatten()
        {
            let src = src.unwrap_or(dst);
            return Ok(Hop {
                iface,
                next_hop: dst,
                src,
                mtu: LOCAL_MTU,
                kind: HopKind::Local,
            });
        }
        if let Some(iface) = self.locals.broadcast_iface(dst) {
            return self.direct(iface, dst, src, HopKind::Broadcast);
        }
        let kind = match dst {
            _ if dst.is_broadcast() => HopKind::Broadcast,
            _ if dst.is_multicast() => HopKind::Multicast,
            _ => return self.by_route(dst, src),
        };
        // For all neighbours at once there is no gateway; the source names the interface, else the routes do.
        match src.and_then(|src| self.locals.owner(src)) {
            Some(iface) => self.direct(iface, dst, src, kind),
            None => {
                let hop = self.by_route(dst, src)?;
                Ok(Hop {
                    next_hop: dst,
                    kind,
                    ..hop
                })
            }
        }
    }

    /// A hop to `dst` itself on `iface`.
    fn direct(
        &self,
        iface: IfaceId,
        dst: Ipv4Addr,
        src: Option<Ipv4Addr>,
        kind: HopKind,
    ) -> Result<Hop, RouteError> {
        let &mtu = self.ifaces.get(&iface).ok_or(RouteError::Unreachable)?;
        let src = src
            .or_else(|| self.locals.select_source(iface, dst))
            .unwrap_or(Ipv4Addr::UNSPECIFIED);
        Ok(Hop {
            iface,
            next_hop: dst,
            src,
            mtu,
            kind,
        })
    }

    fn by_route(&self, dst: Ipv4Addr, src: Option<Ipv4Addr>) -> Result<Hop, RouteError> {
        let (_, routes) = self
            .routes
            .get_lpm(&Ipv4Net::from(dst))
            .ok_or(RouteError::Unreachable)?;
        let route = routes.first().ok_or(RouteError::Unreachable)?;
        match route.kind {
            RouteKind::Unicast => {}
            RouteKind::Blackhole => return Err(RouteError::Blackhole),
            RouteKind::Unreachable => return Err(RouteError::HostUnreachable),
            RouteKind::Prohibit => return Err(RouteError::Prohibited),
        }
        let hop = self.direct(
            route.iface,
            route.gateway.unwrap_or(dst),
            src.or(route.prefsrc),
            HopKind::Unicast,
        )?;
        Ok(Hop {
            mtu: route.mtu.unwrap_or(hop.mtu),
            ..hop
        })
    }
}

/// The route that comes with the first address of a subnet (Linux `fib_add_ifaddr`).
fn connected_route(address: &Address) -> Option<Route> {
    let has_neighbours = address.net.prefix_len() < 32 && address.rank == AddressRank::Primary;
    has_neighbours.then(|| Route {
        dst: address.net.trunc(),
        kind: RouteKind::Unicast,
        iface: address.iface,
        gateway: None,
        metric: 0,
        prefsrc: Some(address.net.addr()),
        mtu: None,
    })
}
