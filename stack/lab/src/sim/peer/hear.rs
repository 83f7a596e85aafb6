//! What the peer makes of a segment.

use millrace_wire::tcp::{TcpFlags, TcpOptions};
use millrace_wire::time::Instant;

use super::super::packet::Packet;
use super::line::{Line, Phase, RTO};
use crate::model::{Place, place};

/// Far more than any window.
const FAR: Place = 1 << 28;

impl Line {
    /// A segment of its connection arrives.
    pub(super) fn heard(&mut self, now: Instant, packet: &Packet) -> Result<(), String> {
        let flags = packet.tcp.flags;
        if self.phase == Phase::Gone {
            self.packets.extend(super::refusal(packet));
            return Ok(());
        }
        if flags.contains(TcpFlags::RST) {
            let at = self.irs.map(|irs| place(irs, self.next(), packet.tcp.seq));
            let refused = self.phase == Phase::Opening && packet.tcp.ack == self.iss + 1;
            let inside = at.is_some_and(|at| (self.next()..self.next() + FAR).contains(&at));
            if refused || inside {
                self.leave();
            }
            return Ok(());
        }
        if flags.contains(TcpFlags::SYN) {
            self.heard_syn(packet);
            return Ok(());
        }
        let Some(irs) = self.irs else {
            self.packets.extend(super::refusal(packet));
            return Ok(());
        };
        self.heard_ack(packet);
        if self.phase == Phase::Open {
            let at = place(irs, self.next(), packet.tcp.seq);
            return self.heard_data(now, packet, at);
        }
        Ok(())
    }

    fn heard_syn(&mut self, packet: &Packet) {
        let answers = packet.tcp.flags.contains(TcpFlags::ACK);
        match self.irs {
            Some(irs) if irs != packet.tcp.seq => {
                // Another try of the node's listener, or something old: where we are.
                self.ack_now = self.ack_now.max(1);
            }
            Some(_) if self.phase == Phase::Opening && !answers => self.say_syn(true),
            Some(_) => {
                self.heard_ack(packet);
                self.ack_now = self.ack_now.max(1);
            }
            None if answers && packet.tcp.ack != self.iss + 1 => {
                self.packets.extend(super::refusal(packet));
            }
            None => {
                self.irs = Some(packet.tcp.seq);
                self.theirs = TcpOptions::parse(&packet.options);
                self.recent = self.theirs.timestamps.map_or(0, |ts| ts.val);
                self.edge = 1 + Place::from(packet.tcp.window);
                if answers {
                    self.heard_ack(packet);
                    self.ack_now = self.ack_now.max(1);
                    return;
                }
                self.phase = Phase::Opening;
                if self.habits.crosses {
                    self.say_syn(false);
                }
                self.say_syn(true);
            }
        }
    }

    fn heard_ack(&mut self, packet: &Packet) {
        let ack = place(self.iss, self.nxt, packet.tcp.ack);
        if !packet.tcp.flags.contains(TcpFlags::ACK) || ack > self.nxt || ack < self.una - FAR {
            return;
        }
        if ack > self.una {
            self.una = ack;
            self.rto = RTO.0;
            self.again_at = None;
        }
        if self.una >= 1 && self.phase == Phase::Opening {
            self.phase = Phase::Open;
        }
        let syn = packet.tcp.flags.contains(TcpFlags::SYN);
        let shift = if syn { 0 } else { self.shifts().1 };
        self.edge = self
            .edge
            .max(ack + (Place::from(packet.tcp.window) << shift));
    }

    fn heard_data(&mut self, now: Instant, packet: &Packet, at: Place) -> Result<(), String> {
        let fin = Place::from(packet.tcp.flags.contains(TcpFlags::FIN));
        let len = packet.payload.len() as Place;
        let next = self.next();
        if len + fin == 0 {
            // A probe wants to hear where we are.
            self.ack_now += u32::from(at < next);
            return Ok(());
        }
        if at < 1 || at > next + FAR {
            self.ack_now += 1;
            return Ok(());
        }
        if let Some(offset) = self.reads.first_wrong(at as u64 - 1, &packet.payload) {
            return Err(format!("a wrong octet at {}", at - 1 + offset as Place));
        }
        let end = at + len + fin;
        if let Some(before) = self.end
            && (end > before || fin > 0 && end != before)
        {
            return Err(format!(
                "octets up to {end} although the end is at {before}"
            ));
        }
        if fin > 0 {
            self.end = Some(end);
        }
        self.got.add(at, end);
        if let Some(ts) = TcpOptions::parse(&packet.options).timestamps
            && at <= self.acked
            && ts.val.wrapping_sub(self.recent).cast_signed() >= 0
        {
            self.recent = ts.val;
        }
        if at > next || end <= next || self.next() > end || fin > 0 {
            self.ack_now += 1;
        } else {
            self.unacked += 1;
            if self.unacked >= self.habits.ack_every {
                self.ack_now += 1;
            } else {
                let due = now + self.habits.ack_delay;
                self.ack_due.get_or_insert(due);
            }
        }
        if self.dice.chance(self.habits.repeat_ppm) {
            self.ack_now += self.dice.range(1..=4) as u32;
        }
        let resets = |after: u64| self.next() as u64 > after;
        if self.habits.resets_after.is_some_and(resets) {
            self.reset();
        }
        Ok(())
    }

    /// Nothing more is said.
    pub(super) fn leave(&mut self) {
        self.phase = Phase::Gone;
        self.ack_now = 0;
        self.ack_due = None;
        self.again_at = None;
        self.closed_until = None;
    }
}
