//! Two nodes, the wire between their device queues, and time.
//!
//! Each node's device is one end of a `pair`; the wire holds the other two ends, takes out what was sent, and puts in
//! what arrives.

use std::time::Duration;

use millrace_pmd::{MAX_BURST, Pair, PairConfig, Queue, pair};
use millrace_wire::frame::TxBatch;
use millrace_wire::time::Instant;

use super::app::{End, Eof, Step};
use super::dice::{Dice, Purpose};
use super::lane::{Lane, LaneCounters};
use super::node::{Callers, Node};
use super::plan::{Finish, Plan};
use super::watch::Watch;
use super::{Totals, Violation};
use crate::clock::{START, VirtualClock};

/// After healing, every connection must have finished within this time: a few of the longest retransmission timeouts.
const LIVENESS: Duration = Duration::from_secs(600);

/// After that, every timer must have run out: TIME_WAIT, FIN_WAIT2, orphans.
const AFTERLIFE: Duration = Duration::from_secs(400);

/// Turns at one point in time after which somebody must be spinning.
const MAX_TURNS: u32 = 20_000;

/// Frames that no run of this size needs: a storm.
const MAX_FRAMES: u64 = 1_000_000;

/// The whole simulated world.
pub(super) struct World {
    plan: Plan,
    clock: VirtualClock,
    nodes: [Node; 2],
    /// The wire's ends: index `i` faces node `i`.
    ends: [Pair; 2],
    /// Lane `i` leads away from node `i`.
    lanes: [Lane; 2],
    watch: Watch,
    callers: Callers,
}

impl World {
    pub(super) fn new(plan: Plan) -> Result<Self, Violation> {
        let config = PairConfig {
            max_frame: usize::from(plan.mtu) + 18,
            frames: plan.device_frames,
        };
        let (device_0, end_0) = pair(config);
        let (device_1, end_1) = pair(config);
        let lane =
            |n: usize| Lane::new(plan.lanes[n], Dice::new(plan.seed, Purpose::Lane(n as u64)));
        Ok(Self {
            nodes: [
                Node::new(&plan, 0, device_0)?,
                Node::new(&plan, 1, device_1)?,
            ],
            ends: [end_0, end_1],
            lanes: [lane(0), lane(1)],
            watch: Watch::new(plan.mtu),
            clock: VirtualClock::default(),
            callers: Callers::new(),
            plan,
        })
    }

    /// Everything from the first connection to empty tables.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        let heals = START + self.plan.heals_after;
        self.run_until(heals)?;
        self.lanes.iter_mut().for_each(Lane::heal);
        self.run_until(heals + LIVENESS)?;
        self.check_finished()?;
        let now = self.clock.now();
        for node in &mut self.nodes {
            node.stop_listening(now)?;
        }
        self.run_until(now + AFTERLIFE)?;
        self.check_empty()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.watch.trace_hash()
    }

    pub(super) fn totals(&self) -> Totals {
        let [a, b] = [self.lanes[0].counters(), self.lanes[1].counters()];
        let sum = |of: fn(&LaneCounters) -> u64| of(&a) + of(&b);
        let bytes = self
            .nodes
            .iter()
            .flat_map(Node::apps)
            .map(|(_, app)| app.progress().read)
            .sum();
        Totals {
            frames: self.watch.frames(),
            lost: sum(|lane| lane.lost),
            duplicated: sum(|lane| lane.duplicated),
            damaged: sum(|lane| lane.damaged),
            bytes,
        }
    }

    /// Lets the world run up to `to`; ends early, with the time left unspent, when nothing is left to happen.
    fn run_until(&mut self, to: Instant) -> Result<(), Violation> {
        loop {
            self.settle()?;
            let next = self.next_event();
            match next {
                Some(at) if at <= to => self.clock.advance_to(at),
                _ => break,
            }
        }
        self.clock.advance_to(to);
        self.settle()
    }

    fn next_event(&self) -> Option<Instant> {
        let now = self.clock.now();
        let lanes = self.lanes.iter().filter_map(Lane::next_arrival);
        let nodes = self.nodes.iter().filter_map(|node| node.next_deadline(now));
        lanes.chain(nodes).min()
    }

    /// Turns the loop until nothing more happens at this point in time.
    fn settle(&mut self) -> Result<(), Violation> {
        let now = self.clock.now();
        for _ in 0..MAX_TURNS {
            let mut step = self.carry(now)?;
            for node in &mut self.nodes {
                if node.turn(now, &self.plan.connections, &mut self.callers)? == Step::Moved {
                    step = Step::Moved;
                }
            }
            if self.carry(now)? == Step::Idle
                && step == Step::Idle
                && self.next_event().is_none_or(|at| at > now)
            {
                return Ok(());
            }
            if self.watch.frames() > MAX_FRAMES {
                return Err(Violation::new(format!(
                    "a storm: more than {MAX_FRAMES} frames"
                )));
            }
        }
        Err(Violation::new(
            "somebody spins: no end of things to do at one point in time",
        ))
    }

    /// Frames from the nodes into the lanes, and from the lanes to the nodes.
    fn carry(&mut self, now: Instant) -> Result<Step, Violation> {
        let Self {
            ends, lanes, watch, ..
        } = self;
        let mut step = Step::Idle;
        for (node, (end, lane)) in ends.iter_mut().zip(lanes.iter_mut()).enumerate() {
            let mut broken = None;
            while end.rx(MAX_BURST, &mut |frames| {
                for frame in frames.iter() {
                    if let Err(violation) = watch.sent(now, node, frame.data()) {
                        broken.get_or_insert(violation);
                    }
                    lane.send(now, frame.data());
                }
            }) > 0
            {
                step = Step::Moved;
            }
            if let Some(violation) = broken {
                return Err(violation);
            }
        }
        for (node, lane) in lanes.iter_mut().enumerate() {
            ends[1 - node].tx(&mut |batch| {
                if hand_over(lane, now, batch) == Step::Moved {
                    step = Step::Moved;
                }
            });
        }
        Ok(step)
    }

    /// Every connection has ended as its plan allows.
    fn check_finished(&self) -> Result<(), Violation> {
        for (index, plan) in self.plan.connections.iter().enumerate() {
            let ends = |node: usize| {
                self.nodes[node]
                    .apps()
                    .filter(move |(of, _)| *of == index)
                    .map(|(_, app)| app)
            };
            let client = ends(plan.client).next();
            let server = ends(1 - plan.client).next();
            let (Some(client), Some(server)) = (client, server) else {
                // A client that resets at once may be gone before anybody could accept it.
                let gone = matches!(
                    plan.ends[0].finish,
                    Finish::Abort(_) | Finish::LingerZero(_)
                );
                if gone && client.is_some_and(|client| client.end() == Some(End::Left)) {
                    continue;
                }
                let open = self.nodes.each_ref().map(Node::open_sockets);
                return Err(Violation::new(format!(
                    "connection {index} was never accepted; open: {open:?}"
                )));
            };
            let polite = plan.ends.iter().all(|end| end.finish == Finish::Polite);
            for (app, peer) in [(client, server), (server, client)] {
                let (mine, theirs) = (app.progress(), peer.progress());
                let wrong = |what: &str| {
                    let open = self.nodes.each_ref().map(Node::open_sockets);
                    Violation::new(format!(
                        "{}: {what}: {mine:?}, peer {theirs:?}; open: {open:?}",
                        app.name()
                    ))
                };
                match app.end() {
                    None => return Err(wrong("not finished")),
                    Some(End::Failed(error)) if polite => return Err(wrong(error.name())),
                    Some(End::Clean) if polite && mine.written != app.plan().total => {
                        return Err(wrong("not all written"));
                    }
                    Some(_) => {}
                }
                if mine.read > theirs.written {
                    return Err(wrong("more read than written"));
                }
                if mine.eof == Eof::Seen && mine.read != theirs.written {
                    return Err(wrong("an end of file in front of the end"));
                }
            }
        }
        Ok(())
    }

    /// Nothing is left in any table, neighbours apart.
    fn check_empty(&self) -> Result<(), Violation> {
        for (number, node) in self.nodes.iter().enumerate() {
            let mut census = node.stack().census();
            census.neighbours = 0;
            // Entries of the neighbour table keep their own timers; they are counted with it.
            if census != millrace_net::Census::default() {
                return Err(Violation::new(format!("node {number} keeps {census:?}")));
            }
            if node
                .stack()
                .mib()
                .get("TcpCurrEstab")
                .is_some_and(|value| value != 0)
            {
                return Err(Violation::new(format!(
                    "node {number} counts established connections"
                )));
            }
        }
        Ok(())
    }
}

/// Gives the node what has arrived, as far as its receive queue has room.
fn hand_over(lane: &mut Lane, now: Instant, batch: &mut dyn TxBatch) -> Step {
    let mut step = Step::Idle;
    while batch.room() > 0 {
        let Some(frame) = lane.arrived(now) else {
            break;
        };
        if let Some(slot) = batch.next(frame.len()) {
            slot.copy_from_slice(&frame);
        }
        step = Step::Moved;
    }
    step
}
