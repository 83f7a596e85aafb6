//! What the kernel knows about an interface, read by rtnetlink: MAC, MTU, IPv4 addresses and routes.
//!
//! Three dumps, each filtered here by interface index; nothing is changed. Linux counterpart: `ip link`, `ip -4
//! addr` and `ip -4 route` of one device.

use core::fmt::{Debug, Display};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use millrace_wire::mac::MacAddr;
use neli::consts::nl::{NlTypeWrapper, NlmF};
use neli::consts::rtnl::{
    Arphrd, Ifa, Iff, Ifla, RtAddrFamily, RtScope, RtTable, Rta, Rtm, Rtn, Rtprot,
};
use neli::consts::socket::NlFamily;
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::rtnl::{
    Ifaddrmsg, IfaddrmsgBuilder, Ifinfomsg, IfinfomsgBuilder, Rtattr, Rtmsg, RtmsgBuilder,
};
use neli::socket::synchronous::NlSocketHandle;
use neli::types::{Buffer, RtBuffer};
use neli::utils::Groups;
use neli::{FromBytesWithInput, Size, ToBytes};

#[cfg(test)]
mod tests;

/// The metric `RTAX_MTU` inside `RTA_METRICS`.
const RTAX_MTU: u16 = 2;

/// Why an interface cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No such interface in this network namespace.
    #[error(
        "interface {interface} does not exist in this network namespace; list them with `ip link`"
    )]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// Netlink failed.
    #[error(
        "the kernel did not describe {interface} by netlink ({why}); look with `ip address show dev {interface}`"
    )]
    Netlink {
        /// The interface.
        interface: String,
        /// What failed.
        why: String,
    },
}

/// An interface as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Ethernet address; `None` for a device without one.
    pub mac: Option<MacAddr>,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub admin: AdminState,
    /// IPv4 addresses with their prefix, primary ones first (the kernel's order).
    pub addrs: Vec<Ipv4Net>,
    /// IPv4 unicast routes of the main table over this interface, without those the kernel made for the addresses.
    pub routes: Vec<Route>,
}

/// The administrative state of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminState {
    /// `ip link set up`.
    Up,
    /// `ip link set down`.
    Down,
}

/// A route of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destination; 0.0.0.0/0 is the default route.
    pub dest: Ipv4Net,
    /// Next hop; `None` when the destination is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// Preferred source address.
    pub prefsrc: Option<Ipv4Addr>,
    /// Metric: lower wins.
    pub metric: u32,
    /// Path MTU in bytes, where the route sets one.
    pub mtu: Option<u16>,
}

impl Link {
    /// Reads everything about `interface` in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`ImportError::NoInterface`], or what netlink says.
    pub fn read(interface: &str) -> Result<Self, ImportError> {
        let fail = |why: String| ImportError::Netlink {
            interface: interface.to_owned(),
            why,
        };
        let socket = NlSocketHandle::connect(NlFamily::Route, None, Groups::empty())
            .map_err(|e| fail(e.to_string()))?;
        let mut link = read_link(&socket, interface)
            .map_err(fail)?
            .ok_or_else(|| ImportError::NoInterface {
                interface: interface.to_owned(),
            })?;
        link.addrs = read_addrs(&socket, link.index).map_err(fail)?;
        link.routes = read_routes(&socket, link.index).map_err(fail)?;
        Ok(link)
    }

    /// Whether the kernel sends what it has no other route for over this interface.
    pub fn carries_default_route(&self) -> bool {
        self.routes.iter().any(|route| route.dest.prefix_len() == 0)
    }
}

/// Asks for a dump and gives each answer to `each`.
fn dump<Q, A>(
    socket: &NlSocketHandle,
    kind: Rtm,
    question: Q,
    mut each: impl FnMut(&A),
) -> Result<(), String>
where
    Q: Size + ToBytes + Debug,
    A: Size + FromBytesWithInput<Input = usize> + Debug,
{
    fn say(error: impl Display) -> String {
        error.to_string()
    }
    let request = NlmsghdrBuilder::default()
        .nl_type(kind)
        .nl_flags(NlmF::REQUEST | NlmF::DUMP)
        .nl_payload(NlPayload::Payload(question))
        .build()
        .map_err(say)?;
    socket.send(&request).map_err(say)?;
    loop {
        let (answers, _) = socket.recv::<NlTypeWrapper, A>().map_err(say)?;
        for answer in answers {
            let answer = answer.map_err(say)?;
            if let NlTypeWrapper::Nlmsg(neli::consts::nl::Nlmsg::Done) = answer.nl_type() {
                return Ok(());
            }
            match answer.nl_payload() {
                NlPayload::Payload(payload) => each(payload),
                NlPayload::Err(error) => return Err(format!("error {}", error.error())),
                _ => {}
            }
        }
    }
}

/// The interface called `name`, without addresses and routes.
fn read_link(socket: &NlSocketHandle, name: &str) -> Result<Option<Link>, String> {
    let question = IfinfomsgBuilder::default()
        .ifi_family(RtAddrFamily::Unspecified)
        .ifi_type(Arphrd::from(0))
        .build()
        .map_err(|e| e.to_string())?;
    let mut found = None;
    dump(socket, Rtm::Getlink, question, |info: &Ifinfomsg| {
        let attrs = info.rtattrs();
        if bytes(attrs, Ifla::Ifname)
            .is_some_and(|ifname| ifname.strip_suffix(&[0]).unwrap_or(ifname) == name.as_bytes())
        {
            found = Some(Link {
                index: info.ifi_index().unsigned_abs(),
                mac: bytes(attrs, Ifla::Address)
                    .and_then(|mac| mac.try_into().ok())
                    .map(MacAddr),
                mtu: number(attrs, Ifla::Mtu).unwrap_or(1500),
                admin: if info.ifi_flags().contains(Iff::UP) {
                    AdminState::Up
                } else {
                    AdminState::Down
                },
                addrs: Vec::new(),
                routes: Vec::new(),
            });
        }
    })?;
    Ok(found)
}

/// The IPv4 addresses of the interface with this index.
fn read_addrs(socket: &NlSocketHandle, index: u32) -> Result<Vec<Ipv4Net>, String> {
    let question = IfaddrmsgBuilder::default()
        .ifa_family(RtAddrFamily::Inet)
        .ifa_prefixlen(0)
        .ifa_scope(RtScope::Universe)
        .ifa_index(0)
        .build()
        .map_err(|e| e.to_string())?;
    let mut addrs = Vec::new();
    dump(socket, Rtm::Getaddr, question, |addr: &Ifaddrmsg| {
        if *addr.ifa_index() == index
            && let Some(local) = address(addr.rtattrs(), Ifa::Local)
            && let Ok(net) = Ipv4Net::new(local, *addr.ifa_prefixlen())
        {
            addrs.push(net);
        }
    })?;
    Ok(addrs)
}

/// The main table's unicast routes over the interface with this index.
fn read_routes(socket: &NlSocketHandle, index: u32) -> Result<Vec<Route>, String> {
    let question = RtmsgBuilder::default()
        .rtm_family(RtAddrFamily::Inet)
        .rtm_dst_len(0)
        .rtm_src_len(0)
        .rtm_tos(0)
        .rtm_table(RtTable::Unspec)
        .rtm_protocol(Rtprot::Unspec)
        .rtm_scope(RtScope::Universe)
        .rtm_type(Rtn::Unspec)
        .build()
        .map_err(|e| e.to_string())?;
    let mut routes = Vec::new();
    dump(socket, Rtm::Getroute, question, |route: &Rtmsg| {
        let ours = *route.rtm_table() == RtTable::Main
            && *route.rtm_type() == Rtn::Unicast
            && *route.rtm_protocol() != Rtprot::Kernel
            && number(route.rtattrs(), Rta::Oif) == Some(index);
        let dest = address(route.rtattrs(), Rta::Dst).unwrap_or(Ipv4Addr::UNSPECIFIED);
        if ours && let Ok(dest) = Ipv4Net::new(dest, *route.rtm_dst_len()) {
            routes.push(Route {
                dest,
                gateway: address(route.rtattrs(), Rta::Gateway),
                prefsrc: address(route.rtattrs(), Rta::Prefsrc),
                metric: number(route.rtattrs(), Rta::Priority).unwrap_or(0),
                mtu: bytes(route.rtattrs(), Rta::Metrics).and_then(route_mtu),
            });
        }
    })?;
    Ok(routes)
}

/// The payload of the first attribute of this kind.
fn bytes<T: PartialEq>(attrs: &RtBuffer<T, Buffer>, kind: T) -> Option<&[u8]> {
    attrs
        .iter()
        .find(|attr: &&Rtattr<T, Buffer>| *attr.rta_type() == kind)
        .map(|attr| attr.rta_payload().as_ref())
}

/// An attribute that is a number in host order.
fn number<T: PartialEq>(attrs: &RtBuffer<T, Buffer>, kind: T) -> Option<u32> {
    bytes(attrs, kind)?.try_into().ok().map(u32::from_ne_bytes)
}

/// An attribute that is an IPv4 address.
fn address<T: PartialEq>(attrs: &RtBuffer<T, Buffer>, kind: T) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes(attrs, kind)?)
        .ok()
        .map(Ipv4Addr::from)
}

/// `RTAX_MTU` among the metrics: attributes of their own (length, type, value, padded to 4).
fn route_mtu(mut metrics: &[u8]) -> Option<u16> {
    while let [l0, l1, t0, t1, rest @ ..] = metrics {
        let len = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = rest.get(..len.checked_sub(4)?)?;
        if u16::from_ne_bytes([*t0, *t1]) == RTAX_MTU {
            let mtu = u32::from_ne_bytes(value.try_into().ok()?);
            return u16::try_from(mtu).ok();
        }
        metrics = metrics.get(len.next_multiple_of(4)..)?;
    }
    None
}
