//! The interface, and the clock.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use libc::{size_t, timeval, useconds_t};
use millrace_posix::call::{Buffer, Return};

use super::int;
use crate::memory::{Ptr, Userdata};

pub(super) extern "C" fn send(userdata: Userdata, at: Ptr<u8>, len: size_t) -> c_int {
    match at.bytes(len) {
        Buffer::Given(packet) => {
            userdata.plug().inject(&packet);
            0
        }
        Buffer::Null(_) => int(&Return::fail(libc::EFAULT)),
    }
}

/// A packet that never comes has no octets: the tool then finds that it is no packet, and fails the script. An error
/// would make it ask for ever.
pub(super) extern "C" fn receive(
    userdata: Userdata,
    at: Ptr<u8>,
    count: Ptr<size_t>,
    time: Ptr<i64>,
) -> c_int {
    let room = count.get().unwrap_or(0);
    let Some((packet, when)) = userdata.plug().next_sent() else {
        count.set(0);
        return 0;
    };
    let len = packet.len().min(room);
    at.fill(&packet[..len]);
    count.set(len);
    time.set(when.as_micros() as i64);
    0
}

pub(super) extern "C" fn usleep(userdata: Userdata, span: useconds_t) -> c_int {
    let span = Duration::from_micros(u64::from(span));
    userdata.plug().usleep(span);
    0
}

pub(super) extern "C" fn gettimeofday(
    userdata: Userdata,
    at: Ptr<timeval>,
    _: *mut c_void,
) -> c_int {
    let now = userdata.plug().time();
    at.set(timeval {
        tv_sec: now.as_secs() as i64,
        tv_usec: i64::from(now.subsec_micros()),
    });
    0
}
