//! TCP Fast Open (RFC 7413; Linux `tcp_fastopen.c`): data in the SYN for peers that have shown, by a cookie, that they
//! own their address.
//!
//! `server` makes a full socket of such a SYN, `client` puts data into one, `cookie` says who may, and `cache`
//! remembers what servers gave us.

pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod cookie;
pub(crate) mod server;

use crate::ids::SockId;
use cache::Cache;
use client::{Active, BlackHole};
pub use cookie::FastOpenKeys;
use server::Left;

/// Bits of `tcp_fastopen` (Linux `TFO_*`).
pub(crate) const CLIENT: u32 = 1;
pub(crate) const SERVER: u32 = 2;
/// Data goes into a SYN without a cookie.
pub(crate) const CLIENT_NO_COOKIE: u32 = 4;
/// Data is taken from a SYN without a cookie.
pub(crate) const SERVER_NO_COOKIE: u32 = 0x200;
/// listen switches Fast Open on, with the backlog as its queue.
pub(crate) const SERVER_ALL: u32 = 0x400;

/// What all sockets share.
#[derive(Default)]
pub(crate) struct Shared {
    pub cache: Cache,
    pub black_hole: BlackHole,
    /// Children that need their listener's Fast Open queue no more. It is looked at when the next one wants in, so it
    /// is never longer than the queues that are.
    pub left: Vec<Left>,
}

/// What Fast Open adds to a socket.
#[derive(Default)]
pub(crate) struct SockFastOpen {
    /// TCP_FASTOPEN: most children whose handshake is not complete; 0 is off.
    pub max_qlen: u32,
    /// TCP_FASTOPEN_KEY.
    pub keys: Option<FastOpenKeys>,
    /// TCP_FASTOPEN_NO_COOKIE.
    pub no_cookie: bool,
    /// TCP_FASTOPEN_CONNECT.
    pub connect: bool,
    /// A child whose handshake is not complete: its listener (Linux `fastopen_rsk`).
    pub pending: Option<SockId>,
    /// The option of the next SYN or SYN-ACK, once.
    pub option: Option<millrace_wire::tcp::options::FastOpen>,
    /// The server took the data of the SYN, be it the peer or we (Linux `syn_data_acked`; `TCPI_OPT_SYN_DATA`).
    pub syn_data_acked: bool,
    pub active: Active,
}
