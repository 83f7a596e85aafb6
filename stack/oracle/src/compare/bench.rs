//! Many connections side by side on one machine: calls, segments, and who gets which answer.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use millrace_lab::machine::{Broken, Machine, Progress};
use millrace_posix::call::{Buffer, Call, Fd, Out, Return, SockAddr};

use super::packet::{LOCAL, REMOTE, Segment, Sent};
use super::peer::Peer;

/// A machine and the peers that talk to it, by port.
pub struct Bench<'m> {
    /// The machine.
    pub machine: &'m mut dyn Machine,
    /// The peers; a port is one peer's.
    pub peers: BTreeMap<u16, Peer>,
}

impl Bench<'_> {
    /// A call that must not wait.
    pub fn call(&mut self, call: Call) -> Result<Return, Broken> {
        let said = format!("{call:?}");
        match self.machine.start(call)? {
            Progress::Done(answer) => {
                self.listen();
                Ok(answer)
            }
            Progress::Waits(_) => Err(Broken(format!("{said} waits"))),
        }
    }

    /// A call that must succeed.
    pub fn must(&mut self, call: Call) -> Result<Return, Broken> {
        let said = format!("{call:?}");
        let answer = self.call(call)?;
        if answer.value < 0 {
            return Err(Broken(format!("{said}: {}", errno(answer.errno))));
        }
        Ok(answer)
    }

    /// Sends a segment to the machine.
    pub fn inject(&mut self, segment: Segment) -> Result<(), Broken> {
        self.machine.inject(&[segment.packet()])?;
        self.listen();
        Ok(())
    }

    /// Hands what was sent to the peers.
    pub fn listen(&mut self) {
        while let Some(packet) = self.machine.sent().pop_front() {
            let Some(sent) = Sent::parse(&packet.bytes) else {
                continue;
            };
            if let Some(peer) = self.peers.get_mut(&sent.port) {
                peer.hears(packet.at, &sent);
            }
        }
    }

    /// Lets time pass.
    pub fn wait_until(&mut self, until: Duration) -> Result<(), Broken> {
        loop {
            self.machine.pass_time(until)?;
            self.listen();
            if self.machine.now() >= until {
                return Ok(());
            }
        }
    }

    /// The peer on a port.
    pub fn peer(&mut self, port: u16) -> Result<&mut Peer, Broken> {
        self.peers
            .get_mut(&port)
            .ok_or_else(|| Broken(format!("no peer on port {port}")))
    }

    /// A stream socket that does not block.
    pub fn fresh(&mut self) -> Result<Fd, Broken> {
        let socket = Call::Socket {
            domain: libc::AF_INET,
            ty: libc::SOCK_STREAM | libc::SOCK_NONBLOCK,
            protocol: 0,
        };
        Ok(self.must(socket)?.value as Fd)
    }

    /// The same, bound to a port.
    pub fn bound(&mut self, port: u16) -> Result<Fd, Broken> {
        let fd = self.fresh()?;
        let addr = SockAddr::V4(SocketAddrV4::new(LOCAL, port));
        self.must(Call::Bind { fd, addr })?;
        Ok(fd)
    }

    /// A listener on a port.
    pub fn listener(&mut self, port: u16) -> Result<Fd, Broken> {
        let fd = self.bound(port)?;
        self.must(Call::Listen { fd, backlog: 5 })?;
        Ok(fd)
    }

    /// connect to the peer, which cannot be over at once.
    pub fn connect(&mut self, fd: Fd) -> Result<(), Broken> {
        let addr = SockAddr::V4(REMOTE);
        let answer = self.call(Call::Connect { fd, addr })?;
        match answer.errno {
            libc::EINPROGRESS => Ok(()),
            other => Err(Broken(format!("connect: {}", errno(other)))),
        }
    }

    /// accept, once.
    pub fn accept(&mut self, fd: Fd) -> Result<Return, Broken> {
        let flags = libc::SOCK_NONBLOCK;
        self.call(Call::Accept { fd, flags })
    }

    /// Sends octets.
    pub fn send(&mut self, fd: Fd, len: usize, flags: i32) -> Result<Return, Broken> {
        self.call(Call::Send {
            fd,
            data: Buffer::Given(vec![b'x'; len]),
            to: None,
            control: Vec::new(),
            flags,
        })
    }

    /// Reads what is there.
    pub fn recv(&mut self, fd: Fd) -> Result<String, Broken> {
        let answer = self.call(Call::Recv {
            fd,
            room: Buffer::Given(4096),
            control_room: 0,
            flags: libc::MSG_DONTWAIT,
        })?;
        Ok(match answer.out {
            Out::Msg(message) if answer.value > 0 => {
                format!("{} from {:02x}", answer.value, message.data[0])
            }
            _ => outcome(&answer),
        })
    }

    /// An `int` option, or what getsockopt says instead.
    pub fn option(&mut self, fd: Fd, level: i32, name: i32, room: u32) -> Result<Vec<u8>, Broken> {
        let answer = self.must(Call::GetSockOpt {
            fd,
            level,
            name,
            room,
        })?;
        match answer.out {
            Out::Value(value) => Ok(value),
            other => Err(Broken(format!("getsockopt gave {other:?}"))),
        }
    }
}

/// A call's result in a word.
pub fn outcome(answer: &Return) -> String {
    if answer.value < 0 {
        errno(answer.errno)
    } else {
        answer.value.to_string()
    }
}

/// The name of an error.
pub fn errno(number: i32) -> String {
    let table = [
        (0, "0"),
        (libc::EINTR, "EINTR"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::EFAULT, "EFAULT"),
        (libc::EINVAL, "EINVAL"),
        (libc::EPIPE, "EPIPE"),
        (libc::EPROTO, "EPROTO"),
        (libc::ENOTSOCK, "ENOTSOCK"),
        (libc::EDESTADDRREQ, "EDESTADDRREQ"),
        (libc::ENOPROTOOPT, "ENOPROTOOPT"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::EADDRINUSE, "EADDRINUSE"),
        (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::ECONNABORTED, "ECONNABORTED"),
        (libc::ECONNRESET, "ECONNRESET"),
        (libc::ENOBUFS, "ENOBUFS"),
        (libc::EISCONN, "EISCONN"),
        (libc::ENOTCONN, "ENOTCONN"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
        (libc::EALREADY, "EALREADY"),
        (libc::EINPROGRESS, "EINPROGRESS"),
    ];
    table
        .iter()
        .find(|(known, _)| *known == number)
        .map_or_else(|| format!("errno {number}"), |(_, name)| (*name).to_owned())
}
