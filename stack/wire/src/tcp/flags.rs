//! The flags octet of the TCP header.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

/// A set of TCP flags, with the bits where they stand in octet 13 of the header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push to the application.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Every flag of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// At least one flag of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flags that are not in `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The flags of both; [`BitOr`] for constants.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// No flag is set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    #[inline]
    fn bitor(self, rhs: Self) -> Self {
        self.union(rhs)
    }
}

impl BitOrAssign for TcpFlags {
    #[inline]
    fn bitor_assign(&mut self, rhs: Self) {
        *self = *self | rhs;
    }
}

/// Letters as in tcpdump (`S.` is SYN ACK), `-` for none.
impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        // From bit 0 up: FIN SYN RST PSH ACK URG ECE CWR.
        for (bit, letter) in "FSRP.UEW".chars().enumerate() {
            if self.0 & (1 << bit) != 0 {
                fmt::Write::write_char(f, letter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
        assert!(syn_ack.contains(TcpFlags::SYN) && !TcpFlags::SYN.contains(syn_ack));
        assert!(syn_ack.intersects(TcpFlags::ACK | TcpFlags::RST));
        assert!(!syn_ack.intersects(TcpFlags::RST));
        assert_eq!(
            syn_ack.without(TcpFlags::ACK | TcpFlags::FIN),
            TcpFlags::SYN
        );
        assert!(syn_ack.without(syn_ack).is_empty());
    }

    #[test]
    fn letters() {
        assert_eq!(format!("{:?}", TcpFlags::SYN | TcpFlags::ACK), "S.");
        assert_eq!(format!("{:?}", TcpFlags(0xff)), "FSRP.UEW");
        assert_eq!(format!("{:?}", TcpFlags::NONE), "-");
    }
}
