//! A received ICMP message: a request to answer, a reply, or an error about something that we sent.

use std::net::Ipv4Addr;

use millrace_wire::icmpv4::{Icmpv4View, icmp_type, unreachable};
use millrace_wire::ipv4::{self, Ipv4View};
use millrace_wire::seq::SeqNum;

use crate::drop::DropReason;
use crate::ip::Dst;

/// An error about a packet of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpError {
    /// Destination unreachable, for another reason than size.
    Unreachable {
        /// See `wire::icmpv4::unreachable`; at most 15.
        code: u8,
    },
    /// Too large for a hop on the way.
    FragNeeded {
        /// What the router says would fit, in bytes, or the next plateau below the packet's size if it does not say
        /// (RFC 1191 §7). Not yet checked against any minimum.
        mtu: u16,
    },
    /// Time exceeded.
    TimeExceeded {
        /// 0: in transit; 1: during reassembly.
        code: u8,
    },
    /// Something in the header was not understood.
    ParameterProblem,
    /// Obsolete; to be ignored (RFC 6633). Linux ignores it too.
    SourceQuench,
}

/// The packet that an error is about, as far as it was quoted: we are `src`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// IP protocol.
    pub protocol: u8,
    /// Source address: ours, if we sent it.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Source port, if the protocol has ports.
    pub sport: u16,
    /// Destination port, if the protocol has ports.
    pub dport: u16,
    /// Sequence number, if it is TCP.
    pub seq: SeqNum,
}

/// What came in, its checksum verified.
#[derive(Clone, Copy, Debug)]
pub enum IcmpInput<'a> {
    /// To be answered with [`echo_reply`](super::echo_reply).
    EchoRequest(Icmpv4View<'a>),
    /// For whoever sent the request.
    EchoReply(Icmpv4View<'a>),
    /// For the socket that sent the quoted packet, which has to validate it.
    Error {
        /// What is reported.
        error: IcmpError,
        /// About which packet.
        quoted: Quoted,
    },
}

/// Bytes of the transport header that an error must quote (RFC 792).
const QUOTED_TRANSPORT: usize = 8;

/// Sizes of links that exist (RFC 1191 §7), largest first.
const PLATEAUS: [u16; 11] = [
    65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68,
];

/// Reads the ICMP message in `packet`, which was sent to `dst`.
///
/// # Errors
/// Why there is nothing to do: [`DropReason::IcmpMalformed`], [`DropReason::IcmpBadChecksum`],
/// [`DropReason::IcmpIgnored`] (not to us alone, redirects, timestamps and other types without use).
pub fn input<'a>(packet: &Ipv4View<'a>, dst: Dst) -> Result<IcmpInput<'a>, DropReason> {
    let message = Icmpv4View::parse(packet.payload()).map_err(|_| DropReason::IcmpMalformed)?;
    if !message.checksum_ok() {
        return Err(DropReason::IcmpBadChecksum);
    }
    // `icmp_echo_ignore_broadcasts` = 1, and nobody has to tell a whole subnet about an error.
    if dst != Dst::Local {
        return Err(DropReason::IcmpIgnored);
    }
    let error = match message.ty() {
        icmp_type::ECHO_REQUEST => return Ok(IcmpInput::EchoRequest(message)),
        icmp_type::ECHO_REPLY => return Ok(IcmpInput::EchoReply(message)),
        icmp_type::DEST_UNREACHABLE => match message.code() {
            unreachable::FRAG_NEEDED => IcmpError::FragNeeded {
                mtu: next_hop_mtu(&message),
            },
            code @ 0..=unreachable::PRECEDENCE_CUTOFF => IcmpError::Unreachable { code },
            _ => return Err(DropReason::IcmpIgnored),
        },
        icmp_type::TIME_EXCEEDED => IcmpError::TimeExceeded {
            code: message.code(),
        },
        icmp_type::PARAMETER_PROBLEM => IcmpError::ParameterProblem,
        icmp_type::SOURCE_QUENCH => IcmpError::SourceQuench,
        _ => return Err(DropReason::IcmpIgnored),
    };
    let quoted = quoted(message.payload()).ok_or(DropReason::IcmpMalformed)?;
    Ok(IcmpInput::Error { error, quoted })
}

/// The quoted header. It is cut short, so the strict view of whole packets does not take it.
fn quoted(bytes: &[u8]) -> Option<Quoted> {
    let header = bytes.first_chunk::<{ ipv4::MIN_HEADER_LEN }>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if header[0] >> 4 != 4 || header_len < ipv4::MIN_HEADER_LEN || fragment_offset != 0 {
        return None;
    }
    let transport = bytes.get(header_len..)?.first_chunk::<QUOTED_TRANSPORT>()?;
    let [s0, s1, d0, d1, q0, q1, q2, q3] = *transport;
    Some(Quoted {
        protocol: header[9],
        src: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
        dst: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
        sport: u16::from_be_bytes([s0, s1]),
        dport: u16::from_be_bytes([d0, d1]),
        seq: SeqNum::new(u32::from_be_bytes([q0, q1, q2, q3])),
    })
}

/// The MTU of the next hop; routers older than RFC 1191 leave it 0, then the next plateau below the packet's size.
fn next_hop_mtu(message: &Icmpv4View<'_>) -> u16 {
    if message.mtu() != 0 {
        return message.mtu();
    }
    let total_len = match message.payload() {
        [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    let below = PLATEAUS.into_iter().find(|&plateau| plateau < total_len);
    below.unwrap_or(PLATEAUS[PLATEAUS.len() - 1])
}
