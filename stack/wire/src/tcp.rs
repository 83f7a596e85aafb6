//! The TCP header (RFC 9293 §3.1). Linux: `struct tcphdr`, the header checks of `tcp_v4_rcv`.

mod flags;
pub mod options;

pub use flags::TcpFlags;
pub use options::{
    OptionsBuf, SackBlock, SackBlocks, TcpOptions, Timestamps, parse_aligned_timestamp,
    write_established, write_syn,
};

use crate::checksum::pseudo_header_v4;
use crate::ipv4::protocol;
use crate::malformed::Malformed;
use crate::seq::SeqNum;
use core::ops::Range;
use std::net::Ipv4Addr;

/// Length of a header without options, in bytes.
pub const MIN_HEADER_LEN: usize = 20;

/// Most option bytes that the data offset can express.
pub const MAX_OPTIONS_LEN: usize = 40;
/// Length of a header with as many options as there can be.
pub const MAX_HEADER_LEN: usize = MIN_HEADER_LEN + MAX_OPTIONS_LEN;

/// Where the checksum stands in the header.
const CHECKSUM: Range<usize> = 16..18;

/// A received segment.
#[derive(Clone, Copy, Debug)]
pub struct TcpView<'a> {
    fixed: &'a [u8; MIN_HEADER_LEN],
    segment: &'a [u8],
    header_len: usize,
}

impl<'a> TcpView<'a> {
    /// Reads the payload of an IP packet, which must end where the segment ends. The checksum is not looked at
    /// ([`TcpView::checksum_ok`]).
    ///
    /// Errors: [`Malformed::Truncated`] (shorter than its header), [`Malformed::HeaderLength`] (data offset
    /// below 5 words).
    #[inline]
    pub fn parse(segment: &'a [u8]) -> Result<Self, Malformed> {
        let fixed: &[u8; MIN_HEADER_LEN] = segment.first_chunk().ok_or(Malformed::Truncated)?;
        let header_len = usize::from(fixed[12] >> 4) * 4;
        if header_len < MIN_HEADER_LEN {
            return Err(Malformed::HeaderLength);
        }
        if header_len > segment.len() {
            return Err(Malformed::Truncated);
        }
        Ok(Self {
            fixed,
            segment,
            header_len,
        })
    }

    #[inline]
    const fn u16_at(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.fixed[at], self.fixed[at + 1]])
    }

    #[inline]
    const fn u32_at(&self, at: usize) -> u32 {
        let h = self.fixed;
        u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]])
    }

    /// Source port.
    #[inline]
    pub const fn src_port(&self) -> u16 {
        self.u16_at(0)
    }

    /// Destination port.
    #[inline]
    pub const fn dst_port(&self) -> u16 {
        self.u16_at(2)
    }

    /// Sequence number (SEG.SEQ).
    #[inline]
    pub const fn seq(&self) -> SeqNum {
        SeqNum::new(self.u32_at(4))
    }

    /// Acknowledgement number (SEG.ACK); of no meaning without [`TcpFlags::ACK`].
    #[inline]
    pub const fn ack(&self) -> SeqNum {
        SeqNum::new(self.u32_at(8))
    }

    /// Length of the header with options, 20..=60 bytes.
    #[inline]
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// The eight flags.
    #[inline]
    pub const fn flags(&self) -> TcpFlags {
        TcpFlags(self.fixed[13])
    }

    /// The AE bit of accurate ECN, formerly NS (RFC 9768).
    #[inline]
    pub const fn ae(&self) -> bool {
        self.fixed[12] & 1 != 0
    }

    /// The three reserved bits between data offset and AE, 0..=7.
    #[inline]
    pub const fn reserved(&self) -> u8 {
        (self.fixed[12] >> 1) & 7
    }

    /// The window field, not scaled.
    #[inline]
    pub const fn window(&self) -> u16 {
        self.u16_at(14)
    }

    /// The checksum field, host order.
    #[inline]
    pub const fn checksum(&self) -> u16 {
        self.u16_at(16)
    }

    /// The checksum is right for these addresses. A segment longer than 65535 bytes has none.
    #[inline]
    pub fn checksum_ok(&self, src: Ipv4Addr, dst: Ipv4Addr) -> bool {
        u16::try_from(self.segment.len()).is_ok_and(|len| {
            pseudo_header_v4(src, dst, protocol::TCP, len)
                .add_bytes(self.segment)
                .fold()
                == 0xffff
        })
    }

    /// The urgent pointer; of no meaning without [`TcpFlags::URG`].
    #[inline]
    pub const fn urgent(&self) -> u16 {
        self.u16_at(18)
    }

    /// The option bytes, 0..=40, for [`TcpOptions::parse`].
    #[inline]
    pub fn options(&self) -> &'a [u8] {
        &self.segment[MIN_HEADER_LEN..self.header_len]
    }

    /// The data.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.segment[self.header_len..]
    }
}

/// A header to be sent. Its options are written apart, see [`OptionsBuf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgement number; 0 without [`TcpFlags::ACK`].
    pub ack: SeqNum,
    /// Flags.
    pub flags: TcpFlags,
    /// Window as it goes on the wire, that is already scaled down.
    pub window: u16,
    /// Urgent pointer; 0 without [`TcpFlags::URG`].
    pub urgent: u16,
}

impl TcpHeader {
    /// Writes header and options into the front of `buf` and returns their length in bytes. The checksum field
    /// is zero: [`fill_checksum`] follows once the payload stands behind. The length of `options` is a multiple
    /// of 4 and at most [`MAX_OPTIONS_LEN`].
    ///
    /// # Panics
    /// When `buf` is shorter than header and options.
    #[inline]
    pub fn emit(&self, buf: &mut [u8], options: &[u8]) -> usize {
        debug_assert!(options.len() <= MAX_OPTIONS_LEN && options.len().is_multiple_of(4));
        let header_len = MIN_HEADER_LEN + options.len();
        let header = &mut buf[..header_len];
        header[..MIN_HEADER_LEN].copy_from_slice(&self.fixed(header_len));
        header[MIN_HEADER_LEN..].copy_from_slice(options);
        header_len
    }

    /// [`emit`](Self::emit) where there is room for the longest header; behind the options stand zeros.
    #[inline]
    pub fn emit_padded(&self, buf: &mut [u8; MAX_HEADER_LEN], options: &OptionsBuf) -> usize {
        let header_len = MIN_HEADER_LEN + options.len();
        buf[..MIN_HEADER_LEN].copy_from_slice(&self.fixed(header_len));
        buf[MIN_HEADER_LEN..].copy_from_slice(options.padded());
        header_len
    }

    /// The header without options.
    #[inline]
    fn fixed(&self, header_len: usize) -> [u8; MIN_HEADER_LEN] {
        let Self {
            src_port,
            dst_port,
            seq,
            ack,
            flags,
            window,
            urgent,
        } = *self;
        let [window_high, window_low] = window.to_be_bytes();
        let offset = (header_len as u8 / 4) << 4;
        let ports = u32::from(src_port) << 16 | u32::from(dst_port);
        let control = u32::from_be_bytes([offset, flags.0, window_high, window_low]);
        let mut header = [0; MIN_HEADER_LEN];
        // Stored in words of eight bytes, as the checksum will load them: narrower stores could not be forwarded
        // to its loads.
        header[0..8].copy_from_slice(&join(ports, seq.raw()).to_be_bytes());
        header[8..16].copy_from_slice(&join(ack.raw(), control).to_be_bytes());
        header[16..20].copy_from_slice(&u32::from(urgent).to_be_bytes());
        header
    }
}

#[inline]
const fn join(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

/// Computes the checksum of a complete segment (header, options and payload, at most 65515 bytes) and writes it
/// into the header.
///
/// # Panics
/// When `segment` is shorter than [`MIN_HEADER_LEN`].
#[inline]
pub fn fill_checksum(segment: &mut [u8], src: Ipv4Addr, dst: Ipv4Addr) {
    debug_assert!(segment.len() <= usize::from(u16::MAX));
    let (before, behind) = (&segment[..CHECKSUM.start], &segment[CHECKSUM.end..]);
    let (urgent, behind) = behind.split_at(2);
    // The field itself is left out rather than zeroed first: a load that spans a store just made would stall.
    let sum = pseudo_header_v4(src, dst, protocol::TCP, segment.len() as u16)
        .add_bytes(before)
        .add_bytes(urgent)
        .add_bytes(behind);
    segment[CHECKSUM].copy_from_slice(&sum.finish().to_be_bytes());
}
