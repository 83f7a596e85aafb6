//! Pipes, and what moves data between descriptors.

use std::ffi::{c_int, c_uint};
use std::path::PathBuf;
use std::{fs, io};

use libc::{loff_t, off_t, size_t, ssize_t};
use millrace_posix::call::{Call, Out, Return};

use super::{call, int, number};
use crate::fds::{inner, opened};
use crate::memory::{Ptr, Userdata};

pub(super) extern "C" fn pipe(userdata: Userdata, at: Ptr<c_int>) -> c_int {
    if at.is_null() {
        return int(&Return::fail(libc::EFAULT));
    }
    let returned = opened(call(userdata, Call::Pipe { flags: 0 }));
    if let Out::Fds(fds) = returned.out {
        for (index, fd) in fds.into_iter().enumerate() {
            at.set_at(index, fd);
        }
    }
    int(&returned)
}

pub(super) extern "C" fn splice(
    userdata: Userdata,
    from: c_int,
    from_offset: Ptr<loff_t>,
    to: c_int,
    to_offset: Ptr<loff_t>,
    len: size_t,
    flags: c_uint,
) -> c_int {
    // Neither pipes nor sockets have a place to begin at.
    if !from_offset.is_null() || !to_offset.is_null() {
        return int(&Return::fail(libc::ESPIPE));
    }
    let wanted = Call::Splice {
        from: inner(from),
        to: inner(to),
        len,
        flags,
    };
    int(&call(userdata, wanted))
}

/// sendfile(2) for the preloaded library: `from` is a real file, which is opened once more by its path, since all that
/// the stack's program can open is a file of zeros.
pub(crate) extern "C" fn sendfile(
    userdata: Userdata,
    to: c_int,
    from: c_int,
    offset: Ptr<off_t>,
    len: size_t,
) -> ssize_t {
    number(&match path_of(from) {
        Ok(path) => send_from(userdata, to, &path, offset, len),
        Err(_) => Return::fail(libc::EBADF),
    })
}

fn path_of(fd: c_int) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{fd}"))
}

fn send_from(
    userdata: Userdata,
    to: c_int,
    path: &std::path::Path,
    offset: Ptr<off_t>,
    len: size_t,
) -> Return {
    let path = path.to_string_lossy().into_owned();
    let start = match offset.get().map(u64::try_from) {
        Some(Err(_)) => return Return::fail(libc::EINVAL),
        Some(Ok(start)) => Some(start),
        None => None,
    };
    let flags = libc::O_RDONLY;
    let file = call(userdata, Call::Open { path, flags });
    if file.value < 0 {
        return file;
    }
    let from = file.value as c_int;
    let wanted = Call::Sendfile {
        to: inner(to),
        from,
        offset: start,
        len,
    };
    let sent = call(userdata, wanted);
    call(userdata, Call::Close { fd: from });
    if let (Some(start), 1..) = (offset.get(), sent.value) {
        offset.set(start + sent.value);
    }
    sent
}
