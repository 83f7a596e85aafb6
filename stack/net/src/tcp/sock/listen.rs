//! What a listening socket has: its queues (Linux `request_sock_queue`).

use crate::ids::SockId;
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
}

impl Listen {
    /// No more complete connections are taken (Linux `sk_acceptq_is_full`: one more than the backlog fits).
    pub(crate) fn accept_full(&self) -> bool {
        self.accept.len() > self.backlog as usize
    }
}
