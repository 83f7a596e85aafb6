//! The 802.1Q tag, which stands behind EtherType 0x8100. Linux: `struct vlan_hdr`.

use crate::ethernet::EtherType;
use crate::malformed::Malformed;

/// Length of the tag in bytes: control information and the EtherType of what follows.
pub const HEADER_LEN: usize = 4;

/// A received tag and what it wraps.
#[derive(Clone, Copy, Debug)]
pub struct VlanView<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> VlanView<'a> {
    /// Reads the bytes behind the 0x8100 EtherType. Errors: [`Malformed::Truncated`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        Ok(Self { header, payload })
    }

    /// VLAN identifier, 0..=4095. 0 means "priority only", 4095 is reserved.
    #[inline]
    pub const fn vid(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]]) & 0x0fff
    }

    /// Priority code point, 0..=7.
    #[inline]
    pub const fn pcp(&self) -> u8 {
        self.header[0] >> 5
    }

    /// Drop eligible indicator.
    #[inline]
    pub const fn dei(&self) -> bool {
        self.header[0] & 0x10 != 0
    }

    /// Type of the payload.
    #[inline]
    pub const fn ethertype(&self) -> EtherType {
        EtherType(u16::from_be_bytes([self.header[2], self.header[3]]))
    }

    /// What follows the tag.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Writes a tag into the front of `buf` and returns [`HEADER_LEN`]. Of `vid` the low 12 bits and of `pcp` the
/// low 3 are taken; the drop eligible indicator is clear.
///
/// # Panics
/// When `buf` is shorter than [`HEADER_LEN`].
#[inline]
pub fn emit(buf: &mut [u8], vid: u16, pcp: u8, inner: EtherType) -> usize {
    let tci = u16::from(pcp & 7) << 13 | (vid & 0x0fff);
    let buf = &mut buf[..HEADER_LEN];
    buf[0..2].copy_from_slice(&tci.to_be_bytes());
    buf[2..4].copy_from_slice(&inner.0.to_be_bytes());
    HEADER_LEN
}
