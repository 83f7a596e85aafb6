//! Ethernet II framing. Linux: `struct ethhdr`, `eth_type_trans`, `eth_header`.

use crate::mac::MacAddr;
use crate::malformed::Malformed;
use core::fmt;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 14;

/// What the payload is, host order. Values below 1536 are 802.3 lengths; the stack takes no such frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag, see [`crate::vlan`].
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// A received Ethernet frame, without FCS.
#[derive(Clone, Copy, Debug)]
pub struct EthernetView<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> EthernetView<'a> {
    /// Reads a frame. Errors: [`Malformed::Truncated`].
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (header, payload) = frame.split_first_chunk().ok_or(Malformed::Truncated)?;
        Ok(Self { header, payload })
    }

    /// Destination address.
    #[inline]
    pub const fn dst(&self) -> MacAddr {
        let h = self.header;
        MacAddr([h[0], h[1], h[2], h[3], h[4], h[5]])
    }

    /// Source address.
    #[inline]
    pub const fn src(&self) -> MacAddr {
        let h = self.header;
        MacAddr([h[6], h[7], h[8], h[9], h[10], h[11]])
    }

    /// Type of the payload.
    #[inline]
    pub const fn ethertype(&self) -> EtherType {
        EtherType(u16::from_be_bytes([self.header[12], self.header[13]]))
    }

    /// What follows the header, padding of short frames included.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Writes a header into the front of `buf` and returns [`HEADER_LEN`].
///
/// # Panics
/// When `buf` is shorter than [`HEADER_LEN`].
#[inline]
pub fn emit(buf: &mut [u8], dst: MacAddr, src: MacAddr, ty: EtherType) -> usize {
    let buf = &mut buf[..HEADER_LEN];
    buf[0..6].copy_from_slice(&dst.0);
    buf[6..12].copy_from_slice(&src.0);
    buf[12..14].copy_from_slice(&ty.0.to_be_bytes());
    HEADER_LEN
}
