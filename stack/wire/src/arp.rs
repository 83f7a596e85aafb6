//! ARP for IPv4 over Ethernet (RFC 826). Linux: `struct arphdr`, `arp_rcv`, `arp_create`.

use crate::ethernet::EtherType;
use crate::mac::MacAddr;
use crate::malformed::Malformed;
use std::net::Ipv4Addr;

/// Length of an Ethernet/IPv4 packet in bytes, link header not counted.
pub const PACKET_LEN: usize = 28;

const HARDWARE_ETHERNET: [u8; 2] = [0, 1];
const HARDWARE_ADDR_LEN: u8 = 6;
const PROTOCOL_ADDR_LEN: u8 = 4;

/// What the sender wants. Other operations (RARP, InARP) are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOp {
    /// Who has `tpa`?
    Request,
    /// `spa` is at `sha`.
    Reply,
}

/// A whole packet: small enough to be copied out of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// Operation.
    pub op: ArpOp,
    /// Sender hardware address.
    pub sha: MacAddr,
    /// Sender protocol address; 0.0.0.0 in a probe (RFC 5227).
    pub spa: Ipv4Addr,
    /// Target hardware address; of no meaning in a request.
    pub tha: MacAddr,
    /// Target protocol address.
    pub tpa: Ipv4Addr,
}

impl ArpPacket {
    /// Reads the payload of an ARP frame; bytes behind the packet are padding. Errors: too short
    /// ([`Malformed::Truncated`]), not Ethernet, not IPv4, neither request nor reply.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let p: &[u8; PACKET_LEN] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        if [p[0], p[1]] != HARDWARE_ETHERNET || p[4] != HARDWARE_ADDR_LEN {
            return Err(Malformed::HardwareType);
        }
        if [p[2], p[3]] != EtherType::IPV4.0.to_be_bytes() || p[5] != PROTOCOL_ADDR_LEN {
            return Err(Malformed::ProtocolType);
        }
        let op = match [p[6], p[7]] {
            [0, 1] => ArpOp::Request,
            [0, 2] => ArpOp::Reply,
            _ => return Err(Malformed::Operation),
        };
        Ok(Self {
            op,
            sha: MacAddr([p[8], p[9], p[10], p[11], p[12], p[13]]),
            spa: Ipv4Addr::new(p[14], p[15], p[16], p[17]),
            tha: MacAddr([p[18], p[19], p[20], p[21], p[22], p[23]]),
            tpa: Ipv4Addr::new(p[24], p[25], p[26], p[27]),
        })
    }

    /// Writes the packet into the front of `buf` and returns [`PACKET_LEN`].
    ///
    /// # Panics
    /// When `buf` is shorter than [`PACKET_LEN`].
    #[inline]
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let Self {
            op,
            sha,
            spa,
            tha,
            tpa,
        } = self;
        let buf = &mut buf[..PACKET_LEN];
        buf[0..2].copy_from_slice(&HARDWARE_ETHERNET);
        buf[2..4].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
        buf[4] = HARDWARE_ADDR_LEN;
        buf[5] = PROTOCOL_ADDR_LEN;
        buf[6] = 0;
        buf[7] = match op {
            ArpOp::Request => 1,
            ArpOp::Reply => 2,
        };
        buf[8..14].copy_from_slice(&sha.0);
        buf[14..18].copy_from_slice(&spa.octets());
        buf[18..24].copy_from_slice(&tha.0);
        buf[24..28].copy_from_slice(&tpa.octets());
        PACKET_LEN
    }
}
