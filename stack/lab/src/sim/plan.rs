//! What one seed means: drawn once, before anything happens.
//!
//! A seed draws a *swarm*: a few kinds of fault, not all of them at once, so that each is seen in company and alone.

mod faults;

use std::time::Duration;

pub use super::attack::{Attack, AttackPlan};
use super::dice::{Dice, Purpose};
pub use super::middlebox::{Bleach, Strip, Tampering, TooLong};
pub use super::peer::Habits;
pub use faults::{Aim, Faults};

/// Everything that is decided in advance.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Frames that fit in one direction of a device queue.
    pub device_frames: usize,
    /// The nodes' settings; they hang on one switch.
    pub nodes: Vec<NodePlan>,
    /// The faults of the lane that leads away from each node, and last from the peer, until they heal.
    pub lanes: Vec<Faults>,
    /// How long faults last.
    pub heals_after: Duration,
    /// The connections.
    pub connections: Vec<ConnectionPlan>,
    /// An attacker, until the wire heals.
    pub attack: Option<AttackPlan>,
    /// The clock jumps forward: when, since the start, and by how much.
    pub jumps: Vec<(Duration, Duration)>,
    /// The clock's resolution; zero for the finest.
    pub clock_tick: Duration,
}

/// Settings of one stack.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// MTU of its interface, in bytes.
    pub mtu: u16,
    /// `(name, value)` for `Sysctl::set`.
    pub sysctls: Vec<(&'static str, String)>,
    /// Backlog of its listener.
    pub backlog: u32,
    /// Ring memory, in chunks, where it is short; and for how long it is, since the start.
    pub memory: Option<usize>,
    /// Most handshakes, where it is few.
    pub max_requests: Option<usize>,
    /// Most TIME_WAIT sockets, where it is few.
    pub max_time_wait: Option<usize>,
    /// When its power fails, since the start: from then on it neither sends nor hears.
    pub dies_at: Option<Duration>,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct ConnectionPlan {
    /// When the client connects, since the start.
    pub opens_after: Duration,
    /// Which node is the client.
    pub client: usize,
    /// Which node is the server.
    pub server: usize,
    /// The client's and the server's behaviour.
    pub ends: [EndPlan; 2],
    /// How the peer behaves whose number one of both is: that behind the last node's.
    pub habits: Option<Habits>,
}

/// What an application does with its end of a connection.
#[derive(Debug, Clone)]
pub struct EndPlan {
    /// Bytes it writes.
    pub total: u64,
    /// Most bytes per write.
    pub write_chunk: u64,
    /// Longest pause between writes.
    pub write_pause: Duration,
    /// Most bytes per read.
    pub read_chunk: u64,
    /// Longest pause between reads.
    pub read_pause: Duration,
    /// Not reading at all in the beginning, for this long.
    pub read_after: Duration,
    /// How it ends its connection.
    pub finish: Finish,
    /// Polled, or lent slices inside the receive call.
    pub access: Access,
    /// Whether small writes wait for acknowledgements.
    pub nagle: Nagle,
    /// `SO_SNDBUF` and `SO_RCVBUF`, where they are set.
    pub buffers: (Option<u32>, Option<u32>),
    /// Whether the connection is probed when idle.
    pub keepalive: Keepalive,
    /// What a client does when connect fails.
    pub patience: Patience,
}

/// What a client does when its handshake times out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It tries again, until it succeeds.
    Endless,
    /// It gives up.
    None,
}

/// How an application ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// Writes all, shuts its side, reads up to the end of file, closes.
    Polite,
    /// Writes all and closes, whatever may still come.
    CloseAtOnce,
    /// Resets after having written this many bytes.
    Abort(u64),
    /// Closes with `SO_LINGER` 0 after having written this many bytes.
    LingerZero(u64),
}

/// How an application gets its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `recv`.
    Polled,
    /// `Service::data`.
    InLoop,
}

/// Nagle's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nagle {
    /// As sockets are born.
    On,
    /// `TCP_NODELAY`.
    Off,
    /// `TCP_CORK` while writing.
    Corked,
}

/// Keepalive probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// None.
    Off,
    /// Nine, five seconds apart, after five seconds.
    Quick,
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Five time-outs in a row take at least this long, after which an end without an application gives up in silence when it
/// meets a window too small for it.
const ORPHAN_LIFE: Duration = Duration::from_secs(6);

/// A jump of the clock by more than this makes connections time out.
const HARMLESS_JUMP: Duration = Duration::from_secs(5);

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, Purpose::Plan);
        let dice = &mut dice;
        let heals_after = dice.duration(2 * SECOND..=40 * SECOND);
        let count = dice.pick(&[2, 2, 2, 2, 2, 3, 4, 8]) as usize;
        let mut nodes: Vec<_> = (0..count).map(|_| NodePlan::draw(dice)).collect();
        if count > 2 && dice.chance(300_000) {
            nodes[count - 1].dies_at = Some(dice.duration(Duration::ZERO..=heals_after));
            // The others must notice in time.
            for node in &mut nodes {
                node.sysctls.push(("net.ipv4.tcp_retries2", "6".to_owned()));
            }
        }
        let connections = (0..dice.magnitude(1..=12))
            .map(|_| ConnectionPlan::draw(dice, count))
            .collect();
        let mut plan = Self {
            seed,
            device_frames: dice.pick(&[512, 512, 64, 17, 3]) as usize,
            lanes: (0..count)
                .map(|_| Faults::draw(dice, heals_after))
                .collect(),
            nodes,
            heals_after,
            connections,
            attack: dice.chance(300_000).then(|| attack(dice)),
            jumps: Vec::new(),
            clock_tick: dice.pick(&[0, 0, 0, 1, 4, 10]) as u32 * MS,
        };
        if dice.chance(100_000) {
            plan.jumps = (0..dice.range(1..=3))
                .map(|_| jump(dice, heals_after))
                .collect();
            plan.jumps.sort();
        }
        plan.invite();
        plan.adapt();
        plan
    }

    /// In some runs a peer takes part that is no stack. Its dice are its own: what was drawn before stays.
    fn invite(&mut self) {
        let mut dice = Dice::new(self.seed, Purpose::Peer(0));
        let dice = &mut dice;
        if self.is_harsh() || !dice.chance(350_000) {
            return;
        }
        let peer = self.nodes.len();
        self.lanes.push(Faults::draw(dice, self.heals_after));
        for _ in 0..dice.range(1..=4) {
            let mut habits = Habits::draw(dice);
            let mut connection = ConnectionPlan::draw(dice, peer);
            let node = connection.client;
            let end = dice.range(0..=1) as usize;
            (connection.client, connection.server) = [(peer, node), (node, peer)][end];
            // What a box takes off one of two SYNs would leave both ends of different minds.
            let stripped = |lane: usize| self.lanes[lane].tampering.strip != Strip::Nothing;
            habits.crosses &= end == 1 && !stripped(peer) && !stripped(node);
            connection.ends[end].finish = Finish::Polite;
            let total = &mut connection.ends[end].total;
            // Every octet may be a segment of its own.
            *total = (*total).min(habits.segment * 300);
            connection.habits = Some(habits);
            self.connections.push(connection);
        }
    }

    /// Whether connections may fail for reasons of time or memory.
    pub fn is_harsh(&self) -> bool {
        let jumps = self.jumps.iter().any(|(_, by)| *by > HARMLESS_JUMP);
        // Where nodes die the others give up early.
        let hard = |node: &NodePlan| node.memory.is_some() || node.dies_at.is_some();
        jumps || self.nodes.iter().any(hard)
    }

    /// Whether an end of the connection lives on a node that dies.
    pub fn is_doomed(&self, connection: &ConnectionPlan) -> bool {
        let dies = |node: usize| {
            let node = self.nodes.get(node);
            node.is_some_and(|node| node.dies_at.is_some())
        };
        dies(connection.client) || dies(connection.server)
    }

    /// Who may lose the other end without hearing of it probes, and does not call the dead for ever.
    fn adapt(&mut self) {
        let harsh = self.is_harsh() || self.heals_after > ORPHAN_LIFE;
        for index in 0..self.connections.len() {
            let doomed = self.is_doomed(&self.connections[index]);
            let connection = &mut self.connections[index];
            let resets = |habits: &Habits| habits.resets_after.is_some();
            let impolite = connection.habits.as_ref().is_some_and(resets)
                || connection
                    .ends
                    .iter()
                    .any(|end| end.finish != Finish::Polite);
            for end in &mut connection.ends {
                if doomed || harsh || impolite {
                    end.keepalive = Keepalive::Quick;
                }
                if doomed {
                    end.patience = Patience::None;
                }
            }
        }
    }
}

fn attack(dice: &mut Dice) -> AttackPlan {
    let kinds = (0..dice.range(1..=3))
        .map(|_| dice.pick(&Attack::ALL))
        .collect();
    AttackPlan {
        kinds,
        pause: dice.duration(5 * MS..=100 * MS),
    }
}

fn jump(dice: &mut Dice, heals_after: Duration) -> (Duration, Duration) {
    let by = MS * dice.magnitude(1..=30 * 86_400_000) as u32;
    (dice.duration(Duration::ZERO..=heals_after), by)
}

impl NodePlan {
    fn draw(dice: &mut Dice) -> Self {
        let mut sysctls = Vec::new();
        let mtu = dice.pick(&[1500, 1500, 1500, 576, 296, 9000]);
        for name in [
            "net.ipv4.tcp_timestamps",
            "net.ipv4.tcp_sack",
            "net.ipv4.tcp_window_scaling",
        ] {
            if dice.chance(150_000) {
                sysctls.push((name, "0".to_owned()));
            }
        }
        if dice.chance(200_000) {
            sysctls.push(("net.ipv4.tcp_ecn", dice.pick(&["0", "1", "1"]).to_owned()));
        }
        if dice.chance(300_000) {
            let most = dice.magnitude(4_096..=1 << 20);
            let usual = dice.magnitude(4_096..=131_072);
            sysctls.push((
                "net.ipv4.tcp_rmem",
                format!("{} {} {most}", most.min(4_096), most.min(usual)),
            ));
        }
        if dice.chance(300_000) {
            let most = dice.magnitude(4_096..=1 << 20);
            sysctls.push((
                "net.ipv4.tcp_wmem",
                format!("{} {} {most}", most.min(4_096), most.min(16_384)),
            ));
        }
        Self {
            mtu,
            sysctls,
            backlog: dice.pick(&[1, 2, 16, 128]) as u32,
            memory: dice.chance(50_000).then(|| dice.magnitude(4..=64) as usize),
            max_requests: dice.chance(50_000).then(|| dice.range(1..=4) as usize),
            max_time_wait: dice.chance(100_000).then(|| dice.range(0..=2) as usize),
            dies_at: None,
        }
    }
}

impl ConnectionPlan {
    fn draw(dice: &mut Dice, nodes: usize) -> Self {
        let client = dice.range(0..=nodes as u64 - 1) as usize;
        let distance = dice.range(1..=nodes as u64 - 1) as usize;
        Self {
            opens_after: dice.duration(Duration::ZERO..=5 * SECOND),
            client,
            server: (client + distance) % nodes,
            ends: [EndPlan::draw(dice), EndPlan::draw(dice)],
            habits: None,
        }
    }
}

impl EndPlan {
    fn draw(dice: &mut Dice) -> Self {
        let total = dice.pick(&[0, 1, 500, 3_000, 40_000, 400_000, 400_000, 1_500_000]);
        let total = if total == 0 {
            0
        } else {
            dice.magnitude(1..=total)
        };
        let finish = match dice.range(0..=9) {
            0 => Finish::CloseAtOnce,
            1 => Finish::Abort(dice.range(0..=total)),
            2 => Finish::LingerZero(dice.range(0..=total)),
            _ => Finish::Polite,
        };
        let slow_writer = dice.chance(300_000);
        let slow_reader = dice.chance(300_000);
        Self {
            total,
            // Not more than some hundred writes, or reads: pauses add up.
            write_chunk: dice.magnitude(1.max(total / 300)..=70_000.max(total)),
            write_pause: if slow_writer {
                dice.duration(Duration::ZERO..=100 * MS)
            } else {
                Duration::ZERO
            },
            read_chunk: dice.magnitude(1_000..=100_000),
            read_pause: if slow_reader {
                dice.duration(Duration::ZERO..=50 * MS)
            } else {
                Duration::ZERO
            },
            read_after: if dice.chance(200_000) {
                dice.duration(Duration::ZERO..=8 * SECOND)
            } else {
                Duration::ZERO
            },
            finish,
            access: dice.pick(&[Access::Polled, Access::InLoop]),
            nagle: dice.pick(&[Nagle::On, Nagle::On, Nagle::Off, Nagle::Corked]),
            buffers: (Self::buffer(dice), Self::buffer(dice)),
            keepalive: Keepalive::Off,
            patience: Patience::Endless,
        }
    }

    fn buffer(dice: &mut Dice) -> Option<u32> {
        dice.chance(200_000)
            .then(|| dice.magnitude(1_000..=500_000) as u32)
    }
}
