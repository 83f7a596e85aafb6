//! A program's descriptors: numbers from 3 up, the lowest free one first, each standing for a real descriptor of this
//! process. Several machines live in one process, and a script may close what it likes.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use millrace_posix::call::{Call, Fd, Out, Return};

use crate::sys;

/// No descriptor has this number: EBADF.
const NONE: RawFd = -1;

/// The descriptor table.
#[derive(Debug, Default)]
pub struct Fds {
    open: BTreeMap<Fd, OwnedFd>,
}

impl Fds {
    /// The real descriptor, or one that cannot be.
    fn real(&self, fd: Fd) -> RawFd {
        self.open.get(&fd).map_or(NONE, AsRawFd::as_raw_fd)
    }

    /// The descriptor.
    pub fn get(&self, fd: Fd) -> Option<&OwnedFd> {
        self.open.get(&fd)
    }

    /// The call with real descriptors. A `close` takes its descriptor out of the table: from then on it is the call's.
    pub fn translate(&mut self, mut call: Call) -> Call {
        match &mut call {
            Call::Close { fd } => {
                *fd = self.open.remove(fd).map_or(NONE, IntoRawFd::into_raw_fd);
            }
            Call::Bind { fd, .. }
            | Call::Listen { fd, .. }
            | Call::Accept { fd, .. }
            | Call::Connect { fd, .. }
            | Call::Shutdown { fd, .. }
            | Call::Recv { fd, .. }
            | Call::Send { fd, .. }
            | Call::GetSockOpt { fd, .. }
            | Call::SetSockOpt { fd, .. }
            | Call::GetSockName { fd }
            | Call::GetPeerName { fd }
            | Call::Fcntl { fd, .. }
            | Call::Ioctl { fd, .. }
            | Call::EpollWait { epfd: fd, .. } => *fd = self.real(*fd),
            Call::Poll { fds, .. } => {
                for entry in fds {
                    // A negative number is skipped by poll, an unknown one is POLLNVAL.
                    if entry.fd >= 0 {
                        entry.fd = self.open.get(&entry.fd).map_or(Fd::MAX, AsRawFd::as_raw_fd);
                    }
                }
            }
            Call::EpollCtl { epfd, fd, .. } => {
                *epfd = self.real(*epfd);
                *fd = self.real(*fd);
            }
            Call::Splice { from, to, .. } | Call::Sendfile { from, to, .. } => {
                *from = self.real(*from);
                *to = self.real(*to);
            }
            Call::Socket { .. }
            | Call::EpollCreate { .. }
            | Call::Pipe { .. }
            | Call::Open { .. } => {}
        }
        call
    }

    /// Takes the descriptors in an answer into the table and puts their numbers in.
    pub fn adopt(&mut self, makes: Makes, mut answer: Return) -> Return {
        match (makes, &mut answer.out) {
            (Makes::One, _) if answer.value >= 0 => {
                answer.value = i64::from(self.add(answer.value as RawFd));
            }
            (Makes::Two, Out::Fds(fds)) => *fds = fds.map(|fd| self.add(fd)),
            _ => {}
        }
        answer
    }

    fn add(&mut self, real: RawFd) -> Fd {
        let free = (3..)
            .find(|number| !self.open.contains_key(number))
            .unwrap_or(Fd::MAX);
        self.open.insert(free, sys::own(real));
        free
    }
}

/// Which descriptors a call makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Makes {
    /// None.
    Nothing,
    /// The one it returns.
    One,
    /// Two, in its result.
    Two,
}

impl Makes {
    /// What this call makes when it succeeds.
    pub fn of(call: &Call) -> Self {
        match call {
            Call::Socket { .. }
            | Call::Accept { .. }
            | Call::EpollCreate { .. }
            | Call::Open { .. } => Self::One,
            Call::Pipe { .. } => Self::Two,
            _ => Self::Nothing,
        }
    }
}

/// Closes descriptors of an answer that nobody waits for any more.
pub fn discard(makes: Makes, answer: &Return) {
    match (makes, &answer.out) {
        (Makes::One, _) if answer.value >= 0 => drop(sys::own(answer.value as RawFd)),
        (Makes::Two, Out::Fds(fds)) => fds.iter().for_each(|fd| drop(sys::own(*fd))),
        _ => {}
    }
}
