//! UDP over IPv4 (RFC 768). Linux: `struct udphdr`, the checks of `__udp4_lib_rcv`.

use crate::checksum::pseudo_header_v4;
use crate::ipv4::protocol;
use crate::malformed::Malformed;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// A received datagram, cut to its length field.
#[derive(Clone, Copy, Debug)]
pub struct UdpView<'a> {
    header: &'a [u8; HEADER_LEN],
    datagram: &'a [u8],
}

impl<'a> UdpView<'a> {
    /// Reads the payload of an IPv4 packet; bytes behind the length field are cut off. The checksum is not
    /// looked at ([`UdpView::checksum_ok`]).
    ///
    /// Errors: [`Malformed::Truncated`] (shorter than the header or than the length field),
    /// [`Malformed::TotalLength`] (length field below 8).
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if len < HEADER_LEN {
            return Err(Malformed::TotalLength);
        }
        let datagram = bytes.get(..len).ok_or(Malformed::Truncated)?;
        Ok(Self { header, datagram })
    }

    /// Source port; 0 when the sender expects no answer.
    #[inline]
    pub const fn src_port(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// Destination port.
    #[inline]
    pub const fn dst_port(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Length of header and payload in bytes, 8..=65535.
    #[inline]
    pub const fn len(&self) -> usize {
        self.datagram.len()
    }

    /// The datagram carries no payload.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.datagram.len() == HEADER_LEN
    }

    /// The checksum field, host order; 0 means that the sender computed none.
    #[inline]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }

    /// The checksum is right for these addresses, or was not computed by the sender.
    #[inline]
    pub fn checksum_ok(&self, src: Ipv4Addr, dst: Ipv4Addr) -> bool {
        // The length field is 16 bits wide, and the datagram is cut to it.
        let len = self.datagram.len() as u16;
        self.checksum() == 0
            || pseudo_header_v4(src, dst, protocol::UDP, len)
                .add_bytes(self.datagram)
                .fold()
                == 0xffff
    }

    /// The data.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.datagram[HEADER_LEN..]
    }
}

/// Writes a datagram with its checksum into the front of `buf` and returns its length in bytes. The payload is
/// at most 65507 bytes long, what fits an IPv4 packet.
///
/// # Panics
/// When `buf` is shorter than [`HEADER_LEN`] and the payload.
#[inline]
pub fn emit(buf: &mut [u8], src: SocketAddrV4, dst: SocketAddrV4, payload: &[u8]) -> usize {
    let len = HEADER_LEN + payload.len();
    debug_assert!(len <= usize::from(u16::MAX));
    let datagram = &mut buf[..len];
    datagram[0..2].copy_from_slice(&src.port().to_be_bytes());
    datagram[2..4].copy_from_slice(&dst.port().to_be_bytes());
    datagram[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    datagram[6..8].fill(0);
    datagram[HEADER_LEN..].copy_from_slice(payload);
    let sum = pseudo_header_v4(*src.ip(), *dst.ip(), protocol::UDP, len as u16).add_bytes(datagram);
    // Zero would mean "no checksum"; 0xffff is the other zero of one's complement.
    let csum = match sum.finish() {
        0 => 0xffff,
        csum => csum,
    };
    datagram[6..8].copy_from_slice(&csum.to_be_bytes());
    len
}
