//! What poll and epoll report.

use core::ops::{BitOr, BitOrAssign};

/// Readiness bits, with the meaning of `EPOLL*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Bytes to read, end of stream, or a connection to accept.
    pub const IN: Self = Self(1);
    /// Room to write, or connect has ended.
    pub const OUT: Self = Self(2);
    /// An error waits.
    pub const ERR: Self = Self(4);
    /// Both directions are over.
    pub const HUP: Self = Self(8);
    /// The peer sends no more.
    pub const RDHUP: Self = Self(16);
    /// An urgent octet can be read (MSG_OOB).
    pub const PRI: Self = Self(32);
    /// The state changed: everything is to be looked at again (Linux `sk_state_change`). Told to watchers only.
    pub const CHANGE: Self = Self(128);

    /// All bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Some bit of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// No bit is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Readiness {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, rhs: Self) {
        self.0 |= rhs.0;
    }
}
