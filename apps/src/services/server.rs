//! What all services share: accepting, the table of connections, the ends of streams, timeouts, draining.
//!
//! A connection is never closed inside a call of the stack but in [`App::tick`]: bytes that are lent at that moment
//! would count as unread, and closing with unread bytes resets the connection (RFC 2525 §2.17, as Linux does).

use core::time::Duration;
use std::net::Shutdown;

use millrace::net::{Readiness, TcpState};
use millrace::{App, Instant, Service, SockError, SockId, Stack};

use super::conns::Conns;
use super::{Activity, Behaviour, Flow, Io, Read};

/// Bytes of memory that all connections of a service share during their calls.
const SCRATCH: usize = 64 * 1024;

/// How long the end of a peer that still sends is waited for (nginx's `lingering_timeout`).
const LINGER: Duration = Duration::from_secs(5);

/// How often connections are looked at for idleness, and how many at a time.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
const SWEEP_PLACES: usize = 64 * 1024;

/// Connections accepted from one listener before others have their turn.
const ACCEPT_BUDGET: usize = 1024;

/// A service around a behaviour.
pub struct Server<B: Behaviour> {
    behaviour: B,
    conns: Conns<Entry<B::Conn>>,
    /// Those that [`App::tick`] closes.
    over: Vec<SockId>,
    /// Listeners that had more connections than one call accepts.
    accepting: Vec<SockId>,
    scratch: Box<[u8]>,
    idle_timeout: Option<Duration>,
    sweep: Sweep,
}

/// A connection.
struct Entry<C> {
    phase: Phase,
    /// When it was last heard of, or began to linger.
    active: Instant,
    conn: C,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our side has ended; what comes is thrown away.
    Lingering,
    /// In the list of those to be closed.
    Over,
}

/// The walk over all connections that finds idle ones.
#[derive(Default)]
struct Sweep {
    place: usize,
    next: Option<Instant>,
}

impl<B: Behaviour> Server<B> {
    /// A service whose connections may be idle for `idle_timeout` (`None`: for ever).
    pub fn new(behaviour: B, idle_timeout: Option<Duration>) -> Self {
        Self {
            behaviour,
            conns: Conns::new(),
            over: Vec::new(),
            accepting: Vec::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            idle_timeout,
            sweep: Sweep::default(),
        }
    }

    /// Calls the behaviour for an open connection and does what it says.
    fn act(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        act: impl FnOnce(&mut B, &mut Io<'_>, &mut [u8], &mut B::Conn) -> Flow,
    ) {
        let Some(entry) = self.conns.get_mut(sock) else {
            return;
        };
        if entry.phase != Phase::Open {
            return;
        }
        entry.active = now;
        let mut io = Io { stack, now, sock };
        match act(
            &mut self.behaviour,
            &mut io,
            &mut self.scratch,
            &mut entry.conn,
        ) {
            Flow::Open => {}
            Flow::Linger if stack.shutdown(now, sock, Shutdown::Write).is_ok() => {
                entry.phase = Phase::Lingering;
                self.throw_away(stack, now, sock);
            }
            Flow::Over | Flow::Linger | Flow::Broken => self.end(sock),
        }
    }

    /// Has a connection closed at the next tick.
    fn end(&mut self, sock: SockId) {
        if let Some(entry) = self.conns.get_mut(sock)
            && entry.phase != Phase::Over
        {
            entry.phase = Phase::Over;
            self.over.push(sock);
        }
    }

    /// Reads a lingering connection empty; its end is the end.
    fn throw_away(&mut self, stack: &mut Stack, now: Instant, sock: SockId) {
        let mut io = Io { stack, now, sock };
        loop {
            match io.consume(&mut self.scratch) {
                Read::Some(_) => {}
                Read::Empty => return,
                Read::End | Read::Broken => return self.end(sock),
            }
        }
    }

    /// Accepts what waits at a listener.
    fn accept(&mut self, stack: &mut Stack, now: Instant, listener: SockId) {
        for _ in 0..ACCEPT_BUDGET {
            match stack.accept(now, listener) {
                Ok((sock, _)) => {
                    let conn = self.behaviour.open(now);
                    self.conns.insert(
                        sock,
                        Entry {
                            phase: Phase::Open,
                            active: now,
                            conn,
                        },
                    );
                    self.sweep.next.get_or_insert(now + SWEEP_PERIOD);
                    // What came before it was accepted has announced itself to nobody.
                    self.act(stack, now, sock, B::pump);
                }
                // Gone again before it was accepted.
                Err(SockError::Aborted | SockError::Reset) => {}
                Err(_) => return,
            }
        }
        self.accepting.push(listener);
    }

    /// Ends connections that have been idle or lingering for too long.
    fn sweep(&mut self, stack: &mut Stack, now: Instant) {
        let (socks, next) = self.conns.stretch(self.sweep.place, SWEEP_PLACES);
        let socks: Vec<SockId> = socks.collect();
        self.sweep.place = next;
        self.sweep.next = (self.conns.open() > 0).then(|| now + SWEEP_PERIOD);
        for sock in socks {
            let Some(entry) = self.conns.get_mut(sock) else {
                continue;
            };
            let silent = now.since(entry.active);
            match entry.phase {
                Phase::Open if self.idle_timeout.is_some_and(|limit| silent >= limit) => {
                    match self.behaviour.activity(&entry.conn) {
                        Activity::Idle => self.end(sock),
                        // The peer has taken nothing for all that time.
                        Activity::Busy => self.reset(stack, now, sock),
                    }
                }
                Phase::Lingering if silent >= LINGER => self.end(sock),
                _ => {}
            }
        }
    }

    fn reset(&mut self, stack: &mut Stack, now: Instant, sock: SockId) {
        if self.conns.remove(sock).is_some() {
            stack.abort(now, sock);
        }
    }

    /// Closes one that is over.
    fn close(&mut self, stack: &mut Stack, now: Instant, sock: SockId) {
        if self.conns.remove(sock).is_none() {
            return;
        }
        // What has arrived since is read, so that closing does not reset what is still being sent.
        let mut io = Io { stack, now, sock };
        while let Read::Some(_) = io.consume(&mut self.scratch) {}
        // Only a stale id can fail: it is closed already.
        let _ = stack.close(now, sock);
    }
}

impl<B: Behaviour> Service for Server<B> {
    fn data(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        _user: u64,
        bytes: &[u8],
    ) -> usize {
        match self.conns.get_mut(sock).map(|entry| entry.phase) {
            Some(Phase::Open) => {
                let mut taken = 0;
                self.act(stack, now, sock, |behaviour, io, scratch, conn| {
                    let (count, flow) = behaviour.data(io, scratch, conn, bytes);
                    taken = if flow == Flow::Open {
                        count
                    } else {
                        bytes.len()
                    };
                    flow
                });
                taken
            }
            Some(Phase::Lingering | Phase::Over) => bytes.len(),
            // Not accepted yet: it waits in the ring.
            None => 0,
        }
    }

    fn ready(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        _user: u64,
        ready: Readiness,
    ) {
        match self.conns.get_mut(sock).map(|entry| entry.phase) {
            Some(_) if ready.contains(Readiness::ERR) || ready.contains(Readiness::HUP) => {
                self.end(sock)
            }
            Some(Phase::Open) => self.act(stack, now, sock, B::pump),
            Some(Phase::Lingering) => self.throw_away(stack, now, sock),
            Some(Phase::Over) => {}
            None if stack.state(sock) == Ok(TcpState::Listen) => self.accept(stack, now, sock),
            None => {}
        }
    }
}

impl<B: Behaviour> App for Server<B> {
    fn tick(&mut self, stack: &mut Stack, now: Instant) {
        while let Some(sock) = self.over.pop() {
            self.close(stack, now, sock);
        }
        if !self.accepting.is_empty() {
            for listener in core::mem::take(&mut self.accepting) {
                self.accept(stack, now, listener);
            }
        }
        if self.sweep.next.is_some_and(|at| at <= now) {
            self.sweep(stack, now);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        // Something that is over or waits to be accepted is due at once.
        let due = (!self.over.is_empty() || !self.accepting.is_empty()).then_some(Instant::ZERO);
        due.or(self.sweep.next)
    }

    fn drain(&mut self, stack: &mut Stack, now: Instant) {
        for sock in self.conns.socks() {
            self.act(stack, now, sock, |behaviour, _, _, conn| {
                behaviour.drain(conn)
            });
        }
    }

    fn abort(&mut self, stack: &mut Stack, now: Instant) {
        for sock in self.conns.socks() {
            self.reset(stack, now, sock);
        }
        self.over.clear();
    }

    fn open(&self) -> usize {
        self.conns.open()
    }
}
