//! What a listening socket has: its queues (Linux `request_sock_queue`).

use crate::ids::SockId;
use crate::tcp::syncookies;
use millrace_wire::time::Instant;
use std::collections::VecDeque;

/// See the module.
#[derive(Default)]
pub(crate) struct Listen {
    /// Most complete connections that wait for accept.
    pub backlog: u32,
    /// Complete connections, oldest first.
    pub accept: VecDeque<SockId>,
    /// Of these, how many came since watchers were last told: one wake-up each.
    pub arrived: u32,
    /// Handshakes in progress.
    pub requests: u32,
    /// Those of them whose SYN-ACK never timed out (Linux `young`).
    pub young: u32,
    /// When the queue of handshakes last overflowed, so that a cookie was sent.
    pub overflow: Option<Instant>,
    /// Fast Open children whose handshake is not complete, and places that are held after resets.
    pub fastopen_len: u32,
    /// Until when those are held, soonest first.
    pub fastopen_resets: VecDeque<Instant>,
}

impl Listen {
    /// No more complete connections are taken (Linux `sk_acceptq_is_full`: one more than the backlog fits).
    pub(crate) fn accept_full(&self) -> bool {
        self.accept.len() > self.backlog as usize
    }

    /// No more handshakes are begun (Linux `inet_csk_reqsk_queue_is_full`: one more than the backlog fits).
    pub(crate) fn requests_full(&self) -> bool {
        self.requests > self.backlog
    }

    /// A cookie was sent a short while ago, so one may come back (Linux `tcp_synq_no_recent_overflow`).
    pub(crate) fn may_see_cookies(&self, now: Instant) -> bool {
        self.overflow
            .is_some_and(|at| now.since(at) <= syncookies::VALID)
    }

    /// A handshake begins.
    pub(crate) fn begin(&mut self) {
        self.requests += 1;
        self.young += 1;
    }

    /// A handshake ends, whose SYN-ACK timed out `timeouts` times.
    pub(crate) fn end(&mut self, timeouts: u8) {
        self.requests = self.requests.saturating_sub(1);
        if timeouts == 0 {
            self.young = self.young.saturating_sub(1);
        }
    }
}
