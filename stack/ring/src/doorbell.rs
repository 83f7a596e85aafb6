//! Doorbell: wakes a side that sleeps, and costs one load when it does not.
//!
//! The sleeper (a worker, an application's thread) owns the [`Doorbell`]; everybody who fills one of its queues has a
//! [`Bell`].
//!
//! ```text
//! sleeper                              ringer
//!   arm()                                push to the queue
//!   look at all queues once more         ring()
//!   if all are empty: poll on fd()
//!   disarm()
//! ```
//!
//! A wake-up cannot get lost, and between one `arm` and the next only one ringer writes to the eventfd.
//!
//! Linux counterpart: `prepare_to_wait` / `wake_up` with `waitqueue_active`; `IORING_SQ_NEED_WAKEUP`.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};

mod gate;

pub use gate::Gate;

#[cfg(all(test, not(loom)))]
mod tests;

/// What sleeper and ringers share.
struct Shared {
    gate: Gate,
    eventfd: OwnedFd,
}

/// The sleeper's end. Dropping it leaves the bells working, to no effect.
pub struct Doorbell {
    shared: std::sync::Arc<Shared>,
}

impl Doorbell {
    /// A doorbell, not armed.
    ///
    /// # Errors
    /// Those of `eventfd(2)`: too many open files, no memory.
    pub fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            shared: std::sync::Arc::new(Shared {
                gate: Gate::new(),
                eventfd,
            }),
        })
    }

    /// A handle for one who fills a queue of this sleeper.
    pub fn bell(&self) -> Bell {
        Bell {
            shared: self.shared.clone(),
        }
    }

    /// Asks to be woken. Look at all queues once more afterwards, and only then sleep on [`fd`](Self::fd) until it is readable.
    pub fn arm(&mut self) {
        self.shared.gate.arm();
    }

    /// Ends the sleep, whatever ended it: takes the request back and empties the eventfd.
    ///
    /// A ringer that was just about to write may do so afterwards; the next sleep then ends at once, which does no harm.
    pub fn disarm(&mut self) {
        self.shared.gate.disarm();
        let mut count = [0; 8];
        // Either it is empty now, or (EAGAIN) it was. Nothing else can fail on an eventfd that is open.
        while rustix::io::read(&self.shared.eventfd, &mut count) == Err(Errno::INTR) {}
    }

    /// What becomes readable when somebody rings. For `poll` and its kin; do not read it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

/// A ringer's end.
#[derive(Clone)]
pub struct Bell {
    shared: std::sync::Arc<Shared>,
}

impl Bell {
    /// Wakes the sleeper if it is armed. Call it after each push, or once after a batch of them.
    #[inline]
    pub fn ring(&self) {
        self.shared.gate.ring(|| self.wake());
    }

    #[cold]
    fn wake(&self) {
        // EAGAIN means that the counter is full, hence readable already. Nothing else can fail on an open eventfd.
        while rustix::io::write(&self.shared.eventfd, &1u64.to_ne_bytes()) == Err(Errno::INTR) {}
    }
}
