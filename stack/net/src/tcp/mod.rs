//! TCP (RFC 9293) with Linux's semantics. A segment comes in through `demux`, `input` and what that calls; bytes
//! leave through `output`. TCP proper never sees more of an address than the tuple it was found by.

pub(crate) mod chrono;
pub(crate) mod cong;
pub(crate) mod conn;
pub(crate) mod demux;
pub(crate) mod fastopen;
pub mod info;
pub(crate) mod input;
pub(crate) mod isn;
pub mod md5;
pub(crate) mod mem;
pub(crate) mod output;
pub(crate) mod pressure;
pub(crate) mod rate;
pub(crate) mod recovery;
pub(crate) mod rtt;
pub(crate) mod segment;
pub(crate) mod sock;
pub mod stamps;
pub(crate) mod state;
pub(crate) mod syncookies;
pub(crate) mod timer;
pub(crate) mod trace;

/// Initial congestion window, segments (RFC 6928; Linux `TCP_INIT_CWND`).
pub(crate) const INIT_CWND: u32 = 10;
/// Largest congestion window, segments.
pub(crate) const MAX_CWND: u32 = 1 << 20;
/// Segment size when the peer names none (RFC 9293 MUST-15).
pub(crate) const MSS_DEFAULT: u16 = 536;
/// IP and TCP headers without options.
pub(crate) const HEADERS: u16 = 40;
/// What the timestamps option takes from each data segment.
pub(crate) const TIMESTAMPS_LEN: u16 = 12;
/// Length of TIME_WAIT, ms (Linux `TCP_TIMEWAIT_LEN`).
pub(crate) const TIMEWAIT_MS: u64 = 60_000;
