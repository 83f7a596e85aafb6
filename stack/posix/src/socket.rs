//! The calls of a socket's life.

use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};

use millrace_net::{SockError, SockId, Stack, ops};
use millrace_wire::time::Instant;

use crate::addr::{self, Peer};
use crate::call::{Fd, Out, Return, SockAddr};
use crate::file::Kind;
use crate::pending::{AcceptWait, Wait};
use crate::process::{Process, Started};

const SOCK_FLAGS: i32 = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// The file of a socket with the flags of `socket` and `accept4`.
fn install(process: &mut Process, fd: Fd, sock: SockId, flags: i32) {
    let status = libc::O_RDWR | (flags & libc::SOCK_NONBLOCK);
    let cloexec = flags & libc::SOCK_CLOEXEC != 0;
    process
        .files
        .install(fd, Kind::Socket(sock), status, cloexec);
}

/// socket(2).
pub(crate) fn open(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (domain, ty, protocol): (i32, i32, i32),
) -> Result<i64, i32> {
    let sock = stack
        .socket(domain, ty, protocol)
        .map_err(SockError::errno)?;
    match process.files.reserve() {
        Some(fd) => {
            install(process, fd, sock, ty & SOCK_FLAGS);
            Ok(i64::from(fd))
        }
        None => {
            stack.abort(now, sock);
            Err(libc::EMFILE)
        }
    }
}

/// bind(2).
pub(crate) fn bind(
    process: &Process,
    stack: &mut Stack,
    fd: Fd,
    addr: &SockAddr,
) -> Result<i64, i32> {
    let (_, sock) = process.socket(fd)?;
    let addr = addr::for_bind(addr)?;
    stack.bind(sock, addr).map(|()| 0).map_err(SockError::errno)
}

/// listen(2): a negative backlog is a very large one.
pub(crate) fn listen(
    process: &Process,
    stack: &mut Stack,
    fd: Fd,
    backlog: i32,
) -> Result<i64, i32> {
    let (_, sock) = process.socket(fd)?;
    stack
        .listen(sock, backlog.cast_unsigned())
        .map(|()| 0)
        .map_err(SockError::errno)
}

/// accept4(2). The descriptor comes first: EMFILE leaves the connection in the queue, and a waiting call has its
/// number already.
pub(crate) fn accept(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, flags): (Fd, i32),
) -> Started {
    let (nonblocking, sock) = match process.socket(fd) {
        Ok((file, sock)) => (file.nonblocking(), sock),
        Err(errno) => return Return::fail(errno).into(),
    };
    if flags & !SOCK_FLAGS != 0 {
        return Return::fail(libc::EINVAL).into();
    }
    let Some(child) = process.files.reserve() else {
        return Return::fail(libc::EMFILE).into();
    };
    if nonblocking {
        let accepted = stack.accept(now, sock);
        return accepted_now(process, child, flags, accepted);
    }
    let op = ops::Accept::new(sock);
    let wait = AcceptWait {
        op,
        fd: child,
        flags,
    };
    process.first_step(stack, now, (fd, Wait::Accept(wait)))
}

fn accepted_now(
    process: &mut Process,
    fd: Fd,
    flags: i32,
    result: Result<(SockId, SocketAddrV4), SockError>,
) -> Started {
    accepted(process, fd, flags, result).into()
}

/// What accept returns.
pub(crate) fn accepted(
    process: &mut Process,
    fd: Fd,
    flags: i32,
    result: Result<(SockId, SocketAddrV4), SockError>,
) -> Return {
    match result {
        Ok((sock, peer)) => {
            install(process, fd, sock, flags);
            Return::with(i64::from(fd), Out::Addr(SockAddr::V4(peer)))
        }
        Err(error) => {
            process.files.unreserve(fd);
            Return::fail(error.errno())
        }
    }
}

/// connect(2).
pub(crate) fn connect(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, addr): (Fd, &SockAddr),
) -> Started {
    let (nonblocking, sock) = match process.socket(fd) {
        Ok((file, sock)) => (file.nonblocking(), sock),
        Err(errno) => return Return::fail(errno).into(),
    };
    let to = match addr::for_connect(addr) {
        Ok(Peer::To(to)) => to,
        Ok(Peer::Dissolve) => {
            let dissolved = stack.disconnect(now, sock);
            return dissolved.map(|()| 0).map_err(SockError::errno).into();
        }
        Ok(Peer::Unfit(errno)) if stack.connects_anew(sock) => return Return::fail(errno).into(),
        // It is not looked at.
        Ok(Peer::Unfit(_)) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        Err(errno) => return Return::fail(errno).into(),
    };
    if nonblocking {
        let connected = stack.connect(now, sock, to);
        return connected.map(|()| 0).map_err(SockError::errno).into();
    }
    let op = ops::Connect::new(sock, to);
    process.first_step(stack, now, (fd, Wait::Connect(op)))
}

/// shutdown(2).
pub(crate) fn shutdown(
    process: &Process,
    stack: &mut Stack,
    now: Instant,
    (fd, how): (Fd, i32),
) -> Result<i64, i32> {
    let (_, sock) = process.socket(fd)?;
    let how = match how {
        libc::SHUT_RD => Shutdown::Read,
        libc::SHUT_WR => Shutdown::Write,
        libc::SHUT_RDWR => Shutdown::Both,
        _ => return Err(libc::EINVAL),
    };
    stack
        .shutdown(now, sock, how)
        .map(|()| 0)
        .map_err(SockError::errno)
}

/// getsockname(2).
pub(crate) fn name(process: &Process, stack: &Stack, fd: Fd) -> Return {
    told(
        process
            .socket(fd)
            .and_then(|(_, sock)| stack.local_addr(sock).map_err(SockError::errno)),
    )
}

/// getpeername(2).
pub(crate) fn peer(process: &Process, stack: &Stack, fd: Fd) -> Return {
    told(
        process
            .socket(fd)
            .and_then(|(_, sock)| stack.peer_addr(sock).map_err(SockError::errno)),
    )
}

fn told(addr: Result<SocketAddrV4, i32>) -> Return {
    match addr {
        Ok(addr) => Return::with(0, Out::Addr(SockAddr::V4(addr))),
        Err(errno) => Return::fail(errno),
    }
}
