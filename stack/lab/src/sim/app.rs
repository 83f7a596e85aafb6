//! The applications at both ends of a connection: they write, read, pause and leave as planned, and check every byte.

mod flow;
mod open;

use std::net::{Shutdown, SocketAddrV4};
use std::time::Duration;

use millrace_net::{Readiness, SockError, SockId, SockOpt, Stack};
use millrace_wire::time::Instant;

use super::Violation;
use super::dice::Dice;
use super::pattern::Pattern;
use super::plan::{EndPlan, Finish, Keepalive};
use crate::model::Calls;

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
    /// When the last connect was called, and how long the handshake took.
    connected_at: Instant,
    handshake: Duration,
    /// Bytes that it left unread when it closed.
    unread: usize,
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
            connected_at: now,
            handshake: Duration::ZERO,
            unread: 0,
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

    /// What the model must know of its calls.
    pub(super) fn calls(&self) -> Calls {
        Calls {
            written: self.progress.written,
            read: self.progress.read,
            shut: self.progress.shut == Shut::Yes,
            gone: self.sock().is_none(),
            keepalive: self.plan.keepalive != Keepalive::Off,
        }
    }

    /// How long its handshake took, for a client.
    pub(super) fn handshake(&self) -> Duration {
        self.handshake
    }

    /// It closed its connection although there was more to read.
    pub(super) fn left_unread(&self) -> bool {
        self.unread > 0
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
                let linger = SockOpt::Linger(true, Duration::ZERO);
                stack
                    .set_option(now, sock, linger)
                    .map_err(|e| self.violation(format!("linger: {}", e.name())))?;
                self.close(stack, now, sock)?;
                self.phase = Phase::Done(End::Left);
            }
            Finish::CloseAtOnce if all_written => {
                let unread = stack.recv_len(sock).unwrap_or_default();
                self.unread = unread;
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
