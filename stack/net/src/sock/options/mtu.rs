//! IP_MTU_DISCOVER: whether routers may cut our packets, and whether what they say about the path's MTU is heeded at once.

use crate::sock::error::SockError;

/// `IP_PMTUDISC_DONT`, `WANT`, `DO`, `INTERFACE`; 3 is `PROBE`, and 5, the last one, is `OMIT`.
const DONT: u8 = 0;
const WANT: u8 = 1;
const DO: u8 = 2;
const INTERFACE: u8 = 4;
const LAST: u8 = 5;

/// A value of the option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MtuDiscover(u8);

impl Default for MtuDiscover {
    fn default() -> Self {
        Self(WANT)
    }
}

impl MtuDiscover {
    /// EINVAL for a value that there is not.
    pub(crate) fn new(value: u8) -> Result<Self, SockError> {
        if value <= LAST {
            Ok(Self(value))
        } else {
            Err(SockError::Invalid)
        }
    }

    pub(crate) const fn value(self) -> u8 {
        self.0
    }

    /// Packets go without "don't fragment" (Linux `ip_dont_fragment`; TCP does not set it for PROBE either).
    pub(crate) const fn may_fragment(self) -> bool {
        !matches!(self.0, WANT | DO)
    }

    /// "Fragmentation needed" has what was too large sent again at once (Linux `tcp_v4_mtu_reduced`); otherwise only
    /// what follows is smaller, and the rest waits for its timer.
    pub(crate) const fn resends_at_once(self) -> bool {
        self.0 != DONT && self.0 < INTERFACE
    }
}
