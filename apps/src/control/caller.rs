//! One caller on the control socket, as the clerk sees it: a bounded line in, bounded output out, and a time limit on each.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use millrace::net::DiagCursor;
use rustix::event::PollFlags;

use super::protocol::{Ask, Line, Request, VERSION, Versioned};

/// Bytes of a question.
const LONGEST_LINE: usize = 4096;
/// How long a caller may take to ask.
const ASK_TIME: Duration = Duration::from_secs(5);
/// How long a caller may read nothing of what there is for it.
const READ_TIME: Duration = Duration::from_secs(10);
/// Output that may wait for a caller before the worker is asked for more.
const ENOUGH: usize = 64 << 10;

/// What is to be fetched from the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// All counters.
    Counters,
    /// A page of sockets.
    Socks {
        from: DiagCursor,
        states: u16,
        info: bool,
        /// How many were told before.
        told: u64,
    },
}

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The question is not complete.
    Asking,
    /// To be fetched from the worker.
    Waiting(Work),
    /// The worker has it.
    Fetching(Work),
    /// Nothing more is to come; hangs up when all is read.
    Ending,
}

/// What became of a caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It stays.
    Stays,
    /// It asked what makes no sense, and is told so.
    Nonsense,
    /// It has gone.
    Gone,
}

/// A caller.
pub struct Caller {
    /// Tells callers apart.
    pub id: u64,
    /// How far it has come.
    pub stage: Stage,
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of the output was written.
    written: usize,
    /// When it came, or last took something, or the worker was asked for it.
    since: Instant,
}

impl Caller {
    /// A caller that was just let in, with the first line for it.
    pub fn new(id: u64, stream: UnixStream, hello: &[u8]) -> Self {
        Self {
            id,
            stage: Stage::Asking,
            stream,
            input: Vec::new(),
            output: hello.to_vec(),
            written: 0,
            since: Instant::now(),
        }
    }

    /// The connection, to be polled.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// What to poll for.
    pub fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.stage == Stage::Asking);
        flags.set(PollFlags::OUT, !self.output.is_empty());
        flags
    }

    /// The work that the worker may be asked for now.
    pub fn wants(&self) -> Option<Work> {
        match self.stage {
            Stage::Waiting(work) if self.output.len() - self.written < ENOUGH => Some(work),
            _ => None,
        }
    }

    /// When this caller is given up.
    pub fn deadline(&self, worker_time: Duration) -> Instant {
        let limit = match self.stage {
            Stage::Asking => ASK_TIME,
            _ if !self.output.is_empty() => READ_TIME,
            Stage::Waiting(_) | Stage::Fetching(_) => worker_time,
            Stage::Ending => READ_TIME,
        };
        self.since + limit
    }

    /// Whether it is the caller that keeps everybody waiting, and not the worker.
    pub fn is_slow(&self) -> bool {
        self.stage == Stage::Asking || !self.output.is_empty()
    }

    /// Its stage changes, and its time begins anew.
    pub fn moves_to(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = Instant::now();
    }

    /// Adds a line to what it gets.
    pub fn tell(&mut self, line: &Line) {
        add_line(&mut self.output, line);
    }

    /// Tells why there is no answer, and ends.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.tell(&Line::Error(why.into()));
        self.moves_to(Stage::Ending);
    }

    /// Reads and writes what can be done without waiting.
    pub fn advance(&mut self, seen: PollFlags) -> Fate {
        if seen.intersects(PollFlags::ERR | PollFlags::NVAL)
            || seen.contains(PollFlags::HUP) && !seen.contains(PollFlags::IN)
        {
            return Fate::Gone;
        }
        let mut fate = Fate::Stays;
        if self.stage == Stage::Asking && seen.contains(PollFlags::IN) {
            fate = self.read();
        }
        if fate == Fate::Gone || self.write() == Fate::Gone {
            return Fate::Gone;
        }
        fate
    }

    /// Whether it has all that it gets.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Ending && self.output.is_empty()
    }

    fn read(&mut self) -> Fate {
        let mut bytes = [0; 512];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Fate::Gone,
                Ok(length) => self.input.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Stays,
                Err(_) => return Fate::Gone,
            }
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                return self.asked(end);
            }
            if self.input.len() > LONGEST_LINE {
                self.fail("a question is one line of JSON of at most 4096 bytes");
                return Fate::Nonsense;
            }
        }
    }

    /// The question is complete.
    fn asked(&mut self, end: usize) -> Fate {
        let line = core::mem::take(&mut self.input);
        match question(&line[..end]) {
            Ok(ask) => {
                self.moves_to(Stage::Waiting(work(ask)));
                Fate::Stays
            }
            Err(why) => {
                self.fail(why);
                Fate::Nonsense
            }
        }
    }

    fn write(&mut self) -> Fate {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(length) => {
                    self.written += length;
                    self.since = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Stays,
                Err(_) => return Fate::Gone,
            }
        }
        self.output.clear();
        self.written = 0;
        Fate::Stays
    }
}

/// Adds a line to what is to be sent.
pub fn add_line(output: &mut Vec<u8>, line: &impl serde::Serialize) {
    // Writing to memory does not fail, and all keys are strings.
    let _ = serde_json::to_writer(&mut *output, line);
    output.push(b'\n');
}

fn question(line: &[u8]) -> Result<Ask, String> {
    let nonsense = |error: serde_json::Error| format!("this is no question: {error}");
    let versioned: Versioned = serde_json::from_slice(line).map_err(nonsense)?;
    if versioned.millrace != VERSION {
        return Err(format!(
            "this process speaks version {VERSION} on its control socket, and you version {}; use the `millrace` of the \
             same build",
            versioned.millrace
        ));
    }
    let request: Request = serde_json::from_slice(line).map_err(nonsense)?;
    Ok(request.ask)
}

fn work(ask: Ask) -> Work {
    match ask {
        Ask::Counters => Work::Counters,
        Ask::Sockets { states, info } => Work::Socks {
            from: DiagCursor::default(),
            states,
            info,
            told: 0,
        },
    }
}
