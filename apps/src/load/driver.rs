//! A Millrace driver: the engine as an application in a worker's loop, on our own stack.

use core::time::Duration;
use std::io;
use std::net::SocketAddrV4;
use std::sync::mpsc::{Sender, channel};

use millrace::net::{MsgFlags, Readiness, SockOpt};
use millrace::pmd::Queue;
use millrace::signal::Signals;
use millrace::worker::{Phase, Turn};
use millrace::{App, Instant, Service, ServiceId, SockError, SockId, Stack, Worker};

use super::engine::Engine;
use super::log::histogram;
use super::wire::{Counters, Ending, Ran, Transport, Wire, awake, difference};
use crate::Failure;
use crate::control::Clerk;
use crate::setup::Node;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// Counters of a queue that stand for frames lost in the driver or the device.
const LOST: [&str; 5] = [
    "rx_dropped",
    "rx_ring_full",
    "rx_invalid",
    "tx_errors",
    "tx_invalid",
];
/// How long the ends of connections may take to be acknowledged.
const FAREWELL: Duration = Duration::from_secs(1);

/// A driver and our stack as a transport.
pub struct Driver {
    to: SocketAddrV4,
    worker: Worker,
    _signals: Signals,
    /// Answers `millrace stat` and `millrace ss` while it runs.
    _control: Option<Clerk>,
    device: String,
    mode: String,
}

impl Driver {
    /// Connections go to `to`.
    pub fn new(to: SocketAddrV4, node: Node) -> Self {
        let Node {
            worker,
            clock: _,
            signals,
            device,
            mode,
            control,
        } = node;
        Self {
            to,
            worker,
            _signals: signals,
            _control: control,
            device,
            mode,
        }
    }

    fn deaf(&self, error: &io::Error) -> Failure {
        Failure::Failed(format!(
            "cannot wait for {}: {error}; look with `ip link`",
            self.device
        ))
    }

    fn queues(&self) -> Counters {
        queue_counters(self.worker.queues())
    }
}

/// The counters of all queues together.
pub fn queue_counters(queues: &[Box<dyn Queue>]) -> Counters {
    let mut sum: Counters = Vec::new();
    for queue in queues {
        for (place, (name, _, value)) in queue.stats().iter().enumerate() {
            match sum.get_mut(place) {
                Some((_, total)) => *total += value,
                None => sum.push((name.to_owned(), value)),
            }
        }
    }
    sum
}

/// How many frames driver or device lost, as their counters say.
pub fn lost_frames<'a>(counters: impl Iterator<Item = (&'a String, &'a u64)>) -> u64 {
    counters
        .filter(|(name, _)| LOST.contains(&name.as_str()))
        .map(|(_, frames)| frames)
        .sum()
}

/// Names and values as they are kept in a report.
fn named<'a>(counters: impl IntoIterator<Item = (&'a str, u64)>) -> Counters {
    counters
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl Transport for Driver {
    fn run(&mut self, engine: Engine) -> Result<(Engine, Ran), Failure> {
        let (done, result) = channel();
        let open_before = self.worker.open();
        self.worker.add_service(Box::new(Client {
            engine: Some(engine),
            socks: Socks::new(self.to),
            piece: vec![0; PIECE].into_boxed_slice(),
            done,
        }));
        let stack = self.worker.stack_ref();
        let mib = named(stack.mib().iter());
        let drops = named(stack.drops().iter().map(|(reason, n)| (reason.name(), n)));
        let (queues, stats) = (self.queues(), *self.worker.stats());
        let mut times = histogram();
        let start = self.worker.fresh().1;
        while self.worker.open() > open_before {
            let turn = self.worker.turn();
            if self.worker.phase() == Phase::Aborting {
                return Err(Failure::Failed(
                    "stopped at once by a second signal; nothing was kept".to_owned(),
                ));
            }
            match turn {
                Turn::Worked => {
                    let from = self.worker.now();
                    let took = self.worker.fresh().1.since(from);
                    times.saturating_record((took.as_nanos() as u64).max(1));
                }
                Turn::Idle => self.worker.rest(None).map_err(|e| self.deaf(&e))?,
            }
        }
        let engine = result
            .recv()
            .map_err(|_| Failure::Failed("the run was lost".to_owned()))?;
        let stack = self.worker.stack_ref();
        let end = self.worker.now();
        let driver = difference(&queues, &self.queues());
        let ran = Ran {
            mode: format!("{} ({})", self.device, self.mode),
            elapsed_ns: end.since(start).as_nanos() as u64,
            busy_ns: self.worker.stats().busy_ns - stats.busy_ns,
            loop_ns: times,
            tcp: difference(&mib, &named(stack.mib().iter())),
            drops: difference(
                &drops,
                &named(stack.drops().iter().map(|(reason, n)| (reason.name(), n))),
            ),
            driver_lost: lost_frames(driver.iter().map(|(name, frames)| (name, frames))),
            driver,
        };
        // The peer is to learn that we are done.
        let settled = millrace::Client::new(&mut self.worker).settle(FAREWELL);
        settled.map_err(|e| self.deaf(&e))?;
        Ok((engine, ran))
    }
}

/// The application.
struct Client {
    /// `None` once the run is over and its result was handed out.
    engine: Option<Engine>,
    socks: Socks,
    piece: Box<[u8]>,
    done: Sender<Engine>,
}

/// The sockets by the number of their connection.
struct Socks {
    to: SocketAddrV4,
    id: Option<ServiceId>,
    conns: Vec<Option<Sock>>,
    /// Closed at the next tick: bytes that are lent now would count as unread and reset the connection.
    over: Vec<(SockId, Ending)>,
}

#[derive(Clone, Copy)]
struct Sock {
    id: SockId,
    open: bool,
}

impl Socks {
    fn new(to: SocketAddrV4) -> Self {
        Self {
            to,
            id: None,
            conns: Vec::new(),
            over: Vec::new(),
        }
    }

    /// Whether `sock` is still what connection `conn` is made of.
    fn is_current(&self, conn: usize, sock: SockId) -> bool {
        matches!(self.conns.get(conn), Some(Some(current)) if current.id == sock)
    }

    fn close_over(&mut self, stack: &mut Stack, now: Instant) {
        for (sock, ending) in self.over.drain(..) {
            match ending {
                // Only a stale id can fail: it is closed already.
                Ending::Fin => drop(stack.close(now, sock)),
                Ending::Reset => stack.abort(now, sock),
            }
        }
    }
}

/// The sockets during a call.
struct Call<'a> {
    socks: &'a mut Socks,
    stack: &'a mut Stack,
    now: Instant,
}

impl Wire for Call<'_> {
    fn open(&mut self, conn: usize) -> io::Result<()> {
        let Self { socks, stack, now } = self;
        let id = socks.id.ok_or(SockError::NotConnected).map_err(errno)?;
        let sock = stack.tcp_socket().map_err(errno)?;
        let begun = stack
            .set_option(*now, sock, SockOpt::NoDelay(true))
            .and_then(|()| stack.attach(sock, id.user(conn as u64)))
            .and_then(|()| stack.connect(*now, sock, socks.to));
        match begun {
            Ok(()) | Err(SockError::InProgress) => {}
            Err(error) => {
                socks.over.push((sock, Ending::Fin));
                return Err(errno(error));
            }
        }
        if socks.conns.len() <= conn {
            socks.conns.resize(conn + 1, None);
        }
        socks.conns[conn] = Some(Sock {
            id: sock,
            open: false,
        });
        Ok(())
    }

    fn send(&mut self, conn: usize, bytes: &[u8]) -> io::Result<usize> {
        let sock = self.socks.conns.get(conn).copied().flatten();
        let sock = sock.ok_or(SockError::BadSocket).map_err(errno)?.id;
        match self.stack.send(self.now, sock, bytes, MsgFlags::NONE) {
            Ok(sent) => Ok(sent),
            Err(SockError::WouldBlock | SockError::NoBuffers | SockError::NoMemory) => Ok(0),
            Err(error) => Err(errno(error)),
        }
    }

    fn close(&mut self, conn: usize, ending: Ending) {
        if let Some(sock) = self.socks.conns.get_mut(conn).and_then(Option::take) {
            self.socks.over.push((sock.id, ending));
        }
    }
}

fn errno(error: SockError) -> io::Error {
    io::Error::from_raw_os_error(error.errno())
}

impl Client {
    /// The connection is being opened: what has become of it.
    fn opening(&mut self, stack: &mut Stack, now: Instant, conn: usize, sock: SockId) {
        let to = self.socks.to;
        let outcome = stack.connect(now, sock, to);
        let Self { engine, socks, .. } = self;
        let Some(engine) = engine else { return };
        match outcome {
            Err(SockError::Already) => {}
            Ok(()) | Err(SockError::IsConnected) => {
                if let Some(Some(entry)) = socks.conns.get_mut(conn) {
                    entry.open = true;
                }
                engine.connected(&mut Call { socks, stack, now }, conn);
            }
            Err(error) => engine.ended(&mut Call { socks, stack, now }, conn, Some(errno(error))),
        }
    }

    /// Reads what waits in the ring.
    fn read(&mut self, stack: &mut Stack, now: Instant, conn: usize, sock: SockId) {
        let Self {
            engine: Some(engine),
            socks,
            piece,
            ..
        } = self
        else {
            return;
        };
        while engine.over().is_none() && socks.is_current(conn, sock) {
            let read = stack.recv(now, sock, piece, MsgFlags::NONE);
            let mut call = Call {
                socks,
                stack: &mut *stack,
                now,
            };
            match read {
                Ok(0) => return engine.ended(&mut call, conn, None),
                Ok(len) => engine.data(&mut call, conn, &piece[..len]),
                Err(SockError::WouldBlock) => return,
                Err(error) => return engine.ended(&mut call, conn, Some(errno(error))),
            }
        }
    }

    /// Closes all connections, and hands out the result.
    fn hand_out(&mut self, stack: &mut Stack, now: Instant) {
        for sock in self.socks.conns.drain(..).flatten() {
            self.socks.over.push((sock.id, Ending::Fin));
        }
        self.socks.close_over(stack, now);
        if let Some(engine) = self.engine.take() {
            // Nobody waits for it only when the run failed otherwise.
            let _ = self.done.send(engine);
        }
    }
}

impl Service for Client {
    fn data(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        bytes: &[u8],
    ) -> usize {
        let conn = ServiceId::own(user) as usize;
        if let Some(engine) = &mut self.engine
            && self.socks.is_current(conn, sock)
        {
            let socks = &mut self.socks;
            engine.data(&mut Call { socks, stack, now }, conn, bytes);
        }
        bytes.len()
    }

    fn ready(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        user: u64,
        ready: Readiness,
    ) {
        let conn = ServiceId::own(user) as usize;
        let Some(entry) = self.socks.conns.get(conn).copied().flatten() else {
            return;
        };
        if entry.id != sock {
            return;
        }
        if !entry.open {
            self.opening(stack, now, conn, sock);
        } else if ready.contains(Readiness::OUT)
            && let Some(engine) = &mut self.engine
        {
            let socks = &mut self.socks;
            engine.room(&mut Call { socks, stack, now }, conn);
        }
        let end = Readiness::RDHUP | Readiness::HUP | Readiness::ERR;
        if ready.intersects(Readiness::IN | end) {
            self.read(stack, now, conn, sock);
        }
    }
}

impl App for Client {
    fn joined(&mut self, id: ServiceId) {
        self.socks.id = Some(id);
    }

    fn tick(&mut self, stack: &mut Stack, now: Instant) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let socks = &mut self.socks;
        engine.poll(&mut Call { socks, stack, now });
        if engine.over().is_some() {
            self.hand_out(stack, now);
        } else {
            self.socks.close_over(stack, now);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if !self.socks.over.is_empty() {
            return Some(Instant::ZERO);
        }
        self.engine.as_ref()?.next_deadline().map(awake)
    }

    fn drain(&mut self, _: &mut Stack, _: Instant) {
        if let Some(engine) = &mut self.engine {
            engine.stop();
        }
    }

    fn abort(&mut self, stack: &mut Stack, now: Instant) {
        for sock in self.socks.conns.drain(..).flatten() {
            stack.abort(now, sock.id);
        }
    }

    fn open(&self) -> usize {
        usize::from(self.engine.is_some())
    }
}
