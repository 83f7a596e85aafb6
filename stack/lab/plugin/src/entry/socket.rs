//! The calls of a socket's life.

use std::ffi::c_int;

use libc::{sockaddr, socklen_t};
use millrace_posix::call::{Buffer, Call, Out, Return, SockAddr};

use super::{call, int};
use crate::fds::{inner, opened};
use crate::memory::{Ptr, Userdata};

/// Octets of `struct sockaddr_storage`: longer addresses are none.
const STORAGE: socklen_t = 128;

/// An address argument.
pub(super) fn addr(at: Ptr<sockaddr>, len: socklen_t) -> Result<SockAddr, c_int> {
    if len > STORAGE {
        return Err(libc::EINVAL);
    }
    match at.bytes(len as usize) {
        Buffer::Given(bytes) => Ok(SockAddr::Raw(bytes)),
        Buffer::Null(_) => Err(libc::EFAULT),
    }
}

pub(super) extern "C" fn socket(
    userdata: Userdata,
    domain: c_int,
    ty: c_int,
    protocol: c_int,
) -> c_int {
    let wanted = Call::Socket {
        domain,
        ty,
        protocol,
    };
    int(&opened(call(userdata, wanted)))
}

pub(super) extern "C" fn bind(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<sockaddr>,
    len: socklen_t,
) -> c_int {
    int(&match addr(at, len) {
        Ok(addr) => call(
            userdata,
            Call::Bind {
                fd: inner(fd),
                addr,
            },
        ),
        Err(errno) => Return::fail(errno),
    })
}

pub(super) extern "C" fn listen(userdata: Userdata, fd: c_int, backlog: c_int) -> c_int {
    let fd = inner(fd);
    int(&call(userdata, Call::Listen { fd, backlog }))
}

pub(super) extern "C" fn accept(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<sockaddr>,
    len: Ptr<socklen_t>,
) -> c_int {
    let fd = inner(fd);
    let returned = opened(call(userdata, Call::Accept { fd, flags: 0 }));
    if let (Out::Addr(peer), false) = (&returned.out, at.is_null()) {
        // A child without a place for its peer's address is closed again.
        let Some(room) = len.get() else {
            let fd = inner(returned.value as c_int);
            call(userdata, Call::Close { fd });
            return int(&Return::fail(libc::EFAULT));
        };
        len.set(at.put_addr(peer, room));
    }
    int(&returned)
}

pub(super) extern "C" fn connect(
    userdata: Userdata,
    fd: c_int,
    at: Ptr<sockaddr>,
    len: socklen_t,
) -> c_int {
    int(&match addr(at, len) {
        Ok(addr) => call(
            userdata,
            Call::Connect {
                fd: inner(fd),
                addr,
            },
        ),
        Err(errno) => Return::fail(errno),
    })
}

pub(crate) extern "C" fn close(userdata: Userdata, fd: c_int) -> c_int {
    int(&call(userdata, Call::Close { fd: inner(fd) }))
}

pub(super) extern "C" fn shutdown(userdata: Userdata, fd: c_int, how: c_int) -> c_int {
    let fd = inner(fd);
    int(&call(userdata, Call::Shutdown { fd, how }))
}
