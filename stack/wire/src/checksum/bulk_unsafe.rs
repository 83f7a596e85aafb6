//! Sums of long inputs, and the only place of the crate that asks what the CPU can do.
//!
//! The AVX2 version is the portable loop compiled with AVX2 allowed: the compiler vectorises it, so there is
//! one algorithm and no intrinsic. The single `unsafe` is the call across the feature boundary.

use super::{add_with_carry, sum_tail};

/// The words of `bytes` summed modulo 2⁶⁴ − 1.
pub(super) fn sum_bulk(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: `sum_avx2` is a safe function except that the CPU must have AVX2, which was just checked.
        return unsafe { sum_avx2(bytes) };
    }
    sum_portable(bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(bytes: &[u8]) -> u64 {
    sum_portable(bytes)
}

/// Widens 32-bit words into 64-bit lanes, so that no carry is lost: the sum would overflow after 16 GiB only.
#[inline(always)]
fn sum_portable(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<4>();
    let words: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    add_with_carry(words, sum_tail(tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::{Sum, sum_scalar};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dispatched_portable_and_scalar_agree(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let scalar = Sum(sum_scalar(&bytes)).fold();
            prop_assert_eq!(Sum(sum_portable(&bytes)).fold(), scalar);
            prop_assert_eq!(Sum(sum_bulk(&bytes)).fold(), scalar);
        }
    }
}
