//! What the peer sends.

use std::time::Duration;

use millrace_wire::tcp::options::{SackBlock, Timestamps, write_established, write_syn};
use millrace_wire::tcp::{TcpFlags, TcpHeader};
use millrace_wire::time::Instant;

use super::super::node::mac_of;
use super::super::packet::Packet;
use super::line::{Line, Phase, RTO};
use crate::clock::START;
use crate::model::{Place, number};

/// Segments that it sends before it waits.
const BURST: Place = 12;

/// The MSS of a node that names none.
const MSS_DEFAULT: u16 = 536;

impl Line {
    /// Sends what is due.
    pub(super) fn say(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.ack_due) {
            self.ack_now = self.ack_now.max(1);
        }
        if due(self.closed_until) {
            self.closed_until = None;
            self.ack_now = self.ack_now.max(1);
        }
        if due(self.again_at) {
            self.again_at = None;
            self.rto = (self.rto * 2).min(RTO.1);
            self.say_again(now);
        }
        if self.phase == Phase::Open {
            self.say_new(now);
        }
        if self.ack_now > 0 && self.irs.is_some() {
            self.say_acks(now);
        }
        let waits = self.una < self.nxt || self.phase == Phase::Open && self.nxt < self.last();
        if waits && self.phase != Phase::Gone {
            let at = now + self.rto;
            self.again_at.get_or_insert(at);
        }
    }

    /// Its SYN, or SYN-ACK.
    pub(super) fn say_syn(&mut self, answers: bool) {
        let habits = &self.habits;
        let offered = |has: bool| has || !answers || habits.crosses;
        let ts = (habits.timestamps && offered(self.theirs.timestamps.is_some())).then_some(
            Timestamps {
                val: 1,
                ecr: if answers { self.recent } else { 0 },
            },
        );
        let wscale = habits
            .wscale
            .filter(|_| offered(self.theirs.wscale.is_some()));
        let sack = habits.sack && offered(self.theirs.sack_permitted);
        let options = write_syn(habits.mss, wscale, sack, ts);
        let flags = if answers {
            TcpFlags::SYN | TcpFlags::ACK
        } else {
            TcpFlags::SYN
        };
        let window = habits.window.min(u64::from(u16::MAX)) as u16;
        self.nxt = self.nxt.max(1);
        let packet = self.packet((0, flags), options.as_bytes(), window, Vec::new());
        self.packets.extend(packet);
        if answers {
            self.acked = self.acked.max(1);
        }
    }

    /// Everything again from the first octet that is not acknowledged, or from somewhere near.
    fn say_again(&mut self, now: Instant) {
        match self.phase {
            Phase::Opening => self.say_syn(self.irs.is_some()),
            Phase::Open => {
                let from = self.una.max(1);
                let most = self.most();
                let (mut at, mut len) = (from, most);
                if self.dice.chance(self.habits.overlap_ppm) {
                    let reach = (self.nxt - from).clamp(0, 3 * most) as u64;
                    at = from + self.dice.range(0..=reach) as Place;
                    len = self.dice.range(1..=most as u64) as Place;
                    // From behind an edge of its own, back over what was acknowledged.
                    at -= self.dice.range(0..=40).min(at as u64 - 1) as Place;
                }
                // A closed window is probed with one octet.
                let room = (self.edge.max(self.nxt) - at).max(1);
                self.say_octets(now, at, len.min(room));
            }
            Phase::Idle | Phase::Gone => {}
        }
    }

    fn say_new(&mut self, now: Instant) {
        let most = self.most();
        while self.nxt < self.last() && self.nxt - self.una < BURST * most {
            let len = self.dice.range(1..=most as u64) as Place;
            let room = self.edge - self.nxt;
            if room <= 0 {
                return;
            }
            self.say_octets(now, self.nxt, len.min(room));
        }
    }

    /// Octets from `at` on, with the FIN when it is next.
    fn say_octets(&mut self, now: Instant, at: Place, len: Place) {
        let behind = 1 + self.total;
        let end = (at + len).min(behind);
        let mut payload = vec![0; (end - at).max(0) as usize];
        self.writes.fill(at as u64 - 1, &mut payload);
        let fin = end == behind && (at == behind || !self.habits.lone_fin && at + len > behind);
        let flags = TcpFlags::ACK | if fin { TcpFlags::FIN } else { TcpFlags::PSH };
        self.nxt = self.nxt.max(end + Place::from(fin));
        let window = self.window();
        let options = write_established(self.stamps(now), &[]);
        let packet = self.packet((at, flags), options.as_bytes(), window, payload);
        self.packets.extend(packet);
        self.said_ack();
    }

    fn say_acks(&mut self, now: Instant) {
        let next = self.next();
        if self.mischief(self.habits.close_ppm) {
            let long = self.dice.duration(Duration::ZERO..=Duration::from_secs(2));
            self.closed_until = Some(now + long);
        }
        let split = next > self.acked + 1 && self.dice.chance(self.habits.split_ppm);
        if split {
            let between = self.dice.range(self.acked as u64 + 1..=next as u64 - 1) as Place;
            self.say_ack(now, between);
        }
        for _ in 0..self.ack_now.min(8) {
            self.say_ack(now, next);
        }
        if self.mischief(self.habits.renege_ppm) {
            self.got.forget_from(next);
            if self.end.is_some_and(|end| end > next) {
                self.end = None;
            }
        }
        self.said_ack();
    }

    fn said_ack(&mut self) {
        self.acked = self.acked.max(self.next());
        self.ack_now = 0;
        self.unacked = 0;
        self.ack_due = None;
    }

    fn say_ack(&mut self, now: Instant, ack: Place) {
        let Some(irs) = self.irs else { return };
        let mut blocks = [SackBlock::default(); 3];
        let mut count = 0;
        if self.habits.sack && self.theirs.sack_permitted {
            let behind = self
                .got
                .iter()
                .rev()
                .filter(|(start, _)| *start > self.next());
            for (block, (start, end)) in blocks.iter_mut().zip(behind) {
                (block.start, block.end) = (number(irs, start), number(irs, end));
                count += 1;
            }
        }
        let window = self.window();
        let options = write_established(self.stamps(now), &blocks[..count]);
        let options = options.as_bytes().to_vec();
        let packet = self.packet((self.nxt, TcpFlags::ACK), &options, window, Vec::new());
        if let Some(mut packet) = packet {
            packet.tcp.ack = number(irs, ack);
            self.packets.push(packet);
        }
    }

    /// Ends the connection.
    pub(super) fn reset(&mut self) {
        let flags = TcpFlags::RST | TcpFlags::ACK;
        let packet = self.packet((self.nxt, flags), &[], 0, Vec::new());
        self.packets.extend(packet);
        self.leave();
    }

    fn stamps(&self, now: Instant) -> Option<Timestamps> {
        let both = self.habits.timestamps && self.theirs.timestamps.is_some();
        both.then(|| Timestamps {
            val: 1 + now.since(START).as_millis() as u32,
            ecr: self.recent,
        })
    }

    /// The window scales: its own and the node's.
    pub(super) fn shifts(&self) -> (u8, u8) {
        match (self.habits.wscale, self.theirs.wscale) {
            (Some(own), Some(their)) => (own.min(14), their.min(14)),
            _ => (0, 0),
        }
    }

    fn window(&mut self) -> u16 {
        if self.closed_until.is_some() {
            return 0;
        }
        let mut window = self.habits.window;
        if self.mischief(self.habits.shrink_ppm) {
            window = self.dice.range(0..=window);
        }
        let shift = self.shifts().0;
        (window >> shift).clamp(1, u64::from(u16::MAX)) as u16
    }

    /// Octets per segment.
    fn most(&self) -> Place {
        let mss = self
            .theirs
            .mss
            .unwrap_or(MSS_DEFAULT)
            .saturating_sub(12)
            .max(1);
        (self.habits.segment as Place).min(Place::from(mss))
    }

    fn packet(
        &self,
        (at, flags): (Place, TcpFlags),
        options: &[u8],
        window: u16,
        payload: Vec<u8>,
    ) -> Option<Packet> {
        let (ours, theirs) = self.flow()?;
        let acks = self.irs.filter(|_| flags.contains(TcpFlags::ACK));
        let node = self.node();
        Some(Packet {
            to: mac_of(node),
            from: mac_of(usize::from(ours.ip().octets()[3]) - 1),
            src: *ours.ip(),
            dst: *theirs.ip(),
            tos: 0,
            tcp: TcpHeader {
                src_port: ours.port(),
                dst_port: theirs.port(),
                seq: number(self.iss, at),
                ack: acks.map_or_else(Default::default, |irs| number(irs, self.next())),
                flags,
                window,
                urgent: 0,
            },
            options: options.to_vec(),
            payload,
        })
    }
}
