//! From a written call to the machine's.

use std::net::SocketAddrV4;

use millrace_posix::call::{Buffer, Call, SockAddr};

use super::address::address;
use super::args::{Args, zeros};
use super::message::Message;
use super::option;
use super::ready;
use crate::drill::ast::Expr;
use crate::drill::symbols::{single, value};
use crate::drill::verdict::Stop;

/// The room for an option that is not written.
const DEFAULT_OPTION_ROOM: u32 = 4;

/// The call for the machine.
pub(in crate::drill) fn make(args: &Args<'_>) -> Result<Call, Stop> {
    match args.call.name.as_str() {
        "socket" => socket(args),
        "bind" | "connect" => bind_or_connect(args),
        "listen" => Ok(Call::Listen {
            fd: args.fd(0)?,
            backlog: args.int(1)?,
        }),
        "accept" => Ok(Call::Accept {
            fd: args.fd(0)?,
            flags: 0,
        }),
        "accept4" => Ok(Call::Accept {
            fd: args.fd(0)?,
            flags: args.int(3)?,
        }),
        "shutdown" => Ok(Call::Shutdown {
            fd: args.fd(0)?,
            how: args.int(1)?,
        }),
        "close" => Ok(Call::Close { fd: args.fd(0)? }),
        "read" | "recv" | "recvfrom" | "readv" | "recvmsg" => receive(args),
        "write" | "send" | "sendto" | "writev" | "sendmsg" => send(args),
        "setsockopt" => set_option(args),
        "getsockopt" => get_option(args),
        "fcntl" => Ok(Call::Fcntl {
            fd: args.fd(0)?,
            cmd: args.int(1)?,
            arg: i64::from(args.int_or(2, 0)?),
        }),
        "ioctl" => ioctl(args),
        "poll" | "epoll_create" | "epoll_create1" | "epoll_ctl" | "epoll_wait" => events(args),
        "pipe" | "splice" | "sendfile" | "open" => files(args),
        _ => Err(args.unsupported()),
    }
}

fn socket(args: &Args<'_>) -> Result<Call, Stop> {
    const AF_INET: i32 = 2;
    let domain = match args.expr(0)? {
        Expr::Ellipsis => AF_INET,
        _ => args.int(0)?,
    };
    Ok(Call::Socket {
        domain,
        ty: args.int(1)?,
        protocol: args.int(2)?,
    })
}

fn bind_or_connect(args: &Args<'_>) -> Result<Call, Stop> {
    let fd = args.fd(0)?;
    let settings = args.settings;
    if args.call.name == "bind" {
        let local = SocketAddrV4::new(settings.local_ip, settings.bind_port);
        let addr = address(args, 1, local)?;
        return Ok(Call::Bind { fd, addr });
    }
    let addr = address(args, 1, remote(args))?;
    Ok(Call::Connect { fd, addr })
}

/// What `...` stands for as a destination.
fn remote(args: &Args<'_>) -> SocketAddrV4 {
    let settings = args.settings;
    let configured = SocketAddrV4::new(settings.remote_ip, settings.connect_port);
    match args.conn {
        Some(conn) if args.call.name != "connect" => conn.remote(),
        _ => configured,
    }
}

fn receive(args: &Args<'_>) -> Result<Call, Stop> {
    let fd = args.fd(0)?;
    let (room, control_room, flags) = match args.call.name.as_str() {
        "readv" => (
            Buffer::Given(args.iovec(args.expr(1)?, args.expr(2)?)?),
            0,
            0,
        ),
        "recvmsg" => {
            let message = Message::of(args, 1)?;
            (
                Buffer::Given(message.len),
                message.control_room(),
                args.int(2)?,
            )
        }
        _ => (args.buffer(1, args.len(2)?)?, 0, args.int_or(3, 0)?),
    };
    Ok(Call::Recv {
        fd,
        room,
        control_room,
        flags,
    })
}

fn send(args: &Args<'_>) -> Result<Call, Stop> {
    let fd = args.fd(0)?;
    let mut to = None;
    let mut control = Vec::new();
    let (data, flags) = match args.call.name.as_str() {
        "writev" => (Buffer::Given(args.iovec(args.expr(1)?, args.expr(2)?)?), 0),
        "sendmsg" => {
            let message = Message::of(args, 1)?;
            if message.flags != 0 {
                return Err(args.unsupported());
            }
            to = message.named.then(|| SockAddr::V4(remote(args)));
            control = message.outgoing(args)?;
            (Buffer::Given(message.len), args.int(2)?)
        }
        "sendto" => {
            to = match args.expr(4)? {
                Expr::Int(0) => None,
                _ => Some(address(args, 4, remote(args))?),
            };
            (args.buffer(1, args.len(2)?)?, args.int(3)?)
        }
        _ => (args.buffer(1, args.len(2)?)?, args.int_or(3, 0)?),
    };
    Ok(Call::Send {
        fd,
        data: zeros(data),
        to,
        control,
        flags,
    })
}

fn set_option(args: &Args<'_>) -> Result<Call, Stop> {
    Ok(Call::SetSockOpt {
        fd: args.fd(0)?,
        level: args.int(1)?,
        name: args.int(2)?,
        value: option::to_bytes(args, 3, args.len(4)?)?,
    })
}

fn get_option(args: &Args<'_>) -> Result<Call, Stop> {
    let room = match args.expr(4)? {
        Expr::Ellipsis => DEFAULT_OPTION_ROOM,
        written => single(written)
            .and_then(|room| u32::try_from(room).ok())
            .ok_or_else(|| args.unsupported())?,
    };
    Ok(Call::GetSockOpt {
        fd: args.fd(0)?,
        level: args.int(1)?,
        name: args.int(2)?,
        room,
    })
}

fn ioctl(args: &Args<'_>) -> Result<Call, Stop> {
    let request = value(args.expr(1)?).ok_or_else(|| args.unsupported())?;
    let arg = match args.call.args.get(2).and_then(single) {
        Some(n) => i32::try_from(n).map_err(|_| args.unsupported())?,
        None => 0,
    };
    Ok(Call::Ioctl {
        fd: args.fd(0)?,
        request: request.cast_unsigned(),
        arg,
    })
}

fn events(args: &Args<'_>) -> Result<Call, Stop> {
    const CTL_DEL: i32 = 2;
    match args.call.name.as_str() {
        "poll" => {
            let fds = ready::poll_fds(args, 0)?;
            if args.len(1)? != fds.len() {
                return Err(args.unsupported());
            }
            let timeout = args.int(2)?;
            Ok(Call::Poll { fds, timeout })
        }
        // The size is a relic: it must be positive, which the kernel checks before all else.
        "epoll_create" if args.int(0)? > 0 => Ok(Call::EpollCreate { flags: 0 }),
        "epoll_create1" => Ok(Call::EpollCreate {
            flags: args.int(0)?,
        }),
        "epoll_ctl" => {
            let op = args.int(1)?;
            let event = match args.call.args.get(3) {
                Some(written @ Expr::Struct(_)) => Some(ready::epoll_event(args, written)?),
                _ if op == CTL_DEL => None,
                _ => return Err(args.unsupported()),
            };
            Ok(Call::EpollCtl {
                epfd: args.fd(0)?,
                op,
                fd: args.fd(2)?,
                event,
            })
        }
        "epoll_wait" => Ok(Call::EpollWait {
            epfd: args.fd(0)?,
            max: args.int(2)?,
            timeout: args.int(3)?,
        }),
        _ => Err(args.unsupported()),
    }
}

fn files(args: &Args<'_>) -> Result<Call, Stop> {
    match args.call.name.as_str() {
        "pipe" => Ok(Call::Pipe {
            flags: args.int_or(1, 0)?,
        }),
        "splice" => {
            let no_offset = |at: usize| matches!(args.expr(at), Ok(Expr::Int(0)));
            if !no_offset(1) || !no_offset(3) {
                return Err(args.unsupported());
            }
            Ok(Call::Splice {
                from: args.fd(0)?,
                to: args.fd(2)?,
                len: args.len(4)?,
                flags: args.int(5)?.cast_unsigned(),
            })
        }
        "sendfile" => {
            let offset = match args.expr(2)? {
                Expr::Int(0) => None,
                written => Some(
                    single(written)
                        .and_then(|at| u64::try_from(at).ok())
                        .ok_or_else(|| args.unsupported())?,
                ),
            };
            Ok(Call::Sendfile {
                to: args.fd(0)?,
                from: args.fd(1)?,
                offset,
                len: args.len(3)?,
            })
        }
        "open" => match args.expr(0)? {
            Expr::Str(path) => Ok(Call::Open {
                path: String::from_utf8_lossy(path).into_owned(),
                flags: args.int(1)?,
            }),
            _ => Err(args.unsupported()),
        },
        _ => Err(args.unsupported()),
    }
}
