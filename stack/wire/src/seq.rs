//! TCP sequence numbers (RFC 9293 §3.4): a circle of 2³² positions.
//!
//! `SeqNum` has no `PartialOrd`: on a circle "less than" is only meaningful within half the space, so the
//! comparisons are named and say so. Distances are signed ([`SeqNum::diff`]) or known to be forward
//! ([`SeqNum::bytes_since`]).

#[cfg(test)]
mod tests;

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A TCP sequence or acknowledgement number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNum(u32);

impl SeqNum {
    /// The sequence number with this value on the wire.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The value on the wire.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Signed distance from `other` to `self`: positive when `self` is ahead (Linux `(s32)(a - b)`).
    pub const fn diff(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// Octets from `earlier` up to `self`, modulo 2³². The caller knows that `self` is not before `earlier`.
    pub const fn bytes_since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// `self` comes before `other` (Linux `before`).
    pub const fn before(self, other: Self) -> bool {
        self.diff(other) < 0
    }

    /// `self` comes after `other` (Linux `after`).
    pub const fn after(self, other: Self) -> bool {
        self.diff(other) > 0
    }

    /// `self` is `other` or before it.
    pub const fn at_or_before(self, other: Self) -> bool {
        self.diff(other) <= 0
    }

    /// `self` is `other` or after it.
    pub const fn at_or_after(self, other: Self) -> bool {
        self.diff(other) >= 0
    }

    /// `self` lies in `[start, end]`, both included (Linux `between`).
    pub const fn within(self, start: Self, end: Self) -> bool {
        end.bytes_since(start) >= self.bytes_since(start)
    }

    /// The later of two positions.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.after(other) { self } else { other }
    }

    /// The earlier of two positions.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;
    fn add(self, rhs: u32) -> Self {
        Self(self.0.wrapping_add(rhs))
    }
}

impl AddAssign<u32> for SeqNum {
    fn add_assign(&mut self, rhs: u32) {
        *self = *self + rhs;
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;
    fn sub(self, rhs: u32) -> Self {
        Self(self.0.wrapping_sub(rhs))
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
