//! What goes into sendmsg besides octets, and what comes out of recvmsg.

use crate::sock::errqueue::ExtendedError;
use crate::sock::flags::MsgFlags;
use crate::tcp::stamps::Timestamping;
use millrace_wire::time::Instant;

/// A message to send: all but its octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendMsg {
    /// `MSG_*`.
    pub flags: MsgFlags,
    /// Times to be told of this call instead of what the socket's SO_TIMESTAMPING says; of
    /// [`Timestamping::PER_CALL`].
    pub timestamping: Option<Timestamping>,
}

impl From<MsgFlags> for SendMsg {
    fn from(flags: MsgFlags) -> Self {
        Self {
            flags,
            timestamping: None,
        }
    }
}

/// A message received: all but its octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// Octets taken (with `MSG_TRUNC` discarded, with `MSG_PEEK` only seen); 0 is the end of the stream.
    pub len: usize,
    /// `msg_flags`.
    pub flags: MsgFlags,
    /// TCP_INQ is set: octets that wait behind these; 1 when only the end of the stream does (`TCP_CM_INQ`).
    pub inq: Option<u32>,
    /// When the last of these octets came, if SO_TIMESTAMP or SO_TIMESTAMPING asked for it; from the error queue the
    /// time that it tells.
    pub timestamp: Option<Instant>,
    /// What the error queue tells (`MSG_ERRQUEUE`).
    pub error: Option<ExtendedError>,
}
