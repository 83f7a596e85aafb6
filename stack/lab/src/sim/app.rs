//! The applications at both ends of a connection: they write, read, pause and leave as planned, and check every byte.

use std::net::{Shutdown, SocketAddrV4};
use std::time::Duration;

use millrace_net::{MsgFlags, Readiness, SockError, SockId, SockOpt, Stack};
use millrace_wire::time::Instant;

use super::Violation;
use super::dice::Dice;
use super::pattern::Pattern;
use super::plan::{Access, EndPlan, Finish, Keepalive, Nagle};

/// Pause before a failed `connect` is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// How an end's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All written, all read up to the end of file, closed.
    Clean,
    /// Closed, or reset, by its own plan.
    Left,
    /// The connection failed.
    Failed(SockError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client connects then.
    Waiting(Instant),
    /// The handshake is under way.
    Connecting(SockId),
    /// Bytes flow.
    Open(SockId),
    /// The socket is gone.
    Done(End),
}

/// Whether something is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Try.
    Open,
    /// The stack has said "not now"; an in-loop end waits for its readiness event.
    Shut,
}

/// What has happened to the two directions at this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Bytes that `send` took.
    pub written: u64,
    /// Bytes read and checked.
    pub read: u64,
    /// Whether the end of file was read.
    pub eof: Eof,
    /// Whether the own side was shut.
    shut: Shut,
}

/// End of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Eof {
    /// Not yet.
    #[default]
    Unseen,
    /// Read.
    Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shut {
    #[default]
    No,
    Yes,
}

/// Whether an application did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It did.
    Moved,
    /// It waits.
    Idle,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct App {
    name: String,
    user: u64,
    plan: EndPlan,
    dice: Dice,
    writes: Pattern,
    reads: Pattern,
    phase: Phase,
    progress: Progress,
    write_gate: Gate,
    read_gate: Gate,
    next_write: Instant,
    next_read: Instant,
    buffer: Vec<u8>,
}

/// What distinguishes one application from the others.
#[derive(Debug)]
pub(super) struct Identity {
    /// For messages.
    pub name: String,
    /// Its number, also towards the stack.
    pub user: u64,
    /// The bytes it writes.
    pub writes: Pattern,
    /// The bytes it must read.
    pub reads: Pattern,
}

impl App {
    /// A client that connects at `opens`.
    pub(super) fn client(identity: Identity, plan: EndPlan, dice: Dice, opens: Instant) -> Self {
        Self::new(identity, plan, dice, Phase::Waiting(opens), opens)
    }

    /// A server's end of the connection `sock`, just accepted.
    pub(super) fn server(
        identity: Identity,
        plan: EndPlan,
        dice: Dice,
        (stack, now, sock): (&mut Stack, Instant, SockId),
    ) -> Result<Self, Violation> {
        let mut app = Self::new(identity, plan, dice, Phase::Open(sock), now);
        app.prepare(stack, now, sock)?;
        Ok(app)
    }

    fn new(identity: Identity, plan: EndPlan, dice: Dice, phase: Phase, now: Instant) -> Self {
        let Identity {
            name,
            user,
            writes,
            reads,
        } = identity;
        let next_read = now + plan.read_after;
        Self {
            name,
            user,
            plan,
            dice,
            writes,
            reads,
            phase,
            progress: Progress::default(),
            write_gate: Gate::Open,
            read_gate: Gate::Open,
            next_write: now,
            next_read,
            buffer: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn plan(&self) -> &EndPlan {
        &self.plan
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// How it ended; `None` while it goes on.
    pub(super) fn end(&self) -> Option<End> {
        match self.phase {
            Phase::Done(end) => Some(end),
            _ => None,
        }
    }

    /// Its socket, while it has one.
    pub(super) fn sock(&self) -> Option<SockId> {
        match self.phase {
            Phase::Connecting(sock) | Phase::Open(sock) => Some(sock),
            Phase::Waiting(_) | Phase::Done(_) => None,
        }
    }

    /// When it wants to be asked again although nothing happens to its socket.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(at) => Some(at),
            Phase::Open(_) => [self.next_write, self.next_read]
                .into_iter()
                .filter(|at| *at > now)
                .min(),
            Phase::Connecting(_) | Phase::Done(_) => None,
        }
    }

    fn violation(&self, what: impl Into<String>) -> Violation {
        Violation::new(format!("{}: {}", self.name, what.into()))
    }

    fn prepare(&mut self, stack: &mut Stack, now: Instant, sock: SockId) -> Result<(), Violation> {
        let (send, receive) = self.plan.buffers;
        let mut options: Vec<SockOpt> = Vec::new();
        options.extend(send.map(SockOpt::SndBuf));
        options.extend(receive.map(SockOpt::RcvBuf));
        match self.plan.nagle {
            Nagle::On => {}
            Nagle::Off => options.push(SockOpt::NoDelay(true)),
            Nagle::Corked => options.push(SockOpt::Cork(true)),
        }
        if self.plan.keepalive == Keepalive::Quick {
            options.extend([
                SockOpt::KeepAlive(true),
                SockOpt::KeepIdle(5),
                SockOpt::KeepIntvl(5),
                SockOpt::KeepCnt(9),
            ]);
        }
        for option in options {
            stack
                .set_option(now, sock, option)
                .map_err(|e| self.violation(format!("{option:?}: {}", e.name())))?;
        }
        if self.plan.access == Access::InLoop {
            stack
                .attach(sock, self.user)
                .map_err(|error| self.violation(format!("attach: {}", error.name())))?;
        }
        Ok(())
    }

    /// Does what can be done now. A client that begins to connect tells its address to `opened`.
    pub(super) fn step(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        to: SocketAddrV4,
        opened: &mut dyn FnMut(SocketAddrV4),
    ) -> Result<Step, Violation> {
        match self.phase {
            Phase::Waiting(at) if at <= now => {
                self.connect(stack, now, to, opened).map(|()| Step::Moved)
            }
            Phase::Waiting(_) | Phase::Done(_) => Ok(Step::Idle),
            Phase::Connecting(sock) => self.connecting(stack, now, sock),
            Phase::Open(sock) => {
                let wrote = self.write(stack, now, sock)?;
                let read = self.read(stack, now, sock)?;
                self.leave(stack, now)?;
                Ok(if wrote == Step::Moved { wrote } else { read })
            }
        }
    }

    fn connect(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        to: SocketAddrV4,
        opened: &mut dyn FnMut(SocketAddrV4),
    ) -> Result<(), Violation> {
        let sock = stack
            .tcp_socket()
            .map_err(|error| self.violation(format!("socket: {}", error.name())))?;
        self.prepare(stack, now, sock)?;
        match stack.connect(now, sock, to) {
            Ok(()) | Err(SockError::InProgress) => {
                opened(
                    stack
                        .local_addr(sock)
                        .map_err(|e| self.violation(format!("local_addr: {}", e.name())))?,
                );
                self.phase = Phase::Connecting(sock);
                Ok(())
            }
            Err(error) => self.retry(stack, now, sock, error),
        }
    }

    /// A handshake may fail while the wire does; it is tried again until it succeeds. Any other error came after the
    /// handshake, from a peer that resets at once.
    fn retry(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        error: SockError,
    ) -> Result<(), Violation> {
        if !matches!(error, SockError::TimedOut | SockError::HostUnreachable) {
            return self.fail(stack, now, sock, error);
        }
        self.close(stack, now, sock)?;
        self.phase = Phase::Waiting(now + RETRY);
        Ok(())
    }

    fn connecting(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
    ) -> Result<Step, Violation> {
        let ready = stack
            .readiness(sock)
            .map_err(|error| self.violation(format!("readiness: {}", error.name())))?;
        if ready.contains(Readiness::ERR) || ready.contains(Readiness::HUP) {
            let error = stack
                .take_error(sock)
                .ok_or_else(|| self.violation("an error event without an error"))?;
            return self.retry(stack, now, sock, error).map(|()| Step::Moved);
        }
        if !ready.contains(Readiness::OUT) {
            return Ok(Step::Idle);
        }
        self.phase = Phase::Open(sock);
        self.next_write = now;
        self.next_read = now + self.plan.read_after;
        Ok(Step::Moved)
    }

    fn write(&mut self, stack: &mut Stack, now: Instant, sock: SockId) -> Result<Step, Violation> {
        let mut step = Step::Idle;
        let until = match self.plan.finish {
            Finish::Abort(after) | Finish::LingerZero(after) => after,
            Finish::Polite | Finish::CloseAtOnce => self.plan.total,
        };
        while self.progress.written < until
            && self.next_write <= now
            && self.write_gate == Gate::Open
        {
            let len = self
                .dice
                .range(1..=self.plan.write_chunk)
                .min(until - self.progress.written);
            self.buffer.resize(len as usize, 0);
            self.writes.fill(self.progress.written, &mut self.buffer);
            match stack.send(now, sock, &self.buffer, MsgFlags::NONE) {
                Ok(taken) if taken as u64 > len => {
                    return Err(self.violation("send took more than it got"));
                }
                Ok(taken) => {
                    step = Step::Moved;
                    self.progress.written += taken as u64;
                    self.next_write =
                        now + self.dice.duration(Duration::ZERO..=self.plan.write_pause);
                    self.write_gate = self.gate_after(taken as u64 == len);
                    if taken == 0 {
                        return Err(self.violation("send took nothing and said nothing"));
                    }
                }
                Err(SockError::WouldBlock) => {
                    self.write_gate = self.gate_after(false);
                    break;
                }
                Err(error) => {
                    self.fail(stack, now, sock, error)?;
                    return Ok(Step::Moved);
                }
            }
        }
        Ok(step)
    }

    /// An in-loop end that got less than it wanted waits for the event; a polled one asks again.
    fn gate_after(&self, whole: bool) -> Gate {
        if whole || self.plan.access == Access::Polled {
            Gate::Open
        } else {
            Gate::Shut
        }
    }

    fn read(&mut self, stack: &mut Stack, now: Instant, sock: SockId) -> Result<Step, Violation> {
        let mut step = Step::Idle;
        while self.sock() == Some(sock)
            && self.progress.eof == Eof::Unseen
            && self.next_read <= now
            && self.read_gate == Gate::Open
        {
            let len = self.dice.range(1..=self.plan.read_chunk) as usize;
            self.buffer.resize(len, 0);
            let mut buffer = std::mem::take(&mut self.buffer);
            let result = stack.recv(now, sock, &mut buffer, MsgFlags::NONE);
            self.buffer = buffer;
            match result {
                Ok(0) => {
                    step = Step::Moved;
                    self.progress.eof = Eof::Seen;
                    self.end_of_file_stays(stack, now, sock)?;
                }
                Ok(n) if n > len => {
                    return Err(self.violation("recv gave more than there was room"));
                }
                Ok(n) => {
                    step = Step::Moved;
                    self.check(now, n)?;
                }
                Err(SockError::WouldBlock) => {
                    self.read_gate = self.gate_after(false);
                    break;
                }
                Err(error) => {
                    self.fail(stack, now, sock, error)?;
                    return Ok(Step::Moved);
                }
            }
        }
        Ok(step)
    }

    fn end_of_file_stays(
        &self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
    ) -> Result<(), Violation> {
        match stack.recv(now, sock, &mut [0; 8], MsgFlags::NONE) {
            Ok(0) => Ok(()),
            other => Err(self.violation(format!("{other:?} behind the end of file"))),
        }
    }

    /// Checks the first `n` bytes of the buffer.
    fn check(&mut self, now: Instant, n: usize) -> Result<(), Violation> {
        let buffer = std::mem::take(&mut self.buffer);
        let checked = self.check_bytes(now, &buffer[..n]);
        self.buffer = buffer;
        checked
    }

    fn check_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Violation> {
        if let Some(offset) = self.reads.first_wrong(self.progress.read, bytes) {
            let at = self.progress.read + offset as u64;
            return Err(self.violation(format!(
                "wrong byte {:#04x} at position {at}",
                bytes[offset]
            )));
        }
        self.progress.read += bytes.len() as u64;
        self.next_read = now + self.dice.duration(Duration::ZERO..=self.plan.read_pause);
        Ok(())
    }

    /// In-order bytes lent inside the receive call; how many are taken.
    pub(super) fn lent(&mut self, now: Instant, bytes: &[u8]) -> Result<usize, Violation> {
        if self.sock().is_none() {
            return Err(self.violation("data for a socket that is closed"));
        }
        if self.progress.eof == Eof::Seen {
            return Err(self.violation("data behind the end of file"));
        }
        self.read_gate = Gate::Open;
        if self.next_read > now {
            return Ok(0);
        }
        let taken = self
            .dice
            .range(1..=self.plan.read_chunk)
            .min(bytes.len() as u64) as usize;
        self.check_bytes(now, &bytes[..taken])?;
        Ok(taken)
    }

    /// A readiness event of the socket.
    pub(super) fn ready(&mut self, ready: Readiness) {
        let ends = [Readiness::ERR, Readiness::HUP]
            .into_iter()
            .any(|bit| ready.contains(bit));
        if ready.contains(Readiness::OUT) || ends {
            self.write_gate = Gate::Open;
        }
        if ready.contains(Readiness::IN) || ready.contains(Readiness::RDHUP) || ends {
            self.read_gate = Gate::Open;
        }
    }

    /// Leaves the connection when its plan says so.
    fn leave(&mut self, stack: &mut Stack, now: Instant) -> Result<(), Violation> {
        let Phase::Open(sock) = self.phase else {
            return Ok(());
        };
        let all_written = self.progress.written >= self.plan.total;
        match self.plan.finish {
            Finish::Abort(after) if self.progress.written >= after => {
                stack.abort(now, sock);
                self.phase = Phase::Done(End::Left);
            }
            Finish::LingerZero(after) if self.progress.written >= after => {
                let linger = SockOpt::Linger(Some(Duration::ZERO));
                stack
                    .set_option(now, sock, linger)
                    .map_err(|e| self.violation(format!("linger: {}", e.name())))?;
                self.close(stack, now, sock)?;
                self.phase = Phase::Done(End::Left);
            }
            Finish::CloseAtOnce if all_written => {
                self.close(stack, now, sock)?;
                self.phase = Phase::Done(End::Left);
            }
            Finish::Polite if all_written => {
                if self.progress.shut == Shut::No {
                    self.progress.shut = Shut::Yes;
                    match stack.shutdown(now, sock, Shutdown::Write) {
                        Ok(()) => {}
                        Err(error) => return self.fail(stack, now, sock, error),
                    }
                }
                if self.progress.eof == Eof::Seen {
                    self.close(stack, now, sock)?;
                    self.phase = Phase::Done(End::Clean);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn fail(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        error: SockError,
    ) -> Result<(), Violation> {
        self.close(stack, now, sock)?;
        self.phase = Phase::Done(End::Failed(error));
        Ok(())
    }

    fn close(&self, stack: &mut Stack, now: Instant, sock: SockId) -> Result<(), Violation> {
        stack
            .close(now, sock)
            .map_err(|error| self.violation(format!("close: {}", error.name())))
    }
}
