//! Options that Linux's TCP over IPv4 keeps for `getsockopt` and does not act on, or acts on only in parts of a system
//! that a stack does not have: routing rules and filters (SO_MARK), bands of a queue (SO_PRIORITY), busy polling.

use crate::sock::error::SockError;

/// The options; all have the value 0 at first but [`Kept::TxRehash`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// SO_DEBUG.
    Debug,
    /// SO_BROADCAST.
    Broadcast,
    /// SO_NO_CHECK.
    NoCheck,
    /// SO_RXQ_OVFL.
    RxqOvfl,
    /// SO_WIFI_STATUS.
    WifiStatus,
    /// SO_NOFCS.
    NoFcs,
    /// SO_PREFER_BUSY_POLL.
    PreferBusyPoll,
    /// SO_RCVMARK.
    RcvMark,
    /// SO_RCVPRIORITY.
    RcvPriority,
    /// SO_TXREHASH, 0 or 1; -1 is 1.
    TxRehash,
    /// IP_RECVOPTS.
    RecvOpts,
    /// IP_RETOPTS.
    RetOpts,
    /// IP_PKTINFO.
    PktInfo,
    /// IP_RECVTTL.
    RecvTtl,
    /// IP_RECVTOS.
    RecvTos,
    /// IP_PASSSEC.
    PassSec,
    /// IP_RECVORIGDSTADDR.
    RecvOrigDstAddr,
    /// IP_CHECKSUM.
    Checksum,
    /// SO_PRIORITY; IP_TOS sets it too.
    Priority,
    /// SO_MARK.
    Mark,
    /// SO_BUSY_POLL, microseconds, not negative.
    BusyPoll,
    /// SO_BSDCOMPAT: any value is taken; always 0.
    BsdCompat,
    /// TCP_THIN_DUPACK: 0 or 1 is taken; always 0.
    ThinDupack,
    /// IP_HDRINCL, which is for raw sockets: 0.
    HdrIncl,
    /// IP_NODEFRAG, likewise.
    NoDefrag,
}

/// The values of one socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeptValues {
    /// A bit per option up to [`Kept::Checksum`].
    bits: u32,
    priority: i32,
    mark: i32,
    busy_poll: i32,
}

impl Default for KeptValues {
    fn default() -> Self {
        Self {
            bits: 1 << Kept::TxRehash as u32,
            priority: 0,
            mark: 0,
            busy_poll: 0,
        }
    }
}

impl KeptValues {
    pub(crate) fn get(&self, option: Kept) -> i32 {
        match option {
            Kept::Priority => self.priority,
            Kept::Mark => self.mark,
            Kept::BusyPoll => self.busy_poll,
            Kept::BsdCompat | Kept::ThinDupack | Kept::HdrIncl | Kept::NoDefrag => 0,
            bit => i32::from(self.bits & 1 << bit as u32 != 0),
        }
    }

    /// EINVAL for a value out of range.
    pub(crate) fn set(&mut self, option: Kept, value: i32) -> Result<(), SockError> {
        match option {
            Kept::Priority => self.priority = value,
            Kept::Mark => self.mark = value,
            Kept::BusyPoll if value < 0 => return Err(SockError::Invalid),
            Kept::BusyPoll => self.busy_poll = value,
            Kept::TxRehash if !(-1..=1).contains(&value) => return Err(SockError::Invalid),
            Kept::ThinDupack if !(0..=1).contains(&value) => return Err(SockError::Invalid),
            Kept::HdrIncl | Kept::NoDefrag => return Err(SockError::NoProtoOpt),
            Kept::BsdCompat | Kept::ThinDupack => {}
            bit => {
                let mask = 1 << bit as u32;
                self.bits = if value == 0 {
                    self.bits & !mask
                } else {
                    self.bits | mask
                };
            }
        }
        Ok(())
    }

    /// IP_TOS chooses a priority (Linux `rt_tos2priority`).
    pub(crate) fn follow_tos(&mut self, tos: u8) {
        self.priority = match tos >> 3 & 3 {
            0 => 0,
            1 => 2,
            2 => 6,
            _ => 4,
        };
    }

    /// What an accepted socket gets: its priority is its own.
    pub(crate) fn inherited(self) -> Self {
        Self {
            priority: 0,
            ..self
        }
    }
}
