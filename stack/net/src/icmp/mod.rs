//! ICMP: echo, errors about our packets, errors we send, and the limits on those.
//!
//! Before: `ip/` accepted the packet. After: an echo reply or an error is a complete IPv4 packet that queues like any
//! control packet; a received error goes to the socket that the quoted header names, which decides whether to believe
//! it (RFC 5927).
//! Linux counterpart: `net/ipv4/icmp.c`, `inet_peer_xrlim_allow`. RFC 792, RFC 1122 §3.2.2, RFC 1191, RFC 1812 §4.3.

mod error;
mod input;
mod limit;
#[cfg(test)]
mod tests;

pub use error::{ErrorKind, NoError, error};
pub use input::{IcmpError, IcmpInput, Quoted, input};
pub use limit::{IcmpConfig, IcmpLimits, LimitCounters, Verdict};

use millrace_wire::icmpv4::{self, Icmpv4View, icmp_type};
use millrace_wire::ipv4::{self, Ipv4Header, Ipv4View, protocol};

/// The fields of an ICMP packet's IP header that its sender decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpFields {
    /// Time to live (`net.ipv4.ip_default_ttl`: 64).
    pub ttl: u8,
    /// Identification: these packets may be fragmented on their way, so it has to change from one to the next.
    pub id: u16,
}

/// The answer to an echo request that was sent to an address of ours: the same data and TOS (RFC 1122 §3.2.2.6).
pub fn echo_reply(request: &Ipv4View<'_>, echo: &Icmpv4View<'_>, fields: IpFields) -> Vec<u8> {
    let header = Ipv4Header {
        src: request.dst(),
        dst: request.src(),
        protocol: protocol::ICMP,
        ttl: fields.ttl,
        tos: request.tos(),
        id: fields.id,
        dont_fragment: false,
    };
    packet(
        &header,
        icmp_type::ECHO_REPLY,
        0,
        echo.rest(),
        echo.payload(),
    )
}

/// A complete ICMP packet. `payload` is part of a received packet, so the whole is not longer than IPv4 allows.
fn packet(header: &Ipv4Header, ty: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let message_len = icmpv4::HEADER_LEN + payload.len();
    let mut bytes = vec![0; ipv4::MIN_HEADER_LEN + message_len];
    let at = header.emit(&mut bytes, u16::try_from(message_len).unwrap_or(u16::MAX));
    icmpv4::emit(&mut bytes[at..], ty, code, rest, payload);
    bytes
}
