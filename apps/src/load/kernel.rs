//! Kernel sockets: non-blocking, edge-triggered epoll, one thread.

use core::time::Duration;
use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace::{Clock, Instant, TscClock};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::engine::Engine;
use super::log::histogram;
use super::wire::{Counters, Ending, Ran, Transport, Wire, awake, difference};
use crate::Failure;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// Events taken at a time.
const EVENTS: usize = 512;
/// The longest sleep, so that a signal is seen.
const NAP: Duration = Duration::from_millis(100);

/// Kernel sockets as a transport.
pub struct Kernel {
    to: SocketAddrV4,
    clock: TscClock,
    busy_poll: bool,
    stop: Arc<AtomicBool>,
}

impl Kernel {
    /// Connections go to `to`; with `busy_poll` the loop never sleeps. Open files are allowed up to the hard limit.
    ///
    /// # Errors
    ///
    /// [`Failure`] when signals cannot be caught.
    pub fn new(to: SocketAddrV4, clock: TscClock, busy_poll: bool) -> Result<Self, Failure> {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // With the old limit fewer connections fit; opening too many says so.
        let _ = setrlimit(Resource::Nofile, limit);
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))
                .map_err(|e| Failure::Failed(format!("cannot catch signals: {e}")))?;
        }
        Ok(Self {
            to,
            clock,
            busy_poll,
            stop,
        })
    }

    /// How long to wait for events.
    fn patience(&self, engine: &Engine) -> Duration {
        if self.busy_poll {
            return Duration::ZERO;
        }
        match engine.next_deadline() {
            Some(at) => awake(at).since(self.clock.now()).min(NAP),
            None => NAP,
        }
    }
}

impl Transport for Kernel {
    fn run(&mut self, mut engine: Engine) -> Result<(Engine, Ran), Failure> {
        let fail = |e: Errno| Failure::Failed(format!("cannot wait for sockets: {e}"));
        let mut sockets = Sockets {
            to: self.to,
            epoll: epoll::create(CreateFlags::CLOEXEC).map_err(fail)?,
            conns: Vec::new(),
            opened: 0,
        };
        let before = tcp_counters();
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut piece = vec![0; PIECE];
        let mut times = histogram();
        let (start, mut busy_ns) = (self.clock.now(), 0);
        let mut awake_since = start;
        loop {
            let mut worked = engine.poll(&mut sockets);
            if self.stop.load(Ordering::Relaxed) {
                engine.stop();
            }
            if engine.over().is_some() {
                break;
            }
            events.clear();
            let patience = self.patience(&engine);
            let slept_from = (!patience.is_zero()).then(|| self.clock.now());
            wait(&sockets.epoll, &mut events, patience).map_err(fail)?;
            let asleep = slept_from.map_or(Duration::ZERO, |from| self.clock.now().since(from));
            worked |= !events.is_empty();
            for event in &events {
                let (flags, data) = (event.flags, event.data.u64());
                sockets.told(&mut engine, data, flags, &mut piece);
            }
            let now = self.clock.now();
            if worked {
                let took = now.since(awake_since).saturating_sub(asleep).as_nanos() as u64;
                busy_ns += took;
                times.saturating_record(took.max(1));
            }
            awake_since = now;
        }
        let ran = Ran {
            mode: "kernel sockets".to_owned(),
            elapsed_ns: elapsed(&self.clock, start),
            busy_ns,
            loop_ns: times,
            tcp: difference(&before, &tcp_counters()),
            driver: Counters::new(),
            drops: Counters::new(),
            driver_lost: 0,
        };
        Ok((engine, ran))
    }
}

fn elapsed(clock: &TscClock, start: Instant) -> u64 {
    clock.now().since(start).as_nanos() as u64
}

fn wait(epoll: &OwnedFd, events: &mut Vec<Event>, patience: Duration) -> Result<(), Errno> {
    let timeout = Timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: patience.subsec_nanos().into(),
    };
    match epoll::wait(epoll, spare_capacity(events), Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A socket; events carry the serial number, so that those of a closed one are known.
struct Socket {
    fd: OwnedFd,
    serial: u32,
    open: bool,
}

struct Sockets {
    to: SocketAddrV4,
    epoll: OwnedFd,
    conns: Vec<Option<Socket>>,
    opened: u32,
}

impl Sockets {
    fn socket(&self, conn: usize) -> io::Result<&Socket> {
        let socket = self.conns.get(conn).and_then(Option::as_ref);
        socket.ok_or_else(|| Errno::BADF.into())
    }

    /// What epoll says of a socket.
    fn told(&mut self, engine: &mut Engine, data: u64, flags: EventFlags, piece: &mut [u8]) {
        let (conn, serial) = ((data & 0xFFFF_FFFF) as usize, (data >> 32) as u32);
        let Some(Some(socket)) = self.conns.get_mut(conn) else {
            return;
        };
        if socket.serial != serial {
            return;
        }
        if !socket.open {
            match sockopt::socket_error(&socket.fd) {
                Ok(Ok(())) if flags.intersects(EventFlags::OUT) => {
                    socket.open = true;
                    engine.connected(self, conn);
                }
                Ok(Ok(())) => return,
                Ok(Err(error)) | Err(error) => return engine.ended(self, conn, Some(error.into())),
            }
        } else if flags.intersects(EventFlags::OUT) {
            engine.room(self, conn);
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            self.read(engine, conn, serial, piece);
        }
    }

    /// Reads until there is no more, the connection is replaced or the run is over.
    fn read(&mut self, engine: &mut Engine, conn: usize, serial: u32, piece: &mut [u8]) {
        while engine.over().is_none() {
            let Some(Some(socket)) = self.conns.get(conn) else {
                return;
            };
            if socket.serial != serial {
                return;
            }
            match rustix::io::read(&socket.fd, &mut *piece) {
                Ok(0) => return engine.ended(self, conn, None),
                Ok(len) => engine.data(self, conn, &piece[..len]),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(error) => return engine.ended(self, conn, Some(error.into())),
            }
        }
    }
}

impl Wire for Sockets {
    fn open(&mut self, conn: usize) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        match rustix::net::connect(&fd, &self.to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        self.opened = self.opened.wrapping_add(1);
        let serial = self.opened;
        let data = EventData::new_u64(u64::from(serial) << 32 | conn as u64);
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &fd, data, interest)?;
        if self.conns.len() <= conn {
            self.conns.resize_with(conn + 1, || None);
        }
        self.conns[conn] = Some(Socket {
            fd,
            serial,
            open: false,
        });
        Ok(())
    }

    fn send(&mut self, conn: usize, bytes: &[u8]) -> io::Result<usize> {
        match rustix::net::send(&self.socket(conn)?.fd, bytes, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            sent => Ok(sent?),
        }
    }

    fn close(&mut self, conn: usize, ending: Ending) {
        let Some(socket) = self.conns.get_mut(conn).and_then(Option::take) else {
            return;
        };
        if ending == Ending::Reset {
            // Refused, it ends with a FIN.
            let _ = sockopt::set_socket_linger(&socket.fd, Some(Duration::ZERO));
        }
    }
}

/// The kernel's TCP counters in this network namespace.
fn tcp_counters() -> Counters {
    ["/proc/self/net/snmp", "/proc/self/net/netstat"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| parse_counters(&text))
        .collect()
}

/// Lines in pairs: names, then values, each behind the name of the group.
fn parse_counters(text: &str) -> Counters {
    let lines: Vec<&str> = text.lines().collect();
    let mut counters = Vec::new();
    for pair in lines.chunks_exact(2) {
        let (mut names, mut values) = (
            pair[0].split_ascii_whitespace(),
            pair[1].split_ascii_whitespace(),
        );
        let group = names.next().unwrap_or_default().trim_end_matches(':');
        values.next();
        if !group.starts_with("Tcp") {
            continue;
        }
        // Some, such as the present number of connections, may be negative.
        counters.extend(names.zip(values).filter_map(|(name, value)| {
            Some((format!("{group}{name}"), value.parse::<u64>().ok()?))
        }));
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_in_pairs_of_lines() {
        let text = "Ip: A B\nIp: 1 2\nTcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 7\nTcpExt: TCPTimeouts\nTcpExt: 3\n";
        assert_eq!(
            parse_counters(text),
            [
                ("TcpRtoMin".to_owned(), 200),
                ("TcpRetransSegs".to_owned(), 7),
                ("TcpExtTCPTimeouts".to_owned(), 3)
            ]
        );
    }
}
