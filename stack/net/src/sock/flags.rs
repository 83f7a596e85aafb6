//! Flags of send and recv.

use core::ops::BitOr;

/// `MSG_*` flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MsgFlags(u8);

impl MsgFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Read without taking (`MSG_PEEK`).
    pub const PEEK: Self = Self(1);
    /// Never park, whatever the socket says (`MSG_DONTWAIT`).
    pub const DONTWAIT: Self = Self(2);
    /// More follows: hold a partial segment back (`MSG_MORE`).
    pub const MORE: Self = Self(4);
    /// Wait until the whole buffer is full (`MSG_WAITALL`).
    pub const WAITALL: Self = Self(8);
    /// Take octets without copying them (`MSG_TRUNC`).
    pub const TRUNC: Self = Self(16);

    /// All flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for MsgFlags {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}
