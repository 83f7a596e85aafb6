//! The Internet checksum (RFC 1071), its pseudo-header, and its incremental update (RFC 1624).
//!
//! Sums are taken over native-endian words: one's-complement addition commutes with swapping the octets of
//! every word, so one swap at the end replaces one per word. Short pieces (headers, pure ACKs) are
//! summed inline; longer ones go through the one dispatch point of the crate, which picks AVX2 when the CPU has it.
//!
//! Linux: `csum_partial`, `csum_fold`, `csum_tcpudp_nofold`, `csum_replace2`.

#[allow(unsafe_code)]
mod bulk_unsafe;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

/// Longest input that is summed without asking what the CPU can do.
const SMALL: usize = 128;

/// A running one's-complement sum that is not folded yet (Linux `__wsum`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Nothing summed yet.
    pub const ZERO: Self = Self(0);

    /// Adds bytes as they stand in the packet. An odd last byte is padded with a zero, which is right for the
    /// last piece of a packet only: every piece before it must have an even length.
    #[inline]
    #[must_use]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        self.add_words(if bytes.len() <= SMALL {
            sum_scalar(bytes)
        } else {
            bulk_unsafe::sum_bulk(bytes)
        })
    }

    /// Adds a 16-bit field, given in host order.
    #[inline]
    #[must_use]
    pub const fn add_u16(self, value: u16) -> Self {
        self.add_words(value.to_be() as u64)
    }

    /// Adds a 32-bit field, given in host order.
    #[inline]
    #[must_use]
    pub const fn add_u32(self, value: u32) -> Self {
        self.add_words(value.to_be() as u64)
    }

    /// The sum in 16 bits, host order, not complemented. Over data that includes its own correct checksum this
    /// is `0xffff`. What a device wants in the checksum field for transmit offload is the fold of the
    /// pseudo-header.
    #[inline]
    #[must_use]
    pub const fn fold(self) -> u16 {
        u16::from_be(fold_to_u16(self.0))
    }

    /// The checksum: folded and complemented, host order, to be stored big-endian.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }

    #[inline]
    const fn add_words(self, words: u64) -> Self {
        Self(add_with_carry(self.0, words))
    }
}

/// The checksum of one contiguous piece, host order.
#[inline]
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::ZERO.add_bytes(bytes).finish()
}

/// The sum of the IPv4 pseudo-header (RFC 9293 §3.1, RFC 768). `len` is the length in bytes of the transport
/// header and its payload.
#[inline]
#[must_use]
pub fn pseudo_header_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> Sum {
    Sum::ZERO
        .add_u32(src.to_bits())
        .add_u32(dst.to_bits())
        .add_u16(u16::from(protocol))
        .add_u16(len)
}

/// `csum` after a 16-bit field it covers changed from `old` to `new`, all in host order (RFC 1624 eqn. 3). The
/// field must stand at an even offset.
#[inline]
#[must_use]
pub const fn update_u16(csum: u16, old: u16, new: u16) -> u16 {
    !fold_to_u16((!csum) as u64 + (!old) as u64 + new as u64)
}

/// [`update_u16`] for a 32-bit field (an address).
#[inline]
#[must_use]
pub const fn update_u32(csum: u16, old: u32, new: u32) -> u16 {
    !fold_to_u16((!csum) as u64 + (!old) as u64 + new as u64)
}

/// Addition modulo 2⁶⁴ − 1, which 2¹⁶ − 1 divides.
#[inline]
const fn add_with_carry(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

#[inline]
const fn fold_to_u16(sum: u64) -> u16 {
    // The halves added with the carry brought round, twice.
    let (sum, carry) = ((sum >> 32) as u32).overflowing_add(sum as u32);
    let sum = sum + carry as u32;
    let (sum, carry) = ((sum >> 16) as u16).overflowing_add(sum as u16);
    sum + carry as u16
}

/// Sums eight bytes at a time: add-with-carry, which the compiler neither vectorises nor needs a prologue for.
#[inline]
fn sum_scalar(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0, |sum, word| {
        add_with_carry(sum, u64::from_ne_bytes(*word))
    });
    add_with_carry(sum, sum_tail(rest))
}

/// The last 0..=7 bytes.
#[inline]
fn sum_tail(mut rest: &[u8]) -> u64 {
    let mut sum = 0;
    if let Some((word, behind)) = rest.split_first_chunk::<4>() {
        sum += u64::from(u32::from_ne_bytes(*word));
        rest = behind;
    }
    if let Some((word, behind)) = rest.split_first_chunk::<2>() {
        sum += u64::from(u16::from_ne_bytes(*word));
        rest = behind;
    }
    if let Some(&last) = rest.first() {
        sum += u64::from(u16::from_ne_bytes([last, 0]));
    }
    sum
}
