//! The kernel's side: the plainest epoll servers that can be written, and the client that loads both sides.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

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

/// Serves for ever, on one thread.
///
/// # Errors
/// When the address cannot be had, or epoll fails.
pub fn serve(at: SocketAddrV4, answer: Answer, idle: Idle) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
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

/// What the client saw.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests answered while the clock ran.
    pub requests: u64,
    /// Seconds that the clock ran.
    pub seconds: f64,
    /// Median time of one request in nanoseconds.
    pub p50: u64,
    /// 99th percentile in nanoseconds.
    pub p99: u64,
}

/// One request of `size` bytes in flight on each of `connections` to an echo server, for `time` after a warm-up of a tenth.
///
/// # Errors
/// When a connection cannot be made or breaks, or wrong bytes come back.
pub fn request_response(
    to: SocketAddrV4,
    connections: usize,
    size: usize,
    time: Duration,
) -> io::Result<Load> {
    struct Conn {
        stream: TcpStream,
        sent: Instant,
        reply: Vec<u8>,
        received: usize,
    }
    let mut poll = Poll::new(Idle::Spin)?;
    let request: Vec<u8> = (0..size).map(|at| at as u8).collect();
    let mut conns = Vec::with_capacity(connections);
    for token in 0..connections {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        poll.add(&stream, token as u64)?;
        conns.push(Conn {
            stream,
            sent: Instant::now(),
            reply: vec![0; size],
            received: 0,
        });
    }
    for conn in &mut conns {
        conn.sent = Instant::now();
        conn.stream.write_all(&request)?;
    }
    let begin = Instant::now() + time / 10;
    let mut times: Vec<u32> = Vec::with_capacity(1 << 22);
    let mut tokens = Vec::with_capacity(connections);
    loop {
        tokens.clear();
        tokens.extend(poll.wait()?);
        for &token in &tokens {
            let conn = &mut conns[token as usize];
            match conn.stream.read(&mut conn.reply[conn.received..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => conn.received += length,
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            }
            if conn.received < size {
                continue;
            }
            if conn.reply != request {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "other bytes came back than were sent",
                ));
            }
            let now = Instant::now();
            if now >= begin {
                times.push(u32::try_from((now - conn.sent).as_nanos()).unwrap_or(u32::MAX));
            }
            conn.received = 0;
            conn.sent = now;
            conn.stream.write_all(&request)?;
        }
        let now = Instant::now();
        if now >= begin + time {
            times.sort_unstable();
            let rank = |part: usize| {
                times
                    .get(times.len() * part / 100)
                    .map_or(0, |nanos| u64::from(*nanos))
            };
            let seconds = (now - begin).as_secs_f64();
            return Ok(Load {
                requests: times.len() as u64,
                seconds,
                p50: rank(50),
                p99: rank(99),
            });
        }
    }
}
