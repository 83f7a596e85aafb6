//! Options and controls.

use std::ffi::{c_int, c_ulong};

use libc::socklen_t;
use millrace_posix::call::{Buffer, Call, Out, Return};

use super::{call, int};
use crate::fds::inner;
use crate::memory::{Ptr, Userdata};

pub(crate) extern "C" fn getsockopt(
    userdata: Userdata,
    fd: c_int,
    level: c_int,
    name: c_int,
    at: Ptr<u8>,
    len: Ptr<socklen_t>,
) -> c_int {
    let Some(room) = len.get() else {
        return int(&Return::fail(libc::EFAULT));
    };
    let fd = inner(fd);
    let returned = call(
        userdata,
        Call::GetSockOpt {
            fd,
            level,
            name,
            room,
        },
    );
    if let Out::Value(value) = &returned.out {
        len.set(value.len() as socklen_t);
        if at.is_null() && !value.is_empty() {
            return int(&Return::fail(libc::EFAULT));
        }
        at.fill(value);
    }
    int(&returned)
}

pub(super) extern "C" fn setsockopt(
    userdata: Userdata,
    fd: c_int,
    level: c_int,
    name: c_int,
    at: Ptr<u8>,
    len: socklen_t,
) -> c_int {
    // The kernel's length is an int.
    let Ok(len) = usize::try_from(len.cast_signed()) else {
        return int(&Return::fail(libc::EINVAL));
    };
    let fd = inner(fd);
    int(&match at.bytes(len) {
        Buffer::Given(value) => call(
            userdata,
            Call::SetSockOpt {
                fd,
                level,
                name,
                value,
            },
        ),
        Buffer::Null(_) => Return::fail(libc::EFAULT),
    })
}

pub(super) extern "C" fn fcntl(userdata: Userdata, fd: c_int, cmd: c_int, arg: isize) -> c_int {
    let wanted = Call::Fcntl {
        fd: inner(fd),
        cmd,
        arg: arg as i64,
    };
    int(&call(userdata, wanted))
}

pub(super) extern "C" fn ioctl(
    userdata: Userdata,
    fd: c_int,
    request: c_ulong,
    at: Ptr<c_int>,
) -> c_int {
    let Some(arg) = at.get() else {
        return int(&Return::fail(libc::EFAULT));
    };
    let wanted = Call::Ioctl {
        fd: inner(fd),
        request,
        arg,
    };
    let returned = call(userdata, wanted);
    if let Out::Int(value) = returned.out {
        at.set(value);
    }
    int(&returned)
}
