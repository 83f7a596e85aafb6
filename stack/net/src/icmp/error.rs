//! Errors that we send about packets that we got (Linux `__icmp_send`).

use std::net::Ipv4Addr;

use millrace_wire::icmpv4::{self, icmp_type, unreachable};
use millrace_wire::ipv4::{self, Ipv4Header, Ipv4View, protocol};

use super::IpFields;
use crate::ip::Dst;
use crate::link::Cast;

/// An error message is at most this long, IP header included (RFC 1812 §4.3.2.3).
const MAX_LEN: usize = 576;

/// Bits of the quoted packet's TOS that an error keeps, and the precedence it gets (RFC 1812 §4.3.2.5).
const TOS_KEPT: u8 = 0x1e;
const PRECEDENCE_INTERNETWORK_CONTROL: u8 = 0xc0;

/// What is wrong with the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// No route to its destination.
    NetUnreachable,
    /// Its destination does not answer ARP.
    HostUnreachable,
    /// We do not speak its protocol.
    ProtocolUnreachable,
    /// Nobody listens on its port.
    PortUnreachable,
    /// A rule forbids it.
    AdminProhibited,
    /// Too large for the way onward, which takes `mtu` bytes.
    FragNeeded {
        /// Largest packet that fits, in bytes.
        mtu: u16,
    },
    /// Its time to live ran out on the way.
    TtlExceeded,
    /// Its fragments did not arrive in time.
    ReassemblyTimeExceeded,
}

impl ErrorKind {
    /// ICMP type and code.
    pub const fn type_and_code(self) -> (u8, u8) {
        match self {
            Self::NetUnreachable => (icmp_type::DEST_UNREACHABLE, unreachable::NET),
            Self::HostUnreachable => (icmp_type::DEST_UNREACHABLE, unreachable::HOST),
            Self::ProtocolUnreachable => (icmp_type::DEST_UNREACHABLE, unreachable::PROTOCOL),
            Self::PortUnreachable => (icmp_type::DEST_UNREACHABLE, unreachable::PORT),
            Self::AdminProhibited => (icmp_type::DEST_UNREACHABLE, unreachable::FILTERED),
            Self::FragNeeded { .. } => (icmp_type::DEST_UNREACHABLE, unreachable::FRAG_NEEDED),
            Self::TtlExceeded => (icmp_type::TIME_EXCEEDED, 0),
            Self::ReassemblyTimeExceeded => (icmp_type::TIME_EXCEEDED, 1),
        }
    }

    fn rest(self) -> [u8; 4] {
        match self {
            Self::FragNeeded { mtu } => {
                let [high, low] = mtu.to_be_bytes();
                [0, 0, high, low]
            }
            _ => [0; 4],
        }
    }
}

/// Why no error may be sent about a packet (RFC 1122 §3.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoError {
    /// It was not sent to us alone.
    NotUnicast,
    /// Its source is not a single host.
    BadSource,
    /// It is not the first fragment.
    Fragment,
    /// It is an ICMP error itself, or may be one.
    AboutError,
}

/// The error message about `packet`, which came in a frame addressed as `cast` says and was sent to `dst`. It comes
/// from `src`: the packet's own destination when that is ours. Ask [`IcmpLimits`](super::IcmpLimits) before sending.
///
/// # Errors
/// [`NoError`]: such packets are never answered.
pub fn error(
    packet: &Ipv4View<'_>,
    dst: Dst,
    cast: Cast,
    kind: ErrorKind,
    src: Ipv4Addr,
    fields: IpFields,
) -> Result<Vec<u8>, NoError> {
    answerable(packet, dst, cast)?;
    let header = Ipv4Header {
        src,
        dst: packet.src(),
        protocol: protocol::ICMP,
        ttl: fields.ttl,
        tos: packet.tos() & TOS_KEPT | PRECEDENCE_INTERNETWORK_CONTROL,
        id: fields.id,
        dont_fragment: false,
    };
    let (ty, code) = kind.type_and_code();
    let room = MAX_LEN - ipv4::MIN_HEADER_LEN - icmpv4::HEADER_LEN;
    let quoted: Vec<u8> = packet
        .header()
        .iter()
        .chain(packet.payload())
        .take(room)
        .copied()
        .collect();
    Ok(super::packet(&header, ty, code, kind.rest(), &quoted))
}

fn answerable(packet: &Ipv4View<'_>, dst: Dst, cast: Cast) -> Result<(), NoError> {
    if cast != Cast::Unicast || dst != Dst::Local {
        return Err(NoError::NotUnicast);
    }
    let src = packet.src();
    if src.octets()[0] == 0 || src.is_multicast() || src.is_broadcast() {
        return Err(NoError::BadSource);
    }
    if packet.fragment_offset() != 0 {
        return Err(NoError::Fragment);
    }
    if packet.protocol() == protocol::ICMP && !is_query(packet.payload().first().copied()) {
        return Err(NoError::AboutError);
    }
    Ok(())
}

/// Types that are certainly no errors: echo, timestamp, information, address mask, and their replies.
fn is_query(ty: Option<u8>) -> bool {
    matches!(
        ty,
        Some(icmp_type::ECHO_REPLY | icmp_type::ECHO_REQUEST | 13..=18)
    )
}
