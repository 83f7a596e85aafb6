//! A process: its descriptors, and the entry of every call.

use std::collections::{BTreeMap, VecDeque};

use millrace_net::ops::{self, Op, Step};
use millrace_net::{SockId, Stack};
use millrace_wire::time::Instant;

use crate::call::{Call, Fd, Return};
use crate::epoll::{self, Watcher};
use crate::file::{DEFAULT_LIMIT, File, FileId, Files, Kind};
use crate::pending::{Pending, Wait};
use crate::pipe::{self, Pipes};
use crate::{fcntl, msg, poll, socket, sockopt, splice};

/// How a call began.
#[derive(Debug)]
#[must_use]
pub enum Started {
    /// It has returned.
    Done(Return),
    /// It waits: to be stepped whenever something happened, and at its deadline.
    Parked(Pending),
}

impl From<Return> for Started {
    fn from(returned: Return) -> Self {
        Self::Done(returned)
    }
}

/// A number or an errno.
impl From<Result<i64, i32>> for Started {
    fn from(result: Result<i64, i32>) -> Self {
        Self::Done(match result {
            Ok(value) => Return::ok(value),
            Err(errno) => Return::fail(errno),
        })
    }
}

/// The descriptors of one program over one stack.
#[derive(Debug)]
pub struct Process {
    pub(crate) files: Files,
    pub(crate) pipes: Pipes,
    /// The wait queues of files that an epoll watches; never empty.
    pub(crate) watchers: BTreeMap<FileId, VecDeque<Watcher>>,
    /// Names for calls that wait for an epoll.
    waiters: u64,
    /// See [`Process::changes`].
    pub(crate) changes: u64,
}

impl Default for Process {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl Process {
    /// A process whose descriptors are below `limit` (`RLIMIT_NOFILE`).
    pub fn new(limit: usize) -> Self {
        Self {
            files: Files::new(limit),
            pipes: Pipes::default(),
            watchers: BTreeMap::new(),
            waiters: 0,
            changes: 0,
        }
    }

    /// Descriptors in use, ascending.
    pub fn open_fds(&self) -> Vec<Fd> {
        self.files.open()
    }

    /// Grows whenever one call may have made it possible for another to go on: calls that wait are to be stepped
    /// again until it grows no more.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The socket behind a descriptor.
    pub fn socket_of(&self, fd: Fd) -> Option<SockId> {
        self.socket(fd).ok().map(|(_, s)| s)
    }

    /// Begins a call, and ends it unless it must wait.
    pub fn start(&mut self, stack: &mut Stack, now: Instant, call: Call) -> Started {
        match call {
            Call::Socket {
                domain,
                ty,
                protocol,
            } => socket::open(self, stack, now, (domain, ty, protocol)).into(),
            Call::Bind { fd, addr } => socket::bind(self, stack, fd, &addr).into(),
            Call::Listen { fd, backlog } => socket::listen(self, stack, fd, backlog).into(),
            Call::Accept { fd, flags } => socket::accept(self, stack, now, (fd, flags)),
            Call::Connect { fd, addr } => socket::connect(self, stack, now, (fd, &addr)),
            Call::Shutdown { fd, how } => socket::shutdown(self, stack, now, (fd, how)).into(),
            Call::Close { fd } => self.close(stack, now, fd),
            Call::Recv {
                fd,
                room,
                control_room,
                flags,
            } => msg::recv(self, stack, now, (fd, room, control_room, flags)),
            Call::Send {
                fd,
                data,
                to,
                control,
                flags,
            } => msg::send(self, stack, now, (fd, data, to.as_ref(), &control, flags)),
            Call::GetSockOpt {
                fd,
                level,
                name,
                room,
            } => sockopt::get(self, stack, now, (fd, level, name, room)).into(),
            Call::SetSockOpt {
                fd,
                level,
                name,
                value,
            } => sockopt::set(self, stack, now, (fd, level, name, &value)).into(),
            Call::GetSockName { fd } => socket::name(self, stack, fd).into(),
            Call::GetPeerName { fd } => socket::peer(self, stack, fd).into(),
            Call::Fcntl { fd, cmd, arg } => fcntl::fcntl(self, fd, cmd, arg).into(),
            Call::Ioctl { fd, request, arg } => {
                fcntl::ioctl(self, stack, (fd, request, arg)).into()
            }
            Call::Poll { fds, timeout } => poll::poll(self, stack, now, (fds, timeout)),
            Call::EpollCreate { flags } => epoll::create(self, flags).into(),
            Call::EpollCtl {
                epfd,
                op,
                fd,
                event,
            } => epoll::ctl(self, stack, (epfd, op, fd, event)).into(),
            Call::EpollWait { epfd, max, timeout } => {
                epoll::wait(self, stack, now, (epfd, max, timeout))
            }
            Call::Pipe { flags } => pipe::pipe(self, flags).into(),
            Call::Splice {
                from,
                to,
                len,
                flags,
            } => splice::splice(self, stack, now, (from, to, len, flags)),
            // Zeros are zeros wherever it begins.
            Call::Sendfile {
                to,
                from,
                offset: _,
                len,
            } => splice::sendfile(self, stack, now, (to, from, len)),
            Call::Open { path, flags } => pipe::open(self, &path, flags).into(),
        }
    }

    /// The file behind a descriptor.
    pub(crate) fn file(&self, fd: Fd) -> Result<(FileId, &File), i32> {
        let id = self.files.lookup(fd).ok_or(libc::EBADF)?;
        Ok((id, self.files.get(id).ok_or(libc::EBADF)?))
    }

    /// The socket behind a descriptor: EBADF, ENOTSOCK.
    pub(crate) fn socket(&self, fd: Fd) -> Result<(&File, SockId), i32> {
        let (_, file) = self.file(fd)?;
        match file.kind {
            Kind::Socket(sock) => Ok((file, sock)),
            _ => Err(libc::ENOTSOCK),
        }
    }

    /// The socket of a file.
    pub(crate) fn socket_in(&self, file: FileId) -> Option<SockId> {
        match self.files.get(file)?.kind {
            Kind::Socket(sock) => Some(sock),
            _ => None,
        }
    }

    pub(crate) fn next_waiter(&mut self) -> u64 {
        self.waiters += 1;
        self.waiters
    }

    /// A call that waits, holding `file`.
    pub(crate) fn park(&mut self, file: Option<FileId>, wait: Wait) -> Started {
        if let Some(file) = file {
            self.files.hold(file);
        }
        Started::Parked(Pending::new(file, wait))
    }

    /// Steps a call for the first time; one that must wait holds its file.
    pub(crate) fn first_step(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        (fd, mut wait): (Fd, Wait),
    ) -> Started {
        let Some(file) = self.files.lookup(fd) else {
            return Return::fail(libc::EBADF).into();
        };
        match wait.step(self, stack, now) {
            Some(returned) => Started::Done(returned),
            None => self.park(Some(file), wait),
        }
    }

    /// close(2): the number is free at once, the file goes with its last holder.
    fn close(&mut self, stack: &mut Stack, now: Instant, fd: Fd) -> Started {
        let Some(file) = self.files.remove(fd) else {
            return Return::fail(libc::EBADF).into();
        };
        match self.let_go(stack, now, file) {
            None => Return::ok(0).into(),
            Some(close) => Started::Parked(Pending::new(None, Wait::Close(close))),
        }
    }

    /// One holder of a file less. A socket that lingers is closed, and the last holder has to wait for it.
    pub(crate) fn let_go(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        file: FileId,
    ) -> Option<ops::Close> {
        if self.files.is_held_once(file) {
            self.unwatch_file(stack, file);
        }
        match self.files.let_go(file)? {
            Kind::Pipe(pipe, end) => {
                self.pipe_closed(pipe, end);
                None
            }
            Kind::Epoll(_) | Kind::Zeros => None,
            Kind::Socket(sock) => {
                let mut close = ops::Close::new(sock);
                match close.step(stack, now) {
                    Step::Parked => Some(close),
                    Step::Done(_) => None,
                }
            }
        }
    }
}
