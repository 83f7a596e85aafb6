//! The cached route of a flow (Linux `dst_entry`, `sk_dst_cache`): valid while the routing generation stands.

use crate::ids::IfaceId;
use core::net::Ipv4Addr;

/// Where the packets of a flow go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dst {
    pub iface: IfaceId,
    /// Gateway, or the destination itself.
    pub next_hop: Ipv4Addr,
    /// Largest IP packet, octets: of the route, lowered by what ICMP told.
    pub mtu: u16,
    /// Routing generation at the time of the look-up; 0 is never valid.
    pub generation: u32,
}

impl Default for Dst {
    fn default() -> Self {
        Self {
            iface: IfaceId(0),
            next_hop: Ipv4Addr::UNSPECIFIED,
            mtu: 0,
            generation: 0,
        }
    }
}
