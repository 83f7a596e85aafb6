//! Routes: where a packet goes, from which address, and which addresses are ours.
//!
//! Before: `tcp/`, `udp/` or `icmp/` has something for a destination. After: `neigh/` finds the hardware address of
//! [`Hop::next_hop`]. A flow caches its hop together with [`RouteTable::generation`] and looks again when that moved.
//!
//! - `table`: interfaces, routes, lookup. - `local`: the addresses that are ours. - `pmtu`: what paths told us.
//!
//! Linux counterpart: `net/ipv4/fib_*.c`, `route.c`, `devinet.c`. RFC 1122 §3.3.1, RFC 1812 §5.2.4 (longest match),
//! RFC 1191. One table without rules for now.

mod local;
mod pmtu;
mod table;
#[cfg(test)]
mod tests;

pub use local::{Address, AddressRank, Scope};
pub use pmtu::{PmtuCache, PmtuCounters};
pub use table::RouteTable;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::ids::IfaceId;

/// What a route does with a packet (Linux `RTN_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteKind {
    /// Sends it on its way.
    Unicast,
    /// Discards it silently.
    Blackhole,
    /// Refuses it as unreachable.
    Unreachable,
    /// Refuses it as prohibited.
    Prohibit,
}

/// A route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destinations; host bits are ignored.
    pub dst: Ipv4Net,
    /// What happens to packets for them.
    pub kind: RouteKind,
    /// Interface to leave by; without meaning unless [`RouteKind::Unicast`].
    pub iface: IfaceId,
    /// Next hop on that interface; `None`: the destination itself is a neighbour. Taken as it is (Linux `onlink`).
    pub gateway: Option<Ipv4Addr>,
    /// Preference among routes for the same destinations: the least wins.
    pub metric: u32,
    /// Source address for packets that have none yet.
    pub prefsrc: Option<Ipv4Addr>,
    /// Largest packet on this route, in bytes; `None`: what the interface takes.
    pub mtu: Option<u16>,
}

/// How the destination of a hop is to be reached (Linux `rt_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HopKind {
    /// Through the neighbour [`Hop::next_hop`].
    Unicast,
    /// It is us: deliver here, no device involved.
    Local,
    /// By link broadcast; TCP refuses it, UDP needs `SO_BROADCAST`.
    Broadcast,
    /// By link multicast; TCP refuses it.
    Multicast,
}

/// The answer of a route lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Interface to leave by; for [`HopKind::Local`] the one that has the address.
    pub iface: IfaceId,
    /// The neighbour to send to: the gateway, or the destination itself.
    pub next_hop: Ipv4Addr,
    /// Source address; unspecified when we have none at all.
    pub src: Ipv4Addr,
    /// Largest packet, in bytes, from the IP header on. What the path told us ([`PmtuCache`]) is not in it.
    pub mtu: u16,
    /// How the destination is reached.
    pub kind: HopKind,
}

/// Why there is no hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteError {
    /// No route: `ENETUNREACH`.
    Unreachable,
    /// An unreachable route: `EHOSTUNREACH`.
    HostUnreachable,
    /// A prohibit route: `EACCES`.
    Prohibited,
    /// A blackhole route: `EINVAL`, as in Linux.
    Blackhole,
}

/// Why a change of the table was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteTableError {
    /// The route or address is already there: `EEXIST`.
    Exists,
    /// There is no such route (`ESRCH`) or address (`EADDRNOTAVAIL`).
    NotFound,
    /// There is no such interface: `ENODEV`.
    NoSuchIface,
    /// The address cannot be ours, or the preferred source is not: `EINVAL`.
    BadAddress,
}
