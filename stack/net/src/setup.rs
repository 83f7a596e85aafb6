//! Interfaces, addresses and routes: what the control plane tells the stack before and while it runs.

use crate::core::{Iface, Stack};
use crate::ids::IfaceId;
use crate::link::{LinkConfig, LinkKind};
use crate::neigh;
use crate::qdisc::Qdisc;
use crate::route::{Route, RouteKind, RouteTableError};
use core::net::Ipv4Addr;
use ipnet::Ipv4Net;
use millrace_wire::ethernet::EtherType;
use millrace_wire::mac::MacAddr;
use thiserror::Error;

/// Least MTU of an interface, octets (RFC 791 §3.2).
pub const MIN_MTU: u16 = 68;
/// Most interfaces of a stack.
const MAX_IFACES: usize = 255;

/// An interface as the control plane describes it.
#[derive(Clone, Debug)]
pub struct IfaceConfig {
    /// Name, for people.
    pub name: String,
    /// Framing, hardware address, VLAN and MTU.
    pub link: LinkConfig,
    /// Accept TCP checksums that hold only the pseudo-header's sum: the other end of a veth left the rest to a device.
    pub accept_partial_csum: bool,
}

/// A route as the control plane describes it.
#[derive(Clone, Copy, Debug)]
pub struct RouteSpec {
    /// Destinations.
    pub dest: Ipv4Net,
    /// Next hop; none: the destinations are neighbours.
    pub gateway: Option<Ipv4Addr>,
    /// Interface to leave by.
    pub iface: IfaceId,
    /// Source address of connections without one.
    pub prefsrc: Option<Ipv4Addr>,
    /// The least wins.
    pub metric: u32,
    /// Largest packet, octets; none: the interface's.
    pub mtu: Option<u16>,
}

/// Why the control plane was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The interface id is not of this stack.
    #[error("no such interface: {0:?}; use an id that add_iface returned")]
    NoSuchIface(IfaceId),
    /// A stack has at most 255 interfaces.
    #[error("too many interfaces: a stack has at most 255")]
    TooManyIfaces,
    /// IPv4 needs 68 octets.
    #[error("MTU {mtu} of {name} is too small for IPv4; give at least 68")]
    Mtu {
        /// The interface.
        name: String,
        /// What was given.
        mtu: u16,
    },
    /// VLAN ids are 1 to 4094.
    #[error("VLAN {vlan} of {name} is not a VLAN id; give 1 to 4094")]
    Vlan {
        /// The interface.
        name: String,
        /// What was given.
        vlan: u16,
    },
    /// The address is not one that a host may have.
    #[error(
        "{0} cannot be an address of ours; give a unicast host address with its prefix, such as 10.0.0.2/24"
    )]
    Address(Ipv4Net),
    /// It is there already.
    #[error("{0} is there already; give each address and route once")]
    Exists(Ipv4Net),
    /// The route cannot be.
    #[error(
        "route to {0} refused; its gateway must be on a connected network and its source an address of ours"
    )]
    Route(Ipv4Net),
}

impl Stack {
    /// Adds an interface.
    ///
    /// # Errors
    /// [`SetupError`]: an MTU or VLAN out of range, or too many interfaces.
    pub fn add_iface(&mut self, config: IfaceConfig) -> Result<IfaceId, SetupError> {
        let IfaceConfig {
            name,
            link,
            accept_partial_csum,
        } = config;
        if self.ctx.ifaces.len() >= MAX_IFACES {
            return Err(SetupError::TooManyIfaces);
        }
        if link.mtu < MIN_MTU {
            return Err(SetupError::Mtu {
                name,
                mtu: link.mtu,
            });
        }
        if let Some(vlan) = link.vlan.filter(|v| !(1..=4094).contains(v)) {
            return Err(SetupError::Vlan { name, vlan });
        }
        let id = IfaceId(self.ctx.ifaces.len() as u8);
        self.ctx.routes.set_iface(id, link.mtu);
        self.ctx.ifaces.push(Iface {
            name,
            link,
            accept_partial_csum,
            qdisc: Qdisc::default(),
        });
        Ok(id)
    }

    /// Gives an interface an address, with the route to its network, and announces it.
    ///
    /// # Errors
    /// [`SetupError`]: an address that no host may have, or that is there already.
    pub fn add_addr(&mut self, iface: IfaceId, addr: Ipv4Net) -> Result<(), SetupError> {
        let link = self.link_of(iface)?;
        match self
            .ctx
            .routes
            .add_address(iface, addr, crate::route::Scope::Global)
        {
            Ok(_) => {}
            Err(RouteTableError::Exists) => return Err(SetupError::Exists(addr)),
            Err(RouteTableError::NoSuchIface) => return Err(SetupError::NoSuchIface(iface)),
            Err(RouteTableError::BadAddress | RouteTableError::NotFound) => {
                return Err(SetupError::Address(addr));
            }
        }
        if link.kind == LinkKind::Ethernet {
            let packet = neigh::announcement(link.mac, addr.addr());
            let mut bytes = [0; millrace_wire::arp::PACKET_LEN];
            packet.emit(&mut bytes);
            self.ctx
                .push_l3(iface, MacAddr::BROADCAST, EtherType::ARP, &bytes);
        }
        Ok(())
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`SetupError`]: no such interface, a route that is there already, or one that cannot work.
    pub fn add_route(&mut self, spec: RouteSpec) -> Result<(), SetupError> {
        let RouteSpec {
            dest,
            gateway,
            iface,
            prefsrc,
            metric,
            mtu,
        } = spec;
        let link = self.link_of(iface)?;
        // Less than IPv4 needs, or more than the device takes, cannot be meant.
        let mtu = mtu.map(|m| m.clamp(MIN_MTU, link.mtu));
        let route = Route {
            dst: dest,
            kind: RouteKind::Unicast,
            iface,
            gateway,
            metric,
            prefsrc,
            mtu,
        };
        self.ctx.routes.add(route).map_err(|error| match error {
            RouteTableError::Exists => SetupError::Exists(dest),
            RouteTableError::NoSuchIface => SetupError::NoSuchIface(iface),
            RouteTableError::BadAddress | RouteTableError::NotFound => SetupError::Route(dest),
        })
    }

    fn link_of(&self, iface: IfaceId) -> Result<LinkConfig, SetupError> {
        let iface_ref = self
            .ctx
            .ifaces
            .get(iface.0 as usize)
            .ok_or(SetupError::NoSuchIface(iface))?;
        Ok(iface_ref.link)
    }
}
