//! The doorbell's protocol, apart from what a wake-up is.

use crate::sync::{AtomicBool, Ordering, fence};

/// The flag by which a sleeper asks to be woken.
///
/// Why no wake-up is lost. The sleeper writes the flag and then reads the queues; a ringer writes a queue and then
/// reads the flag. Each has a sequentially consistent fence between its write and its read. All such fences stand in one order. If
/// the sleeper's comes first, the ringer reads the flag as set and wakes. If the ringer's comes first, the sleeper's second
/// look finds the message and it does not sleep. With weaker fences both could read the old values.
///
/// Why one wake-up is enough. The ringer that takes the flag away (a read-modify-write, but only while it is set) wakes; others find it
/// gone, and their messages are seen as well, because the sleeper looks at all queues after it woke.
pub struct Gate {
    armed: AtomicBool,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A gate that is not armed.
    pub fn new() -> Self {
        Self {
            armed: AtomicBool::new(false),
        }
    }

    /// The sleeper asks to be woken. It must look at its queues after this and before it sleeps.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The sleeper takes the request back. A ringer may have taken it already, and may still be waking.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// After a push: calls `wake` if the sleeper had asked for it and nobody else has taken that up.
    #[inline]
    pub fn ring(&self, wake: impl FnOnce()) {
        fence(Ordering::SeqCst);
        let asked = self.armed.load(Ordering::Relaxed);
        // A compare-exchange: one that comes too late, after a `disarm`, writes nothing.
        if asked
            && self
                .armed
                .compare_exchange(true, false, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            wake();
        }
    }
}
