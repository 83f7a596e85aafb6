//! What one seed means: drawn once, before anything happens.
//!
//! A seed draws a *swarm*: a few kinds of fault, not all of them at once, so that each is seen in company and alone.

use std::time::Duration;

use super::dice::{Dice, Purpose};

/// Everything that is decided in advance.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Frames that fit in one direction of a device queue.
    pub device_frames: usize,
    /// Both ends' settings.
    pub nodes: [NodePlan; 2],
    /// The faults of both directions, until they heal.
    pub lanes: [Faults; 2],
    /// How long faults last.
    pub heals_after: Duration,
    /// The connections.
    pub connections: Vec<ConnectionPlan>,
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
}

/// What a wire does to frames in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Frames lost, per million.
    pub loss_ppm: u32,
    /// Frames that begin a burst of losses, per million.
    pub burst_ppm: u32,
    /// Length of such a burst, in frames.
    pub burst_len: u32,
    /// Frames that arrive twice, per million.
    pub duplicate_ppm: u32,
    /// Frames with one bit flipped, per million.
    pub corrupt_ppm: u32,
    /// Frames cut short, per million.
    pub truncate_ppm: u32,
    /// TCP segments with a payload byte changed and the checksum made right again, per million. Never drawn: no
    /// stack can notice; it tests the simulator.
    pub forge_ppm: u32,
    /// Frames held back so that later ones overtake them, per million.
    pub reorder_ppm: u32,
    /// For how long those are held.
    pub reorder_hold: Duration,
    /// Frames that come once more much later, per million.
    pub replay_ppm: u32,
    /// How much later at most.
    pub replay_after: Duration,
    /// Delay of every frame.
    pub delay: Duration,
    /// Random part on top.
    pub jitter: Duration,
    /// Bits per second; 0 for no limit.
    pub rate_bps: u64,
    /// Frames that wait for their turn before more are dropped (with a rate).
    pub queue: usize,
    /// From when on nothing passes, since the start.
    pub cut_at: Duration,
    /// For how long.
    pub cut_for: Duration,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct ConnectionPlan {
    /// When the client connects, since the start.
    pub opens_after: Duration,
    /// Which node is the client.
    pub client: usize,
    /// The client's and the server's behaviour.
    pub ends: [EndPlan; 2],
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

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, Purpose::Plan);
        let dice = &mut dice;
        let heals_after = dice.duration(2 * SECOND..=40 * SECOND);
        let connections = (0..dice.magnitude(1..=12))
            .map(|_| ConnectionPlan::draw(dice))
            .collect();
        Self {
            seed,
            device_frames: dice.pick(&[512, 512, 64, 17]),
            nodes: [NodePlan::draw(dice), NodePlan::draw(dice)],
            lanes: [
                Faults::draw(dice, heals_after),
                Faults::draw(dice, heals_after),
            ],
            heals_after,
            connections,
        }
    }
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
        if dice.chance(300_000) {
            let most = dice.magnitude(4_096..=1 << 20);
            sysctls.push((
                "net.ipv4.tcp_rmem",
                format!("{} {} {most}", most.min(4_096), most.min(131_072)),
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
        }
    }
}

impl Faults {
    fn draw(dice: &mut Dice, heals_after: Duration) -> Self {
        let mut faults = Self {
            delay: dice.duration(Duration::ZERO..=5 * MS),
            ..Self::default()
        };
        let swarm = dice.range(0..=511);
        let on = |bit: u32| swarm & (1 << bit) != 0;
        // A quarter of all directions are clean but for their delay.
        if dice.chance(250_000) {
            return faults;
        }
        if on(0) {
            faults.loss_ppm = dice.range(2_000..=250_000) as u32;
        }
        if on(1) {
            faults.burst_ppm = dice.range(500..=10_000) as u32;
            faults.burst_len = dice.magnitude(2..=40) as u32;
        }
        if on(2) {
            faults.duplicate_ppm = dice.range(2_000..=200_000) as u32;
        }
        if on(3) {
            faults.corrupt_ppm = dice.range(2_000..=100_000) as u32;
            faults.truncate_ppm = dice.range(0..=10_000) as u32;
        }
        if on(4) {
            faults.reorder_ppm = dice.range(2_000..=300_000) as u32;
            faults.reorder_hold = dice.duration(Duration::ZERO..=20 * MS);
        }
        if on(5) {
            faults.delay = dice.duration(Duration::ZERO..=200 * MS);
            faults.jitter = dice.duration(Duration::ZERO..=50 * MS);
        }
        if on(6) {
            faults.rate_bps = dice.magnitude(200_000..=100_000_000);
            faults.queue = dice.magnitude(2..=200) as usize;
        }
        if on(8) {
            faults.replay_ppm = dice.range(1_000..=50_000) as u32;
            faults.replay_after = dice.duration(Duration::ZERO..=30 * SECOND);
        }
        if on(7) {
            faults.cut_at = dice.duration(Duration::ZERO..=heals_after);
            faults.cut_for = dice.duration(Duration::ZERO..=10 * SECOND);
        }
        faults
    }
}

impl ConnectionPlan {
    fn draw(dice: &mut Dice) -> Self {
        let mut ends = [EndPlan::draw(dice), EndPlan::draw(dice)];
        if ends.iter().any(|end| end.finish != Finish::Polite) {
            // A reset may be lost: who only reads learns of it by probing.
            ends.iter_mut()
                .for_each(|end| end.keepalive = Keepalive::Quick);
        }
        Self {
            opens_after: dice.duration(Duration::ZERO..=5 * SECOND),
            client: dice.range(0..=1) as usize,
            ends,
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
        }
    }

    fn buffer(dice: &mut Dice) -> Option<u32> {
        dice.chance(200_000)
            .then(|| dice.magnitude(1_000..=500_000) as u32)
    }
}
