//! One direction of the wire: frames go in when they are sent and come out when they arrive, if they do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use millrace_wire::ethernet::{EtherType, EthernetView, HEADER_LEN};
use millrace_wire::ipv4::{Ipv4View, protocol};
use millrace_wire::tcp::{TcpFlags, TcpView, fill_checksum};
use millrace_wire::time::Instant;

use super::dice::Dice;
use super::middlebox::Passed;
use super::packet::Packet;
use super::plan::{Aim, Faults};
use crate::clock::START;

/// Bits per byte.
const BITS: u64 = 8;

/// No driver delivers less than a link header.
const SHORTEST: usize = 14;

/// A frame on its way. Ordered by arrival, then by the order of sending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    arrives: Instant,
    order: u64,
    bytes: Vec<u8>,
}

/// What became of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneCounters {
    /// Put in.
    pub sent: u64,
    /// Came out.
    pub arrived: u64,
    /// Lost, whatever the reason.
    pub lost: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Changed or cut.
    pub damaged: u64,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    faults: Faults,
    dice: Dice,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    order: u64,
    /// Losses that are still to come of the present burst.
    burst_left: u32,
    /// When the sender at the given rate is free again.
    free_at: Instant,
    counters: LaneCounters,
}

impl Lane {
    pub(super) fn new(faults: Faults, dice: Dice) -> Self {
        Self {
            faults,
            dice,
            in_flight: BinaryHeap::new(),
            order: 0,
            burst_left: 0,
            free_at: START,
            counters: LaneCounters::default(),
        }
    }

    pub(super) fn counters(&self) -> LaneCounters {
        self.counters
    }

    /// From now on only the delay is left. What is in flight stays as it is.
    pub(super) fn heal(&mut self) {
        self.faults = Faults {
            delay: self.faults.delay,
            tampering: self.faults.tampering.healed(),
            ..Faults::default()
        };
        self.burst_left = 0;
    }

    /// What the boxes on the way make of a frame before it is sent.
    pub(super) fn tamper(&mut self, frame: &[u8]) -> Passed {
        self.faults.tampering.pass(&mut self.dice, frame)
    }

    /// A frame is sent.
    pub(super) fn send(&mut self, now: Instant, frame: &[u8]) {
        self.counters.sent += 1;
        let twice = self.dice.chance(self.faults.duplicate_ppm);
        if twice {
            self.counters.duplicated += 1;
            self.one(now, frame);
        }
        self.one(now, frame);
        if self.dice.chance(self.faults.replay_ppm) {
            self.counters.duplicated += 1;
            let later = self
                .dice
                .duration(Duration::ZERO..=self.faults.replay_after);
            self.one(now + later, frame);
        }
    }

    fn one(&mut self, now: Instant, frame: &[u8]) {
        if self.is_lost(now, frame) {
            self.counters.lost += 1;
            return;
        }
        let mut bytes = frame.to_vec();
        self.damage(&mut bytes);
        let Some(leaves) = self.leaves(now, bytes.len()) else {
            self.counters.lost += 1;
            return;
        };
        let mut arrives =
            leaves + self.faults.delay + self.dice.duration(Duration::ZERO..=self.faults.jitter);
        if self.dice.chance(self.faults.reorder_ppm) {
            arrives = arrives + self.faults.reorder_hold;
        }
        if self.dice.chance(self.faults.spike_ppm) {
            arrives = arrives + self.dice.duration(Duration::ZERO..=self.faults.spike);
        }
        self.order += 1;
        self.in_flight.push(Reverse(InFlight {
            arrives,
            order: self.order,
            bytes,
        }));
    }

    fn is_lost(&mut self, now: Instant, frame: &[u8]) -> bool {
        let since_start = now.since(START);
        let cut = self.faults.cut_at..self.faults.cut_at + self.faults.cut_for;
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return true;
        }
        if self.dice.chance(self.faults.burst_ppm) {
            self.burst_left = self.faults.burst_len;
        }
        cut.contains(&since_start)
            || hits(self.faults.aim, frame) && self.dice.chance(self.faults.loss_ppm)
    }

    /// One bit flipped (which every checksum notices), or the end cut off. ARP has no checksum and relies on the
    /// link's, which a real link checks: it is left alone.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let is_arp =
            EthernetView::parse(bytes).is_ok_and(|frame| frame.ethertype() == EtherType::ARP);
        if bytes.is_empty() || is_arp {
            return;
        }
        let last_bit = bytes.len() as u64 * BITS - 1;
        if self.dice.chance(self.faults.corrupt_ppm) {
            let bit = self.dice.range(0..=last_bit);
            bytes[(bit / BITS) as usize] ^= 1 << (bit % BITS);
            self.counters.damaged += 1;
        }
        if self.dice.chance(self.faults.truncate_ppm) && bytes.len() > SHORTEST {
            let left = self.dice.range(SHORTEST as u64..=last_bit / BITS) as usize;
            bytes.truncate(left);
            self.counters.damaged += 1;
        }
        if self.dice.chance(self.faults.forge_ppm) {
            forge(bytes);
        }
    }

    /// When the frame has left at the given rate; `None` when the queue in front is full.
    fn leaves(&mut self, now: Instant, len: usize) -> Option<Instant> {
        if self.faults.rate_bps == 0 {
            return Some(now);
        }
        let nanos = |bytes: u64| bytes * BITS * 1_000_000_000 / self.faults.rate_bps;
        let room = nanos(self.faults.queue as u64 * 1_500);
        if self.free_at.since(now) > Duration::from_nanos(room) {
            return None;
        }
        self.free_at = self.free_at.max(now) + Duration::from_nanos(nanos(len as u64));
        Some(self.free_at)
    }

    /// When the next frame arrives.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(frame)| frame.arrives)
    }

    /// The next frame that has arrived by now.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_arrival()? > now {
            return None;
        }
        let Reverse(frame) = self.in_flight.pop()?;
        self.counters.arrived += 1;
        Some(frame.bytes)
    }
}

/// Whether losses with this aim hit the frame.
fn hits(aim: Aim, frame: &[u8]) -> bool {
    if aim == Aim::All {
        return true;
    }
    Packet::parse(frame).is_some_and(|packet| match aim {
        Aim::All => true,
        Aim::Syn => packet.tcp.flags.contains(TcpFlags::SYN),
        Aim::Fin => packet.tcp.flags.contains(TcpFlags::FIN),
        Aim::Empty => packet.payload.is_empty(),
        Aim::Last => packet.tcp.flags.contains(TcpFlags::PSH),
    })
}

/// Changes the last byte of a TCP payload and makes the checksum right again.
fn forge(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(HEADER_LEN..) else {
        return;
    };
    let Ok(ip) = Ipv4View::parse(packet) else {
        return;
    };
    let (src, dst, total, header) = (ip.src(), ip.dst(), ip.total_len(), ip.header_len());
    let carries = TcpView::parse(ip.payload()).is_ok_and(|tcp| !tcp.payload().is_empty());
    if ip.protocol() == protocol::TCP && carries {
        packet[total - 1] ^= 0x10;
        fill_checksum(&mut packet[header..total], src, dst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::dice::Purpose;

    fn lane(faults: Faults) -> Lane {
        Lane::new(faults, Dice::new(1, Purpose::Lane(0)))
    }

    fn drain(lane: &mut Lane) -> Vec<(Duration, Vec<u8>)> {
        let mut out = Vec::new();
        while let Some(at) = lane.next_arrival() {
            out.extend(lane.arrived(at).map(|bytes| (at.since(START), bytes)));
        }
        out
    }

    #[test]
    fn a_clean_lane_only_delays() {
        let delay = Duration::from_millis(3);
        let mut lane = lane(Faults {
            delay,
            ..Faults::default()
        });
        lane.send(START, &[1]);
        lane.send(START, &[2]);
        assert_eq!(lane.arrived(START), None);
        assert_eq!(drain(&mut lane), [(delay, vec![1]), (delay, vec![2])]);
    }

    #[test]
    fn a_rate_spaces_frames_and_bounds_the_queue() {
        let mut lane = lane(Faults {
            rate_bps: 8_000,
            queue: 1,
            ..Faults::default()
        });
        for _ in 0..4 {
            lane.send(START, &[0; 1_000]);
        }
        // One second per frame; the third would find more than the 1500 bytes waiting that may.
        let times: Vec<u64> = drain(&mut lane)
            .iter()
            .map(|(at, _)| at.as_secs())
            .collect();
        assert_eq!(times, [1, 2]);
        assert_eq!(lane.counters().lost, 2);
    }

    #[test]
    fn every_fault_happens_and_is_counted() {
        let faults = Faults {
            loss_ppm: 200_000,
            duplicate_ppm: 200_000,
            corrupt_ppm: 200_000,
            truncate_ppm: 100_000,
            reorder_ppm: 200_000,
            reorder_hold: Duration::from_millis(1),
            ..Faults::default()
        };
        let mut lane = lane(faults);
        for n in 0..200_u8 {
            lane.send(START, &[n; 20]);
        }
        let out = drain(&mut lane);
        let LaneCounters {
            sent,
            arrived,
            lost,
            duplicated,
            damaged,
        } = lane.counters();
        assert_eq!((sent, arrived as usize), (200, out.len()));
        assert_eq!(arrived + lost, sent + duplicated);
        assert!(
            lost > 20 && duplicated > 20 && damaged > 20,
            "{:?}",
            lane.counters()
        );
        assert!(out.iter().any(|(_, bytes)| bytes.len() < 20));
        lane.heal();
        for n in 0..200_u8 {
            lane.send(START, &[n; 20]);
        }
        assert_eq!(drain(&mut lane).len(), 200);
    }

    #[test]
    fn a_cut_lets_nothing_through() {
        let second = Duration::from_secs(1);
        let mut lane = lane(Faults {
            cut_at: second,
            cut_for: second,
            ..Faults::default()
        });
        for tenth in 0..30 {
            lane.send(START + Duration::from_millis(tenth * 100), &[0]);
        }
        assert_eq!(drain(&mut lane).len(), 20);
    }
}
