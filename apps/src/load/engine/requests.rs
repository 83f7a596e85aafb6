//! Requests on their way: which connection takes them, when they are sent, and what becomes of their replies.

use core::time::Duration;
use millrace::Instant;

use super::{Engine, ISSUE_BUDGET, Over, Phase, STREAM_BUDGET, State, WAITING, connect_words};
use crate::load::log::Request;
use crate::load::wire::Wire;
use crate::load::workload::Shape;

impl Engine {
    /// A connection that can take requests: in a closed loop it gets them.
    pub(super) fn put_to_use(&mut self, wire: &mut dyn Wire, conn: usize) {
        match self.plan.workload.shape {
            Shape::Receive => {}
            Shape::Send => self.flush(wire, conn),
            // It was opened for requests that wait in it.
            Shape::Connect if self.conns[conn].state == State::Open => self.flush(wire, conn),
            Shape::Requests | Shape::Connect => {
                if self.plan.open.is_none() {
                    let now = self.clock.now();
                    while self.has_room(conn) && self.phase == Phase::Running && now < self.end {
                        self.issue(wire, conn, now.as_nanos());
                    }
                } else {
                    self.offer(wire, conn);
                }
            }
        }
    }

    /// Open loop: a connection with room takes what waits, or is noted.
    fn offer(&mut self, wire: &mut dyn Wire, conn: usize) {
        while self.has_room(conn) && self.over().is_none() {
            let Some(intended) = self.waiting.pop_front() else {
                break;
            };
            self.issue(wire, conn, intended);
        }
        if self.has_room(conn) && !self.conns[conn].listed {
            self.conns[conn].listed = true;
            self.roomy.push_back(conn);
        }
    }

    fn has_room(&self, conn: usize) -> bool {
        let conn = &self.conns[conn];
        match self.plan.workload.shape {
            Shape::Connect => conn.state == State::Closed,
            _ => conn.state == State::Open && conn.flight.len() < self.plan.depth,
        }
    }

    pub(super) fn poll_running(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        let mut worked = self.arrivals(wire);
        for conn in core::mem::take(&mut self.eager) {
            self.flush(wire, conn);
            worked = true;
        }
        if now >= self.begin && !self.begun {
            self.begun = true;
            self.tell();
        }
        if self.begun && now.as_nanos() >= self.log.stretch_end(self.plan.stretch) && now < self.end
        {
            self.cut(now);
        }
        if now >= self.end && self.phase == Phase::Running && !self.is_behind() {
            self.wind_down(now, Over::Time);
            worked = true;
        } else if self.is_expecting() && now.since(self.heard) >= self.plan.patience {
            self.break_off(format!(
                "the server has said nothing for {} s while {} requests were unanswered",
                self.plan.patience.as_secs_f64(),
                self.under_way
            ));
        }
        worked
    }

    pub(super) fn cut(&mut self, now: Instant) {
        self.log.cut(now.as_nanos());
        self.tell();
    }

    fn tell(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            watcher(&self.log);
        }
    }

    /// Requests that are due.
    fn arrivals(&mut self, wire: &mut dyn Wire) -> bool {
        for taken in 0..ISSUE_BUDGET {
            let Some(due) = self.next.map(|at| self.start + Duration::from_nanos(at)) else {
                return taken > 0;
            };
            let now = self.clock.now();
            if due > now || due >= self.end || self.phase != Phase::Running {
                return taken > 0;
            }
            self.next = self.schedule.as_mut().and_then(Iterator::next);
            if due >= self.begin {
                self.log.offered += 1;
                self.log
                    .lag
                    .saturating_record(now.since(due).as_nanos() as u64);
            }
            self.arrive(wire, due.as_nanos());
        }
        true
    }

    /// Whether requests were due before the end that have not been taken from the schedule.
    fn is_behind(&self) -> bool {
        self.next
            .is_some_and(|at| self.start + Duration::from_nanos(at) < self.end)
    }

    fn arrive(&mut self, wire: &mut dyn Wire, intended: u64) {
        while let Some(conn) = self.roomy.pop_front() {
            self.conns[conn].listed = false;
            if self.has_room(conn) {
                self.issue(wire, conn, intended);
                if self.has_room(conn) {
                    self.conns[conn].listed = true;
                    self.roomy.push_back(conn);
                }
                return;
            }
        }
        if self.waiting.len() < WAITING {
            self.waiting.push_back(intended);
        } else if intended >= self.begin.as_nanos() {
            self.log.shed += 1;
        }
    }

    /// Sends a request.
    fn issue(&mut self, wire: &mut dyn Wire, conn: usize, intended: u64) {
        let sent = self.clock.now().as_nanos();
        if self.is_of_measurement(intended) {
            self.log.sent();
            if self.plan.open.is_none() {
                self.log.offered += 1;
            }
        }
        if self.under_way == 0 {
            self.heard = Instant::from_nanos(sent);
        }
        self.under_way += 1;
        let entry = &mut self.conns[conn];
        entry.flight.push_back(Request { intended, sent });
        entry.unsent += self.plan.workload.request.len();
        if self.plan.workload.shape == Shape::Connect {
            entry.reader = self.plan.workload.reader();
            self.open_conn(wire, conn);
        } else {
            self.flush(wire, conn);
        }
    }

    pub(super) fn open_conn(&mut self, wire: &mut dyn Wire, conn: usize) {
        let entry = &mut self.conns[conn];
        entry.state = State::Opening(self.clock.now());
        entry.reader = self.plan.workload.reader();
        match wire.open(conn) {
            Ok(()) => {}
            Err(error) => {
                self.conns[conn].state = State::Closed;
                self.break_off(connect_words(&error));
            }
        }
    }

    /// Hands the wire what it has room for.
    pub(super) fn flush(&mut self, wire: &mut dyn Wire, conn: usize) {
        let stream = self.plan.workload.shape == Shape::Send;
        if stream && self.phase == Phase::Running {
            self.conns[conn].unsent = STREAM_BUDGET;
        }
        let len = self.plan.workload.request.len();
        while self.conns[conn].unsent > 0 {
            let at = match self.conns[conn].unsent % len {
                0 => 0,
                left => len - left,
            };
            match wire.send(conn, &self.plan.workload.request[at..]) {
                Ok(0) => return,
                Ok(sent) => {
                    self.conns[conn].unsent -= sent.min(self.conns[conn].unsent);
                    if stream && self.is_measuring(self.clock.now()) {
                        self.log.bytes(sent as u64);
                    }
                }
                Err(error) => return self.ended(wire, conn, Some(error)),
            }
        }
        if stream && self.phase == Phase::Running {
            self.eager.push(conn);
        }
    }

    pub(super) fn replied(&mut self, wire: &mut dyn Wire, conn: usize, now: Instant) {
        let Some(request) = self.conns[conn].flight.pop_front() else {
            return;
        };
        self.under_way -= 1;
        if self.is_of_measurement(request.intended) {
            self.log.reply(request, now.as_nanos());
        }
        if self.is_measuring(now) {
            self.log.achieved(now.as_nanos());
        }
        if self.plan.workload.shape == Shape::Connect {
            self.conns[conn].state = State::Closed;
            self.open -= 1;
            wire.close(conn, self.plan.ending);
        }
        self.put_to_use(wire, conn);
    }
}
