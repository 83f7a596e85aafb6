//! epoll_wait(2) (Linux `ep_poll`, `ep_send_events`).

use millrace_net::Stack;
use millrace_wire::time::Instant;

use super::HOW;
use crate::call::{EpollEvent, Fd, Out, Return};
use crate::file::FileId;
use crate::pending::Wait;
use crate::poll::deadline;
use crate::process::{Process, Started};

/// Most events of one call (Linux `EP_MAX_EVENTS`).
const MAX_EVENTS: i32 = i32::MAX / 12;

/// epoll_wait that waits.
#[derive(Debug)]
pub(crate) struct EpollWait {
    epoll: FileId,
    max: usize,
    pub deadline: Option<Instant>,
    /// Its name among the epoll's waiters.
    waiter: u64,
    /// It stands, or stood until it was woken, among the waiters.
    queued: bool,
}

/// epoll_wait(2).
pub(crate) fn wait(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (epfd, max, timeout): (Fd, i32, i32),
) -> Started {
    let epoll = match process.file(epfd) {
        Ok((id, _)) => id,
        Err(errno) => return Return::fail(errno).into(),
    };
    if !(1..=MAX_EVENTS).contains(&max) || !process.is_epoll(epoll) {
        return Return::fail(libc::EINVAL).into();
    }
    let mut wait = EpollWait {
        epoll,
        max: max as usize,
        deadline: deadline(now, timeout),
        waiter: process.next_waiter(),
        queued: false,
    };
    match wait.step(process, stack, now) {
        Some(returned) => returned.into(),
        None => process.park(Some(epoll), Wait::Epoll(wait)),
    }
}

impl EpollWait {
    pub(crate) fn step(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
    ) -> Option<Return> {
        let timed_out = self.deadline.is_some_and(|at| now >= at);
        let sleeps = self.queued && !self.was_woken(process);
        if sleeps && !timed_out {
            return None;
        }
        let events = if sleeps {
            Vec::new()
        } else {
            process.collect(stack, self.epoll, self.max)
        };
        if events.is_empty() && !timed_out {
            if let Some(epoll) = process.epoll(self.epoll) {
                epoll.waiters.push(self.waiter);
            }
            self.queued = true;
            return None;
        }
        self.leave(process);
        Some(Return::with(events.len() as i64, Out::Epoll(events)))
    }

    fn was_woken(&self, process: &mut Process) -> bool {
        let epoll = process.epoll(self.epoll);
        epoll.is_some_and(|epoll| epoll.woken.remove(&self.waiter))
    }

    /// The call waits no more.
    pub(crate) fn leave(&self, process: &mut Process) {
        if let Some(epoll) = process.epoll(self.epoll) {
            epoll.waiters.retain(|waiter| *waiter != self.waiter);
            epoll.woken.remove(&self.waiter);
        }
    }
}

impl Process {
    /// Takes up to `max` events off the ready list. Items that are level-triggered go back to its tail, behind those
    /// that were not looked at.
    fn collect(&mut self, stack: &mut Stack, file: FileId, max: usize) -> Vec<EpollEvent> {
        let mut events = Vec::new();
        let mut again = Vec::new();
        while events.len() < max {
            let Some(key) = self.epoll(file).and_then(|e| e.ready.pop_front()) else {
                break;
            };
            let mask = self.item_mask(stack, file, key);
            let Some(item) = self.epoll(file).and_then(|e| e.items.get_mut(&key)) else {
                continue;
            };
            item.listed = false;
            if mask == 0 {
                continue;
            }
            events.push(EpollEvent {
                events: mask,
                data: item.data,
            });
            if item.events & libc::EPOLLONESHOT as u32 != 0 {
                item.events &= HOW;
            } else if item.events & libc::EPOLLET as u32 == 0 {
                again.push(key);
            }
        }
        if let Some(epoll) = self.epoll(file) {
            for key in again {
                epoll.list(key);
            }
            if !epoll.ready.is_empty() {
                epoll.wake_one();
                self.changes += 1;
            }
        }
        events
    }
}
