//! Receiving and sending in all their shapes.

use std::ffi::c_int;

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use millrace_posix::call::{Buffer, Call, Cmsg, Out, Received, SockAddr};

use super::{call, number, refuse, socket};
use crate::fds::inner;
use crate::memory::{Message, Ptr, Userdata};

/// Receives; what came goes where `fill` puts it.
fn receive(
    userdata: Userdata,
    fd: c_int,
    (room, control_room, flags): (Buffer<usize>, usize, c_int),
    fill: impl FnOnce(&Received),
) -> ssize_t {
    let fd = inner(fd);
    let returned = call(
        userdata,
        Call::Recv {
            fd,
            room,
            control_room,
            flags,
        },
    );
    if let Out::Msg(received) = &returned.out {
        fill(received);
    }
    number(&returned)
}

fn transmit(
    userdata: Userdata,
    fd: c_int,
    data: Buffer<Vec<u8>>,
    (to, control, flags): (Option<SockAddr>, Vec<Cmsg>, c_int),
) -> ssize_t {
    let fd = inner(fd);
    number(&call(
        userdata,
        Call::Send {
            fd,
            data,
            to,
            control,
            flags,
        },
    ))
}

pub(super) extern "C" fn read(userdata: Userdata, fd: c_int, at: Ptr<u8>, len: size_t) -> ssize_t {
    recv(userdata, fd, at, len, 0)
}

pub(super) extern "C" fn recv(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<u8>,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    receive(userdata, fd, (at.room(len), 0, flags), |received| {
        at.fill(&received.data);
    })
}

pub(super) extern "C" fn readv(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<iovec>,
    count: c_int,
) -> ssize_t {
    let pieces = match usize::try_from(count) {
        Ok(count) => at.pieces(count),
        Err(_) => Err(libc::EINVAL),
    };
    match pieces {
        Ok(pieces) => receive(userdata, fd, (pieces.room(), 0, 0), |received| {
            pieces.scatter(&received.data);
        }),
        Err(errno) => refuse(errno),
    }
}

pub(super) extern "C" fn recvfrom(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<u8>,
    len: size_t,
    flags: c_int,
    name: Ptr<sockaddr>,
    name_len: Ptr<socklen_t>,
) -> ssize_t {
    receive(userdata, fd, (at.room(len), 0, flags), |received| {
        at.fill(&received.data);
        if let (false, Some(room)) = (name.is_null(), name_len.get()) {
            name_len.set(match &received.name {
                Some(addr) => name.put_addr(addr, room),
                None => 0,
            });
        }
    })
}

pub(super) extern "C" fn recvmsg(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<msghdr>,
    flags: c_int,
) -> ssize_t {
    match Message::read(at) {
        Ok(message) => {
            let room = (message.data.room(), message.control_room(), flags);
            receive(userdata, fd, room, |received| message.fill(received))
        }
        Err(errno) => refuse(errno),
    }
}

pub(super) extern "C" fn write(userdata: Userdata, fd: c_int, at: Ptr<u8>, len: size_t) -> ssize_t {
    send(userdata, fd, at, len, 0)
}

pub(super) extern "C" fn send(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<u8>,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    transmit(userdata, fd, at.bytes(len), (None, Vec::new(), flags))
}

pub(super) extern "C" fn writev(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<iovec>,
    count: c_int,
) -> ssize_t {
    let pieces = match usize::try_from(count) {
        Ok(count) => at.pieces(count),
        Err(_) => Err(libc::EINVAL),
    };
    match pieces {
        Ok(pieces) => transmit(userdata, fd, pieces.gather(), (None, Vec::new(), 0)),
        Err(errno) => refuse(errno),
    }
}

pub(super) extern "C" fn sendto(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<u8>,
    len: size_t,
    flags: c_int,
    name: Ptr<sockaddr>,
    name_len: socklen_t,
) -> ssize_t {
    match destination(name, name_len) {
        Ok(to) => transmit(userdata, fd, at.bytes(len), (to, Vec::new(), flags)),
        Err(errno) => refuse(errno),
    }
}

pub(super) extern "C" fn sendmsg(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<msghdr>,
    flags: c_int,
) -> ssize_t {
    match sendable(at) {
        Ok((data, to, control)) => transmit(userdata, fd, data, (to, control, flags)),
        Err(errno) => refuse(errno),
    }
}

type Sendable = (Buffer<Vec<u8>>, Option<SockAddr>, Vec<Cmsg>);

fn sendable(at: Ptr<msghdr>) -> Result<Sendable, c_int> {
    let message = Message::read(at)?;
    let (name, len) = message.name();
    let to = destination(name, len)?;
    Ok((message.data.gather(), to, message.control()?))
}

/// Where to, if an address is named.
fn destination(name: Ptr<sockaddr>, len: socklen_t) -> Result<Option<SockAddr>, c_int> {
    if name.is_null() {
        return Ok(None);
    }
    socket::addr(name, len).map(Some)
}
