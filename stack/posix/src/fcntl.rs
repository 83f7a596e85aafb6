//! fcntl and ioctl.

use millrace_net::{SockError, Stack};

use crate::call::{Fd, Out, Return};
use crate::process::Process;

/// Status flags that `F_SETFL` changes (Linux `SETFL_MASK`).
const SETFL: i32 = libc::O_APPEND | libc::O_NONBLOCK | libc::O_DIRECT | libc::O_NOATIME;

/// `SIOCINQ`, `FIONREAD`.
const SIOCINQ: u64 = 0x541b;
/// `SIOCOUTQ`, `TIOCOUTQ`.
const SIOCOUTQ: u64 = 0x5411;
/// `SIOCATMARK`.
const SIOCATMARK: u64 = 0x8905;
/// `SIOCOUTQNSD`.
const SIOCOUTQNSD: u64 = 0x894b;
/// `FIONBIO`.
const FIONBIO: u64 = 0x5421;

/// fcntl(2).
pub(crate) fn fcntl(process: &mut Process, fd: Fd, cmd: i32, arg: i64) -> Result<i64, i32> {
    let (id, file) = process.file(fd)?;
    match cmd {
        libc::F_GETFL => Ok(i64::from(file.flags)),
        libc::F_SETFL => {
            let wanted = arg as i32 & SETFL;
            let file = process.files.get_mut(id).ok_or(libc::EBADF)?;
            file.flags = file.flags & !SETFL | wanted;
            Ok(0)
        }
        libc::F_GETFD => {
            let cloexec = *process.files.cloexec(fd).ok_or(libc::EBADF)?;
            Ok(if cloexec { libc::FD_CLOEXEC.into() } else { 0 })
        }
        libc::F_SETFD => {
            let wanted = arg & i64::from(libc::FD_CLOEXEC) != 0;
            *process.files.cloexec(fd).ok_or(libc::EBADF)? = wanted;
            Ok(0)
        }
        _ => Err(libc::EINVAL),
    }
}

/// ioctl(2) with an `int *`.
pub(crate) fn ioctl(
    process: &mut Process,
    stack: &mut Stack,
    (fd, request, arg): (Fd, u64, i32),
) -> Return {
    match try_ioctl(process, stack, (fd, request, arg)) {
        Ok(value) => Return::with(0, Out::Int(value)),
        Err(errno) => Return::fail(errno),
    }
}

fn try_ioctl(
    process: &mut Process,
    stack: &mut Stack,
    (fd, request, arg): (Fd, u64, i32),
) -> Result<i32, i32> {
    let (id, _) = process.file(fd)?;
    if request == FIONBIO {
        let file = process.files.get_mut(id).ok_or(libc::EBADF)?;
        file.flags &= !libc::O_NONBLOCK;
        if arg != 0 {
            file.flags |= libc::O_NONBLOCK;
        }
        return Ok(arg);
    }
    // Files that are no sockets have none of these.
    let Some(sock) = process.socket_in(id) else {
        return Err(libc::ENOTTY);
    };
    let octets = match request {
        SIOCINQ => stack.recv_len(sock),
        SIOCOUTQ => stack.send_queued(sock),
        SIOCOUTQNSD => stack.send_unsent(sock),
        SIOCATMARK => stack.at_mark(sock).map(usize::from),
        _ => return Err(libc::ENOTTY),
    };
    let octets = octets.map_err(SockError::errno)?;
    Ok(i32::try_from(octets).unwrap_or(i32::MAX))
}
