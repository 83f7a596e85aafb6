//! The TIME_WAIT mini-socket (Linux `tcp_timewait_sock`); it also stands in for orphans in FIN_WAIT2.

use crate::sock::bhash::{Claim, Traits};
use crate::tcp::demux::Tuple;
use crate::wheel::TimerEntry;
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;

/// Which of the two states it stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Substate {
    /// An orphan that waits for the peer's FIN.
    FinWait2,
    /// 2 MSL after the end.
    TimeWait,
}

/// See the module.
pub(crate) struct TimeWait {
    pub tuple: Tuple,
    pub hash: u32,
    pub rcv_nxt: SeqNum,
    pub snd_nxt: SeqNum,
    /// Window as advertised last, scaled down.
    pub rcv_wnd: u16,
    pub substate: Substate,
    pub rcv_wscale: u8,
    /// Timestamps agreed, and their state.
    pub ts_ok: bool,
    pub ts_recent: u32,
    /// Seconds.
    pub ts_recent_stamp: u32,
    pub ts_offset: u32,
    /// The options of the connection's claim on its port.
    pub traits: Traits,
    /// When it ends, ms.
    pub deadline_ms: u64,
    pub wheel: TimerEntry,
    /// Interface rate limit for answers: ms, low 32 bits, of the last one.
    pub last_oow_ack: u32,
}

impl TimeWait {
    /// The claim on its port.
    pub(crate) fn claim(&self) -> Claim {
        Claim {
            addr: self.tuple.local,
            traits: self.traits,
        }
    }

    /// When it ends.
    pub(crate) fn ends_at(&self) -> Instant {
        Instant::from_nanos(self.deadline_ms * 1_000_000)
    }
}

const _: () = assert!(size_of::<Option<TimeWait>>() <= 64);
