//! The engine: who sends what when, and how long the answers take. It owns no socket and reads time from the clock it
//! was given, so that it runs over any [`Wire`], in virtual time too.
//!
//! Open loop: requests are due by a [`Schedule`], whatever the server does. One that finds no connection with room
//! waits, and its latency counts from the time at which it was due. Closed loop: each connection has `depth` requests
//! under way, and the next is due when a reply has come.

use core::time::Duration;
use std::collections::VecDeque;
use std::io;

use millrace::{Clock, Instant};
use rustix::io::Errno;

mod requests;

use super::arrivals::{Arrivals, Schedule};
use super::log::{Log, Request};
use super::wire::{Ending, Wire};
use super::workload::{Reader, Shape, Workload};

/// Connections that may be opening at a time before the run begins.
const OPENING: usize = 128;
/// How long all connections may take to open without one succeeding.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// How long answers are waited for after the end.
const GRACE: Duration = Duration::from_secs(1);
/// Requests that may wait for a connection with room.
const WAITING: usize = 1 << 20;
/// Requests taken from the schedule at a time, so that replies are read in between.
const ISSUE_BUDGET: usize = 256;
/// Bytes a sending stream hands over at a time.
const STREAM_BUDGET: usize = 1 << 20;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is said.
    pub workload: Workload,
    /// Connections.
    pub connections: usize,
    /// Requests under way on one.
    pub depth: usize,
    /// Open loop: how requests are spread, and how many per second.
    pub open: Option<(Arrivals, f64)>,
    /// Seed of the arrivals.
    pub seed: u64,
    /// Before the measurement.
    pub warm_up: Duration,
    /// The measurement.
    pub time: Duration,
    /// Of a stretch of the time series.
    pub stretch: Duration,
    /// How long the server may be silent while requests are unanswered.
    pub patience: Duration,
    /// How connections of [`Shape::Connect`] are ended.
    pub ending: Ending,
}

/// Why a run is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Over {
    /// The time was up.
    Time,
    /// Somebody asked for it.
    Stopped,
    /// It could not go on: why, in a sentence.
    Broken(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    Opening,
    Running,
    /// Nothing more is asked, for that reason; answers may still come until then.
    Finishing(Instant, Over),
    Over(Over),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed,
    Opening(Instant),
    Open,
}

struct Conn {
    state: State,
    flight: VecDeque<Request>,
    /// Bytes of requests that the wire has not taken yet.
    unsent: usize,
    reader: Reader,
    /// Stands in the list of those with room.
    listed: bool,
}

/// Called when the measurement begins and after each stretch.
pub type Watcher = Box<dyn FnMut(&Log) + Send>;

/// A run.
pub struct Engine {
    plan: Plan,
    clock: Box<dyn Clock>,
    phase: Phase,
    conns: Vec<Conn>,
    /// Connections with room for a request, longest unused first.
    roomy: VecDeque<usize>,
    /// Intended times of requests that wait for one.
    waiting: VecDeque<u64>,
    schedule: Option<Schedule>,
    next: Option<u64>,
    /// Connections that are open, and that were ever asked to open.
    open: usize,
    asked: usize,
    /// Requests under way on all connections.
    under_way: usize,
    /// When the server was last heard of, or was first asked after it had answered everything.
    heard: Instant,
    /// Streams that may send more although the wire took all.
    eager: Vec<usize>,
    progress: Instant,
    start: Instant,
    begin: Instant,
    /// The warm-up is over, and the watcher knows.
    begun: bool,
    end: Instant,
    log: Log,
    watcher: Option<Watcher>,
}

impl Engine {
    /// A run of `plan` that begins with the first [`Engine::poll`].
    pub fn new(plan: Plan, clock: Box<dyn Clock>, watcher: Option<Watcher>) -> Self {
        let conn = || Conn {
            state: State::Closed,
            flight: VecDeque::new(),
            unsent: 0,
            reader: plan.workload.reader(),
            listed: false,
        };
        let now = clock.now();
        Self {
            conns: (0..plan.connections).map(|_| conn()).collect(),
            plan,
            clock,
            phase: Phase::Opening,
            roomy: VecDeque::new(),
            waiting: VecDeque::new(),
            schedule: None,
            next: None,
            open: 0,
            asked: 0,
            under_way: 0,
            heard: now,
            eager: Vec::new(),
            progress: now,
            start: now,
            begin: now,
            begun: false,
            end: now,
            log: Log::default(),
            watcher,
        }
    }

    /// Why it is over, once it is.
    pub fn over(&self) -> Option<&Over> {
        match &self.phase {
            Phase::Over(over) => Some(over),
            _ => None,
        }
    }

    /// What was measured.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What is done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Forgets its watcher; the run is over.
    pub fn unwatch(&mut self) {
        self.watcher = None;
    }

    /// How long the measurement was in the end; `None` if it never began.
    pub fn measured(&self) -> Option<Duration> {
        self.begun.then(|| self.end.since(self.begin))
    }

    /// When [`Engine::poll`] has something to do even if nothing is told.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Opening => Some(self.progress + OPEN_LIMIT),
            Phase::Running if !self.eager.is_empty() => Some(Instant::ZERO),
            Phase::Running => {
                let due = self.next.map(|at| self.start + Duration::from_nanos(at));
                let cut = Instant::from_nanos(self.log.stretch_end(self.plan.stretch));
                let silence = self.is_expecting().then(|| self.heard + self.plan.patience);
                let due = due.into_iter().chain(silence);
                let next = if self.begun { cut } else { self.begin };
                due.chain([self.end, next]).min()
            }
            Phase::Finishing(until, _) => Some(*until),
            Phase::Over(_) => None,
        }
    }

    /// Does what is due: whether there was anything.
    pub fn poll(&mut self, wire: &mut dyn Wire) -> bool {
        let now = self.clock.now();
        match &self.phase {
            Phase::Opening => self.poll_opening(wire, now),
            Phase::Running => self.poll_running(wire, now),
            Phase::Finishing(until, over) if now >= *until || self.is_answered() => {
                let over = over.clone();
                self.finish(now, over);
                true
            }
            Phase::Finishing(..) | Phase::Over(_) => false,
        }
    }

    /// Ends the run early, as if its time were up; what was measured stays.
    pub fn stop(&mut self) {
        let now = self.clock.now();
        match self.phase {
            Phase::Opening => self.finish(now, Over::Stopped),
            Phase::Running => self.wind_down(now, Over::Stopped),
            Phase::Finishing(..) | Phase::Over(_) => {}
        }
    }

    /// Asks nothing more and waits a little for what is still under way.
    fn wind_down(&mut self, now: Instant, over: Over) {
        // What was asked at this moment counts.
        let now = now + Duration::from_nanos(1);
        self.end = now.max(self.begin).min(self.end);
        self.cut(self.end);
        self.next = None;
        self.phase = Phase::Finishing(now + GRACE, over);
    }

    /// A connection is open.
    pub fn connected(&mut self, wire: &mut dyn Wire, conn: usize) {
        let now = self.clock.now();
        let State::Opening(since) = self.conns[conn].state else {
            return;
        };
        self.conns[conn].state = State::Open;
        self.open += 1;
        self.progress = now;
        let took = now.since(since).as_nanos() as u64;
        self.log.connect.saturating_record(took.max(1));
        match self.phase {
            Phase::Opening => {
                self.poll_opening(wire, now);
            }
            Phase::Running | Phase::Finishing(..) => self.put_to_use(wire, conn),
            Phase::Over(_) => {}
        }
    }

    /// Bytes have arrived.
    pub fn data(&mut self, wire: &mut dyn Wire, conn: usize, bytes: &[u8]) {
        let now = self.clock.now();
        self.heard = now;
        if self.is_measuring(now) {
            self.log.bytes(bytes.len() as u64);
        }
        let entry = &mut self.conns[conn];
        if entry.state != State::Open || self.plan.workload.shape == Shape::Receive {
            return;
        }
        match entry.reader.feed(bytes, &self.plan.workload.request) {
            Ok(replies) if replies > entry.flight.len() => {
                self.break_off("the server answered more than it was asked".to_owned());
            }
            Ok(replies) => {
                for _ in 0..replies {
                    self.replied(wire, conn, now);
                }
            }
            Err(what) => self.break_off(format!("the server answered {what}")),
        }
    }

    /// There is room to send again.
    pub fn room(&mut self, wire: &mut dyn Wire, conn: usize) {
        if self.conns[conn].state == State::Open && self.over().is_none() {
            self.flush(wire, conn);
        }
    }

    /// The peer has ended the connection, or it failed.
    pub fn ended(&mut self, wire: &mut dyn Wire, conn: usize, error: Option<io::Error>) {
        let before = core::mem::replace(&mut self.conns[conn].state, State::Closed);
        if before == State::Closed || self.over().is_some() {
            return;
        }
        wire.close(conn, Ending::Fin);
        if before == State::Open {
            self.open -= 1;
        }
        let under_way = self.conns[conn].flight.len();
        let running = matches!(self.phase, Phase::Running | Phase::Finishing(..));
        match (before, error) {
            (State::Opening(_), error) => {
                self.break_off(connect_words(&error.unwrap_or(Errno::CONNABORTED.into())));
            }
            (_, None)
                if running && under_way == 0 && self.plan.workload.shape == Shape::Requests =>
            {
                self.log.reopened += 1;
                self.open_conn(wire, conn);
            }
            (_, error) => {
                let how = error.map_or_else(
                    || "closed".to_owned(),
                    |error| format!("broke off ({error})"),
                );
                let when = match under_way {
                    0 => "in mid-run".to_owned(),
                    1 => "with a request unanswered".to_owned(),
                    n => format!("with {n} requests unanswered"),
                };
                self.break_off(format!("the server {how} a connection {when}"));
            }
        }
    }

    fn poll_opening(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        if self.plan.workload.shape == Shape::Connect {
            self.set_off(wire, now);
            return true;
        }
        let asked = self.asked;
        while self.asked < self.conns.len() && self.asked - self.open < OPENING {
            let conn = self.asked;
            self.asked += 1;
            self.open_conn(wire, conn);
            if self.over().is_some() {
                return true;
            }
        }
        if self.open == self.conns.len() {
            self.set_off(wire, now);
        } else if now.since(self.progress) >= OPEN_LIMIT {
            self.break_off(format!(
                "{} of {} connections opened, and no other within {} s; does something listen there?",
                self.open,
                self.conns.len(),
                OPEN_LIMIT.as_secs()
            ));
        }
        self.asked > asked
    }

    /// All is ready: the run begins.
    fn set_off(&mut self, wire: &mut dyn Wire, now: Instant) {
        self.start = now;
        self.begin = now + self.plan.warm_up;
        self.end = self.begin + self.plan.time;
        self.log.begin(self.begin.as_nanos());
        self.heard = now;
        self.phase = Phase::Running;
        if let Some((arrivals, rate)) = self.plan.open {
            let mut schedule = Schedule::new(arrivals, rate, self.plan.seed);
            self.next = schedule.next();
            self.schedule = Some(schedule);
        }
        for conn in 0..self.conns.len() {
            self.put_to_use(wire, conn);
        }
    }

    /// Whether a request that was due then counts.
    fn is_of_measurement(&self, intended: u64) -> bool {
        (self.begin.as_nanos()..self.end.as_nanos()).contains(&intended)
    }

    fn is_measuring(&self, now: Instant) -> bool {
        self.phase == Phase::Running && now >= self.begin && now < self.end
    }

    fn is_answered(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0
    }

    /// Whether the server has something to say.
    fn is_expecting(&self) -> bool {
        self.under_way > 0 || self.plan.workload.shape == Shape::Receive
    }

    fn break_off(&mut self, why: String) {
        if self.over().is_none() {
            let now = self.clock.now();
            self.finish(now, Over::Broken(why));
        }
    }

    /// Books what has no answer and ends.
    fn finish(&mut self, now: Instant, over: Over) {
        if matches!(self.phase, Phase::Running) {
            self.end = now.max(self.begin).min(self.end);
            self.cut(self.end);
        }
        let at = now.as_nanos();
        let begin = self.begin.as_nanos();
        let counts = |intended: u64| intended >= begin;
        for intended in self.waiting.drain(..).filter(|&at| counts(at)) {
            self.log.unanswered(intended, None, at);
        }
        for conn in &mut self.conns {
            for request in conn
                .flight
                .drain(..)
                .filter(|request| counts(request.intended))
            {
                self.log
                    .unanswered(request.intended, Some(request.sent), at);
            }
        }
        self.under_way = 0;
        self.log.silence(self.end.as_nanos());
        self.phase = Phase::Over(over);
    }
}

/// Why there is no connection, and what mends it.
fn connect_words(error: &io::Error) -> String {
    let why = match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => "connection refused; nothing listens there",
        Some(Errno::TIMEDOUT) => "timed out; nobody answers",
        Some(Errno::NETUNREACH) => "no route to it; give one with --gateway or --addr",
        Some(Errno::HOSTUNREACH) => "host unreachable; nobody has this address on the link",
        Some(Errno::ADDRNOTAVAIL) => {
            "no local port is left: those of closed connections wait in TIME_WAIT; give --close reset, fewer --connections or a lower --rate"
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            "too many open files; raise `ulimit -n` or give fewer --connections"
        }
        _ => return format!("cannot connect: {error}"),
    };
    format!("cannot connect: {why}")
}

#[cfg(test)]
mod tests;
