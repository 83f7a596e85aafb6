//! ICMP messages: names to numbers, and the packet that an error quotes.

use millrace_wire::ipv4::{self, protocol};
use millrace_wire::{tcp, udp};

use super::{Tuple, ip_header};
use crate::drill::ast::{Echoed, Icmp, IpInfo};

/// Codes of "destination unreachable", from 0.
const UNREACHABLE: [&str; 16] = [
    "net_unreachable",
    "host_unreachable",
    "protocol_unreachable",
    "port_unreachable",
    "frag_needed",
    "source_route_failed",
    "net_unknown",
    "host_unknown",
    "source_host_isolated",
    "net_prohibited",
    "host_prohibited",
    "net_unreachable_for_tos",
    "host_unreachable_for_tos",
    "packet_filtered",
    "precedence_violation",
    "precedence_cutoff",
];

/// Type names (RFC 792, RFC 950).
const TYPES: [(&str, u8); 13] = [
    ("echo_reply", 0),
    ("unreachable", 3),
    ("source_quench", 4),
    ("redirect", 5),
    ("echo_request", 8),
    ("time_exceeded", 11),
    ("parameter_problem", 12),
    ("timestamp_request", 13),
    ("timestamp_reply", 14),
    ("information_request", 15),
    ("information_reply", 16),
    ("address_mask_request", 17),
    ("address_mask_reply", 18),
];

/// Types that are errors and quote the packet at fault.
const ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

/// TTL of quoted packets: Linux's own.
const QUOTED_TTL: u8 = 64;

/// What a quoted raw packet claims to be.
const PROTOCOL_RAW: u8 = 255;

/// An ICMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drill) struct Message {
    /// Type.
    pub ty: u8,
    /// Code.
    pub code: u8,
    /// The second word of the header.
    pub rest: [u8; 4],
    /// What follows.
    pub payload: Vec<u8>,
}

/// Numbers of a type and a code name; `type_N` and `code_N` are allowed.
pub(in crate::drill) fn numbers(ty: &str, code: Option<&str>) -> Option<(u8, u8)> {
    let named = TYPES.iter().find(|(name, _)| *name == ty);
    let ty = match named {
        Some((_, number)) => *number,
        None => ty.strip_prefix("type_")?.parse().ok()?,
    };
    let code = match code {
        None => 0,
        Some(name) => match UNREACHABLE.iter().position(|known| *known == name) {
            Some(at) if ty == 3 => at as u8,
            _ => name.strip_prefix("code_")?.parse().ok()?,
        },
    };
    Some((ty, code))
}

/// The message that the peer of `tuple` sends. `live_seq` makes a live sequence number of a relative one; errors quote
/// sequence number 0 where nothing is written.
pub(in crate::drill) fn message(
    written: &Icmp,
    tuple: Tuple,
    live_seq: impl Fn(u32) -> u32,
) -> Option<Message> {
    let (ty, code) = numbers(&written.ty, written.code.as_deref())?;
    let is_error = ERRORS.contains(&ty);
    if written.mtu.is_some() && (ty, code) != (3, 4) {
        return None;
    }
    let mtu = u16::try_from(written.mtu.unwrap_or(0)).ok()?;
    let [high, low] = written.id.unwrap_or(0).to_be_bytes();
    let (rest, payload) = if is_error {
        let [mtu_high, mtu_low] = mtu.to_be_bytes();
        let rest = [high, low, mtu_high, mtu_low];
        (rest, quote(written.echoed, tuple, live_seq))
    } else {
        ([high, low, 0, 0], vec![0; usize::from(ty == 13) * 12])
    };
    Some(Message {
        ty,
        code,
        rest,
        payload,
    })
}

/// The IP header and the first eight octets of a packet that the machine sent.
fn quote(echoed: Option<Echoed>, tuple: Tuple, live_seq: impl Fn(u32) -> u32) -> Vec<u8> {
    let reversed = Tuple {
        src: tuple.dst,
        dst: tuple.src,
    };
    let ports = [
        reversed.src.port().to_be_bytes(),
        reversed.dst.port().to_be_bytes(),
    ]
    .concat();
    let room = u32::from(u16::MAX) - ipv4::MIN_HEADER_LEN as u32;
    let (number, len, start) = match echoed.unwrap_or(Echoed::Tcp { seq: 0, len: 0 }) {
        Echoed::Tcp { seq, len } => {
            let len = tcp::MIN_HEADER_LEN as u32 + len;
            let seq = live_seq(seq).to_be_bytes().to_vec();
            (protocol::TCP, len, [ports, seq].concat())
        }
        Echoed::Udp { len } => {
            let len = udp::HEADER_LEN as u32 + u32::from(len);
            let [_, _, high, low] = len.to_be_bytes();
            let rest = vec![high, low, 0, 0];
            (protocol::UDP, len, [ports, rest].concat())
        }
        Echoed::Raw { len } => (PROTOCOL_RAW, u32::from(len), vec![0; 8]),
    };
    let mut quoted = vec![0; ipv4::MIN_HEADER_LEN];
    let ip = IpInfo {
        ttl: Some(QUOTED_TTL),
        ..IpInfo::default()
    };
    // The header tells the whole length, though only eight octets follow.
    ip_header(reversed, ip, number).emit(&mut quoted, len.min(room) as u16);
    quoted.extend(start);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddrV4};

    fn written(ty: &str, code: Option<&str>) -> Icmp {
        Icmp {
            ty: ty.to_owned(),
            code: code.map(str::to_owned),
            mtu: None,
            id: None,
            echoed: None,
        }
    }

    fn tuple() -> Tuple {
        Tuple {
            src: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 50_000),
            dst: SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, 1), 8080),
        }
    }

    #[test]
    fn names_have_numbers() {
        assert_eq!(numbers("unreachable", Some("frag_needed")), Some((3, 4)));
        assert_eq!(
            numbers("unreachable", Some("precedence_cutoff")),
            Some((3, 15))
        );
        assert_eq!(numbers("time_exceeded", Some("code_1")), Some((11, 1)));
        assert_eq!(numbers("type_42", None), Some((42, 0)));
        assert_eq!(numbers("echo_request", Some("frag_needed")), None);
        assert_eq!(numbers("packet_too_big", None), None);
    }

    #[test]
    fn an_error_quotes_what_the_machine_sent() {
        let mut icmp = written("unreachable", Some("frag_needed"));
        icmp.mtu = Some(1400);
        icmp.echoed = Some(Echoed::Tcp { seq: 1, len: 1460 });
        let message = message(&icmp, tuple(), |seq| seq + 1000).unwrap();
        assert_eq!(message.rest, 1400u32.to_be_bytes());
        let quoted = &message.payload;
        assert_eq!(quoted.len(), 28);
        assert_eq!(u16::from_be_bytes([quoted[2], quoted[3]]), 1500);
        assert_eq!(quoted[9], 6);
        assert_eq!(
            quoted[12..16],
            [192, 168, 0, 1],
            "the machine is the source"
        );
        assert_eq!(quoted[20..22], 8080u16.to_be_bytes());
        assert_eq!(quoted[24..28], 1001u32.to_be_bytes());
    }

    #[test]
    fn an_echo_quotes_nothing() {
        let mut icmp = written("echo_request", None);
        icmp.id = Some(7);
        let message = message(&icmp, tuple(), |seq| seq).unwrap();
        assert_eq!((message.ty, message.rest), (8, [0, 7, 0, 0]));
        assert_eq!(message.payload, []);
    }

    #[test]
    fn an_mtu_belongs_to_frag_needed() {
        let mut icmp = written("time_exceeded", None);
        icmp.mtu = Some(1400);
        assert_eq!(message(&icmp, tuple(), |seq| seq), None);
    }
}
