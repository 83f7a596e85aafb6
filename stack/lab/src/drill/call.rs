//! System calls of a script, carried out on the stack.
//!
//! Blocking is the stack's own: a call that must wait is an `ops` value that is stepped after everything that happens.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddrV4};

use millrace_net::ops::{self, Op, Step};
use millrace_net::{MsgFlags, OptName, SockError, SockId, Stack};
use millrace_wire::time::Instant;

use super::ast::{Expr, Syscall};
use super::settings::Settings;
use super::sockopt;
use super::symbols::value;

const O_RDWR: i64 = 2;
const O_NONBLOCK: i64 = 0x800;

/// Whether calls on a descriptor wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// As sockets are born.
    Yes,
    /// `O_NONBLOCK`.
    No,
}

#[derive(Debug, Clone, Copy)]
struct Fd {
    sock: SockId,
    waits: Waits,
}

/// What a call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// A plain number.
    Value(i64),
    /// A new descriptor: a socket just created.
    Socket(SockId),
    /// A new descriptor: a connection with its peer.
    Accepted(SockId, SocketAddrV4),
    /// -1 and an errno.
    Failed(SockError),
    /// -1 and an errno that only the socket layer above the stack knows.
    BadFd,
}

/// How a call went on.
pub(super) enum Started<'b> {
    /// It returned.
    Done(Returned),
    /// It waits.
    Waits(Waiting<'b>),
    /// It returned, but the value it handed back is not the written one.
    Wrong {
        /// As written.
        expected: i64,
        /// As handed back.
        got: i64,
    },
    /// The runner, or the stack, has no such call: what is missing.
    Unknown(String),
}

/// A call that waits.
pub(super) enum Waiting<'b> {
    Connect(ops::Connect),
    Accept(ops::Accept),
    Send(ops::Send<'b>),
    Recv(ops::Recv<'b>),
    Close(ops::Close),
}

impl Waiting<'_> {
    /// Tries again; `None` when it still waits.
    pub(super) fn step(&mut self, stack: &mut Stack, now: Instant) -> Option<Returned> {
        match self {
            Self::Connect(op) => settle(op.step(stack, now), |()| Returned::Value(0)),
            Self::Accept(op) => settle(op.step(stack, now), |(sock, peer)| {
                Returned::Accepted(sock, peer)
            }),
            Self::Send(op) => settle(op.step(stack, now), |n| Returned::Value(n as i64)),
            Self::Recv(op) => settle(op.step(stack, now), |n| Returned::Value(n as i64)),
            Self::Close(op) => settle(op.step(stack, now), |()| Returned::Value(0)),
        }
    }

    /// When it gives up by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Connect(op) => op.deadline(),
            Self::Accept(op) => op.deadline(),
            Self::Send(op) => op.deadline(),
            Self::Recv(op) => op.deadline(),
            Self::Close(op) => op.deadline(),
        }
    }
}

fn settle<T>(step: Step<T>, done: impl FnOnce(T) -> Returned) -> Option<Returned> {
    match step {
        Step::Parked => None,
        Step::Done(result) => Some(answer(result, done)),
    }
}

fn answer<T>(result: Result<T, SockError>, done: impl FnOnce(T) -> Returned) -> Returned {
    result.map_or_else(Returned::Failed, done)
}

/// What a call means for the connection under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// A new socket is under test.
    NewSocket,
    /// The socket under test opens a connection.
    Connects,
}

/// The script's descriptors.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    fds: BTreeMap<i64, Fd>,
}

impl Descriptors {
    /// The script calls this socket `number` from now on.
    pub(super) fn insert(&mut self, number: i64, sock: SockId) {
        self.fds.insert(
            number,
            Fd {
                sock,
                waits: Waits::Yes,
            },
        );
    }

    /// What `call` does to the connection under test, before it is carried out.
    pub(super) fn effect(call: &Syscall) -> Effect {
        match call.name.as_str() {
            "socket" => Effect::NewSocket,
            "connect" => Effect::Connects,
            _ => Effect::None,
        }
    }

    /// Carries out `call`; `buffer` is zeros, as long as the call's length argument.
    pub(super) fn start<'b>(
        &mut self,
        call: &Syscall,
        settings: &Settings,
        stack: &mut Stack,
        now: Instant,
        buffer: &'b mut [u8],
    ) -> Started<'b> {
        if call.name == "socket" {
            return socket(call, stack);
        }
        let Some(number) = call.args.first().and_then(value) else {
            return unknown(call);
        };
        let Some(fd) = self.fds.get(&number).copied() else {
            return Started::Done(Returned::BadFd);
        };
        match call.name.as_str() {
            "bind" => {
                let result = stack.bind(
                    fd.sock,
                    SocketAddrV4::new(settings.local_ip, settings.bind_port),
                );
                done(result, |()| 0)
            }
            "listen" => match call.args.get(1).and_then(value).map(u32::try_from) {
                Some(Ok(backlog)) => done(stack.listen(fd.sock, backlog), |()| 0),
                _ => unknown(call),
            },
            "connect" => connect(call, fd, settings, stack, now),
            "accept" => wait_or(
                fd,
                stack,
                now,
                Waiting::Accept(ops::Accept::new(fd.sock)),
                |stack| {
                    answer(stack.accept(now, fd.sock), |(sock, peer)| {
                        Returned::Accepted(sock, peer)
                    })
                },
            ),
            "read" | "recv" => receive(call, fd, stack, now, buffer),
            "write" | "send" => send(call, fd, stack, now, buffer),
            "shutdown" => match call.args.get(1).and_then(value) {
                Some(0) => done(stack.shutdown(now, fd.sock, Shutdown::Read), |()| 0),
                Some(1) => done(stack.shutdown(now, fd.sock, Shutdown::Write), |()| 0),
                Some(2) => done(stack.shutdown(now, fd.sock, Shutdown::Both), |()| 0),
                _ => unknown(call),
            },
            "close" => {
                self.fds.remove(&number);
                first_step(stack, now, Waiting::Close(ops::Close::new(fd.sock)))
            }
            "fcntl" => self.fcntl(call, number),
            "ioctl" => ioctl(call, fd, stack),
            "setsockopt" => set_option(call, fd, stack, now),
            "getsockopt" => get_option(call, fd, stack),
            _ => unknown(call),
        }
    }

    fn fcntl(&mut self, call: &Syscall, number: i64) -> Started<'static> {
        let Some(fd) = self.fds.get_mut(&number) else {
            return Started::Done(Returned::BadFd);
        };
        match (
            call.args.get(1).and_then(value),
            call.args.get(2).and_then(value),
        ) {
            (Some(3), _) => Started::Done(Returned::Value(match fd.waits {
                Waits::Yes => O_RDWR,
                Waits::No => O_RDWR | O_NONBLOCK,
            })),
            (Some(4), Some(flags)) if flags & !(O_RDWR | O_NONBLOCK) == 0 => {
                fd.waits = if flags & O_NONBLOCK == 0 {
                    Waits::Yes
                } else {
                    Waits::No
                };
                Started::Done(Returned::Value(0))
            }
            _ => unknown(call),
        }
    }
}

fn unknown(call: &Syscall) -> Started<'static> {
    Started::Unknown(format!("{}(…) with these arguments", call.name))
}

fn done<T>(result: Result<T, SockError>, number: impl FnOnce(T) -> i64) -> Started<'static> {
    Started::Done(answer(result, |value| Returned::Value(number(value))))
}

fn first_step<'b>(stack: &mut Stack, now: Instant, mut waiting: Waiting<'b>) -> Started<'b> {
    match waiting.step(stack, now) {
        Some(returned) => Started::Done(returned),
        None => Started::Waits(waiting),
    }
}

/// The resumable form on a blocking descriptor, the plain one otherwise.
fn wait_or<'b>(
    fd: Fd,
    stack: &mut Stack,
    now: Instant,
    waiting: Waiting<'b>,
    plain: impl FnOnce(&mut Stack) -> Returned,
) -> Started<'b> {
    match fd.waits {
        Waits::Yes => first_step(stack, now, waiting),
        Waits::No => Started::Done(plain(stack)),
    }
}

fn socket(call: &Syscall, stack: &mut Stack) -> Started<'static> {
    let domain = match call.args.first() {
        Some(Expr::Ellipsis) => Some(2),
        Some(other) => value(other),
        None => None,
    };
    match (domain, call.args.get(1).and_then(value)) {
        (Some(2), Some(1)) => Started::Done(answer(stack.tcp_socket(), Returned::Socket)),
        _ => unknown(call),
    }
}

fn connect(
    call: &Syscall,
    fd: Fd,
    settings: &Settings,
    stack: &mut Stack,
    now: Instant,
) -> Started<'static> {
    if call.args.get(1) != Some(&Expr::Ellipsis) {
        return unknown(call);
    }
    let to = SocketAddrV4::new(settings.remote_ip, settings.connect_port);
    wait_or(
        fd,
        stack,
        now,
        Waiting::Connect(ops::Connect::new(fd.sock, to)),
        |stack| answer(stack.connect(now, fd.sock, to), |()| Returned::Value(0)),
    )
}

/// Flags of `send` and `recv`: those for the stack, and whether the call waits. `None`: a flag we do not have.
fn message_flags(call: &Syscall, fd: Fd) -> Option<(MsgFlags, Waits)> {
    let bits = match call.args.get(3) {
        None => 0,
        Some(expr) => value(expr)?,
    };
    let known = [
        (0x2, MsgFlags::PEEK),
        (0x20, MsgFlags::TRUNC),
        (0x100, MsgFlags::WAITALL),
        (0x8000, MsgFlags::MORE),
    ];
    let mut flags = MsgFlags::NONE;
    let mut left = bits & !0x4040;
    for (bit, flag) in known {
        if bits & bit != 0 {
            flags = flags | flag;
            left &= !bit;
        }
    }
    let waits = if bits & 0x40 != 0 {
        Waits::No
    } else {
        fd.waits
    };
    (left == 0).then_some((flags, waits))
}

fn receive<'b>(
    call: &Syscall,
    fd: Fd,
    stack: &mut Stack,
    now: Instant,
    buffer: &'b mut [u8],
) -> Started<'b> {
    let Some((flags, waits)) = message_flags(call, fd) else {
        return unknown(call);
    };
    match waits {
        Waits::Yes => first_step(
            stack,
            now,
            Waiting::Recv(ops::Recv::new(fd.sock, buffer, flags)),
        ),
        Waits::No => done(stack.recv(now, fd.sock, buffer, flags), |n| n as i64),
    }
}

fn send<'b>(
    call: &Syscall,
    fd: Fd,
    stack: &mut Stack,
    now: Instant,
    buffer: &'b mut [u8],
) -> Started<'b> {
    let Some((flags, waits)) = message_flags(call, fd) else {
        return unknown(call);
    };
    match waits {
        Waits::Yes => first_step(
            stack,
            now,
            Waiting::Send(ops::Send::new(fd.sock, buffer, flags)),
        ),
        Waits::No => done(stack.send(now, fd.sock, buffer, flags), |n| n as i64),
    }
}

fn ioctl(call: &Syscall, fd: Fd, stack: &mut Stack) -> Started<'static> {
    let written = call.args.get(2).and_then(sockopt::single);
    match (call.args.get(1).and_then(value), written) {
        (Some(0x541b), Some(written)) => match stack.recv_len(fd.sock) {
            Ok(len) if len as i64 == written => Started::Done(Returned::Value(0)),
            Ok(len) => Started::Wrong {
                expected: written,
                got: len as i64,
            },
            Err(error) => Started::Done(Returned::Failed(error)),
        },
        _ => unknown(call),
    }
}

fn set_option(call: &Syscall, fd: Fd, stack: &mut Stack, now: Instant) -> Started<'static> {
    let [_, level, name, written, _len] = call.args.as_slice() else {
        return unknown(call);
    };
    let option = sockopt::name(level, name).and_then(|name| sockopt::option(name, written));
    match option {
        Some(option) => done(stack.set_option(now, fd.sock, option), |()| 0),
        None => unknown(call),
    }
}

fn get_option(call: &Syscall, fd: Fd, stack: &mut Stack) -> Started<'static> {
    let [_, level, name, written, _len] = call.args.as_slice() else {
        return unknown(call);
    };
    let (Some(name), Some(written)) = (sockopt::name(level, name), sockopt::single(written)) else {
        return unknown(call);
    };
    let got = match name {
        OptName::Error => Ok(Some(
            stack
                .take_error(fd.sock)
                .map_or(0, |error| i64::from(error.errno())),
        )),
        name => stack.option(fd.sock, name).map(sockopt::number),
    };
    match got {
        Ok(Some(number)) if number == written => Started::Done(Returned::Value(0)),
        Ok(Some(number)) => Started::Wrong {
            expected: written,
            got: number,
        },
        Ok(None) => unknown(call),
        Err(error) => Started::Done(Returned::Failed(error)),
    }
}
