//! The request mini-socket: a handshake in progress on the passive side (Linux `tcp_request_sock`).

use crate::ids::SockId;
use crate::tcp::demux::Tuple;
use crate::wheel::TimerEntry;
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;

/// See the module.
pub(crate) struct Request {
    pub tuple: Tuple,
    pub hash: u32,
    pub listener: SockId,
    /// The peer's and our initial sequence numbers.
    pub irs: SeqNum,
    pub iss: SeqNum,
    /// When the SYN-ACK is due again.
    pub deadline: Instant,
    /// When the first SYN-ACK went out, for the RTT.
    pub synack_at: Instant,
    pub wheel: TimerEntry,
    pub ts_recent: u32,
    pub ts_offset: u32,
    /// TSval of the first and of the latest SYN-ACK: what the peer may echo.
    pub tsval_first: u32,
    pub tsval_last: u32,
    /// The window in the SYN-ACK.
    pub rcv_wnd: u32,
    /// The window in the last ACK or SYN of the peer, unscaled.
    pub snd_wnd: u32,
    /// MSS option of the SYN.
    pub mss: u16,
    /// Times that the SYN-ACK timed out, and times it was sent again for any reason.
    pub timeouts: u8,
    pub retransmits: u8,
    pub rcv_wscale: u8,
    pub snd_wscale: u8,
    pub wscale_ok: bool,
    pub ts_ok: bool,
    pub sack_ok: bool,
    /// ECN agreed.
    pub ecn_ok: bool,
    /// The third ACK came, and could not be used yet (TCP_DEFER_ACCEPT, full accept queue).
    pub acked: bool,
    pub tos: u8,
    /// When the last duplicate ACK went out, ms.
    pub last_oow_ack: u64,
}

const _: () = assert!(size_of::<Option<Request>>() <= 128);
