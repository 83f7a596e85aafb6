//! The IPv4 header (RFC 791). Linux: `struct iphdr`, the checks of `ip_rcv_core`.

use crate::checksum::Sum;
use crate::malformed::Malformed;
use std::net::Ipv4Addr;

/// Length of a header without options, in bytes.
pub const MIN_HEADER_LEN: usize = 20;

/// Protocol numbers (IANA).
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// A received packet, cut to its total length.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4View<'a> {
    fixed: &'a [u8; MIN_HEADER_LEN],
    header: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ipv4View<'a> {
    /// Reads a packet; bytes behind its total length are Ethernet padding and cut off. The header checksum is
    /// not looked at ([`Ipv4View::checksum_ok`]).
    ///
    /// Errors: [`Malformed::Truncated`] (shorter than the header or than the total length),
    /// [`Malformed::Version`], [`Malformed::HeaderLength`], [`Malformed::TotalLength`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed: &[u8; MIN_HEADER_LEN] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        if fixed[0] >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let header_len = usize::from(fixed[0] & 0x0f) * 4;
        if header_len < MIN_HEADER_LEN {
            return Err(Malformed::HeaderLength);
        }
        let total_len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if total_len < header_len {
            return Err(Malformed::TotalLength);
        }
        let packet = bytes.get(..total_len).ok_or(Malformed::Truncated)?;
        let (header, payload) = packet.split_at(header_len);
        Ok(Self {
            fixed,
            header,
            payload,
        })
    }

    #[inline]
    const fn u16_at(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.fixed[at], self.fixed[at + 1]])
    }

    /// Length of the header with options, 20..=60 bytes.
    #[inline]
    pub const fn header_len(&self) -> usize {
        self.header.len()
    }

    /// Length of header and payload in bytes.
    #[inline]
    pub const fn total_len(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    /// The former TOS octet: DSCP in the upper six bits, ECN in the lower two.
    #[inline]
    pub const fn tos(&self) -> u8 {
        self.fixed[1]
    }

    /// Identification, which fragments of one packet share.
    #[inline]
    pub const fn id(&self) -> u16 {
        self.u16_at(4)
    }

    /// The DF bit.
    #[inline]
    pub const fn dont_fragment(&self) -> bool {
        self.u16_at(6) & DONT_FRAGMENT != 0
    }

    /// The MF bit: this is a fragment and not the last one.
    #[inline]
    pub const fn more_fragments(&self) -> bool {
        self.u16_at(6) & MORE_FRAGMENTS != 0
    }

    /// Where the payload belongs in the unfragmented one, in bytes (a multiple of 8).
    #[inline]
    pub const fn fragment_offset(&self) -> usize {
        (self.u16_at(6) & OFFSET_MASK) as usize * 8
    }

    /// Time to live.
    #[inline]
    pub const fn ttl(&self) -> u8 {
        self.fixed[8]
    }

    /// Protocol of the payload, see [`protocol`].
    #[inline]
    pub const fn protocol(&self) -> u8 {
        self.fixed[9]
    }

    /// The checksum field, host order.
    #[inline]
    pub const fn checksum(&self) -> u16 {
        self.u16_at(10)
    }

    /// The header checksum, options included, is right.
    #[inline]
    pub fn checksum_ok(&self) -> bool {
        Sum::ZERO.add_bytes(self.header).fold() == 0xffff
    }

    /// Source address.
    #[inline]
    pub const fn src(&self) -> Ipv4Addr {
        let h = self.fixed;
        Ipv4Addr::new(h[12], h[13], h[14], h[15])
    }

    /// Destination address.
    #[inline]
    pub const fn dst(&self) -> Ipv4Addr {
        let h = self.fixed;
        Ipv4Addr::new(h[16], h[17], h[18], h[19])
    }

    /// The option bytes, 0..=40, not interpreted.
    #[inline]
    pub fn options(&self) -> &'a [u8] {
        &self.header[MIN_HEADER_LEN..]
    }

    /// The header with its options, as an ICMP error quotes it.
    #[inline]
    pub const fn header(&self) -> &'a [u8] {
        self.header
    }

    /// What follows the header, without link padding.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A header to be sent, without options and not a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Protocol of the payload, see [`protocol`].
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// DSCP (upper six bits) and ECN (lower two).
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// The DF bit.
    pub dont_fragment: bool,
}

impl Ipv4Header {
    /// Writes the header with its checksum for a payload of `payload_len` bytes (at most 65515) into the front
    /// of `buf` and returns [`MIN_HEADER_LEN`].
    ///
    /// # Panics
    /// When `buf` is shorter than [`MIN_HEADER_LEN`].
    #[inline]
    pub fn emit(&self, buf: &mut [u8], payload_len: u16) -> usize {
        let Self {
            src,
            dst,
            protocol,
            ttl,
            tos,
            id,
            dont_fragment,
        } = *self;
        debug_assert!(payload_len <= u16::MAX - MIN_HEADER_LEN as u16);
        let total_len = payload_len.saturating_add(MIN_HEADER_LEN as u16);
        let fragment = if dont_fragment { DONT_FRAGMENT } else { 0 };
        let first = u32::from_be_bytes([0x45, tos, (total_len >> 8) as u8, total_len as u8]);
        let second = u32::from(id) << 16 | u32::from(fragment);
        let third = u32::from_be_bytes([ttl, protocol, 0, 0]);
        // Summed from registers: reading back what was just written in pieces would stall.
        let csum = Sum::ZERO
            .add_u32(first)
            .add_u32(second)
            .add_u32(third)
            .add_u32(src.to_bits())
            .add_u32(dst.to_bits())
            .finish();
        let header = &mut buf[..MIN_HEADER_LEN];
        header[0..4].copy_from_slice(&first.to_be_bytes());
        header[4..8].copy_from_slice(&second.to_be_bytes());
        header[8..12].copy_from_slice(&(third | u32::from(csum)).to_be_bytes());
        header[12..16].copy_from_slice(&src.octets());
        header[16..20].copy_from_slice(&dst.octets());
        MIN_HEADER_LEN
    }
}
