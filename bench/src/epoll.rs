//! The kernel's side: the plainest epoll servers that can be written.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// What a thread does when no socket is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Asks again at once.
    Spin,
    /// Sleeps in `epoll_wait`.
    Sleep,
}

/// What a server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The bytes themselves.
    Echo,
    /// One fixed HTTP reply for each blank line, with a body of 128 bytes; the request is not looked at.
    Http,
}

struct Poll {
    fd: OwnedFd,
    ready: Vec<Event>,
    idle: Idle,
}

impl Poll {
    fn new(idle: Idle) -> io::Result<Poll> {
        Ok(Poll {
            fd: epoll::create(CreateFlags::CLOEXEC)?,
            ready: Vec::with_capacity(256),
            idle,
        })
    }

    fn add(&self, socket: &impl std::os::fd::AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.fd,
            socket,
            EventData::new_u64(token),
            EventFlags::IN,
        )?)
    }

    /// Tokens of the sockets that are readable now.
    fn wait(&mut self) -> io::Result<impl Iterator<Item = u64> + '_> {
        let timeout = match self.idle {
            Idle::Spin => Some(Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
            Idle::Sleep => None,
        };
        self.ready.clear();
        epoll::wait(&self.fd, spare_capacity(&mut self.ready), timeout.as_ref())?;
        Ok(self.ready.iter().map(|event| event.data.u64()))
    }
}

const LISTENER: u64 = u64::MAX;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Serves for ever, on one thread.
///
/// # Errors
/// When the address cannot be had, or epoll fails.
pub fn serve(at: SocketAddrV4, answer: Answer, idle: Idle) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    // The library asks for less; now it is as long as our server's.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new(idle)?;
    poll.add(&listener, LISTENER)?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let body = [b'x'; 128];
    let mut reply =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    reply.extend_from_slice(&body);
    let mut buffer = vec![0; 1 << 16];
    let mut tokens = Vec::new();
    eprintln!("serving on {at}");
    loop {
        tokens.clear();
        tokens.extend(poll.wait()?);
        for &token in &tokens {
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    poll.add(&stream, connections.len() as u64)?;
                    connections.push(Some(stream));
                }
                continue;
            }
            let Some(slot) = connections.get_mut(token as usize) else {
                continue;
            };
            let Some(stream) = slot else { continue };
            let outcome = match stream.read(&mut buffer) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => match answer {
                    Answer::Echo => stream.write_all(&buffer[..length]),
                    Answer::Http => {
                        let requests = buffer[..length]
                            .windows(4)
                            .filter(|end| end == b"\r\n\r\n")
                            .count();
                        (0..requests).try_for_each(|_| stream.write_all(&reply))
                    }
                },
                Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
                Err(e) => Err(e),
            };
            if outcome.is_err() {
                *slot = None;
            }
        }
    }
}
