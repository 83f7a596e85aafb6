//! An attacker on the same link. It sees who talks to whom and hits the edges that a blind one would hit once in four
//! thousand million tries, but it never has the number that would make its segment a legal one. What it does must
//! change nothing: every connection goes on as the model says.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_wire::icmpv4::{icmp_type, unreachable};
use millrace_wire::mac::MacAddr;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{OptionsBuf, TcpFlags, TcpHeader, options};
use millrace_wire::time::Instant;

use super::dice::Dice;
use super::node::{PORT, address, mac_of};
use super::packet::{Packet, arp_answer};
use super::watch::{Target, Watch};

/// The attacker's own address, and those that it invents begin here.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 99]);
const INVENTED: u8 = 100;

/// Resets come from these ports of its own, and nothing may ever be sent there.
pub(super) const UNANSWERED: u16 = 60_000;

/// Further away than any window or any connection of a run reaches.
const FAR: u32 = 1 << 28;

/// A timestamp so far away is old, or from the future.
const TS_FAR: u32 = 1 << 30;

/// When and with what it attacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttackPlan {
    /// What it does.
    pub kinds: Vec<Attack>,
    /// Longest pause between two attacks.
    pub pause: Duration,
}

/// What it does (the numbers are those of the list of attacks in the threat model).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// 3: a RST in the window.
    Reset,
    /// 4: a SYN, anywhere.
    Syn,
    /// 5: data in the window that acknowledges what was never sent.
    DataAckUnsent,
    /// 5: data in the window with an ACK that is far too old.
    DataAckOld,
    /// 18: an ACK of what was never sent.
    AckUnsent,
    /// Data beyond the window, or far before it.
    DataOutside,
    /// 11: an old timestamp.
    OldTimestamp,
    /// 11: a timestamp from the future on a segment that is not acceptable.
    FutureTimestamp,
    /// 24: an ICMP error about a segment that was never sent.
    Unreachable,
    /// 25: the same, about its length.
    TooLong,
    /// 21, 22: senders that cannot be.
    Martian,
    /// 32: an exact RST with a wrong checksum.
    BadChecksum,
    /// 1, 2: many SYNs from hosts that do not exist, and an ACK for each that guesses.
    Flood,
    /// 26: a RST for nobody, which must not be answered.
    LoneReset,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Reset,
        Self::Syn,
        Self::DataAckUnsent,
        Self::DataAckOld,
        Self::AckUnsent,
        Self::DataOutside,
        Self::OldTimestamp,
        Self::FutureTimestamp,
        Self::Unreachable,
        Self::TooLong,
        Self::Martian,
        Self::BadChecksum,
        Self::Flood,
        Self::LoneReset,
    ];
}

/// See the module.
#[derive(Debug)]
pub(super) struct Attacker {
    plan: AttackPlan,
    dice: Dice,
    next: Option<Instant>,
    until: Instant,
}

impl Attacker {
    pub(super) fn new(plan: AttackPlan, dice: Dice, (from, until): (Instant, Instant)) -> Self {
        Self {
            plan,
            dice,
            next: Some(from),
            until,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// What it answers to a frame that everybody gets.
    pub(super) fn heard(&self, frame: &[u8]) -> Option<Vec<u8>> {
        arp_answer(frame, ADDRESS, MAC)
    }

    /// Frames for nodes, when it is time.
    pub(super) fn attack(
        &mut self,
        now: Instant,
        watch: &Watch,
        nodes: usize,
    ) -> Vec<(usize, Vec<u8>)> {
        if self.next.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let next = now
            + self
                .dice
                .duration(Duration::from_millis(1)..=self.plan.pause);
        self.next = Some(next).filter(|at| *at < self.until);
        let kind = self.dice.pick(&self.plan.kinds);
        let node = self.dice.range(0..=nodes as u64 - 1) as usize;
        match kind {
            Attack::Martian => vec![(node, self.martian(node))],
            Attack::LoneReset => vec![(node, self.lone_reset(node))],
            Attack::Flood => self.flood(node).map(|frame| (node, frame)).collect(),
            _ => self.at_connection(kind, watch).into_iter().collect(),
        }
    }

    fn at_connection(&mut self, kind: Attack, watch: &Watch) -> Option<(usize, Vec<u8>)> {
        let targets: Vec<Target> = watch.targets().collect();
        if targets.is_empty() {
            return None;
        }
        let target = self.dice.pick(&targets);
        let node = (0..=u8::MAX as usize).find(|n| address(*n) == *target.victim.ip())?;
        let frame = self.frame_for(kind, &target, node)?;
        Some((node, frame))
    }

    /// A number in the window that the victim cannot expect next, nor wait for: its peer has not come that far.
    fn in_window(&mut self, target: &Target) -> Option<SeqNum> {
        let room = target.edge.diff(target.next);
        (room > 2).then(|| target.next + self.dice.range(1..=room as u64 - 1) as u32)
    }

    fn frame_for(&mut self, kind: Attack, target: &Target, node: usize) -> Option<Vec<u8>> {
        let unsent = target.victim_end + 1 + self.dice.range(0..=u64::from(FAR)) as u32;
        let old_ack = target.victim_end - (TS_FAR + self.dice.range(0..=u64::from(FAR)) as u32);
        let mut packet = segment(target, node);
        match kind {
            Attack::Reset => {
                packet.tcp.seq = self.in_window(target)?;
                packet.tcp.flags = TcpFlags::RST;
            }
            Attack::Syn => {
                packet.tcp.seq = target.next + self.dice.range(0..=u64::from(u32::MAX)) as u32;
                packet.tcp.flags = TcpFlags::SYN;
            }
            Attack::DataAckUnsent => {
                packet.tcp.seq = self.in_window(target)?;
                packet.tcp.ack = unsent;
                self.fill(&mut packet);
            }
            Attack::DataAckOld => {
                packet.tcp.seq = self.in_window(target)?;
                packet.tcp.ack = old_ack;
                self.fill(&mut packet);
            }
            Attack::AckUnsent => packet.tcp.ack = unsent,
            Attack::DataOutside => {
                packet.tcp.seq = if self.dice.chance(500_000) {
                    target.edge + 1 + self.dice.range(0..=u64::from(FAR)) as u32
                } else {
                    target.next - FAR - self.dice.range(0..=u64::from(FAR)) as u32
                };
                self.fill(&mut packet);
            }
            Attack::OldTimestamp => {
                packet.tcp.seq = self.in_window(target)?;
                packet.options = timestamps(target.ts?.wrapping_sub(TS_FAR));
                self.fill(&mut packet);
            }
            Attack::FutureTimestamp => {
                packet.tcp.seq = self.in_window(target)?;
                packet.tcp.ack = unsent;
                packet.options = timestamps(target.ts?.wrapping_add(TS_FAR));
                self.fill(&mut packet);
            }
            Attack::BadChecksum => {
                packet.tcp.seq = target.next;
                packet.tcp.flags = TcpFlags::RST;
                let mut frame = packet.emit();
                if let Some(last) = frame.last_mut() {
                    *last ^= 1;
                }
                // The urgent pointer's last bit, which the checksum covers and a RST does not use.
                return Some(frame);
            }
            Attack::Unreachable | Attack::TooLong => return Some(self.icmp(kind, target, node)),
            Attack::Martian | Attack::Flood | Attack::LoneReset => return None,
        }
        Some(packet.emit())
    }

    fn fill(&mut self, packet: &mut Packet) {
        let len = self.dice.range(1..=64) as usize;
        packet.payload = vec![0xee; len];
    }

    /// Quotes a segment of the victim that it never sent.
    fn icmp(&mut self, kind: Attack, target: &Target, node: usize) -> Vec<u8> {
        let mut quoted = segment(target, node);
        (quoted.src, quoted.dst) = (quoted.dst, quoted.src);
        (quoted.to, quoted.from) = (quoted.from, quoted.to);
        let tcp = &mut quoted.tcp;
        (tcp.src_port, tcp.dst_port) = (tcp.dst_port, tcp.src_port);
        tcp.seq = target.victim_end + 1 + self.dice.range(0..=u64::from(FAR)) as u32;
        if kind == Attack::TooLong {
            let mtu = (self.dice.range(0..=1_500) as u16).to_be_bytes();
            let kind = (icmp_type::DEST_UNREACHABLE, unreachable::FRAG_NEEDED);
            return quoted.icmp_error(ADDRESS, kind, [0, 0, mtu[0], mtu[1]]);
        }
        let code = self
            .dice
            .pick(&[unreachable::PORT, unreachable::PROTOCOL, unreachable::HOST]);
        quoted.icmp_error(ADDRESS, (icmp_type::DEST_UNREACHABLE, code), [0; 4])
    }

    fn own(&mut self, node: usize, flags: TcpFlags) -> Packet {
        Packet {
            to: mac_of(node),
            from: MAC,
            src: ADDRESS,
            dst: address(node),
            tos: 0,
            tcp: TcpHeader {
                src_port: self.dice.range(1_024..=u64::from(UNANSWERED) - 1) as u16,
                dst_port: PORT,
                seq: SeqNum::new(self.dice.range(0..=u64::from(u32::MAX)) as u32),
                ack: SeqNum::new(self.dice.range(0..=u64::from(u32::MAX)) as u32),
                flags,
                window: 1_000,
                urgent: 0,
            },
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    fn martian(&mut self, node: usize) -> Vec<u8> {
        let mut packet = self.own(node, TcpFlags::SYN);
        packet.src = self.dice.pick(&[
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::BROADCAST,
            Ipv4Addr::new(224, 0, 0, 1),
            Ipv4Addr::new(10, 0, 0, 255),
            address(node),
        ]);
        if packet.src == address(node) {
            // 21: LAND.
            packet.tcp.src_port = PORT;
        }
        packet.emit()
    }

    fn lone_reset(&mut self, node: usize) -> Vec<u8> {
        let with_ack = self.dice.chance(500_000);
        let flags = TcpFlags::RST
            | if with_ack {
                TcpFlags::ACK
            } else {
                TcpFlags::NONE
            };
        let mut packet = self.own(node, flags);
        packet.tcp.src_port = UNANSWERED + self.dice.range(0..=5_000) as u16;
        packet.tcp.dst_port = self.dice.pick(&[PORT, 1, 40_000]);
        packet.emit()
    }

    fn flood(&mut self, node: usize) -> impl Iterator<Item = Vec<u8>> + use<> {
        let count = self.dice.range(1..=40);
        let mut frames = Vec::new();
        for _ in 0..count {
            let mut packet = self.own(node, TcpFlags::SYN);
            let host = self.dice.range(u64::from(INVENTED)..=250) as u8;
            packet.src = Ipv4Addr::new(10, 0, 0, host);
            if self.dice.chance(200_000) {
                packet.src = ADDRESS;
            }
            frames.push(packet.emit());
            packet.tcp.seq += 1;
            packet.tcp.flags = TcpFlags::ACK;
            frames.push(packet.emit());
        }
        frames.into_iter()
    }
}

fn timestamps(value: u32) -> Vec<u8> {
    let ts = options::Timestamps { val: value, ecr: 0 };
    options::write_established(Some(ts), &[])
        .as_bytes()
        .to_vec()
}

/// An ACK as the peer would send it next, with its newest timestamp.
fn segment(target: &Target, node: usize) -> Packet {
    let options = match target.ts {
        Some(value) => timestamps(value),
        None => OptionsBuf::new().as_bytes().to_vec(),
    };
    let (peer, victim): (SocketAddrV4, SocketAddrV4) = (target.peer, target.victim);
    Packet {
        to: mac_of(node),
        from: MAC,
        src: *peer.ip(),
        dst: *victim.ip(),
        tos: 0,
        tcp: TcpHeader {
            src_port: peer.port(),
            dst_port: victim.port(),
            seq: target.next,
            ack: target.victim_end,
            flags: TcpFlags::ACK,
            window: 1_000,
            urgent: 0,
        },
        options,
        payload: Vec::new(),
    }
}
