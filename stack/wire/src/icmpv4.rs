//! ICMP for IPv4 (RFC 792, RFC 1191, RFC 1122 §3.2.2). Linux: `struct icmphdr`, `icmp_rcv`.

use crate::checksum::Sum;
use crate::malformed::Malformed;

/// Length of the header in bytes: type, code, checksum and four bytes whose meaning the type decides.
pub const HEADER_LEN: usize = 8;

/// Message types (Linux `ICMP_*`).
pub mod icmp_type {
    /// Answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// Could not be delivered; the code says why, see [`super::unreachable`].
    pub const DEST_UNREACHABLE: u8 = 3;
    /// Congestion, obsolete (RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// There is a better first hop.
    pub const REDIRECT: u8 = 5;
    /// Ping.
    pub const ECHO_REQUEST: u8 = 8;
    /// TTL (code 0) or reassembly time (code 1) ran out.
    pub const TIME_EXCEEDED: u8 = 11;
    /// A header field is wrong.
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Codes of [`icmp_type::DEST_UNREACHABLE`].
pub mod unreachable {
    /// No route to the network (Linux `ICMP_NET_UNREACH`).
    pub const NET: u8 = 0;
    /// The host does not answer (`ICMP_HOST_UNREACH`).
    pub const HOST: u8 = 1;
    /// Nobody speaks the protocol there (`ICMP_PROT_UNREACH`).
    pub const PROTOCOL: u8 = 2;
    /// Nobody listens on the port (`ICMP_PORT_UNREACH`).
    pub const PORT: u8 = 3;
    /// Too long for the next hop, and DF is set (`ICMP_FRAG_NEEDED`).
    pub const FRAG_NEEDED: u8 = 4;
    /// The source route failed (`ICMP_SR_FAILED`).
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    /// Destination network unknown (`ICMP_NET_UNKNOWN`).
    pub const NET_UNKNOWN: u8 = 6;
    /// Destination host unknown (`ICMP_HOST_UNKNOWN`).
    pub const HOST_UNKNOWN: u8 = 7;
    /// Source host isolated (`ICMP_HOST_ISOLATED`).
    pub const HOST_ISOLATED: u8 = 8;
    /// Network administratively prohibited (`ICMP_NET_ANO`).
    pub const NET_PROHIBITED: u8 = 9;
    /// Host administratively prohibited (`ICMP_HOST_ANO`).
    pub const HOST_PROHIBITED: u8 = 10;
    /// Network unreachable for this type of service (`ICMP_NET_UNR_TOS`).
    pub const NET_TOS: u8 = 11;
    /// Host unreachable for this type of service (`ICMP_HOST_UNR_TOS`).
    pub const HOST_TOS: u8 = 12;
    /// A packet filter refused it (`ICMP_PKT_FILTERED`).
    pub const FILTERED: u8 = 13;
    /// Host precedence violation (`ICMP_PREC_VIOLATION`).
    pub const PRECEDENCE_VIOLATION: u8 = 14;
    /// Precedence cutoff in effect (`ICMP_PREC_CUTOFF`).
    pub const PRECEDENCE_CUTOFF: u8 = 15;
}

/// A received message.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv4View<'a> {
    header: &'a [u8; HEADER_LEN],
    message: &'a [u8],
}

impl<'a> Icmpv4View<'a> {
    /// Reads the payload of an IPv4 packet. The checksum is not looked at ([`Icmpv4View::checksum_ok`]).
    /// Errors: [`Malformed::Truncated`].
    #[inline]
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let header = message.first_chunk().ok_or(Malformed::Truncated)?;
        Ok(Self { header, message })
    }

    /// Message type, see [`icmp_type`].
    #[inline]
    pub const fn ty(&self) -> u8 {
        self.header[0]
    }

    /// Code within the type.
    #[inline]
    pub const fn code(&self) -> u8 {
        self.header[1]
    }

    /// The checksum field, host order.
    #[inline]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// The checksum over the whole message is right.
    #[inline]
    pub fn checksum_ok(&self) -> bool {
        Sum::ZERO.add_bytes(self.message).fold() == 0xffff
    }

    /// The four bytes behind the checksum.
    #[inline]
    pub const fn rest(&self) -> [u8; 4] {
        let h = self.header;
        [h[4], h[5], h[6], h[7]]
    }

    /// Identifier of an echo request or reply.
    #[inline]
    pub const fn ident(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    /// Sequence number of an echo request or reply.
    #[inline]
    pub const fn seq(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }

    /// MTU of the next hop in bytes, in [`unreachable::FRAG_NEEDED`] (RFC 1191); 0 from routers older than that.
    #[inline]
    pub const fn mtu(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }

    /// What follows the header: echo data, or the start of the packet that an error is about.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.message[HEADER_LEN..]
    }
}

/// Writes a message with its checksum into the front of `buf` and returns its length in bytes.
///
/// # Panics
/// When `buf` is shorter than [`HEADER_LEN`] and the payload.
#[inline]
pub fn emit(buf: &mut [u8], ty: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> usize {
    let len = HEADER_LEN + payload.len();
    let message = &mut buf[..len];
    message[0] = ty;
    message[1] = code;
    message[2..4].fill(0);
    message[4..8].copy_from_slice(&rest);
    message[HEADER_LEN..].copy_from_slice(payload);
    let csum = Sum::ZERO.add_bytes(message).finish();
    message[2..4].copy_from_slice(&csum.to_be_bytes());
    len
}
