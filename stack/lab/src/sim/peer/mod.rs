//! A host that is no stack of ours: it speaks TCP as the model allows and our own stack never does. It opens with a
//! bare SYN in answer to a SYN, names no MSS, sends tiny segments and overlapping ones, acknowledges in pieces, late or
//! too often, takes windows back, closes them, and forgets what it has told by SACK. It is honest all the same: what
//! both sides write must arrive.

mod habits;
mod hear;
mod line;
mod say;

use std::net::SocketAddrV4;

use millrace_wire::tcp::{TcpFlags, TcpHeader};
use millrace_wire::time::Instant;

use super::Violation;
use super::dice::{Dice, Purpose};
use super::node::{Callers, PORT, address, mac_of};
use super::packet::{Packet, arp_answer};
use super::pattern::Pattern;
use super::plan::Plan;
use crate::clock::START;
pub use habits::Habits;
pub(super) use line::Outcome;
use line::{Line, Role};

/// See the module.
#[derive(Debug)]
pub(super) struct Peer {
    number: usize,
    lines: Vec<(usize, Line)>,
    /// Frames that are to leave.
    out: Vec<Vec<u8>>,
}

impl Peer {
    /// The peer of a plan, if it has one: the node behind the last stack.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let number = plan.nodes.len();
        let with = |(index, connection): (usize, &super::plan::ConnectionPlan)| {
            let habits = connection.habits.clone()?;
            let calls = connection.client == number;
            let end = usize::from(!calls);
            let other = if calls {
                connection.server
            } else {
                connection.client
            };
            let role = match calls {
                true => Role::Calls(START + connection.opens_after),
                false => Role::Waits,
            };
            let dice = Dice::new(plan.seed, Purpose::Peer(index as u64 + 1));
            let patterns = (
                Pattern::new(plan.seed, index, end),
                Pattern::new(plan.seed, index, 1 - end),
            );
            let total = connection.ends[end].total as i64;
            Some((index, Line::new(habits, dice, role, other, patterns, total)))
        };
        let lines: Vec<_> = plan
            .connections
            .iter()
            .enumerate()
            .filter_map(with)
            .collect();
        (!lines.is_empty()).then_some(Self {
            number,
            lines,
            out: Vec::new(),
        })
    }

    /// How its end of a connection stands.
    pub(super) fn outcome(&self, connection: usize) -> Option<Outcome> {
        let line = self.lines.iter().find(|(index, _)| *index == connection);
        line.map(|(_, line)| line.outcome())
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lines
            .iter()
            .filter_map(|(_, line)| line.next_deadline())
            .min()
    }

    /// A frame arrives.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        frame: &[u8],
        callers: &mut Callers,
    ) -> Result<(), Violation> {
        let answer = arp_answer(frame, address(self.number), mac_of(self.number));
        self.out.extend(answer);
        let Some(packet) = Packet::parse(frame).filter(|packet| self.is_for(packet)) else {
            return Ok(());
        };
        let begins = packet.tcp.flags.contains(TcpFlags::SYN)
            && !packet.tcp.flags.intersects(TcpFlags::ACK | TcpFlags::RST);
        if begins
            && let Some(connection) = callers.get(&packet.flow().0)
            && let Some((_, line)) = self.lines.iter_mut().find(|(index, _)| index == connection)
        {
            line.called(packet.flow());
        }
        let known = self
            .lines
            .iter_mut()
            .find(|(_, line)| line.is(packet.back()));
        match known {
            Some((index, line)) => line
                .heard(now, &packet)
                .map_err(|what| Violation::new(format!("connection {index}, peer: {what}"))),
            None => {
                self.out
                    .extend(refusal(&packet).map(|packet| packet.emit()));
                Ok(())
            }
        }
    }

    /// A damaged address may lead a frame here that is for somebody else.
    fn is_for(&self, packet: &Packet) -> bool {
        packet.to == mac_of(self.number) && packet.dst == address(self.number)
    }

    /// Frames that leave now.
    pub(super) fn says(&mut self, now: Instant, callers: &mut Callers) -> Vec<Vec<u8>> {
        let mut frames = std::mem::take(&mut self.out);
        for (index, line) in &mut self.lines {
            if let Some(node) = line.calls_now(now) {
                let ours = SocketAddrV4::new(address(self.number), 40_000 + *index as u16);
                callers.insert(ours, *index);
                line.call((ours, SocketAddrV4::new(address(node), PORT)));
            }
            line.say(now);
            let packets = line.take_packets().into_iter();
            frames.extend(packets.map(|packet| packet.emit()));
        }
        frames
    }
}

/// The RST for a segment of no connection (RFC 9293 §3.10.7.1).
fn refusal(packet: &Packet) -> Option<Packet> {
    let flags = packet.tcp.flags;
    if flags.contains(TcpFlags::RST) {
        return None;
    }
    let numbered = |flag| u32::from(flags.contains(flag));
    let takes = packet.payload.len() as u32 + numbered(TcpFlags::SYN) + numbered(TcpFlags::FIN);
    let acks = flags.contains(TcpFlags::ACK);
    Some(Packet {
        to: packet.from,
        from: packet.to,
        src: packet.dst,
        dst: packet.src,
        tos: 0,
        tcp: TcpHeader {
            src_port: packet.tcp.dst_port,
            dst_port: packet.tcp.src_port,
            seq: if acks {
                packet.tcp.ack
            } else {
                Default::default()
            },
            ack: packet.tcp.seq + takes,
            flags: if acks {
                TcpFlags::RST
            } else {
                TcpFlags::RST | TcpFlags::ACK
            },
            window: 0,
            urgent: 0,
        },
        options: Vec::new(),
        payload: Vec::new(),
    })
}
