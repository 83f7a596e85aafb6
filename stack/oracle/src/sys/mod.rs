//! The only place of this crate with `unsafe`: system calls with arguments of any bytes, which no safe wrapper offers.

pub mod address;
pub mod calls;
pub mod device;
pub mod message;
pub mod threads;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use millrace_posix::call::{Out, Return};

/// A null pointer of no particular type stands for memory that a program does not have.
const NOWHERE: *mut libc::c_void = std::ptr::null_mut();

/// What a call returned, as a value; `errno` is read at once.
fn returned(value: i64) -> Return {
    if value < 0 {
        Return::fail(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Return::ok(value)
    }
}

/// Success carries `out`, failure does not.
fn with(value: i64, out: impl FnOnce() -> Out) -> Return {
    let mut answer = returned(value);
    if answer.errno == 0 {
        answer.out = out();
    }
    answer
}

/// As an I/O result.
fn checked(value: i64) -> io::Result<RawFd> {
    if value < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value as RawFd)
    }
}

/// Takes a descriptor that a call has just returned.
pub fn own(fresh: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just given this descriptor to a call of ours, and every answer is taken once.
    unsafe { OwnedFd::from_raw_fd(fresh) }
}
