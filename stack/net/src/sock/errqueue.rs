//! The error queue (Linux `sk_error_queue`, `struct sock_extended_err`): what is told with MSG_ERRQUEUE, and makes poll
//! say ERR.
//!
//! On TCP only transmit timestamps come this way; ICMP errors do not, with or without IP_RECVERR, as in Linux.

use crate::core::Ctx;
use crate::sock::error::SockError;
use crate::sock::flags::MsgFlags;
use crate::sock::msg::Received;
use crate::sock::readiness::Readiness;
use crate::stats::Counter;
use crate::tcp::sock::TcpSock;
use millrace_wire::time::Instant;
use std::collections::VecDeque;

/// What an entry counts against the receive buffer (a small skb of Linux).
const ENTRY_COST: u64 = 768;

/// `struct sock_extended_err`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtendedError {
    /// `ee_errno`: ENOMSG for a timestamp.
    pub errno: u32,
    /// `ee_origin`, `SO_EE_ORIGIN_*`.
    pub origin: u8,
    /// `ee_type`.
    pub ty: u8,
    /// `ee_code`.
    pub code: u8,
    /// `ee_info`: for a timestamp what it is of, `SCM_TSTAMP_*`.
    pub info: u32,
    /// `ee_data`: for a timestamp with SOF_TIMESTAMPING_OPT_ID the number of the octet it is of, from 0.
    pub data: u32,
}

/// One entry.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub error: ExtendedError,
    pub at: Instant,
    /// The packet that it is about would have been told too, but is not kept.
    pub without_packet: bool,
}

/// See the module.
pub(crate) type ErrQueue = VecDeque<Entry>;

/// Adds an entry while the receive buffer allows (Linux `sock_queue_err_skb`), and tells the owner.
pub(crate) fn push(sk: &mut TcpSock, ctx: &mut Ctx, entry: Entry) {
    let limit = 2 * u64::from(sk.cold.opts.rcvbuf);
    let queue = sk.cold.errors.get_or_insert_default();
    if (queue.len() as u64 + 1) * ENTRY_COST >= limit {
        ctx.mib.inc(Counter::MillraceErrQueueFull);
        return;
    }
    queue.push_back(entry);
    sk.note(Readiness::ERR);
}

/// Something waits.
pub(crate) fn any(sk: &TcpSock) -> bool {
    sk.cold.errors.is_some()
}

/// recv with MSG_ERRQUEUE; never waits.
pub(crate) fn recv(sk: &mut TcpSock) -> Result<Received, SockError> {
    let Some(queue) = &mut sk.cold.errors else {
        return Err(SockError::WouldBlock);
    };
    let entry = queue.pop_front();
    if queue.is_empty() {
        sk.cold.errors = None;
    }
    let Some(entry) = entry else {
        return Err(SockError::WouldBlock);
    };
    let mut flags = MsgFlags::ERRQUEUE;
    flags.set(MsgFlags::TRUNC, entry.without_packet);
    Ok(Received {
        flags,
        timestamp: Some(entry.at),
        error: Some(entry.error),
        ..Received::default()
    })
}
