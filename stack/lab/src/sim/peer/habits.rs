//! What a peer is like: drawn once per connection, all of it legal.

use std::time::Duration;

use super::super::dice::Dice;

/// See the module. Chances are per million.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Habits {
    /// The options of its SYN; no MSS means 536.
    pub mss: Option<u16>,
    /// Window scale.
    pub wscale: Option<u8>,
    /// SACK permitted.
    pub sack: bool,
    /// Timestamps.
    pub timestamps: bool,
    /// It answers a SYN with a SYN of its own, as if the opens had crossed.
    pub crosses: bool,
    /// Most octets per segment.
    pub segment: u64,
    /// Its window.
    pub window: u64,
    /// It acknowledges so many segments at once, or after this time.
    pub ack_every: u64,
    /// See there.
    pub ack_delay: Duration,
    /// The chance that it forgets what came out of order after having told it by SACK.
    pub renege_ppm: u32,
    /// That it takes a part of its window back.
    pub shrink_ppm: u32,
    /// That it closes its window for a while.
    pub close_ppm: u32,
    /// That it acknowledges a segment piece by piece.
    pub split_ppm: u32,
    /// That it acknowledges once more, and once more.
    pub repeat_ppm: u32,
    /// That a retransmission begins and ends somewhere else than what it repeats.
    pub overlap_ppm: u32,
    /// Its FIN goes alone.
    pub lone_fin: bool,
    /// It resets the connection after so many octets.
    pub resets_after: Option<u64>,
}

impl Habits {
    pub(in crate::sim) fn draw(dice: &mut Dice) -> Self {
        let mut habits = Self {
            mss: dice
                .chance(700_000)
                .then(|| dice.pick(&[88, 216, 536, 1_000, 1_460]) as u16),
            wscale: dice.chance(600_000).then(|| dice.range(0..=14) as u8),
            sack: dice.chance(700_000),
            timestamps: dice.chance(600_000),
            crosses: dice.chance(250_000),
            segment: dice.pick(&[1, 40, 536, 1_460, 1_460]),
            window: dice.magnitude(600..=200_000),
            ack_every: dice.pick(&[1, 2, 2, 5, 20]),
            ack_delay: dice.duration(Duration::ZERO..=Duration::from_millis(500)),
            renege_ppm: 0,
            shrink_ppm: 0,
            close_ppm: 0,
            split_ppm: 0,
            repeat_ppm: 0,
            overlap_ppm: 0,
            lone_fin: dice.chance(500_000),
            resets_after: dice.chance(100_000).then(|| dice.magnitude(0..=50_000)),
        };
        for chance in [
            &mut habits.renege_ppm,
            &mut habits.shrink_ppm,
            &mut habits.close_ppm,
            &mut habits.split_ppm,
            &mut habits.repeat_ppm,
            &mut habits.overlap_ppm,
        ] {
            if dice.chance(300_000) {
                *chance = dice.range(10_000..=400_000) as u32;
            }
        }
        habits
    }
}
