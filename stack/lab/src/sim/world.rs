//! The nodes, the switched wire between their device queues, and time.
//!
//! Each node's device is one end of a `pair`; the wire holds the other ends, takes out what was sent, and puts in
//! what arrives.

use std::collections::VecDeque;
use std::time::Duration;

use millrace_pmd::{MAX_BURST, Pair, PairConfig, Queue, pair};
use millrace_wire::ethernet::EthernetView;
use millrace_wire::time::Instant;

use super::app::Step;
use super::attack::Attacker;
use super::dice::{Dice, Purpose};
use super::judge;
use super::lane::{Lane, LaneCounters};
use super::middlebox::Passed;
use super::node::{Callers, Node, mac_of};
use super::peer::Peer;
use super::plan::{Faults, Plan};
use super::watch::Watch;
use super::{Passage, Seen, Totals, Violation};
use crate::clock::{START, VirtualClock};

/// After healing, every connection must have finished within this time: the longest that a sender tries (R2), and some
/// for the slowest receiver, whose window takes less than a segment per probe.
const LIVENESS: Duration = Duration::from_secs(2_400);

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
    nodes: Vec<Node>,
    /// The wire's ends: index `i` faces node `i`.
    ends: Vec<Pair>,
    /// Lane `i` leads away from node `i`.
    lanes: Vec<Lane>,
    /// What has arrived at node `i` and waits for room in its device.
    inboxes: Vec<VecDeque<Vec<u8>>>,
    attacker: Option<Attacker>,
    /// The host behind the last node's number.
    peer: Option<Peer>,
    /// Jumps of the clock that are still to come, the next one last.
    jumps: Vec<(Instant, Duration)>,
    watch: Watch,
    callers: Callers,
    observer: &'o mut dyn FnMut(Seen<'_>),
}

impl<'o> World<'o> {
    pub(super) fn new(
        plan: Plan,
        observer: &'o mut dyn FnMut(Seen<'_>),
    ) -> Result<Self, Violation> {
        let largest = plan.nodes.iter().map(|node| node.mtu).max();
        let config = PairConfig {
            max_frame: usize::from(largest.unwrap_or_default()) + 18,
            frames: plan.device_frames,
        };
        let count = plan.nodes.len();
        let (devices, ends): (Vec<_>, Vec<_>) = (0..count).map(|_| pair(config)).unzip();
        let nodes: Result<Vec<_>, _> = devices
            .into_iter()
            .enumerate()
            .map(|(number, device)| Node::new(&plan, number, device))
            .collect();
        let lane = |(n, faults): (usize, &Faults)| {
            Lane::new(*faults, Dice::new(plan.seed, Purpose::Lane(n as u64)))
        };
        let heals = START + plan.heals_after;
        let attacker = plan.attack.clone().map(|attack| {
            let dice = Dice::new(plan.seed, Purpose::Attacker);
            Attacker::new(attack, dice, (START, heals))
        });
        let jumps = plan.jumps.iter().rev();
        Ok(Self {
            nodes: nodes?,
            ends,
            lanes: plan.lanes.iter().enumerate().map(lane).collect(),
            inboxes: vec![VecDeque::new(); plan.lanes.len()],
            attacker,
            peer: Peer::of(&plan),
            jumps: jumps.map(|(at, by)| (START + *at, *by)).collect(),
            watch: Watch::new(
                plan.nodes
                    .iter()
                    .map(|node| (node.mtu, node.memory.is_some())),
            ),
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
        let healed = self.clock.now();
        self.run_until(healed + LIVENESS)?;
        judge::finished(&self.plan, &self.nodes, self.peer.as_ref())?;
        let now = self.clock.now();
        for node in &mut self.nodes {
            node.stop_listening(now)?;
        }
        self.run_until(now + AFTERLIFE)?;
        judge::counters(&self.plan, &self.nodes, self.watch.frames())?;
        judge::empty(&self.plan, &self.nodes)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.watch.trace_hash()
    }

    pub(super) fn totals(&self) -> Totals {
        let sum = |of: fn(&LaneCounters) -> u64| {
            let counters = self.lanes.iter().map(Lane::counters);
            counters.map(|counters| of(&counters)).sum()
        };
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
    /// A jump of the clock is time that nobody had, and is added.
    fn run_until(&mut self, mut to: Instant) -> Result<(), Violation> {
        loop {
            self.settle()?;
            if let Some((at, by)) = self.jumps.last().copied()
                && at <= self.clock.now()
            {
                self.jumps.pop();
                self.clock.advance_to(self.clock.now() + by);
                to = to + by;
                continue;
            }
            match self.next_event() {
                Some(at) if at <= to => self.clock.advance_to(self.on_tick(at)),
                _ => break,
            }
        }
        self.clock.advance_to(to);
        self.settle()
    }

    /// The time that a clock of the given resolution shows first at or after `at`.
    fn on_tick(&self, at: Instant) -> Instant {
        match self.plan.clock_tick.as_nanos() as u64 {
            0 => at,
            tick => Instant::from_nanos(at.as_nanos().next_multiple_of(tick)),
        }
    }

    fn is_alive(&self, node: usize) -> bool {
        let dies = self.plan.nodes[node].dies_at;
        dies.is_none_or(|at| self.clock.elapsed() < at)
    }

    fn next_event(&self) -> Option<Instant> {
        let now = self.clock.now();
        let lanes = self.lanes.iter().filter_map(Lane::next_arrival);
        let nodes = (0..self.nodes.len())
            .filter(|node| self.is_alive(*node))
            .filter_map(|node| self.nodes[node].next_deadline(now));
        let attacker = self.attacker.as_ref().and_then(Attacker::next_deadline);
        let peer = self.peer.as_ref().and_then(Peer::next_deadline);
        lanes.chain(nodes).chain(attacker).chain(peer).min()
    }

    /// Turns the loop until nothing more happens at this point in time.
    fn settle(&mut self) -> Result<(), Violation> {
        let now = self.clock.now();
        for _ in 0..MAX_TURNS {
            let mut step = self.carry(now)?;
            self.attack(now);
            for node in 0..self.nodes.len() {
                if !self.is_alive(node) {
                    continue;
                }
                let turned =
                    self.nodes[node].turn(now, &self.plan.connections, &mut self.callers)?;
                if turned == Step::Moved {
                    step = Step::Moved;
                }
            }
            if self.carry(now)? == Step::Idle
                && step == Step::Idle
                && self.next_event().is_none_or(|at| at > now)
            {
                return self.quiet(now);
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

    /// Nobody has anything left to do now.
    fn quiet(&mut self, now: Instant) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            if self.is_alive(node) {
                self.nodes[node].quiet(now)?;
            }
        }
        Ok(())
    }

    fn attack(&mut self, now: Instant) {
        if let Some(attacker) = &mut self.attacker {
            for (node, frame) in attacker.attack(now, &self.watch, self.nodes.len()) {
                self.inboxes[node].push_back(frame);
            }
        }
    }

    /// Frames from the nodes into the lanes, from the lanes into the inboxes, and from there to the nodes.
    fn carry(&mut self, now: Instant) -> Result<Step, Violation> {
        let mut step = Step::Idle;
        for node in 0..self.nodes.len() {
            if self.collect(now, node)? == Step::Moved {
                step = Step::Moved;
            }
        }
        for from in 0..self.lanes.len() {
            while let Some(frame) = self.lanes[from].arrived(now) {
                self.switch(from, frame);
                step = Step::Moved;
            }
        }
        if self.peer(now)? == Step::Moved {
            step = Step::Moved;
        }
        for node in 0..self.nodes.len() {
            if !self.is_alive(node) {
                self.inboxes[node].clear();
            } else if self.hand_over(now, node) == Step::Moved {
                step = Step::Moved;
            }
        }
        Ok(step)
    }

    /// The peer hears what has arrived and says what it has to say.
    fn peer(&mut self, now: Instant) -> Result<Step, Violation> {
        let number = self.nodes.len();
        let Some(peer) = &mut self.peer else {
            return Ok(Step::Idle);
        };
        let at = now.since(START);
        let mut show = |passage, frame: &[u8]| {
            (self.observer)(Seen {
                at,
                node: number,
                passage,
                frame,
            });
        };
        let mut step = Step::Idle;
        for frame in self.inboxes[number].drain(..) {
            step = Step::Moved;
            show(Passage::Arrived, &frame);
            peer.heard(now, &frame, &mut self.callers)?;
        }
        for frame in peer.says(now, &mut self.callers) {
            step = Step::Moved;
            show(Passage::Sent, &frame);
            let Passed { frames, .. } = self.lanes[number].tamper(&frame);
            for frame in frames {
                self.lanes[number].send(now, &frame);
            }
        }
        Ok(step)
    }

    /// Takes what a node has sent.
    fn collect(&mut self, now: Instant, node: usize) -> Result<Step, Violation> {
        let Self {
            ends,
            lanes,
            inboxes,
            watch,
            observer,
            nodes,
            ..
        } = self;
        let (lane, inbox) = (&mut lanes[node], &mut inboxes[node]);
        let at = now.since(START);
        let mut step = Step::Idle;
        let mut broken = None;
        let mut take = |frame: &[u8]| {
            let passage = Passage::Sent;
            observer(Seen {
                at,
                node,
                passage,
                frame,
            });
            let judged = watch.sent(now, node, frame);
            if let Err(violation) = judged.and_then(|()| nodes[node].sent(now, frame)) {
                broken.get_or_insert(violation);
            }
            let Passed { frames, back } = lane.tamper(frame);
            inbox.extend(back);
            for frame in frames {
                watch.rewritten(&frame);
                lane.send(now, &frame);
            }
        };
        while ends[node].rx(MAX_BURST, &mut |frames| {
            frames.iter().for_each(|frame| take(frame.data()));
        }) > 0
        {
            step = Step::Moved;
        }
        broken.map_or(Ok(step), Err)
    }

    /// To the node that the frame is for, or to all but its sender.
    fn switch(&mut self, from: usize, frame: Vec<u8>) {
        let to = EthernetView::parse(&frame).map(|link| link.dst());
        let known = (0..self.inboxes.len()).find(|node| to == Ok(mac_of(*node)));
        if let Some(node) = known {
            self.inboxes[node].push_back(frame);
            return;
        }
        let answer = self.attacker.as_ref().and_then(|a| a.heard(&frame));
        self.inboxes[from].extend(answer);
        for (node, inbox) in self.inboxes.iter_mut().enumerate() {
            if node != from {
                inbox.push_back(frame.clone());
            }
        }
    }

    /// Gives the node what has arrived, as far as its receive queue has room.
    fn hand_over(&mut self, now: Instant, node: usize) -> Step {
        let Self {
            ends,
            inboxes,
            watch,
            observer,
            ..
        } = self;
        let (inbox, at) = (&mut inboxes[node], now.since(START));
        let mut step = Step::Idle;
        if inbox.is_empty() {
            return step;
        }
        ends[node].tx(&mut |batch| {
            while batch.room() > 0 {
                let Some(frame) = inbox.pop_front() else {
                    break;
                };
                step = Step::Moved;
                if let Some(slot) = batch.next(frame.len()) {
                    slot.copy_from_slice(&frame);
                    watch.arrived(&frame);
                    let passage = Passage::Arrived;
                    observer(Seen {
                        at,
                        node,
                        passage,
                        frame: &frame,
                    });
                }
            }
        });
        step
    }
}
