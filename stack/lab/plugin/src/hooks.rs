//! The preloaded library, if there is one, learns which descriptors are ours and what to call for them.

use std::ffi::{c_int, c_void};

use libc::{off_t, size_t, socklen_t, ssize_t};

use crate::entry;
use crate::fds::RESERVED;
use crate::memory::{Ptr, Userdata};

type GetSockOpt = extern "C" fn(Userdata, c_int, c_int, c_int, Ptr<u8>, Ptr<socklen_t>) -> c_int;
type Close = extern "C" fn(Userdata, c_int) -> c_int;
type Sendfile = extern "C" fn(Userdata, c_int, c_int, Ptr<off_t>, size_t) -> ssize_t;

/// `millrace_drill_attach` of the preloaded library: no functions stand for the end.
type Attach = extern "C" fn(
    Userdata,
    first: c_int,
    end: c_int,
    Option<GetSockOpt>,
    Option<Close>,
    Option<Sendfile>,
);

fn preloaded() -> Option<Attach> {
    // SAFETY: the name ends with a zero.
    let found: *mut c_void =
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"millrace_drill_attach".as_ptr()) };
    // SAFETY: the only library with this symbol is the one that is built beside this one; the type is its own, and a
    // null pointer is `None`.
    unsafe { std::mem::transmute::<*mut c_void, Option<Attach>>(found) }
}

/// Tells the preloaded library of a table.
pub(crate) fn attach(userdata: Userdata) {
    if let Some(attach) = preloaded() {
        attach(
            userdata,
            RESERVED.start,
            RESERVED.end,
            Some(entry::options::getsockopt),
            Some(entry::socket::close),
            Some(entry::pipe::sendfile),
        );
    }
}

/// The table is no more.
pub(crate) fn detach(userdata: Userdata) {
    if let Some(attach) = preloaded() {
        attach(userdata, 0, 0, None, None, None);
    }
}
