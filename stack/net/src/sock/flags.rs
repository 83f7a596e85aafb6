//! Flags of send and recv.

use bitflags::bitflags;

bitflags! {
    /// `MSG_*` flags, with the kernel's values. Flags that TCP does not know have no effect, as in the kernel.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MsgFlags: u32 {
        /// Urgent data (`MSG_OOB`).
        const OOB = 0x1;
        /// Read without taking (`MSG_PEEK`).
        const PEEK = 0x2;
        /// Take octets without copying them (`MSG_TRUNC`).
        const TRUNC = 0x20;
        /// Never park, whatever the socket says (`MSG_DONTWAIT`).
        const DONTWAIT = 0x40;
        /// Nothing that is sent later shares a segment with these octets (`MSG_EOR`).
        const EOR = 0x80;
        /// Wait until the whole buffer is full (`MSG_WAITALL`).
        const WAITALL = 0x100;
        /// The error queue (`MSG_ERRQUEUE`).
        const ERRQUEUE = 0x2000;
        /// No SIGPIPE (`MSG_NOSIGNAL`); for the layer that has signals.
        const NOSIGNAL = 0x4000;
        /// More follows: hold a partial segment back (`MSG_MORE`).
        const MORE = 0x8000;
    }
}

impl MsgFlags {
    /// No flag.
    pub const NONE: Self = Self::empty();
}
