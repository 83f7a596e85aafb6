//! What goes wrong on the wire.

use std::time::Duration;

use super::super::dice::Dice;
use super::super::middlebox::{Bleach, Strip, Tampering, TooLong};
use super::{MS, SECOND};

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
    /// Frames that are held up for long, per million.
    pub spike_ppm: u32,
    /// For how long at most.
    pub spike: Duration,
    /// Which segments the losses hit.
    pub aim: Aim,
    /// What boxes on the way do.
    pub tampering: Tampering,
}

/// Which segments the losses of [`Faults::loss_ppm`] hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aim {
    /// Any frame.
    #[default]
    All,
    /// Those with SYN.
    Syn,
    /// Those with FIN.
    Fin,
    /// Those without data.
    Empty,
    /// Those with PSH, which end a burst.
    Last,
}

impl Faults {
    pub(super) fn draw(dice: &mut Dice, heals_after: Duration) -> Self {
        let mut faults = Self {
            delay: dice.duration(Duration::ZERO..=5 * MS),
            ..Self::default()
        };
        let swarm = dice.range(0..=2_047);
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
        if on(9) {
            faults.spike_ppm = dice.range(500..=20_000) as u32;
            faults.spike = dice.duration(Duration::ZERO..=3 * SECOND);
        }
        if on(10) {
            faults.tampering = tampering(dice);
        }
        if dice.chance(150_000) {
            faults.aim = dice.pick(&[Aim::Syn, Aim::Fin, Aim::Empty, Aim::Last]);
            faults.loss_ppm = dice.range(100_000..=900_000) as u32;
        }
        if on(7) {
            faults.cut_at = dice.duration(Duration::ZERO..=heals_after);
            faults.cut_for = dice.duration(Duration::ZERO..=10 * SECOND);
        }
        faults
    }
}

fn tampering(dice: &mut Dice) -> Tampering {
    let mut tampering = Tampering::default();
    let swarm = dice.range(0..=255);
    let on = |bit: u32| swarm & (1 << bit) != 0;
    if on(0) {
        tampering.strip = dice.pick(&[Strip::Sack, Strip::Timestamps, Strip::Scale, Strip::All]);
    }
    if on(1) {
        tampering.mss_clamp = Some(dice.range(88..=1_460) as u16);
    }
    if on(2) {
        tampering.shrink_ppm = dice.range(1_000..=200_000) as u32;
    }
    if on(3) || on(4) {
        tampering.split_ppm = dice.range(10_000..=500_000) as u32;
    }
    if on(5) {
        tampering.thin_ppm = dice.range(100_000..=800_000) as u32;
    }
    if on(6) {
        tampering.mark_ppm = dice.range(1_000..=300_000) as u32;
        tampering.bleach = dice.pick(&[Bleach::No, Bleach::No, Bleach::Yes]);
    }
    if on(7) {
        tampering.path_mtu = Some(dice.range(600..=1_400) as u16);
        let lie = TooLong::Lie(dice.range(0..=1_500) as u16);
        tampering.too_long = dice.pick(&[TooLong::Honest, TooLong::Honest, TooLong::Silent, lie]);
    }
    tampering
}
