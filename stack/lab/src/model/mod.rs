//! The reference model of a connection: RFC 9293 and its companions as plain code, slow and obvious, with *sets* of what
//! is allowed where the RFCs leave a choice.
//!
//! The monitor follows every segment that a stack takes from its device and every call of its applications, and says
//! which of the segments that the stack sends is not allowed, and which answer is missing. It knows nothing of the
//! stack but that. What was surely taken and what was perhaps taken are kept apart: a segment must be within what
//! perhaps was, an answer is owed for what surely was.
//!
//! On each segment that leaves (`end/sent.rs`, `end/reset.rs`):
//! * it acknowledges, by number and by SACK block, only octets that have arrived (RFC 9293 §3.4, RFC 2018 §3, RFC 2883);
//! * what arrived acknowledgements cover is not sent again (RFC 9293 §3.8.1);
//! * it carries no octet that was not written, no FIN before the end, nothing beyond the window that has arrived, and no
//!   more than the peer's MSS, 536 where it named none (RFC 9293 §3.7.1, MUST-15, §3.8.6);
//! * it echoes a timestamp that TS.Recent may have: of a segment that began at or before the last ACK (RFC 7323 §4.3);
//! * it says ECE after a mark until CWR came, and not otherwise; CWR and ECE only where ECN was agreed on (RFC 3168 §6.1);
//! * an acknowledgement that repeats the last one answers a segment that takes sequence numbers, or comes at most every
//!   half second (RFC 9293 §3.10.7.4, RFC 5961 §7, Linux `tcp_invalid_ratelimit`);
//! * a RST takes its number from the segment that it answers, or is at the end of what was sent, of a connection that its
//!   owner has left (RFC 9293 §3.5.2, §3.10.4, §3.10.5), and nothing follows it.
//!
//! When a node has nothing more to do (`end/quiet.rs`):
//! * old data and data out of order have been acknowledged at once (RFC 9293 §3.10.7.4, RFC 5681 §4.2);
//! * data in order has been within 200 ms (Linux `TCP_DELACK_MAX`; RFC 9293 MUST-58 has half a second), and two full
//!   segments of it at once (SHLD-19);
//! * a SYN, or a RST that is not exact, has drawn a challenge unless one went out just before (RFC 5961 §3.2, §4.2);
//! * no window stays closed before a reader who has read everything (RFC 9293 §3.8.6.2.2).

mod end;
mod line;
mod monitor;
mod ranges;
mod segment;
#[cfg(test)]
mod tests;

pub(crate) use end::Calls;
pub(crate) use line::{Place, number, place};
pub(crate) use monitor::Monitor;
pub(crate) use ranges::Ranges;
