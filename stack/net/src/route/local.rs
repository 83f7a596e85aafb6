//! The addresses that are ours, and which of them a packet should come from (Linux `devinet.c`).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::RouteTableError;
use crate::ids::IfaceId;

/// Where an address is valid (Linux `RT_SCOPE_*`, RFC 3484 in spirit); the wider scope is the lesser value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// On its link only: never a source for packets that leave by another interface.
    Link,
    /// Within this host only: never a source.
    Host,
}

/// First address of its subnet on its interface, or a further one (Linux `IFA_F_SECONDARY`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressRank {
    /// May be chosen as source.
    Primary,
    /// Ours, but chosen as source only by name.
    Secondary,
}

/// An address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Its interface.
    pub iface: IfaceId,
    /// The address with the prefix of its subnet; /32: no subnet.
    pub net: Ipv4Net,
    /// Where it is valid.
    pub scope: Scope,
    /// Set when the address is added.
    pub rank: AddressRank,
}

impl Address {
    /// The broadcast address of its subnet; subnets of one or two addresses have none (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        (self.net.prefix_len() < 31).then(|| self.net.broadcast())
    }

    /// `other` is in the same subnet on the same interface.
    fn same_subnet(&self, other: &Self) -> bool {
        self.iface == other.iface && self.net.trunc() == other.net.trunc()
    }

    fn is_primary_within(&self, iface: IfaceId, widest: Scope) -> bool {
        self.iface == iface && self.rank == AddressRank::Primary && self.scope <= widest
    }
}

/// All addresses of ours.
#[derive(Clone, Debug, Default)]
pub(super) struct Locals {
    /// In the order in which they were added: the first wins.
    all: Vec<Address>,
    /// Sorted numbers; binary search beats a hash for the few addresses that hosts have, and has no order to leak.
    local: Vec<u32>,
    broadcast: Vec<u32>,
    /// There is one in 127/8.
    loopback: bool,
}

impl Locals {
    /// Adds an address and tells its rank.
    pub(super) fn add(
        &mut self,
        iface: IfaceId,
        net: Ipv4Net,
        scope: Scope,
    ) -> Result<Address, RouteTableError> {
        let addr = net.addr();
        if addr.is_unspecified() || addr.is_multicast() || addr.is_broadcast() {
            return Err(RouteTableError::BadAddress);
        }
        if self.all.iter().any(|a| a.iface == iface && a.net == net) {
            return Err(RouteTableError::Exists);
        }
        let mut address = Address {
            iface,
            net,
            scope,
            rank: AddressRank::Primary,
        };
        if self.all.iter().any(|a| a.same_subnet(&address)) {
            address.rank = AddressRank::Secondary;
        }
        self.all.push(address);
        self.reindex();
        Ok(address)
    }

    /// Removes an address, and with a primary its secondaries (`promote_secondaries` = 0); returns it.
    pub(super) fn remove(
        &mut self,
        iface: IfaceId,
        addr: Ipv4Addr,
    ) -> Result<Address, RouteTableError> {
        let at = self
            .all
            .iter()
            .position(|a| a.iface == iface && a.net.addr() == addr)
            .ok_or(RouteTableError::NotFound)?;
        let gone = self.all.remove(at);
        if gone.rank == AddressRank::Primary {
            self.all.retain(|a| !a.same_subnet(&gone));
        }
        self.reindex();
        Ok(gone)
    }

    /// Removes all addresses of an interface.
    pub(super) fn remove_iface(&mut self, iface: IfaceId) {
        self.all.retain(|a| a.iface != iface);
        self.reindex();
    }

    fn reindex(&mut self) {
        let own = || self.all.iter().map(|a| a.net.addr());
        self.loopback = own().any(|addr| addr.is_loopback());
        self.local = own().map(Ipv4Addr::to_bits).collect();
        let broadcast = self.all.iter().filter_map(Address::broadcast);
        self.broadcast = broadcast.map(Ipv4Addr::to_bits).collect();
        self.local.sort_unstable();
        self.broadcast.sort_unstable();
    }

    /// All addresses, in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Address> {
        self.all.iter()
    }

    /// `addr` is ours. With an address in 127/8 all of it is (the loopback interface owns its subnet).
    #[inline]
    pub(super) fn is_local(&self, addr: Ipv4Addr) -> bool {
        self.local.binary_search(&addr.to_bits()).is_ok() || (self.loopback && addr.is_loopback())
    }

    /// `addr` is the broadcast address of a subnet of ours.
    #[inline]
    pub(super) fn is_subnet_broadcast(&self, addr: Ipv4Addr) -> bool {
        self.broadcast.binary_search(&addr.to_bits()).is_ok()
    }

    /// The interface that owns `addr`.
    pub(super) fn owner(&self, addr: Ipv4Addr) -> Option<IfaceId> {
        let exact = self.all.iter().find(|a| a.net.addr() == addr);
        let subnet = || {
            self.all
                .iter()
                .find(|a| addr.is_loopback() && a.net.contains(&addr))
        };
        exact.or_else(subnet).map(|a| a.iface)
    }

    /// The interface whose subnet has `addr` as its broadcast address.
    pub(super) fn broadcast_iface(&self, addr: Ipv4Addr) -> Option<IfaceId> {
        self.all
            .iter()
            .find(|a| a.broadcast() == Some(addr))
            .map(|a| a.iface)
    }

    /// The source for packets to `next_hop` on `iface` (Linux `inet_select_addr`): a primary of the interface whose
    /// subnet has the next hop, else the first primary of the interface, else a global one of any interface.
    pub(super) fn select_source(&self, iface: IfaceId, next_hop: Ipv4Addr) -> Option<Ipv4Addr> {
        let on_iface = || {
            self.all
                .iter()
                .filter(|a| a.is_primary_within(iface, Scope::Link))
        };
        on_iface()
            .find(|a| a.net.contains(&next_hop))
            .or_else(|| on_iface().next())
            .or_else(|| {
                self.all
                    .iter()
                    .find(|a| a.is_primary_within(a.iface, Scope::Global))
            })
            .map(|a| a.net.addr())
    }
}
