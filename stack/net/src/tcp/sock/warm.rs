//! What a connection touches per round trip, per loss or per timer, but not per segment.

use crate::dst::Dst;
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::readiness::Readiness;
use crate::tcp::chrono::Chrono;
use crate::tcp::input::ofo::Ofo;
use crate::tcp::rate::Rate;
use crate::tcp::recovery::machine::Recovery;
use crate::tcp::rtt::Rtt;
use crate::tcp::sock::counts::Counts;
use crate::tcp::sock::timewait::Substate;
use crate::tcp::timer::Timers;
use crate::wheel::TimerEntry;
use millrace_wire::seq::SeqNum;

/// See the module.
pub(crate) struct Warm {
    pub id: SockId,
    /// The ehash value of the tuple.
    pub hash: u32,
    /// Initial send sequence number.
    pub iss: SeqNum,
    /// Initial receive sequence number.
    pub irs: SeqNum,
    pub timers: Timers,
    pub wheel: TimerEntry,
    pub rtt: Rtt,
    pub recovery: Recovery,
    pub ofo: Ofo,
    /// Where packets of this connection go, cached.
    pub dst: Dst,
    /// What the application has not been told yet.
    pub pending: Readiness,
    /// Stands in the event queue.
    pub event_queued: bool,
    /// The application met a full send ring and wants to hear of room.
    pub no_space: bool,
    /// Octets lent to a service in this poll: received, in order, not yet in the ring.
    pub lent: u32,
    /// Receive buffer limit, octets of window.
    pub rcvbuf: u32,
    /// The mini-socket that takes this one's place, and for how long, ms.
    pub leaving: Option<(Substate, u64)>,
    /// The tuple is in the ehash.
    pub hashed: bool,
    /// The peer's FIN was received (Linux `SOCK_DONE`).
    pub fin_received: bool,
    /// Somebody has read to it.
    pub fin_read: bool,
    /// Pending SO_ERROR.
    pub err: Option<SockError>,
    /// Times that our SYN or SYN-ACK timed out.
    pub syn_timeouts: u8,
    /// Counts among the orphans.
    pub counted_orphan: bool,
    /// When progress last confirmed the neighbour, seconds.
    pub confirmed: u32,
    /// `snd_nxt` when `cwnd_limited` was last decided.
    pub cwnd_usage_seq: SeqNum,
    /// Largest payload the peer accepts.
    pub mss_clamp: u16,
    /// MSS that we advertised.
    pub advmss: u16,
    /// Value that the owner attached.
    pub user: u64,
    pub counts: Counts,
    pub rate: Rate,
    pub chrono: Chrono,
    /// Receive-buffer autotuning: position, octets and time of the last measure.
    pub drs: crate::tcp::mem::Drs,
}

impl Warm {
    pub(crate) fn new(id: SockId) -> Self {
        Self {
            id,
            hash: 0,
            iss: SeqNum::default(),
            irs: SeqNum::default(),
            timers: Timers::default(),
            wheel: TimerEntry::default(),
            rtt: Rtt::default(),
            recovery: Recovery::default(),
            ofo: Ofo::default(),
            dst: Dst::default(),
            pending: Readiness::NONE,
            event_queued: false,
            no_space: false,
            lent: 0,
            rcvbuf: 0,
            leaving: None,
            hashed: false,
            fin_received: false,
            fin_read: false,
            err: None,
            syn_timeouts: 0,
            counted_orphan: false,
            confirmed: 0,
            cwnd_usage_seq: SeqNum::default(),
            mss_clamp: 536,
            advmss: 536,
            user: 0,
            counts: Counts::default(),
            rate: Rate::default(),
            chrono: Chrono::default(),
            drs: crate::tcp::mem::Drs::default(),
        }
    }
}
