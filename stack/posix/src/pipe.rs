//! Pipes (Linux `fs/pipe.c`): a ring of page-sized buffers between two files, and files of zeros.

use std::collections::VecDeque;

use millrace_net::Stack;
use millrace_wire::time::Instant;

use crate::call::{self, Fd, Out, Return};
use crate::file::{FileId, Kind};
use crate::pending::Wait;
use crate::poll;
use crate::process::{Process, Started};

/// Octets of a buffer, which a write that is not longer never splits (`PIPE_BUF`).
const PAGE: usize = 4096;
/// Buffers of a pipe (`PIPE_DEF_BUFFERS`).
const BUFFERS: usize = 16;

/// A pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipeId(usize);

/// Which end of it a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Read,
    Write,
}

/// See the module.
#[derive(Debug, Default)]
struct Pipe {
    buffers: VecDeque<Vec<u8>>,
    reader: Option<FileId>,
    writer: Option<FileId>,
}

impl Pipe {
    fn is_full(&self) -> bool {
        self.buffers.len() >= BUFFERS
    }

    /// Octets that fit now: free buffers, and what is left of the last one if `len` ends there.
    fn write(&mut self, data: &[u8]) -> usize {
        let mut done = 0;
        let part = data.len() % PAGE;
        if let Some(last) = self.buffers.back_mut()
            && part > 0
            && last.len() + part <= PAGE
        {
            last.extend(&data[..part]);
            done = part;
        }
        while done < data.len() && !self.is_full() {
            let end = data.len().min(done + PAGE);
            self.buffers.push_back(data[done..end].to_vec());
            done = end;
        }
        done
    }

    fn read(&mut self, room: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < room {
            let Some(first) = self.buffers.front_mut() else {
                break;
            };
            let len = first.len().min(room - data.len());
            data.extend(first.drain(..len));
            if first.is_empty() {
                self.buffers.pop_front();
            }
        }
        data
    }
}

/// All pipes of a process.
#[derive(Debug, Default)]
pub(crate) struct Pipes(Vec<Pipe>);

impl Pipes {
    /// A free place, or a new one.
    fn make(&mut self) -> PipeId {
        let free = |pipe: &Pipe| pipe.reader.is_none() && pipe.writer.is_none();
        let at = self.0.iter().position(free).unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(Pipe::default());
        }
        PipeId(at)
    }

    /// Linux `pipe_poll`.
    pub fn mask(&self, id: PipeId, end: End) -> u32 {
        let Some(pipe) = self.0.get(id.0) else {
            return 0;
        };
        let (ready, bits, gone, over) = match end {
            End::Read => (!pipe.buffers.is_empty(), poll::IN, pipe.writer, poll::HUP),
            End::Write => (!pipe.is_full(), poll::OUT, pipe.reader, poll::ERR),
        };
        (if ready { bits } else { 0 }) | (if gone.is_none() { over } else { 0 })
    }
}

/// pipe2(2).
pub(crate) fn pipe(process: &mut Process, flags: i32) -> Return {
    if flags & !(libc::O_NONBLOCK | libc::O_CLOEXEC) != 0 {
        return Return::fail(libc::EINVAL);
    }
    let Some(read) = process.files.reserve() else {
        return Return::fail(libc::EMFILE);
    };
    let Some(write) = process.files.reserve() else {
        process.files.unreserve(read);
        return Return::fail(libc::EMFILE);
    };
    let id = process.pipes.make();
    let cloexec = flags & libc::O_CLOEXEC != 0;
    let status = flags & libc::O_NONBLOCK;
    for (fd, end, mode) in [
        (read, End::Read, libc::O_RDONLY),
        (write, End::Write, libc::O_WRONLY),
    ] {
        let kind = Kind::Pipe(id, end);
        process.files.install(fd, kind, mode | status, cloexec);
        let file = process.files.lookup(fd);
        let pipe = &mut process.pipes.0[id.0];
        match end {
            End::Read => pipe.reader = file,
            End::Write => pipe.writer = file,
        }
    }
    Return::with(0, Out::Fds([read, write]))
}

/// read and write on a pipe, waiting.
#[derive(Debug)]
pub(crate) enum PipeWait {
    Read {
        pipe: PipeId,
        room: usize,
        nonblocking: bool,
    },
    Write {
        pipe: PipeId,
        data: Vec<u8>,
        done: usize,
        nonblocking: bool,
    },
}

impl PipeWait {
    pub(crate) fn step(&mut self, process: &mut Process) -> Option<Return> {
        match self {
            Self::Read {
                pipe,
                room,
                nonblocking,
            } => match process.pipe_read(*pipe, *room) {
                Ok(data) => Some(message(data)),
                Err(libc::EAGAIN) if !*nonblocking => None,
                Err(errno) => Some(Return::fail(errno)),
            },
            Self::Write {
                pipe,
                data,
                done,
                nonblocking,
            } => {
                let written = process.pipe_write(*pipe, &data[*done..]);
                *done += written.unwrap_or(0);
                match written {
                    _ if *done == data.len() => Some(Return::ok(*done as i64)),
                    Ok(_) | Err(libc::EAGAIN) if !*nonblocking => None,
                    Err(errno) if *done == 0 => Some(Return::fail(errno)),
                    _ => Some(Return::ok(*done as i64)),
                }
            }
        }
    }

    /// A signal.
    pub(crate) fn cancel(&self) -> Return {
        match self {
            Self::Write { done, .. } if *done > 0 => Return::ok(*done as i64),
            _ => Return::fail(libc::EINTR),
        }
    }
}

/// What a read returns.
fn message(data: Vec<u8>) -> Return {
    let len = data.len() as i64;
    let received = call::Received {
        data,
        ..call::Received::default()
    };
    Return::with(len, Out::Msg(received))
}

impl Process {
    /// Octets from a pipe; none at its end.
    ///
    /// # Errors
    /// EAGAIN when it is empty.
    pub(crate) fn pipe_read(&mut self, id: PipeId, room: usize) -> Result<Vec<u8>, i32> {
        let Some(pipe) = self.pipes.0.get_mut(id.0) else {
            return Err(libc::EBADF);
        };
        if room == 0 {
            return Ok(Vec::new());
        }
        if pipe.buffers.is_empty() && pipe.writer.is_some() {
            return Err(libc::EAGAIN);
        }
        let was_full = pipe.is_full();
        let data = pipe.read(room);
        let now_room = was_full && !pipe.is_full();
        let writer = pipe.writer;
        if !data.is_empty() {
            self.changes += 1;
        }
        if let Some(writer) = writer.filter(|_| now_room) {
            self.wake_pipe(writer, poll::OUT);
        }
        Ok(data)
    }

    /// Octets into a pipe; how many fitted.
    ///
    /// # Errors
    /// EPIPE without a reader, EAGAIN when nothing fits.
    pub(crate) fn pipe_write(&mut self, id: PipeId, data: &[u8]) -> Result<usize, i32> {
        let Some(pipe) = self.pipes.0.get_mut(id.0) else {
            return Err(libc::EBADF);
        };
        if data.is_empty() {
            return Ok(0);
        }
        let Some(reader) = pipe.reader else {
            return Err(libc::EPIPE);
        };
        let written = pipe.write(data);
        if written == 0 {
            return Err(libc::EAGAIN);
        }
        self.wake_pipe(reader, poll::IN);
        Ok(written)
    }

    /// What stands in a pipe, at most `most` octets, without taking it; whether there is more, and whether a writer
    /// is left.
    pub(crate) fn pipe_front(&self, id: PipeId, most: usize) -> (Vec<u8>, bool, bool) {
        let Some(pipe) = self.pipes.0.get(id.0) else {
            return (Vec::new(), false, false);
        };
        let octets = pipe.buffers.iter().flatten().copied();
        let data: Vec<_> = octets.take(most).collect();
        let all: usize = pipe.buffers.iter().map(Vec::len).sum();
        let more = all > data.len();
        (data, more, pipe.writer.is_some())
    }

    /// Octets that a pipe takes in whole buffers.
    ///
    /// # Errors
    /// EPIPE without a reader, EAGAIN when there is no buffer.
    pub(crate) fn pipe_room(&self, id: PipeId) -> Result<usize, i32> {
        let pipe = self.pipes.0.get(id.0).ok_or(libc::EBADF)?;
        if pipe.reader.is_none() {
            return Err(libc::EPIPE);
        }
        match BUFFERS.saturating_sub(pipe.buffers.len()) {
            0 => Err(libc::EAGAIN),
            free => Ok(free * PAGE),
        }
    }

    fn wake_pipe(&mut self, file: FileId, mask: u32) {
        self.wake_file(file, mask, crate::epoll::Whom::One);
    }

    /// An end is closed: the other one hears of it.
    pub(crate) fn pipe_closed(&mut self, id: PipeId, end: End) {
        let Some(pipe) = self.pipes.0.get_mut(id.0) else {
            return;
        };
        let other = match end {
            End::Read => {
                pipe.reader = None;
                pipe.writer
            }
            End::Write => {
                pipe.writer = None;
                pipe.reader
            }
        };
        match other {
            Some(file) => self.wake_file(file, 0, crate::epoll::Whom::All),
            None => pipe.buffers.clear(),
        }
    }
}

/// open(2): the one file there is gives zeros without end.
pub(crate) fn open(process: &mut Process, path: &str, flags: i32) -> Result<i64, i32> {
    if path != "/dev/zero" {
        return Err(libc::ENOENT);
    }
    let fd = process.files.reserve().ok_or(libc::EMFILE)?;
    let cloexec = flags & libc::O_CLOEXEC != 0;
    let once = libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY | libc::O_TRUNC | libc::O_CLOEXEC;
    // A 64-bit kernel sets it for every open.
    let status = flags & !once | LARGEFILE;
    process.files.install(fd, Kind::Zeros, status, cloexec);
    Ok(fd.into())
}

const LARGEFILE: i32 = 0o100_000;

/// read(2) on anything but a socket.
pub(crate) fn read(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, room): (Fd, usize),
) -> Started {
    let (kind, nonblocking) = match reach(process, fd, libc::O_WRONLY) {
        Ok(found) => found,
        Err(errno) => return Return::fail(errno).into(),
    };
    match kind {
        Plain::Zeros => message(vec![0; room]).into(),
        Plain::Pipe(pipe) => {
            let wait = PipeWait::Read {
                pipe,
                room,
                nonblocking,
            };
            process.first_step(stack, now, (fd, Wait::Pipe(wait)))
        }
        Plain::Epoll => Return::fail(libc::EINVAL).into(),
    }
}

/// write(2) on anything but a socket.
pub(crate) fn write(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, data): (Fd, Vec<u8>),
) -> Started {
    let (kind, nonblocking) = match reach(process, fd, libc::O_RDONLY) {
        Ok(found) => found,
        Err(errno) => return Return::fail(errno).into(),
    };
    match kind {
        Plain::Zeros => Return::ok(data.len() as i64).into(),
        Plain::Pipe(pipe) => {
            let wait = PipeWait::Write {
                pipe,
                data,
                done: 0,
                nonblocking,
            };
            process.first_step(stack, now, (fd, Wait::Pipe(wait)))
        }
        Plain::Epoll => Return::fail(libc::EINVAL).into(),
    }
}

/// A file that is no socket.
enum Plain {
    Pipe(PipeId),
    Zeros,
    Epoll,
}

/// The file, unless it was opened for the other direction only; and whether it must not wait.
fn reach(process: &Process, fd: Fd, other: i32) -> Result<(Plain, bool), i32> {
    let (_, file) = process.file(fd)?;
    if file.flags & libc::O_ACCMODE == other {
        return Err(libc::EBADF);
    }
    let kind = match &file.kind {
        Kind::Pipe(pipe, _) => Plain::Pipe(*pipe),
        Kind::Zeros => Plain::Zeros,
        Kind::Epoll(_) => Plain::Epoll,
        Kind::Socket(_) => return Err(libc::EBADF),
    };
    Ok((kind, file.nonblocking()))
}
