//! What a file is ready for, and poll(2).

use std::time::Duration;

use millrace_net::{Readiness, Stack};
use millrace_wire::time::Instant;

use crate::call::{Out, PollFd, Return};
use crate::file::{FileId, Kind};
use crate::pending::Wait;
use crate::process::{Process, Started};

/// `EPOLLIN`, `EPOLLRDNORM` and so on; `POLL*` are the same numbers.
pub(crate) const IN: u32 = (libc::EPOLLIN | libc::EPOLLRDNORM) as u32;
pub(crate) const OUT: u32 = (libc::EPOLLOUT | libc::EPOLLWRNORM) as u32;
pub(crate) const ERR: u32 = libc::EPOLLERR as u32;
pub(crate) const HUP: u32 = libc::EPOLLHUP as u32;
pub(crate) const PRI: u32 = libc::EPOLLPRI as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;

/// The kernel's bits of the stack's (Linux `tcp_poll`).
pub(crate) fn bits(ready: Readiness) -> u32 {
    let pairs = [
        (Readiness::IN, IN),
        (Readiness::OUT, OUT),
        (Readiness::ERR, ERR),
        (Readiness::HUP, HUP),
        (Readiness::RDHUP, RDHUP),
        (Readiness::PRI, PRI),
    ];
    let set = pairs.iter().filter(|(bit, _)| ready.contains(*bit));
    set.fold(0, |all, (_, bits)| all | bits)
}

impl Process {
    /// What a file is ready for (Linux `vfs_poll`).
    pub(crate) fn mask(&mut self, stack: &mut Stack, file: FileId) -> u32 {
        match self.files.get(file).map(|file| &file.kind) {
            None => 0,
            Some(Kind::Socket(sock)) => {
                let sock = *sock;
                bits(stack.readiness(sock).unwrap_or_default())
            }
            Some(Kind::Epoll(_)) => self.epoll_mask(stack, file),
            Some(Kind::Pipe(pipe, end)) => self.pipes.mask(*pipe, *end),
            // No file operation to ask: always ready.
            Some(Kind::Zeros) => IN | OUT,
        }
    }
}

/// poll, which holds the files that it waits for: a descriptor that is closed meanwhile neither wakes it nor ends its
/// file. What wakes it has it look up all descriptors again (Linux `do_poll`).
#[derive(Debug)]
pub(crate) struct PollWait {
    fds: Vec<PollFd>,
    /// The file of each descriptor when the call began.
    held: Vec<Option<FileId>>,
    pub deadline: Option<Instant>,
}

/// When a time-out of `ms` milliseconds ends; a negative one never does.
pub(crate) fn deadline(now: Instant, ms: i32) -> Option<Instant> {
    let ms = u64::try_from(ms).ok()?;
    Some(now + Duration::from_millis(ms))
}

/// poll(2).
pub(crate) fn poll(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fds, timeout): (Vec<PollFd>, i32),
) -> Started {
    if fds.len() > process.files.limit() {
        return Return::fail(libc::EINVAL).into();
    }
    let held = fds.iter().map(|entry| process.files.lookup(entry.fd));
    let mut wait = PollWait {
        held: held.collect(),
        fds,
        deadline: deadline(now, timeout),
    };
    if let Some(returned) = wait.look(process, stack, now) {
        return returned.into();
    }
    wait.held
        .iter()
        .flatten()
        .for_each(|file| process.files.hold(*file));
    process.park(None, Wait::Poll(wait))
}

impl PollWait {
    pub(crate) fn step(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
    ) -> Option<Return> {
        let wakes = |(entry, file): (&PollFd, &Option<FileId>)| {
            file.is_some_and(|file| answer(process, stack, file, entry.events) != 0)
        };
        let woken = self.fds.iter().zip(&self.held).any(wakes);
        if woken || self.deadline.is_some_and(|at| now >= at) {
            self.look(process, stack, now)
        } else {
            None
        }
    }

    /// The files that the call holds.
    pub(crate) fn held(&self) -> impl Iterator<Item = FileId> {
        self.held.iter().flatten().copied()
    }

    fn look(&mut self, process: &mut Process, stack: &mut Stack, now: Instant) -> Option<Return> {
        let look = |entry: &PollFd| revents(process, stack, *entry);
        let revents: Vec<_> = self.fds.iter().map(look).collect();
        let count = revents.iter().filter(|bits| **bits != 0).count();
        let over = count > 0 || self.deadline.is_some_and(|at| now >= at);
        over.then(|| Return::with(count as i64, Out::Poll(revents)))
    }
}

/// Linux `do_pollfd`.
fn revents(process: &mut Process, stack: &mut Stack, entry: PollFd) -> i16 {
    if entry.fd < 0 {
        return 0;
    }
    let Some(file) = process.files.lookup(entry.fd) else {
        return libc::POLLNVAL;
    };
    answer(process, stack, file, entry.events)
}

fn answer(process: &mut Process, stack: &mut Stack, file: FileId, events: i16) -> i16 {
    process.mask(stack, file) as i16 & (events | libc::POLLERR | libc::POLLHUP)
}
