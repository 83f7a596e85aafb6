//! Sleeping on several queues and a doorbell at once: the only place where a worker blocks.

use core::time::Duration;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::queue::{Armed, Queue};

/// A queue without a descriptor is looked at this often.
const NO_FD_PERIOD: Duration = Duration::from_millis(1);

/// What ended the sleep. Poll everything whatever it says: it is for counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// A queue has frames (or cannot sleep).
    Queue,
    /// The doorbell rang and no queue has frames.
    Doorbell,
    /// Time is up.
    Timeout,
    /// A signal was handled by this thread.
    Signal,
}

/// Sleeps until a queue has frames, `extra` (the worker's doorbell) is readable, or `timeout` has passed (`None`:
/// for ever). Returns at once when a queue has frames already. Queues are armed before and disarmed after; the doorbell
/// is the caller's to arm before and to drain after.
///
/// # Errors
///
/// What `ppoll` says, except `EINTR`, which is [`Woken::Signal`].
pub fn wait(
    queues: &mut [Box<dyn Queue>],
    extra: Option<BorrowedFd<'_>>,
    timeout: Option<Duration>,
) -> io::Result<Woken> {
    let woken = arm_all(queues).map_or_else(|| sleep(queues, extra, timeout), Ok);
    for queue in queues {
        queue.disarm();
    }
    woken
}

/// Arms every queue; stops at the first that has frames.
fn arm_all(queues: &mut [Box<dyn Queue>]) -> Option<Woken> {
    queues
        .iter_mut()
        .any(|queue| queue.arm() == Armed::Ready)
        .then_some(Woken::Queue)
}

fn sleep(
    queues: &[Box<dyn Queue>],
    extra: Option<BorrowedFd<'_>>,
    timeout: Option<Duration>,
) -> io::Result<Woken> {
    let mut fds = Vec::with_capacity(queues.len() + 1);
    let mut timeout = timeout;
    for queue in queues {
        match queue.wait_fd() {
            Some(fd) => fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            None => timeout = Some(timeout.map_or(NO_FD_PERIOD, |t| t.min(NO_FD_PERIOD))),
        }
    }
    let of_queues = fds.len();
    fds.extend(extra.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));

    let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) => Ok(Woken::Timeout),
        Ok(_) if fds[..of_queues].iter().any(|fd| !fd.revents().is_empty()) => Ok(Woken::Queue),
        Ok(_) => Ok(Woken::Doorbell),
        Err(Errno::INTR) => Ok(Woken::Signal),
        Err(errno) => Err(errno.into()),
    }
}
