//! recv and send with all their names, and the flags of both.

use millrace_net::{MsgFlags, Received, SockError, Stack, ops};
use millrace_wire::time::Instant;

use crate::call::{self, Buffer, Cmsg, Fd, Out, Return};
use crate::file::File;
use crate::pending::{RecvWait, SendWait, Wait};
use crate::pipe;
use crate::process::{Process, Started};

/// Most octets of one call (Linux `MAX_RW_COUNT`).
const MAX_COUNT: usize = 0x7fff_f000;

/// Octets of `struct cmsghdr`.
const CMSG_HEADER: usize = 16;

/// `TCP_CM_INQ`, which is `TCP_INQ`.
const TCP_CM_INQ: i32 = 36;

/// The stack's flags; O_NONBLOCK counts as `MSG_DONTWAIT`, and flags that TCP does not know are ignored.
fn flags_of(flags: i32, file: &File) -> MsgFlags {
    let mut bits = MsgFlags::from_bits_truncate(flags.cast_unsigned());
    bits.set(
        MsgFlags::DONTWAIT,
        file.nonblocking() || bits.contains(MsgFlags::DONTWAIT),
    );
    bits
}

/// recv(2) and its relatives.
pub(crate) fn recv(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, room, control_room, flags): (Fd, Buffer<usize>, usize, i32),
) -> Started {
    let (file, sock) = match process.socket(fd) {
        Ok(found) => found,
        // Only read works on other files.
        Err(libc::ENOTSOCK) if flags == 0 => return read(process, stack, now, (fd, room)),
        Err(errno) => return Return::fail(errno).into(),
    };
    // No option fills the error queue.
    if flags & libc::MSG_ERRQUEUE != 0 {
        return Return::fail(libc::EAGAIN).into();
    }
    let mut bits = flags_of(flags, file);
    let discard = bits.contains(MsgFlags::TRUNC);
    let (len, fault) = match room {
        Buffer::Given(len) => (len.min(MAX_COUNT), false),
        Buffer::Null(len) => (len.min(MAX_COUNT), len > 0 && !discard),
    };
    if fault {
        // Nothing is taken when the copy fails.
        bits |= MsgFlags::PEEK;
    }
    let op = ops::RecvMsg::owned(sock, len, bits);
    let wait = RecvWait {
        op,
        fault,
        discard,
        control_room,
    };
    process.first_step(stack, now, (fd, Wait::Recv(wait)))
}

fn read(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, room): (Fd, Buffer<usize>),
) -> Started {
    match room {
        Buffer::Given(len) => pipe::read(process, stack, now, (fd, len.min(MAX_COUNT))),
        Buffer::Null(_) => Return::fail(libc::EFAULT).into(),
    }
}

fn write(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, data): (Fd, Buffer<Vec<u8>>),
) -> Started {
    match data {
        Buffer::Given(data) => pipe::write(process, stack, now, (fd, data)),
        Buffer::Null(_) => Return::fail(libc::EFAULT).into(),
    }
}

/// What recv returns.
pub(crate) fn received(wait: &mut RecvWait, result: Result<Received, SockError>) -> Return {
    match result {
        Ok(got) if got.len > 0 && wait.fault => Return::fail(libc::EFAULT),
        Ok(got) => {
            let data = wait.op.take_data(got.len);
            let mut message = call::Received {
                data: if wait.discard { Vec::new() } else { data },
                flags: got.flags.bits().cast_signed(),
                ..call::Received::default()
            };
            if let Some(inq) = got.inq {
                put_cmsg(
                    &mut message,
                    wait.control_room,
                    &Cmsg {
                        level: libc::IPPROTO_TCP,
                        ty: TCP_CM_INQ,
                        data: inq.to_ne_bytes().to_vec(),
                    },
                );
            }
            Return::with(got.len as i64, Out::Msg(message))
        }
        Err(error) => Return::fail(error.errno()),
    }
}

/// Adds a control message as far as there is room (Linux `put_cmsg`): one that is cut, or does not even begin, sets
/// `MSG_CTRUNC`.
fn put_cmsg(message: &mut call::Received, room: usize, cmsg: &Cmsg) {
    let used: usize = message
        .control
        .iter()
        .map(|c| cmsg_space(c.data.len()))
        .sum();
    let left = room.saturating_sub(used);
    if left < CMSG_HEADER + cmsg.data.len() {
        message.flags |= libc::MSG_CTRUNC;
    }
    if left < CMSG_HEADER {
        return;
    }
    let len = cmsg.data.len().min(left - CMSG_HEADER);
    message.control.push(Cmsg {
        data: cmsg.data[..len].to_vec(),
        ..*cmsg
    });
}

/// Octets that a control message takes with header and padding (`CMSG_SPACE`).
fn cmsg_space(data: usize) -> usize {
    CMSG_HEADER + data.next_multiple_of(size_of::<usize>())
}

/// send(2) and its relatives.
pub(crate) fn send(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, data, control, flags): (Fd, Buffer<Vec<u8>>, &[Cmsg], i32),
) -> Started {
    let (file, sock) = match process.socket(fd) {
        Ok(found) => found,
        Err(libc::ENOTSOCK) if flags == 0 => return write(process, stack, now, (fd, data)),
        Err(errno) => return Return::fail(errno).into(),
    };
    // Fast Open is off.
    if flags & libc::MSG_FASTOPEN != 0 {
        return Return::fail(libc::EOPNOTSUPP).into();
    }
    // Linux `sock_cmsg_send`: nothing of SOL_SOCKET is known here, other levels are not TCP's.
    if control.iter().any(|cmsg| cmsg.level == libc::SOL_SOCKET) {
        return Return::fail(libc::EINVAL).into();
    }
    let bits = flags_of(flags, file);
    let (data, fault) = match data {
        Buffer::Given(mut data) => {
            data.truncate(MAX_COUNT);
            (data, false)
        }
        Buffer::Null(len) => (Vec::new(), len > 0),
    };
    let op = ops::Send::owned(sock, data, bits.into());
    process.first_step(stack, now, (fd, Wait::Send(SendWait { op, fault })))
}

/// What send returns.
pub(crate) fn sent(wait: &SendWait, result: Result<usize, SockError>) -> Return {
    match result {
        Ok(_) if wait.fault => Return::fail(libc::EFAULT),
        Ok(n) => Return::ok(n as i64),
        Err(error) => Return::fail(error.errno()),
    }
}
