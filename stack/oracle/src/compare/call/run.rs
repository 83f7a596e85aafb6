//! Questions side by side on one machine: all sockets are prepared and asked, then time passes once for all of them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use millrace_lab::machine::{Broken, Machine};
use millrace_posix::call::{Buffer, Call, EpollEvent, Fd, Out, PollFd, SockAddr};

use super::Made;
use super::ask::{Ask, To};
use super::place::{complete, prepare};
use super::show;
use crate::compare::bench::{Bench, outcome};
use crate::compare::cell::Ts;
use crate::compare::matrix::{self, PATIENCE, PAUSE};
use crate::compare::packet::{LOCAL, REMOTE};
use crate::compare::peer::Peer;
use crate::compare::question::Observed;

/// All that poll can tell.
const POLL_ALL: i16 = 0x23ff;

/// All that epoll can tell, when it changes.
const EDGES: u32 = POLL_ALL as u32 | libc::EPOLLET as u32;

/// All is over by then, after which what was sent first may be sent again.
const LIMIT: Duration = Duration::from_millis(195);

/// No descriptor.
const NO_FD: Fd = -1;

/// A socket that is being asked.
struct Asked {
    port: u16,
    fd: Fd,
    epoll: Fd,
    seen: Observed,
}

/// Puts the questions, the first on port `first`, and so on.
///
/// # Errors
/// The machine failed.
pub fn run(machine: &mut dyn Machine, all: &[Made], first: u16) -> Result<Vec<Observed>, Broken> {
    let ports: Vec<u16> = (first..).take(all.len()).collect();
    let peers = ports.iter().map(|port| (*port, Peer::new(*port, Ts::On)));
    let peers = peers.collect::<BTreeMap<_, _>>();
    let mut bench = Bench { machine, peers };
    // A tail loss probe comes after two round trips, and these are as short as the machine is quick.
    bench
        .machine
        .set_sysctl("net.ipv4.tcp_early_retrans", "0")?;
    let began = bench.machine.now();
    for (port, made) in ports.iter().zip(all) {
        prepare(&mut bench, *port, made.place)?;
    }
    pause(&mut bench)?;
    for (port, made) in ports.iter().zip(all) {
        complete(&mut bench, *port, made.place)?;
    }
    pause(&mut bench)?;
    let mut socks = Vec::new();
    for (port, made) in ports.iter().zip(all) {
        socks.push(ask(&mut bench, *port, *made)?);
    }
    settle(&mut bench, &mut socks, "answer")?;
    for sock in &mut socks {
        wakes(&mut bench, sock)?;
        let sent = bench.send(sock.fd, 10, libc::MSG_NOSIGNAL)?;
        sock.seen.lines.push(format!("send: {}", outcome(&sent)));
        let segment = bench.peer(sock.port)?.follow_up();
        bench.inject(segment)?;
    }
    settle(&mut bench, &mut socks, "follow-up")?;
    let late = bench.machine.now().saturating_sub(began) > LIMIT;
    for (sock, made) in socks.iter_mut().zip(all) {
        wakes(&mut bench, sock)?;
        matrix::look(&mut bench, sock.port, &mut sock.seen)?;
        matrix::packets(&mut bench, sock.port, "reading", None, &mut sock.seen)?;
        matrix::tidy(&mut bench, sock.port)?;
        bench.must(Call::Close { fd: sock.epoll })?;
        sock.seen.late |= late && made.place.repeats();
    }
    Ok(socks.into_iter().map(|sock| sock.seen).collect())
}

fn pause(bench: &mut Bench<'_>) -> Result<(), Broken> {
    let until = bench.machine.now() + PAUSE;
    bench.wait_until(until)
}

/// Waits for what follows, and writes it down. What comes later than the wait is long was not awaited: real time ran
/// ahead.
fn settle(bench: &mut Bench<'_>, socks: &mut [Asked], what: &str) -> Result<(), Broken> {
    let since = bench.machine.now();
    bench.wait_until(since + PATIENCE)?;
    for sock in socks {
        matrix::packets(bench, sock.port, what, Some(since), &mut sock.seen)?;
    }
    Ok(())
}

/// Puts the question; an epoll watches the socket from then on.
fn ask(bench: &mut Bench<'_>, port: u16, made: Made) -> Result<Asked, Broken> {
    let peer = bench.peer(port)?;
    let fd = peer.fd.or(peer.listener).unwrap_or(-1);
    let epoll = bench.must(Call::EpollCreate { flags: 0 })?.value as Fd;
    let event = EpollEvent {
        events: EDGES,
        data: 0,
    };
    bench.must(Call::EpollCtl {
        epfd: epoll,
        op: libc::EPOLL_CTL_ADD,
        fd,
        event: Some(event),
    })?;
    let mut sock = Asked {
        port,
        fd,
        epoll,
        seen: Observed::default(),
    };
    wakes(bench, &mut sock)?;
    matrix::packets(bench, port, "prepare", None, &mut sock.seen)?;
    let lines = perform(bench, port, fd, made.ask)?;
    sock.seen.lines.extend(lines);
    if matches!(made.ask, Ask::Close | Ask::Abort) {
        // The number is another file's by now.
        sock.fd = NO_FD;
    }
    Ok(sock)
}

/// What poll tells, and what epoll has woken for.
fn wakes(bench: &mut Bench<'_>, sock: &mut Asked) -> Result<(), Broken> {
    let fds = vec![PollFd {
        fd: sock.fd,
        events: POLL_ALL,
    }];
    let polled = bench.call(Call::Poll { fds, timeout: 0 })?;
    let polled = show::answer(&polled, sock.port);
    let woken = bench.call(Call::EpollWait {
        epfd: sock.epoll,
        max: 4,
        timeout: 0,
    })?;
    let woken = match woken.out {
        Out::Epoll(list) => list
            .iter()
            .map(|event| show::events(i64::from(event.events)))
            .collect::<Vec<_>>()
            .join(", "),
        _ => outcome(&woken),
    };
    sock.seen
        .lines
        .push(format!("poll: {polled}; epoll: {woken}"));
    Ok(())
}

fn perform(bench: &mut Bench<'_>, port: u16, fd: Fd, ask: Ask) -> Result<Vec<String>, Broken> {
    match ask {
        Ask::Accept(flags) => {
            let answer = bench.call(Call::Accept { fd, flags })?;
            if answer.value < 0 {
                return Ok(vec![outcome(&answer)]);
            }
            let child = answer.value as Fd;
            bench.peer(port)?.fd = Some(child);
            let flags = bench.call(Call::Fcntl {
                fd: child,
                cmd: libc::F_GETFL,
                arg: 0,
            })?;
            let nonblock = flags.value & i64::from(libc::O_NONBLOCK) != 0;
            // Nothing that follows may wait.
            bench.must(Call::Ioctl {
                fd: child,
                request: 0x5421,
                arg: 1,
            })?;
            let mut line = answer;
            line.value = 0;
            let line = show::answer(&line, port);
            Ok(vec![format!("a connection {line} nonblock {nonblock}")])
        }
        Ask::Close | Ask::Abort => {
            let peer = bench.peer(port)?;
            if peer.fd.take().is_none() {
                peer.listener = None;
            }
            if ask == Ask::Abort {
                matrix::reset(bench, fd)?;
                return Ok(Vec::new());
            }
            let answer = bench.call(Call::Close { fd })?;
            Ok(vec![outcome(&answer)])
        }
        Ask::Get(opt, room) => {
            let (level, name) = (opt.level, opt.number);
            let answer = bench.call(Call::GetSockOpt {
                fd,
                level,
                name,
                room,
            })?;
            Ok(vec![show::value(&answer, opt)])
        }
        Ask::Set(opt, value) => {
            let (level, name, value) = (opt.level, opt.number, value.bytes());
            let set = bench.call(Call::SetSockOpt {
                fd,
                level,
                name,
                value,
            })?;
            let room = opt.room;
            let get = bench.call(Call::GetSockOpt {
                fd,
                level,
                name,
                room,
            })?;
            Ok(vec![
                outcome(&set),
                format!("then {}", show::value(&get, opt)),
            ])
        }
        Ask::Info => {
            let answer = bench.call(Call::GetSockOpt {
                fd,
                level: libc::IPPROTO_TCP,
                name: libc::TCP_INFO,
                room: 1000,
            })?;
            Ok(show::info(&answer))
        }
        other => {
            let answer = bench.call(plain(fd, port, other))?;
            let truncated =
                matches!(ask, Ask::Recv(_, _, flags, _) if flags & libc::MSG_TRUNC != 0);
            Ok(vec![if truncated {
                show::without_data(&answer, port)
            } else {
                show::answer(&answer, port)
            }])
        }
    }
}

/// Calls of which nothing but the answer is wanted.
fn plain(fd: Fd, port: u16, ask: Ask) -> Call {
    let send = |data, to, flags| Call::Send {
        fd,
        data,
        to,
        control: Vec::new(),
        flags,
    };
    let some = |len| Buffer::Given(vec![b'x'; len]);
    match ask {
        Ask::Bind(to) => Call::Bind {
            fd,
            addr: address(to, port),
        },
        Ask::Connect(to) => Call::Connect {
            fd,
            addr: address(to, port),
        },
        Ask::Listen(backlog) => Call::Listen { fd, backlog },
        Ask::Recv(len, control_room, flags, _) => Call::Recv {
            fd,
            room: Buffer::Given(len),
            control_room,
            flags,
        },
        Ask::RecvNull(flags) => Call::Recv {
            fd,
            room: Buffer::Null(10),
            control_room: 0,
            flags,
        },
        Ask::Send(len, flags, _) => send(some(len), None, flags),
        Ask::SendTo(to) => send(some(10), Some(address(to, port)), libc::MSG_NOSIGNAL),
        Ask::SendNull(len) => send(Buffer::Null(len), None, libc::MSG_NOSIGNAL),
        Ask::Shutdown(how) => Call::Shutdown { fd, how },
        Ask::SockName => Call::GetSockName { fd },
        Ask::PeerName => Call::GetPeerName { fd },
        Ask::Ioctl(request, arg, _) => Call::Ioctl { fd, request, arg },
        Ask::Poll(events, _) => Call::Poll {
            fds: vec![PollFd { fd, events }],
            timeout: 0,
        },
        Ask::Flags
        | Ask::Accept(_)
        | Ask::Close
        | Ask::Abort
        | Ask::Get(..)
        | Ask::Set(..)
        | Ask::Info => Call::Fcntl {
            fd,
            cmd: libc::F_GETFL,
            arg: 0,
        },
    }
}

fn address(to: To, port: u16) -> SockAddr {
    let host = |host: [u8; 4], port| SockAddr::V4(SocketAddrV4::new(Ipv4Addr::from(host), port));
    match to {
        To::Own => SockAddr::V4(SocketAddrV4::new(LOCAL, port)),
        To::OwnAny => SockAddr::V4(SocketAddrV4::new(LOCAL, 0)),
        To::Wildcard => host([0; 4], port),
        To::Foreign => host([198, 51, 100, 1], port),
        To::Peer => SockAddr::V4(REMOTE),
        To::Other => host([192, 0, 2, 2], REMOTE.port()),
        To::Group => host([224, 0, 0, 5], REMOTE.port()),
        To::Broadcast => host([255; 4], REMOTE.port()),
        To::Unspec => SockAddr::Unspec,
        To::V6 => SockAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 8080, 0, 0)),
        To::Short => SockAddr::Raw(vec![2, 0, 0, 0]),
    }
}
