//! What boxes on the way do to segments, legally or not quite: take options off a SYN, clamp the segment size, give
//! less window than there is, cut segments in two, thin out ACKs, mark and bleach ECN, refuse what is too long.

use std::net::Ipv4Addr;

use millrace_wire::icmpv4::{icmp_type, unreachable};
use millrace_wire::tcp::{OptionsBuf, TcpFlags, TcpOptions};

use super::dice::Dice;
use super::packet::Packet;

/// Who reports that a packet is too long.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

/// ECN field: ECT(0), ECT(1), CE.
const ECN: u8 = 3;

/// What a box does in one direction, until it heals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tampering {
    /// Options that it takes off a SYN, for good.
    pub strip: Strip,
    /// The largest segment size that it lets SYNs offer, for good.
    pub mss_clamp: Option<u16>,
    /// Windows made smaller, per million.
    pub shrink_ppm: u32,
    /// Data segments cut in two, per million.
    pub split_ppm: u32,
    /// Pure ACKs dropped, per million.
    pub thin_ppm: u32,
    /// Packets marked with congestion experienced, per million, where ECN is in use.
    pub mark_ppm: u32,
    /// ECN fields are cleared.
    pub bleach: Bleach,
    /// The longest IP packet that passes, in bytes.
    pub path_mtu: Option<u16>,
    /// What the sender of a longer one hears.
    pub too_long: TooLong,
}

/// Options that are taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strip {
    /// None.
    #[default]
    Nothing,
    /// SACK permitted.
    Sack,
    /// Timestamps.
    Timestamps,
    /// Window scale.
    Scale,
    /// All but the segment size.
    All,
}

/// Whether ECN fields survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bleach {
    /// They do.
    #[default]
    No,
    /// They are cleared.
    Yes,
}

/// What the sender of a packet that is too long hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TooLong {
    /// The truth.
    #[default]
    Honest,
    /// Nothing: a black hole.
    Silent,
    /// A number that is not true, about packets that pass.
    Lie(u16),
}

/// What became of a frame.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// What goes on.
    pub frames: Vec<Vec<u8>>,
    /// What goes back to the sender.
    pub back: Option<Vec<u8>>,
}

impl Tampering {
    /// What stays when the network heals: what was agreed through the box must stay agreed.
    pub(super) fn healed(self) -> Self {
        Self {
            strip: self.strip,
            mss_clamp: self.mss_clamp,
            ..Self::default()
        }
    }

    pub(super) fn pass(&self, dice: &mut Dice, frame: &[u8]) -> Passed {
        let unchanged = || Passed {
            frames: vec![frame.to_vec()],
            back: None,
        };
        if *self == Self::default() {
            return unchanged();
        }
        let Some(mut packet) = Packet::parse(frame) else {
            return unchanged();
        };
        if let Some(mtu) = self.path_mtu
            && packet.ip_len() > usize::from(mtu)
        {
            match self.too_long {
                TooLong::Honest => return refused(&packet, mtu),
                TooLong::Silent => return Passed::default(),
                TooLong::Lie(mtu) => {
                    return Passed {
                        back: refused(&packet, mtu).back,
                        ..unchanged()
                    };
                }
            }
        }
        let flags = packet.tcp.flags;
        let pure = packet.payload.is_empty() && flags == TcpFlags::ACK;
        if pure && dice.chance(self.thin_ppm) {
            return Passed::default();
        }
        if flags.contains(TcpFlags::SYN) {
            self.rewrite_syn(&mut packet);
        } else if !flags.contains(TcpFlags::RST) && dice.chance(self.shrink_ppm) {
            packet.tcp.window = dice.range(0..=u64::from(packet.tcp.window)) as u16;
        }
        if packet.tos & ECN != 0 && dice.chance(self.mark_ppm) {
            packet.tos |= ECN;
        }
        if self.bleach == Bleach::Yes {
            packet.tos &= !ECN;
        }
        let frames = if packet.payload.len() > 1 && dice.chance(self.split_ppm) {
            let at = dice.range(1..=packet.payload.len() as u64 - 1) as usize;
            split(packet, at)
        } else {
            vec![packet.emit()]
        };
        Passed { frames, back: None }
    }

    fn rewrite_syn(&self, packet: &mut Packet) {
        let options = TcpOptions::parse(&packet.options);
        let first = !packet.tcp.flags.contains(TcpFlags::ACK);
        // What the answer carries was agreed: taking it off there would leave both ends of different minds.
        let strip = if first { self.strip } else { Strip::Nothing };
        let keeps = |what: Strip| strip != what && strip != Strip::All;
        let mut buf = OptionsBuf::new();
        if let Some(mss) = options.mss {
            buf.mss(mss.min(self.mss_clamp.unwrap_or(u16::MAX)));
        }
        if options.sack_permitted && keeps(Strip::Sack) {
            buf.sack_permitted();
        }
        if let Some(ts) = options.timestamps.filter(|_| keeps(Strip::Timestamps)) {
            buf.timestamps(ts.val, ts.ecr);
        }
        if let Some(shift) = options.wscale.filter(|_| keeps(Strip::Scale)) {
            buf.wscale(shift);
        }
        packet.options = buf.as_bytes().to_vec();
    }
}

fn refused(packet: &Packet, mtu: u16) -> Passed {
    let [high, low] = mtu.to_be_bytes();
    let kind = (icmp_type::DEST_UNREACHABLE, unreachable::FRAG_NEEDED);
    Passed {
        frames: Vec::new(),
        back: Some(packet.icmp_error(ROUTER, kind, [0, 0, high, low])),
    }
}

/// Two segments; what ends the first one's data goes with the second.
fn split(packet: Packet, at: usize) -> Vec<Vec<u8>> {
    let (mut first, mut second) = (packet.clone(), packet);
    second.payload = first.payload.split_off(at);
    second.tcp.seq += at as u32;
    first.tcp.flags = first.tcp.flags.without(TcpFlags::FIN | TcpFlags::PSH);
    vec![first.emit(), second.emit()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::dice::Purpose;
    use millrace_wire::mac::MacAddr;
    use millrace_wire::seq::SeqNum;
    use millrace_wire::tcp::TcpHeader;

    fn packet(flags: TcpFlags, payload: &[u8]) -> Packet {
        Packet {
            to: MacAddr([2, 0, 0, 0, 0, 1]),
            from: MacAddr([2, 0, 0, 0, 0, 2]),
            src: Ipv4Addr::new(10, 0, 0, 1),
            dst: Ipv4Addr::new(10, 0, 0, 2),
            tos: 2,
            tcp: TcpHeader {
                src_port: 1,
                dst_port: 2,
                seq: SeqNum::new(u32::MAX),
                ack: SeqNum::new(7),
                flags,
                window: 1_000,
                urgent: 0,
            },
            options: Vec::new(),
            payload: payload.to_vec(),
        }
    }

    fn pass(tampering: Tampering, packet: &Packet) -> Passed {
        tampering.pass(&mut Dice::new(1, Purpose::Lane(0)), &packet.emit())
    }

    #[test]
    fn a_split_loses_no_byte() {
        let whole = packet(TcpFlags::ACK | TcpFlags::FIN, b"0123456789");
        let tampering = Tampering {
            split_ppm: 1_000_000,
            ..Tampering::default()
        };
        let parts: Vec<_> = pass(tampering, &whole)
            .frames
            .iter()
            .map(|frame| Packet::parse(frame).expect("a good frame"))
            .collect();
        let [first, second] = parts.as_slice() else {
            panic!("{parts:?}");
        };
        assert_eq!(
            [&first.payload[..], &second.payload[..]].concat(),
            whole.payload
        );
        assert_eq!(first.tcp.seq + first.payload.len() as u32, second.tcp.seq);
        assert_eq!(
            (first.tcp.flags, second.tcp.flags),
            (TcpFlags::ACK, whole.tcp.flags)
        );
    }

    #[test]
    fn a_long_packet_is_refused_reported_or_lied_about() {
        let long = packet(TcpFlags::ACK, &[0; 1_000]);
        let of = |too_long| Tampering {
            path_mtu: Some(600),
            too_long,
            ..Tampering::default()
        };
        let honest = pass(of(TooLong::Honest), &long);
        assert!(honest.frames.is_empty() && honest.back.is_some());
        let silent = pass(of(TooLong::Silent), &long);
        assert!(silent.frames.is_empty() && silent.back.is_none());
        let lie = pass(of(TooLong::Lie(68)), &long);
        assert!(lie.frames.len() == 1 && lie.back.is_some());
    }

    #[test]
    fn a_syn_loses_options_and_its_answer_does_not() {
        let mut syn = packet(TcpFlags::SYN, &[]);
        let options = millrace_wire::tcp::options::write_syn(Some(1_460), Some(7), true, None);
        syn.options = options.as_bytes().to_vec();
        let tampering = Tampering {
            strip: Strip::All,
            mss_clamp: Some(500),
            ..Tampering::default()
        };
        let after = |packet: &Packet| {
            let passed = pass(tampering, packet);
            let packet = Packet::parse(&passed.frames[0]).expect("a good frame");
            let options = TcpOptions::parse(&packet.options);
            (options.mss, options.wscale, options.sack_permitted)
        };
        assert_eq!(after(&syn), (Some(500), None, false));
        syn.tcp.flags = TcpFlags::SYN | TcpFlags::ACK;
        assert_eq!(after(&syn), (Some(500), Some(7), true));
    }
}
