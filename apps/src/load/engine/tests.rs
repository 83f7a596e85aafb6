//! Runs in virtual time, against a server of a few lines.

use std::collections::BTreeMap;

use millrace::VirtualClock;

use super::*;
use crate::load::workload::{ReplyKind, pattern};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

enum Event {
    Connected(usize),
    Data(usize, Vec<u8>),
    Ended(usize),
    Room(usize),
}

/// A wire to a server that echoes after `delay`.
struct Server {
    clock: VirtualClock,
    delay: Duration,
    /// It says nothing between these times after the start; what is due then comes at the end.
    stall: Option<(Duration, Duration)>,
    /// After so many requests it closes the connection instead.
    hangs_up_after: Option<usize>,
    refuses: bool,
    /// Bytes after which there is no room for a while.
    piece: usize,
    full: bool,
    start: Instant,
    requests: usize,
    opened: usize,
    closed: Vec<Ending>,
    events: BTreeMap<(Instant, usize), Event>,
    number: usize,
}

impl Server {
    fn new(delay: Duration) -> Self {
        let clock = VirtualClock::new();
        Self {
            start: clock.now(),
            clock,
            delay,
            stall: None,
            hangs_up_after: None,
            refuses: false,
            piece: usize::MAX,
            full: false,
            requests: 0,
            opened: 0,
            closed: Vec::new(),
            events: BTreeMap::new(),
            number: 0,
        }
    }

    fn later(&mut self, delay: Duration, event: Event) {
        let mut at = self.clock.now() + delay;
        if let Some((from, to)) = self.stall
            && (self.start + from..self.start + to).contains(&at)
        {
            at = self.start + to;
        }
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    /// Plays a run to its end.
    fn play(&mut self, plan: Plan) -> Engine {
        self.play_until(plan, Duration::MAX)
    }

    /// The same; it is stopped after `stop`.
    fn play_until(&mut self, plan: Plan, stop: Duration) -> Engine {
        let mut engine = Engine::new(plan, Box::new(self.clock.clone()), None);
        loop {
            engine.poll(self);
            if self.clock.now().since(self.start) >= stop {
                engine.stop();
            }
            if engine.over().is_some() {
                return engine;
            }
            let event = self.events.keys().next().map(|&(at, _)| at);
            let next = event.into_iter().chain(engine.next_deadline()).min();
            self.clock.advance_to(next.expect("something will happen"));
            while let Some(entry) = self.events.first_entry()
                && entry.key().0 <= self.clock.now()
            {
                match entry.remove() {
                    Event::Connected(conn) => engine.connected(self, conn),
                    Event::Data(conn, bytes) => engine.data(self, conn, &bytes),
                    Event::Ended(conn) => engine.ended(self, conn, None),
                    Event::Room(conn) => engine.room(self, conn),
                }
            }
        }
    }
}

impl Wire for Server {
    fn open(&mut self, conn: usize) -> io::Result<()> {
        if self.refuses {
            return Err(Errno::CONNREFUSED.into());
        }
        self.opened += 1;
        self.later(MS / 10, Event::Connected(conn));
        Ok(())
    }

    fn send(&mut self, conn: usize, bytes: &[u8]) -> io::Result<usize> {
        if core::mem::take(&mut self.full) {
            self.later(MS / 100, Event::Room(conn));
            return Ok(0);
        }
        let taken = bytes.len().min(self.piece);
        self.full = taken < bytes.len();
        self.requests += 1;
        if self.hangs_up_after.is_some_and(|most| self.requests > most) {
            self.later(self.delay, Event::Ended(conn));
        } else {
            self.later(self.delay, Event::Data(conn, bytes[..taken].to_vec()));
        }
        Ok(taken)
    }

    fn close(&mut self, _: usize, ending: Ending) {
        self.closed.push(ending);
    }
}

fn plan(connections: usize) -> Plan {
    Plan {
        workload: Workload {
            shape: Shape::Requests,
            request: pattern(10),
            reply: ReplyKind::Echo,
        },
        connections,
        depth: 1,
        open: None,
        seed: 1,
        warm_up: Duration::ZERO,
        time: SECOND,
        stretch: SECOND / 4,
        patience: SECOND * 5,
        ending: Ending::Reset,
    }
}

/// How many values lie above.
fn above(histogram: &hdrhistogram::Histogram<u64>, time: Duration) -> u64 {
    histogram.count_between(time.as_nanos() as u64, u64::MAX)
}

#[test]
fn a_closed_loop_asks_when_it_was_answered() {
    let engine = Server::new(MS).play(plan(2));
    let log = engine.log();
    assert_eq!(engine.over(), Some(&Over::Time));
    assert_eq!(log.offered, 2000);
    assert_eq!(log.replies, 2000);
    assert_eq!(log.unanswered, 0);
    assert_eq!(log.corrected.len(), 2000);
    assert!(log.corrected.equivalent(log.corrected.max(), 1_000_000));
    assert_eq!(
        log.series.iter().map(|stretch| stretch.sent).sum::<u64>(),
        2000
    );
    assert_eq!(log.series.len(), 4);
    assert!(log.longest_silence <= 1_000_000);
}

#[test]
fn the_warm_up_does_not_count() {
    let engine = Server::new(MS).play(Plan {
        warm_up: SECOND,
        ..plan(1)
    });
    assert_eq!(engine.log().replies, 1000);
    assert_eq!(engine.measured(), Some(SECOND));
}

#[test]
fn no_coordinated_omission() {
    let mut server = Server::new(MS / 10);
    server.stall = Some((SECOND / 2, SECOND / 2 + MS * 100));
    let engine = server.play(Plan {
        open: Some((Arrivals::Constant, 1000.0)),
        ..plan(1)
    });
    let log = engine.log();
    assert_eq!(log.replies, 1000);
    assert_eq!(above(&log.raw, MS), 1, "the wire saw one slow request");
    // A hundred were due while the server was silent; each waited for the rest of that time and for those before it.
    let waited = above(&log.corrected, MS);
    assert!((100..=115).contains(&waited), "{waited}");
    assert!(above(&log.corrected, MS * 50) >= 50);
}

#[test]
fn a_rate_that_cannot_be_reached_leaves_requests_unanswered() {
    let engine = Server::new(MS * 10).play(Plan {
        open: Some((Arrivals::Constant, 1000.0)),
        ..plan(1)
    });
    let log = engine.log();
    assert_eq!(log.offered, 1000);
    // A hundred a second, for two seconds with the time after the end.
    assert!((195..=201).contains(&log.replies), "{}", log.replies);
    assert_eq!(log.replies + log.unanswered, 1000);
    assert_eq!(
        log.corrected.len(),
        1000,
        "what has no reply keeps its place"
    );
    assert!((95..=101).contains(&log.achieved), "{}", log.achieved);
}

#[test]
fn several_requests_under_way() {
    let engine = Server::new(MS * 10).play(Plan {
        depth: 8,
        ..plan(1)
    });
    assert_eq!(engine.log().replies, 800);
}

#[test]
fn a_connection_for_each_request() {
    let mut server = Server::new(MS);
    let mut plan = plan(4);
    plan.workload.shape = Shape::Connect;
    let engine = server.play(plan);
    let log = engine.log();
    assert_eq!(log.replies as usize, server.opened);
    assert_eq!(server.closed, vec![Ending::Reset; server.opened]);
    assert_eq!(log.connect.len() as usize, server.opened);
    // Connecting is part of the latency.
    assert!(log.corrected.min() >= 1_099_000, "{}", log.corrected.min());
}

#[test]
fn requests_that_the_wire_takes_in_pieces() {
    let mut server = Server::new(MS);
    server.piece = 4;
    let engine = server.play(plan(1));
    assert_eq!(engine.over(), Some(&Over::Time));
    assert!(engine.log().replies > 900);
}

#[test]
fn a_server_that_hangs_up_is_told_and_what_was_measured_is_kept() {
    let mut server = Server::new(MS);
    server.hangs_up_after = Some(500);
    let engine = server.play(plan(1));
    let Some(Over::Broken(why)) = engine.over() else {
        panic!("{:?}", engine.over())
    };
    assert_eq!(
        why,
        "the server closed a connection with a request unanswered"
    );
    assert_eq!(engine.log().replies, 500);
    assert_eq!(engine.log().unanswered, 1);
    let measured = engine.measured().expect("begun");
    assert!((MS * 500..MS * 510).contains(&measured), "{measured:?}");
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let mut server = Server::new(MS);
    server.stall = Some((SECOND / 2, SECOND * 100));
    let engine = server.play(Plan {
        patience: SECOND * 2,
        time: SECOND * 10,
        ..plan(3)
    });
    let Some(Over::Broken(why)) = engine.over() else {
        panic!("{:?}", engine.over())
    };
    assert_eq!(
        why,
        "the server has said nothing for 2 s while 3 requests were unanswered"
    );
    assert_eq!(engine.log().unanswered, 3);
    assert!(engine.log().longest_silence >= 2_000_000_000);
}

#[test]
fn a_closed_port_is_told() {
    let mut server = Server::new(MS);
    server.refuses = true;
    let engine = server.play(plan(1));
    assert!(
        matches!(engine.over(), Some(Over::Broken(why)) if why.contains("nothing listens there"))
    );
    assert_eq!(engine.measured(), None);
}

#[test]
fn stopped_early_it_waits_for_what_is_under_way() {
    let engine = Server::new(MS * 10).play_until(plan(2), MS * 305);
    assert_eq!(engine.over(), Some(&Over::Stopped));
    assert_eq!(engine.log().unanswered, 0);
    assert_eq!(engine.log().replies, engine.log().offered);
    let measured = engine.measured().expect("begun");
    assert!((MS * 305..MS * 311).contains(&measured), "{measured:?}");
}

#[test]
fn a_receiving_stream_counts_bytes() {
    let mut server = Server::new(MS);
    let mut plan = plan(1);
    plan.workload.shape = Shape::Receive;
    // The server begins by itself.
    for number in 1..100 {
        server.later(MS * number, Event::Data(0, vec![0; 1000]));
    }
    let engine = server.play(plan);
    assert_eq!(engine.over(), Some(&Over::Time));
    assert_eq!(engine.log().bytes, 99_000);
}
