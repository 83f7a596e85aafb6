//! Two nodes, the wire between their device queues, and time.
//!
//! Each node's device is one end of a `pair`; the wire holds the other two ends, takes out what was sent, and puts in
//! what arrives.

use std::time::Duration;

use millrace_pmd::{MAX_BURST, Pair, PairConfig, Queue, pair};
use millrace_wire::frame::TxBatch;
use millrace_wire::time::Instant;

use super::app::Step;
use super::dice::{Dice, Purpose};
use super::judge;
use super::lane::{Lane, LaneCounters};
use super::node::{Callers, Node};
use super::plan::Plan;
use super::watch::Watch;
use super::{Passage, Seen, Totals, Violation};
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
pub(super) struct World<'o> {
    plan: Plan,
    clock: VirtualClock,
    nodes: [Node; 2],
    /// The wire's ends: index `i` faces node `i`.
    ends: [Pair; 2],
    /// Lane `i` leads away from node `i`.
    lanes: [Lane; 2],
    watch: Watch,
    callers: Callers,
    observer: &'o mut dyn FnMut(Seen<'_>),
}

impl<'o> World<'o> {
    pub(super) fn new(
        plan: Plan,
        observer: &'o mut dyn FnMut(Seen<'_>),
    ) -> Result<Self, Violation> {
        let mtus = plan.nodes.each_ref().map(|node| node.mtu);
        let largest = mtus[0].max(mtus[1]);
        let config = PairConfig {
            max_frame: usize::from(largest) + 18,
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
            watch: Watch::new(mtus),
            clock: VirtualClock::default(),
            callers: Callers::new(),
            observer,
            plan,
        })
    }

    /// Everything from the first connection to empty tables.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        let heals = START + self.plan.heals_after;
        self.run_until(heals)?;
        self.lanes.iter_mut().for_each(Lane::heal);
        self.run_until(heals + LIVENESS)?;
        judge::finished(&self.plan, &self.nodes)?;
        let now = self.clock.now();
        for node in &mut self.nodes {
            node.stop_listening(now)?;
        }
        self.run_until(now + AFTERLIFE)?;
        judge::counters(&self.nodes, self.watch.frames())?;
        judge::empty(&self.nodes)
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
            ends,
            lanes,
            watch,
            observer,
            ..
        } = self;
        let at = now.since(START);
        let mut step = Step::Idle;
        for (node, (end, lane)) in ends.iter_mut().zip(lanes.iter_mut()).enumerate() {
            let mut broken = None;
            while end.rx(MAX_BURST, &mut |frames| {
                for frame in frames.iter().map(|frame| frame.data()) {
                    let passage = Passage::Sent;
                    observer(Seen {
                        at,
                        node,
                        passage,
                        frame,
                    });
                    if let Err(violation) = watch.sent(now, node, frame) {
                        broken.get_or_insert(violation);
                    }
                    lane.send(now, frame);
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
            let node = 1 - node;
            let passage = Passage::Arrived;
            let mut seen = |frame: &[u8]| {
                observer(Seen {
                    at,
                    node,
                    passage,
                    frame,
                });
            };
            ends[node].tx(&mut |batch| {
                if hand_over(lane, now, batch, &mut seen) == Step::Moved {
                    step = Step::Moved;
                }
            });
        }
        Ok(step)
    }
}

/// Gives the node what has arrived, as far as its receive queue has room.
fn hand_over(
    lane: &mut Lane,
    now: Instant,
    batch: &mut dyn TxBatch,
    seen: &mut dyn FnMut(&[u8]),
) -> Step {
    let mut step = Step::Idle;
    while batch.room() > 0 {
        let Some(frame) = lane.arrived(now) else {
            break;
        };
        if let Some(slot) = batch.next(frame.len()) {
            slot.copy_from_slice(&frame);
            seen(&frame);
        }
        step = Step::Moved;
    }
    step
}
