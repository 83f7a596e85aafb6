//! splice between a pipe and a socket, and sendfile from a file of zeros (Linux `splice_to_socket`,
//! `tcp_splice_read`).

use millrace_net::ops::{Op, Step};
use millrace_net::{MsgFlags, SendMsg, SockError, SockId, Stack, ops};
use millrace_wire::time::Instant;

use crate::call::{Fd, Return};
use crate::file::{File, FileId, Kind};
use crate::pending::Wait;
use crate::pipe::PipeId;
use crate::process::{Process, Started};

/// `SPLICE_F_MOVE`, `_NONBLOCK`, `_MORE` and `_GIFT`.
const SPLICE_ALL: u32 = 0xf;
const NONBLOCK: u32 = libc::SPLICE_F_NONBLOCK;
const MORE: u32 = libc::SPLICE_F_MORE;
/// Octets that one turn moves: what a pipe holds.
const CHUNK: usize = 65_536;
/// Most octets of one call (Linux `MAX_RW_COUNT`).
const MAX_COUNT: usize = 0x7fff_f000;

/// splice or sendfile on its way.
#[derive(Debug)]
pub(crate) enum SpliceWait {
    FromSocket(FromSocket),
    ToSocket(ToSocket),
}

/// From a socket into a pipe.
#[derive(Debug)]
pub(crate) struct FromSocket {
    sock: SockId,
    pipe: PipeId,
    len: usize,
    flags: MsgFlags,
    nonblocking: bool,
    op: Option<ops::RecvMsg<'static>>,
    /// The other file, which stays as well.
    pub held: FileId,
}

/// Where octets for a socket come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Pipe { pipe: PipeId, nonblocking: bool },
    Zeros,
}

/// Into a socket.
#[derive(Debug)]
pub(crate) struct ToSocket {
    source: Source,
    sock: SockId,
    /// Octets to move and moved.
    len: usize,
    done: usize,
    flags: MsgFlags,
    op: Option<ops::Send<'static>>,
    /// The other file, which stays as well.
    pub held: FileId,
}

fn of(file: &File, flags: u32) -> MsgFlags {
    let mut bits = MsgFlags::empty();
    bits.set(MsgFlags::DONTWAIT, file.nonblocking());
    bits.set(MsgFlags::MORE, flags & MORE != 0);
    bits
}

/// splice(2).
pub(crate) fn splice(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (from, to, len, flags): (Fd, Fd, usize, u32),
) -> Started {
    if len == 0 {
        return Return::ok(0).into();
    }
    match begin(process, (from, to, len.min(MAX_COUNT), flags)) {
        Ok(wait) => start(process, stack, now, wait),
        Err(errno) => Return::fail(errno).into(),
    }
}

fn begin(
    process: &Process,
    (from, to, len, flags): (Fd, Fd, usize, u32),
) -> Result<(Fd, SpliceWait), i32> {
    if flags & !SPLICE_ALL != 0 {
        return Err(libc::EINVAL);
    }
    let (from_id, source) = process.file(from)?;
    let (to_id, target) = process.file(to)?;
    let readable = source.flags & libc::O_ACCMODE != libc::O_WRONLY;
    let writable = target.flags & libc::O_ACCMODE != libc::O_RDONLY;
    if !readable || !writable {
        return Err(libc::EBADF);
    }
    let nonblocking = flags & NONBLOCK != 0;
    match (&source.kind, &target.kind) {
        (Kind::Pipe(pipe, _), Kind::Socket(sock)) => {
            let wait = ToSocket {
                source: Source::Pipe {
                    pipe: *pipe,
                    nonblocking,
                },
                sock: *sock,
                len,
                done: 0,
                flags: of(target, flags),
                op: None,
                held: from_id,
            };
            Ok((to, SpliceWait::ToSocket(wait)))
        }
        (Kind::Socket(sock), Kind::Pipe(pipe, _)) => {
            let wait = FromSocket {
                sock: *sock,
                pipe: *pipe,
                len,
                flags: of(source, 0),
                nonblocking,
                op: None,
                held: to_id,
            };
            Ok((from, SpliceWait::FromSocket(wait)))
        }
        _ => Err(libc::EINVAL),
    }
}

/// sendfile(2).
pub(crate) fn sendfile(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (to, from, len): (Fd, Fd, usize),
) -> Started {
    match begin_sendfile(process, (to, from, len.min(MAX_COUNT))) {
        Ok(wait) => start(process, stack, now, wait),
        Err(errno) => Return::fail(errno).into(),
    }
}

fn begin_sendfile(
    process: &Process,
    (to, from, len): (Fd, Fd, usize),
) -> Result<(Fd, SpliceWait), i32> {
    let (from_id, source) = process.file(from)?;
    if source.flags & libc::O_ACCMODE == libc::O_WRONLY {
        return Err(libc::EBADF);
    }
    let (_, target) = process.file(to)?;
    match (&source.kind, &target.kind) {
        (Kind::Zeros, Kind::Socket(sock)) => {
            let wait = ToSocket {
                source: Source::Zeros,
                sock: *sock,
                len,
                done: 0,
                flags: of(target, 0),
                op: None,
                held: from_id,
            };
            Ok((to, SpliceWait::ToSocket(wait)))
        }
        _ => Err(libc::EINVAL),
    }
}

/// Steps for the first time; both files are held while it waits.
fn start(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, wait): (Fd, SpliceWait),
) -> Started {
    let held = wait.held();
    let started = process.first_step(stack, now, (fd, Wait::Splice(wait)));
    if matches!(started, Started::Parked(_)) {
        process.files.hold(held);
    }
    started
}

impl SpliceWait {
    /// The second file of the call.
    pub(crate) fn held(&self) -> FileId {
        match self {
            Self::FromSocket(wait) => wait.held,
            Self::ToSocket(wait) => wait.held,
        }
    }

    /// When it is over at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::FromSocket(wait) => wait.op.as_ref()?.deadline(),
            Self::ToSocket(wait) => wait.op.as_ref()?.deadline(),
        }
    }

    pub(crate) fn step(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
    ) -> Option<Return> {
        let result = match self {
            Self::FromSocket(wait) => wait.step(process, stack, now)?,
            Self::ToSocket(wait) => wait.step(process, stack, now)?,
        };
        Some(told(result))
    }

    /// A signal.
    pub(crate) fn cancel(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
    ) -> Return {
        let why = SockError::Interrupted;
        match self {
            Self::FromSocket(_) => Return::fail(libc::EINTR),
            Self::ToSocket(wait) => {
                let sent = wait.op.take().map(|mut op| op.cancel(stack, now, why));
                told(match sent {
                    Some(Ok(n)) => {
                        wait.moved(process, n);
                        Ok(wait.done)
                    }
                    _ => wait.partial(libc::EINTR),
                })
            }
        }
    }
}

fn told(result: Result<usize, i32>) -> Return {
    match result {
        Ok(n) => Return::ok(n as i64),
        Err(errno) => Return::fail(errno),
    }
}

impl FromSocket {
    /// Waits for a free buffer, then for octets; what has come then is moved.
    fn step(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
    ) -> Option<Result<usize, i32>> {
        let room = match process.pipe_room(self.pipe) {
            Ok(room) => room.min(self.len),
            Err(libc::EAGAIN) if !self.nonblocking => return None,
            Err(errno) => return Some(Err(errno)),
        };
        let op = self
            .op
            .get_or_insert_with(|| ops::RecvMsg::owned(self.sock, room, self.flags));
        let got = match op.step(stack, now) {
            Step::Parked => return None,
            Step::Done(Err(error)) => return Some(Err(error.errno())),
            Step::Done(Ok(got)) => got.len,
        };
        let data = op.take_data(got);
        // There is room for all of it: only readers have come since it was measured.
        Some(process.pipe_write(self.pipe, &data))
    }
}

impl ToSocket {
    fn step(
        &mut self,
        process: &mut Process,
        stack: &mut Stack,
        now: Instant,
    ) -> Option<Result<usize, i32>> {
        while self.done < self.len {
            if self.op.is_none() {
                match self.next(process) {
                    Next::Send(op) => self.op = Some(op),
                    Next::Wait => return None,
                    Next::Over(result) => return Some(result),
                }
            }
            match self.op.as_mut()?.step(stack, now) {
                Step::Parked => return None,
                Step::Done(Ok(n)) => {
                    let whole = self.moved(process, n);
                    if !whole {
                        return Some(Ok(self.done));
                    }
                }
                Step::Done(Err(error)) => return Some(self.partial(error.errno())),
            }
        }
        Some(Ok(self.done))
    }

    /// The next octets to send: they leave the pipe only once they are sent.
    fn next(&self, process: &Process) -> Next {
        let most = (self.len - self.done).min(CHUNK);
        let (data, more) = match self.source {
            Source::Zeros => (vec![0; most], self.done + most < self.len),
            Source::Pipe { pipe, nonblocking } => {
                let (data, rest, writer) = process.pipe_front(pipe, most);
                match (data.is_empty(), writer) {
                    (false, _) => {
                        let wanted = self.done + data.len() < self.len;
                        (data, rest && wanted)
                    }
                    (true, false) => return Next::Over(Ok(self.done)),
                    (true, true) if self.done > 0 => return Next::Over(Ok(self.done)),
                    (true, true) if nonblocking => return Next::Over(Err(libc::EAGAIN)),
                    (true, true) => return Next::Wait,
                }
            }
        };
        let mut flags = self.flags;
        flags.set(MsgFlags::MORE, more || flags.contains(MsgFlags::MORE));
        Next::Send(ops::Send::owned(self.sock, data, SendMsg::from(flags)))
    }

    /// `n` octets of the running send are gone; whether that was all of it.
    fn moved(&mut self, process: &mut Process, n: usize) -> bool {
        let most = (self.len - self.done).min(CHUNK);
        let wanted = match self.source {
            Source::Zeros => most,
            Source::Pipe { pipe, .. } => {
                let wanted = process.pipe_front(pipe, most).0.len();
                // They stand in the pipe: nobody else reads while this call holds it.
                let _ = process.pipe_read(pipe, n);
                wanted
            }
        };
        self.done += n;
        self.op = None;
        n == wanted
    }

    fn partial(&self, errno: i32) -> Result<usize, i32> {
        if self.done > 0 {
            Ok(self.done)
        } else {
            Err(errno)
        }
    }
}

enum Next {
    Send(ops::Send<'static>),
    Wait,
    Over(Result<usize, i32>),
}
