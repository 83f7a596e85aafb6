//! The checks on a received packet, in Linux's order: header, options, source, destination, fragment.

use std::net::Ipv4Addr;

use millrace_wire::ipv4::Ipv4View;

use crate::drop::DropReason;
use crate::route::RouteTable;

/// Whom a packet that we accept was sent to (Linux `rt_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dst {
    /// An address of ours.
    Local,
    /// Everybody on the subnet.
    Broadcast,
    /// A group. Membership is for the receiver to check.
    Multicast,
}

/// Where a packet comes from; our own addresses are honest sources only within the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A device.
    Wire,
    /// Local delivery.
    Loopback,
}

/// A packet that is for us.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'a> {
    /// The packet, cut to its total length.
    pub packet: Ipv4View<'a>,
    /// Whom it was sent to.
    pub dst: Dst,
}

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
/// Loose and strict source route (RFC 791 §3.1).
const OPTION_LSRR: u8 = 131;
const OPTION_SSRR: u8 = 137;

/// Checks a packet, which begins with its IP header and may have link padding behind it.
///
/// The time to live is not looked at: a host takes a packet however little it has left (RFC 1122 §3.2.1.7), only
/// forwarding would end there.
///
/// # Errors
/// Why the packet is refused; see [`DropReason`]'s `Ipv4*`.
#[inline]
pub fn input<'a>(
    bytes: &'a [u8],
    origin: Origin,
    routes: &RouteTable,
) -> Result<Accepted<'a>, DropReason> {
    let packet = Ipv4View::parse(bytes).map_err(|_| DropReason::Ipv4Malformed)?;
    if !packet.checksum_ok() {
        return Err(DropReason::Ipv4BadChecksum);
    }
    if !packet.options().is_empty() {
        check_options(packet.options())?;
    }
    check_source(packet.src(), origin, routes)?;
    let dst = classify(packet.dst(), origin, routes)?;
    if packet.more_fragments() || packet.fragment_offset() != 0 {
        return Err(DropReason::Ipv4Fragment);
    }
    Ok(Accepted { packet, dst })
}

/// Refuses source routes (`accept_source_route` = 0) and options that do not add up; ignores all others.
#[cold]
fn check_options(mut options: &[u8]) -> Result<(), DropReason> {
    while let [kind, rest @ ..] = options {
        options = match *kind {
            OPTION_END => return Ok(()),
            OPTION_NOP => rest,
            OPTION_LSRR | OPTION_SSRR => return Err(DropReason::Ipv4SourceRoute),
            _ => {
                let len = usize::from(*rest.first().ok_or(DropReason::Ipv4BadOptions)?);
                if len < 2 {
                    return Err(DropReason::Ipv4BadOptions);
                }
                options.get(len..).ok_or(DropReason::Ipv4BadOptions)?
            }
        };
    }
    Ok(())
}

/// Refuses sources that nobody can have (RFC 1122 §3.2.1.3, RFC 1812 §5.3.7), and our own coming from outside: an
/// attacker who wants us to talk to ourselves ("LAND").
fn check_source(src: Ipv4Addr, origin: Origin, routes: &RouteTable) -> Result<(), DropReason> {
    let nobody = src.octets()[0] == 0 || src.is_multicast() || routes.is_broadcast(src);
    let inside = src.is_loopback() || routes.is_local(src);
    match origin {
        _ if nobody => Err(DropReason::Ipv4MartianSource),
        Origin::Wire if inside => Err(DropReason::Ipv4MartianSource),
        Origin::Wire | Origin::Loopback => Ok(()),
    }
}

fn classify(dst: Ipv4Addr, origin: Origin, routes: &RouteTable) -> Result<Dst, DropReason> {
    if dst.is_loopback() && origin == Origin::Wire {
        return Err(DropReason::Ipv4NotOurs);
    }
    if routes.is_local(dst) {
        Ok(Dst::Local)
    } else if routes.is_broadcast(dst) {
        Ok(Dst::Broadcast)
    } else if dst.is_multicast() {
        Ok(Dst::Multicast)
    } else {
        Err(DropReason::Ipv4NotOurs)
    }
}
