//! One function: make a call, give back what the kernel says.

use std::ffi::CString;
use std::os::fd::RawFd;

use millrace_posix::call::{Buffer, Call, EpollEvent, Out, Return, SockAddr};

use super::{address, message, returned, with};

/// Makes the call; descriptors in it are real ones. New descriptors have close-on-exec set in any case.
pub fn perform(call: &Call) -> Return {
    match call {
        Call::Socket {
            domain,
            ty,
            protocol,
            // SAFETY: takes no memory.
        } => returned(i64::from(unsafe {
            libc::socket(*domain, *ty | libc::SOCK_CLOEXEC, *protocol)
        })),
        Call::Bind { fd, addr } => {
            let bytes = address::encode(addr);
            // SAFETY: the address is as long as the length says.
            returned(i64::from(unsafe {
                libc::bind(*fd, bytes.as_ptr().cast(), bytes.len() as u32)
            }))
        }
        // SAFETY: takes no memory.
        Call::Listen { fd, backlog } => returned(i64::from(unsafe { libc::listen(*fd, *backlog) })),
        Call::Accept { fd, flags } => named(*fd, |fd, name, len| {
            // SAFETY: `named` gives a buffer and its length.
            unsafe { libc::accept4(fd, name, len, *flags | libc::SOCK_CLOEXEC) }
        }),
        Call::Connect { fd, addr } => {
            let bytes = address::encode(addr);
            // SAFETY: the address is as long as the length says.
            returned(i64::from(unsafe {
                libc::connect(*fd, bytes.as_ptr().cast(), bytes.len() as u32)
            }))
        }
        // SAFETY: takes no memory.
        Call::Shutdown { fd, how } => returned(i64::from(unsafe { libc::shutdown(*fd, *how) })),
        // SAFETY: the machine owns the descriptor and has forgotten it before it asked for this.
        Call::Close { fd } => returned(i64::from(unsafe { libc::close(*fd) })),
        Call::Recv {
            fd,
            room,
            control_room,
            flags,
        } => match (message::receive(*fd, room, *control_room, *flags), room) {
            (answer, Buffer::Given(room)) if answer.errno == libc::ENOTSOCK && *flags == 0 => {
                message::read(*fd, *room)
            }
            (answer, _) => answer,
        },
        Call::Send {
            fd,
            data,
            to,
            control,
            flags,
        } => match (message::send(*fd, data, to.as_ref(), control, *flags), data) {
            (answer, Buffer::Given(data)) if answer.errno == libc::ENOTSOCK && *flags == 0 => {
                message::write(*fd, data)
            }
            (answer, _) => answer,
        },
        Call::GetSockOpt {
            fd,
            level,
            name,
            room,
        } => get_option(*fd, *level, *name, *room),
        Call::SetSockOpt {
            fd,
            level,
            name,
            value,
            // SAFETY: the value is as long as the length says.
        } => returned(i64::from(unsafe {
            libc::setsockopt(
                *fd,
                *level,
                *name,
                value.as_ptr().cast(),
                value.len() as u32,
            )
        })),
        Call::GetSockName { fd } => named(*fd, |fd, name, len| {
            // SAFETY: `named` gives a buffer and its length.
            unsafe { libc::getsockname(fd, name, len) }
        }),
        Call::GetPeerName { fd } => named(*fd, |fd, name, len| {
            // SAFETY: `named` gives a buffer and its length.
            unsafe { libc::getpeername(fd, name, len) }
        }),
        Call::Fcntl { fd, cmd, arg } => {
            // SAFETY: the commands of `Call::Fcntl` take an integer.
            returned(i64::from(unsafe { libc::fcntl(*fd, *cmd, *arg) }))
        }
        Call::Ioctl { fd, request, arg } => {
            let mut value = *arg;
            // SAFETY: the requests of `Call::Ioctl` take a pointer to an `int`.
            let code = unsafe { libc::ioctl(*fd, *request as libc::Ioctl, &raw mut value) };
            with(i64::from(code), || Out::Int(value))
        }
        other => perform_more(other),
    }
}

/// Calls on things that are no socket.
fn perform_more(call: &Call) -> Return {
    match call {
        Call::Poll { fds, timeout } => {
            let mut list: Vec<libc::pollfd> = fds
                .iter()
                .map(|entry| libc::pollfd {
                    fd: entry.fd,
                    events: entry.events,
                    revents: 0,
                })
                .collect();
            // SAFETY: the list is as long as the count says.
            let code = unsafe { libc::poll(list.as_mut_ptr(), list.len() as u64, *timeout) };
            with(i64::from(code), || {
                Out::Poll(list.iter().map(|entry| entry.revents).collect())
            })
        }
        // SAFETY: takes no memory.
        Call::EpollCreate { flags } => returned(i64::from(unsafe {
            libc::epoll_create1(*flags | libc::EPOLL_CLOEXEC)
        })),
        Call::EpollCtl {
            epfd,
            op,
            fd,
            event,
        } => {
            let mut event = event.map(|event| libc::epoll_event {
                events: event.events,
                u64: event.data,
            });
            let pointer = event
                .as_mut()
                .map_or(std::ptr::null_mut(), |event| &raw mut *event);
            // SAFETY: the pointer is to an event, or null.
            returned(i64::from(unsafe {
                libc::epoll_ctl(*epfd, *op, *fd, pointer)
            }))
        }
        Call::EpollWait { epfd, max, timeout } => {
            let empty = libc::epoll_event { events: 0, u64: 0 };
            let mut list = vec![empty; usize::try_from(*max).unwrap_or(0)];
            // SAFETY: the list has room for `max` events; the kernel refuses a `max` that is not positive.
            let count = unsafe { libc::epoll_wait(*epfd, list.as_mut_ptr(), *max, *timeout) };
            with(i64::from(count), || {
                list.truncate(count as usize);
                Out::Epoll(
                    list.iter()
                        .map(|event| EpollEvent {
                            events: event.events,
                            data: event.u64,
                        })
                        .collect(),
                )
            })
        }
        Call::Pipe { flags } => {
            let mut fds = [0; 2];
            // SAFETY: the array has room for two descriptors.
            let code = unsafe { libc::pipe2(fds.as_mut_ptr(), *flags | libc::O_CLOEXEC) };
            with(i64::from(code), || Out::Fds(fds))
        }
        Call::Splice {
            from,
            to,
            len,
            flags,
        } => {
            let none = std::ptr::null_mut();
            // SAFETY: both offsets are null, which means none.
            returned(unsafe { libc::splice(*from, none, *to, none, *len, *flags) } as i64)
        }
        Call::Sendfile {
            to,
            from,
            offset,
            len,
        } => {
            let mut offset = offset.map(|offset| offset as i64);
            let pointer = offset
                .as_mut()
                .map_or(std::ptr::null_mut(), |offset| &raw mut *offset);
            // SAFETY: the offset is null or points to one.
            returned(unsafe { libc::sendfile(*to, *from, pointer, *len) } as i64)
        }
        Call::Open { path, flags } => {
            let Ok(path) = CString::new(path.as_str()) else {
                return Return::fail(libc::EINVAL);
            };
            // SAFETY: the path is a C string; the mode is read only when a file is created.
            returned(i64::from(unsafe {
                libc::open(path.as_ptr(), *flags | libc::O_CLOEXEC, 0o600)
            }))
        }
        _ => Return::fail(libc::ENOSYS),
    }
}

/// A call that fills in an address.
fn named(fd: RawFd, call: impl FnOnce(RawFd, *mut libc::sockaddr, *mut u32) -> i32) -> Return {
    let mut name = [0u64; 16];
    let mut len = size_of_val(&name) as u32;
    let code = call(fd, name.as_mut_ptr().cast(), &raw mut len);
    with(i64::from(code), || {
        let bytes: Vec<u8> = name.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let used = (len as usize).min(bytes.len());
        Out::Addr(if used == 0 {
            SockAddr::Unspec
        } else {
            address::decode(&bytes[..used])
        })
    })
}

fn get_option(fd: RawFd, level: i32, name: i32, room: u32) -> Return {
    // One octet more than there is room for: a null pointer would be another question.
    let mut value = vec![0u8; room as usize + 1];
    let mut len = room;
    // SAFETY: there are at least `len` octets behind the pointer.
    let code =
        unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut len) };
    with(i64::from(code), || {
        value.truncate(len as usize);
        value.resize(len as usize, 0);
        Out::Value(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_posix::call::PollFd;

    #[test]
    fn a_pair_of_pipe_ends_and_calls_that_fail() {
        let Out::Fds([read, write]) = perform(&Call::Pipe { flags: 0 }).out else {
            panic!("no pipe");
        };
        let poll = perform(&Call::Poll {
            fds: vec![PollFd {
                fd: write,
                events: libc::POLLOUT,
            }],
            timeout: 0,
        });
        assert_eq!((poll.value, poll.out), (1, Out::Poll(vec![libc::POLLOUT])));
        let send = perform(&Call::Send {
            fd: write,
            data: Buffer::Given(vec![0]),
            to: None,
            control: Vec::new(),
            flags: 0,
        });
        assert_eq!((send.value, send.errno), (1, 0));
        let recv = perform(&Call::Recv {
            fd: read,
            room: Buffer::Given(4),
            control_room: 0,
            flags: libc::MSG_PEEK,
        });
        assert_eq!((recv.value, recv.errno), (-1, libc::ENOTSOCK));
        for fd in [read, write] {
            assert_eq!(perform(&Call::Close { fd }).value, 0);
        }
    }
}
