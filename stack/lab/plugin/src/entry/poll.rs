//! Readiness.

use std::ffi::c_int;

use libc::{epoll_event, nfds_t, pollfd};
use millrace_posix::call::{Call, EpollEvent, Out, PollFd, Return};

use super::{call, int};
use crate::fds::{inner, opened};
use crate::memory::{Ptr, Userdata};
use crate::plug::FDS;

pub(super) extern "C" fn poll(
    userdata: Userdata,
    at: Ptr<pollfd>,
    count: nfds_t,
    timeout: c_int,
) -> c_int {
    // As with RLIMIT_NOFILE.
    let count = match usize::try_from(count) {
        Ok(count) if count <= FDS => count,
        _ => return int(&Return::fail(libc::EINVAL)),
    };
    if at.is_null() && count > 0 {
        return int(&Return::fail(libc::EFAULT));
    }
    let fds: Vec<pollfd> = (0..count).filter_map(|index| at.get_at(index)).collect();
    let asked = fds.iter().map(|entry| PollFd {
        fd: inner(entry.fd),
        events: entry.events,
    });
    let wanted = Call::Poll {
        fds: asked.collect(),
        timeout,
    };
    let returned = call(userdata, wanted);
    if let Out::Poll(ready) = &returned.out {
        for (index, (entry, revents)) in fds.into_iter().zip(ready).enumerate() {
            at.set_at(
                index,
                pollfd {
                    revents: *revents,
                    ..entry
                },
            );
        }
    }
    int(&returned)
}

pub(super) extern "C" fn epoll_create(userdata: Userdata, size: c_int) -> c_int {
    // The size means nothing, but must be one.
    if size <= 0 {
        return int(&Return::fail(libc::EINVAL));
    }
    int(&opened(call(userdata, Call::EpollCreate { flags: 0 })))
}

pub(super) extern "C" fn epoll_ctl(
    userdata: Userdata,
    epfd: c_int,
    op: c_int,
    fd: c_int,
    at: Ptr<epoll_event>,
) -> c_int {
    let event = at.get();
    if event.is_none() && op != libc::EPOLL_CTL_DEL {
        return int(&Return::fail(libc::EFAULT));
    }
    let wanted = Call::EpollCtl {
        epfd: inner(epfd),
        op,
        fd: inner(fd),
        event: event.map(|event| EpollEvent {
            events: event.events,
            data: event.u64,
        }),
    };
    int(&call(userdata, wanted))
}

pub(super) extern "C" fn epoll_wait(
    userdata: Userdata,
    epfd: c_int,
    at: Ptr<epoll_event>,
    max: c_int,
    timeout: c_int,
) -> c_int {
    if at.is_null() && max > 0 {
        return int(&Return::fail(libc::EFAULT));
    }
    let epfd = inner(epfd);
    let returned = call(userdata, Call::EpollWait { epfd, max, timeout });
    if let Out::Epoll(events) = &returned.out {
        for (index, event) in events.iter().enumerate() {
            at.set_at(
                index,
                epoll_event {
                    events: event.events,
                    u64: event.data,
                },
            );
        }
    }
    int(&returned)
}
