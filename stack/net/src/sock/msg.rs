//! What goes into sendmsg besides octets, and what comes out of recvmsg.

use crate::sock::flags::MsgFlags;

/// A message to send: all but its octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendMsg {
    /// `MSG_*`.
    pub flags: MsgFlags,
}

impl From<MsgFlags> for SendMsg {
    fn from(flags: MsgFlags) -> Self {
        Self { flags }
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
}
