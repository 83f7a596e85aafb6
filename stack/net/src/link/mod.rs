//! The link header: which frames are for us, and the header of those we send.
//!
//! Before: the driver lends a frame (or a slot). After: `ip/` or `neigh/` reads what follows the header. Ethernet II
//! with an optional 802.1Q tag, or no link header at all (`Ip`: TUN devices, scripts).
//! Linux counterpart: `eth_type_trans`, `vlan_do_receive`, `eth_header`.

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use millrace_wire::ethernet::{self, EtherType, EthernetView};
use millrace_wire::mac::MacAddr;
use millrace_wire::vlan::{self, VlanView};

use crate::drop::DropReason;

/// What stands before the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// An Ethernet header, with a VLAN tag if the interface has one.
    Ethernet,
    /// Nothing: frames start with the IP header.
    Ip,
}

/// The link side of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkConfig {
    /// Framing.
    pub kind: LinkKind,
    /// Our hardware address; without meaning for [`LinkKind::Ip`].
    pub mac: MacAddr,
    /// VLAN of the interface, 1..=4094; `None`: untagged.
    pub vlan: Option<u16>,
    /// Largest IP packet, in bytes, link header not counted.
    pub mtu: u16,
}

/// The protocol above the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L3Proto {
    /// IPv4.
    Ipv4,
    /// ARP.
    Arp,
}

/// How a frame was addressed (Linux `skb->pkt_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cast {
    /// To us alone (`PACKET_HOST`).
    Unicast,
    /// To all stations.
    Broadcast,
    /// To a group.
    Multicast,
}

/// A frame that is for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inbound {
    /// What the frame carries.
    pub proto: L3Proto,
    /// Where it begins, in bytes from the start of the frame.
    pub l3_offset: usize,
    /// How the frame was addressed.
    pub cast: Cast,
    /// Who sent it; zero without link header.
    pub src: MacAddr,
}

/// Reads the link header. An interface with a VLAN takes only frames with its tag; one without takes untagged and
/// priority-tagged (VID 0) frames.
///
/// # Errors
/// Why the frame is not for us: [`DropReason::LinkRunt`], [`DropReason::LinkNotOurMac`],
/// [`DropReason::LinkVlanMismatch`], [`DropReason::LinkUnknownEtherType`].
#[inline]
pub fn parse(cfg: &LinkConfig, frame: &[u8]) -> Result<Inbound, DropReason> {
    match cfg.kind {
        LinkKind::Ethernet => parse_ethernet(cfg, frame),
        LinkKind::Ip => parse_ip(frame),
    }
}

#[inline]
fn parse_ethernet(cfg: &LinkConfig, frame: &[u8]) -> Result<Inbound, DropReason> {
    let ethernet = EthernetView::parse(frame).map_err(|_| DropReason::LinkRunt)?;
    let cast = cast_of(cfg, ethernet.dst()).ok_or(DropReason::LinkNotOurMac)?;
    let (ethertype, l3_offset) = match (ethernet.ethertype(), cfg.vlan) {
        (EtherType::VLAN, vlan) => {
            let tag = VlanView::parse(ethernet.payload()).map_err(|_| DropReason::LinkRunt)?;
            if tag.vid() != vlan.unwrap_or(0) {
                return Err(DropReason::LinkVlanMismatch);
            }
            (tag.ethertype(), ethernet::HEADER_LEN + vlan::HEADER_LEN)
        }
        (_, Some(_)) => return Err(DropReason::LinkVlanMismatch),
        (untagged, None) => (untagged, ethernet::HEADER_LEN),
    };
    let proto = match ethertype {
        EtherType::IPV4 => L3Proto::Ipv4,
        EtherType::ARP => L3Proto::Arp,
        _ => return Err(DropReason::LinkUnknownEtherType),
    };
    Ok(Inbound {
        proto,
        l3_offset,
        cast,
        src: ethernet.src(),
    })
}

fn parse_ip(frame: &[u8]) -> Result<Inbound, DropReason> {
    let version = frame.first().ok_or(DropReason::LinkRunt)? >> 4;
    match version {
        4 => Ok(Inbound {
            proto: L3Proto::Ipv4,
            l3_offset: 0,
            cast: Cast::Unicast,
            src: MacAddr::ZERO,
        }),
        _ => Err(DropReason::LinkUnknownEtherType),
    }
}

/// How we are meant by `dst`; `None` when we are not. All groups are accepted: `ip/` knows which are joined.
#[inline]
fn cast_of(cfg: &LinkConfig, dst: MacAddr) -> Option<Cast> {
    if dst == cfg.mac {
        Some(Cast::Unicast)
    } else if dst.is_broadcast() {
        Some(Cast::Broadcast)
    } else if dst.is_multicast() {
        Some(Cast::Multicast)
    } else {
        None
    }
}

/// Length of the link header of frames that this interface sends: 0, 14 or 18 bytes.
#[inline]
pub const fn header_len(cfg: &LinkConfig) -> usize {
    match (cfg.kind, cfg.vlan) {
        (LinkKind::Ip, _) => 0,
        (LinkKind::Ethernet, None) => ethernet::HEADER_LEN,
        (LinkKind::Ethernet, Some(_)) => ethernet::HEADER_LEN + vlan::HEADER_LEN,
    }
}

/// Writes the link header to the front of `buf`, which has at least [`header_len`] bytes; returns its length.
#[inline]
pub fn emit(cfg: &LinkConfig, buf: &mut [u8], dst: MacAddr, ty: EtherType) -> usize {
    match (cfg.kind, cfg.vlan) {
        (LinkKind::Ip, _) => 0,
        (LinkKind::Ethernet, None) => ethernet::emit(buf, dst, cfg.mac, ty),
        (LinkKind::Ethernet, Some(vid)) => {
            let tag_at = ethernet::emit(buf, dst, cfg.mac, EtherType::VLAN);
            tag_at + vlan::emit(&mut buf[tag_at..], vid, 0, ty)
        }
    }
}

/// The group address that carries an IPv4 multicast address (RFC 1112 §6.4): its low 23 bits under 01:00:5e.
pub const fn multicast_mac(group: Ipv4Addr) -> MacAddr {
    let [_, b, c, d] = group.octets();
    MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}
