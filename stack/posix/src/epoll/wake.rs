//! Wake-ups: from what happened to a file to the calls that wait (Linux `__wake_up_common`, `ep_poll_callback`).

use millrace_net::Readiness;

use super::{HOW, Key, Watcher};
use crate::file::FileId;
use crate::poll;
use crate::process::Process;

/// What new data wakes for, urgent or not.
const INPUT: u32 = poll::IN | poll::PRI | libc::EPOLLRDBAND as u32;
const OUTPUT: u32 = poll::OUT | libc::EPOLLWRBAND as u32;
const INPUT_OUTPUT: u32 = (libc::EPOLLIN | libc::EPOLLOUT) as u32;

/// Whom a wake-up is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// All that are not exclusive, and the first exclusive one that has a call to wake.
    One,
    /// Everybody.
    All,
}

impl Process {
    /// The stack woke a watched socket: `user` is the value given to `Stack::watch`.
    pub fn wake(&mut self, user: u64, ready: Readiness) {
        let file = FileId::from_u64(user);
        if ready.intersects(Readiness::CHANGE) {
            self.wake_file(file, 0, Whom::All);
        }
        // The kernel wakes for each by itself (`sock_def_readable`, `sk_stream_write_space`, `sock_def_error_report`).
        for (kind, mask) in [
            (Readiness::IN | Readiness::PRI, INPUT),
            (Readiness::OUT, OUTPUT),
            (Readiness::ERR, poll::ERR),
        ] {
            if ready.intersects(kind) && !ready.intersects(Readiness::CHANGE) {
                self.wake_file(file, mask, Whom::One);
            }
        }
    }

    /// Something happened to a file that concerns `mask`; 0 is everything.
    pub(crate) fn wake_file(&mut self, file: FileId, mask: u32, whom: Whom) {
        self.changes += 1;
        let queue = self.watchers.get(&file).cloned().unwrap_or_default();
        for watcher in queue {
            let woke = self.callback(watcher, mask);
            if watcher.exclusive && woke && whom == Whom::One {
                return;
            }
        }
    }

    /// Whether an exclusive watcher counts as woken.
    fn callback(&mut self, watcher: Watcher, mask: u32) -> bool {
        let Watcher { epoll, key, .. } = watcher;
        let Some(ep) = self.epoll(epoll) else {
            return false;
        };
        let Some(item) = ep.items.get(&key) else {
            return false;
        };
        let disabled = item.events & !HOW == 0;
        if disabled || mask != 0 && mask & item.events == 0 {
            return false;
        }
        let wanted = match mask & INPUT_OUTPUT {
            0 => true,
            one if one == libc::EPOLLIN as u32 || one == libc::EPOLLOUT as u32 => {
                item.events & one != 0
            }
            _ => false,
        };
        let counts = wanted && !ep.waiters.is_empty();
        self.list_and_wake(epoll, key);
        counts
    }

    /// An item may be ready: it is listed, a call that waits is woken, and so is whoever watches the epoll.
    pub(super) fn list_and_wake(&mut self, epoll: FileId, key: Key) {
        let Some(ep) = self.epoll(epoll) else { return };
        ep.list(key);
        ep.wake_one();
        self.wake_file(epoll, poll::IN, Whom::One);
    }
}
