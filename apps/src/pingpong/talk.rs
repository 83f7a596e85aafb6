//! What the frames look like that go to and fro.

use std::net::Ipv4Addr;

use millrace::pmd::MacAddr;
use millrace::wire::arp::{self, ArpOp, ArpPacket};
use millrace::wire::ethernet::{self, EtherType, EthernetView};
use millrace::wire::icmpv4::{self, Icmpv4View, icmp_type};
use millrace::wire::ipv4::{self, Ipv4Header, Ipv4View, protocol};

/// Bytes of the link header.
pub const LINK_HEADER: usize = ethernet::HEADER_LEN;
/// IEEE 802: for local experiments.
const EXPERIMENT: EtherType = EtherType(0x88B5);
/// Identifier of our echo requests.
const IDENT: u16 = 0x6D72;
/// The number of a frame.
const NUMBER: usize = 8;

/// What a received frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The frame of this number is back.
    Back(u64),
    /// The other end wants to know our link address: [`Talk::introduce`] writes the answer.
    WhoAreYou,
    /// The other end tells its link address.
    Hello,
    /// Of no concern.
    Other,
}

/// The frames of one of the two kinds of other end.
pub trait Talk {
    /// Bytes of a frame.
    fn size(&self) -> usize;

    /// Writes the frame with this number into a slot of [`Talk::size`] bytes.
    fn write(&mut self, number: u64, slot: &mut [u8]);

    /// What a received frame is.
    fn hear(&mut self, frame: &[u8]) -> Heard;

    /// The frame that must be answered before the first one can be sent; none if we know all.
    fn ask(&self) -> Option<[u8; INTRODUCTION]> {
        None
    }

    /// The answer to the last [`Heard::WhoAreYou`].
    fn introduce(&self) -> [u8; INTRODUCTION] {
        [0; INTRODUCTION]
    }
}

/// Bytes of a frame with an ARP packet.
pub const INTRODUCTION: usize = LINK_HEADER + arp::PACKET_LEN;

/// Frames between two queues of ours.
pub struct Own {
    size: usize,
    near: MacAddr,
    far: MacAddr,
}

impl Own {
    /// Frames of `size` bytes from `near` to `far`.
    pub fn new(size: usize, near: MacAddr, far: MacAddr) -> Self {
        Self { size, near, far }
    }
}

impl Talk for Own {
    fn size(&self) -> usize {
        self.size
    }

    fn write(&mut self, number: u64, slot: &mut [u8]) {
        let start = ethernet::emit(slot, self.far, self.near, EXPERIMENT);
        let (count, rest) = slot[start..].split_at_mut(NUMBER);
        count.copy_from_slice(&number.to_be_bytes());
        rest.fill(0);
    }

    fn hear(&mut self, frame: &[u8]) -> Heard {
        match EthernetView::parse(frame) {
            Ok(view) if view.ethertype() == EXPERIMENT && view.dst() == self.near => {
                number(view.payload())
            }
            _ => Heard::Other,
        }
    }
}

fn number(bytes: &[u8]) -> Heard {
    bytes.first_chunk().map_or(Heard::Other, |count| {
        Heard::Back(u64::from_be_bytes(*count))
    })
}

/// Writes a frame of [`Own`] into `slot`, on its way back.
pub fn turn_round(frame: &[u8], slot: &mut [u8]) {
    slot.copy_from_slice(frame);
    slot[..6].copy_from_slice(&frame[6..12]);
    slot[6..12].copy_from_slice(&frame[..6]);
}

/// Whether [`turn_round`] is for this frame.
pub fn is_own(frame: &[u8]) -> bool {
    EthernetView::parse(frame).is_ok_and(|view| view.ethertype() == EXPERIMENT)
}

/// ICMP echo requests to a kernel.
pub struct Echo {
    size: usize,
    mac: MacAddr,
    addr: Ipv4Addr,
    to: Ipv4Addr,
    /// Once it is known.
    to_mac: Option<MacAddr>,
    /// Who asked last.
    asker: (MacAddr, Ipv4Addr),
    /// What an echo request carries: its number and zeros.
    payload: Vec<u8>,
}

impl Echo {
    /// Frames of `size` bytes from us (`mac`, `addr`) to `to`.
    pub fn new(size: usize, mac: MacAddr, addr: Ipv4Addr, to: Ipv4Addr) -> Self {
        let headers = LINK_HEADER + ipv4::MIN_HEADER_LEN + icmpv4::HEADER_LEN;
        Self {
            size,
            mac,
            addr,
            to,
            to_mac: None,
            asker: (MacAddr::ZERO, Ipv4Addr::UNSPECIFIED),
            payload: vec![0; (size - headers).max(NUMBER)],
        }
    }

    fn arp(&self, op: ArpOp, tha: MacAddr, tpa: Ipv4Addr, link: MacAddr) -> [u8; INTRODUCTION] {
        let mut frame = [0; INTRODUCTION];
        let start = ethernet::emit(&mut frame, link, self.mac, EtherType::ARP);
        let packet = ArpPacket {
            op,
            sha: self.mac,
            spa: self.addr,
            tha,
            tpa,
        };
        packet.emit(&mut frame[start..]);
        frame
    }

    fn hear_arp(&mut self, bytes: &[u8]) -> Heard {
        let Ok(packet) = ArpPacket::parse(bytes) else {
            return Heard::Other;
        };
        match packet.op {
            ArpOp::Request if packet.tpa == self.addr => {
                self.asker = (packet.sha, packet.spa);
                Heard::WhoAreYou
            }
            ArpOp::Reply if packet.spa == self.to => {
                self.to_mac = Some(packet.sha);
                Heard::Hello
            }
            _ => Heard::Other,
        }
    }

    fn hear_ip(&self, bytes: &[u8]) -> Heard {
        let Ok(packet) = Ipv4View::parse(bytes) else {
            return Heard::Other;
        };
        if packet.protocol() != protocol::ICMP || packet.src() != self.to {
            return Heard::Other;
        }
        match Icmpv4View::parse(packet.payload()) {
            Ok(message) if message.ty() == icmp_type::ECHO_REPLY && message.ident() == IDENT => {
                number(message.payload())
            }
            _ => Heard::Other,
        }
    }
}

impl Talk for Echo {
    fn size(&self) -> usize {
        self.size
    }

    fn write(&mut self, number: u64, slot: &mut [u8]) {
        let to = self.to_mac.unwrap_or(MacAddr::BROADCAST);
        let start = ethernet::emit(slot, to, self.mac, EtherType::IPV4);
        let header = Ipv4Header {
            src: self.addr,
            dst: self.to,
            protocol: protocol::ICMP,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: true,
        };
        // No IP packet is longer than 65,535.
        let len = (icmpv4::HEADER_LEN + self.payload.len()) as u16;
        let start = start + header.emit(&mut slot[start..], len);
        self.payload[..NUMBER].copy_from_slice(&number.to_be_bytes());
        let [a, b] = IDENT.to_be_bytes();
        let [.., c, d] = number.to_be_bytes();
        icmpv4::emit(
            &mut slot[start..],
            icmp_type::ECHO_REQUEST,
            0,
            [a, b, c, d],
            &self.payload,
        );
    }

    fn hear(&mut self, frame: &[u8]) -> Heard {
        let Ok(view) = EthernetView::parse(frame) else {
            return Heard::Other;
        };
        match view.ethertype() {
            EtherType::ARP => self.hear_arp(view.payload()),
            EtherType::IPV4 => self.hear_ip(view.payload()),
            _ => Heard::Other,
        }
    }

    fn ask(&self) -> Option<[u8; INTRODUCTION]> {
        let question = self.arp(ArpOp::Request, MacAddr::ZERO, self.to, MacAddr::BROADCAST);
        self.to_mac.is_none().then_some(question)
    }

    fn introduce(&self) -> [u8; INTRODUCTION] {
        let (mac, addr) = self.asker;
        self.arp(ArpOp::Reply, mac, addr, mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const FAR: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn a_frame_of_ours_comes_back_with_its_number() {
        let mut talk = Own::new(60, NEAR, FAR);
        let (mut there, mut back) = ([0xFF; 60], [0; 60]);
        talk.write(0x0102_0304_0506_0708, &mut there);
        assert_eq!(talk.hear(&there), Heard::Other, "it is for the other end");
        assert!(is_own(&there));
        turn_round(&there, &mut back);
        assert_eq!(talk.hear(&back), Heard::Back(0x0102_0304_0506_0708));
    }

    #[test]
    fn an_echo_request_waits_for_the_kernels_link_address() {
        let (ours, kernels) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1));
        let mut talk = Echo::new(64, NEAR, ours, kernels);
        let mut kernel = Echo::new(64, FAR, kernels, ours);
        let question = talk.ask().expect("a question");
        assert_eq!(kernel.hear(&question), Heard::WhoAreYou);
        assert_eq!(talk.hear(&kernel.introduce()), Heard::Hello);
        assert_eq!(talk.ask(), None);

        let mut slot = [0; 64];
        talk.write(7, &mut slot);
        let frame = EthernetView::parse(&slot).expect("a frame");
        assert_eq!((frame.dst(), frame.src()), (FAR, NEAR));
        let packet = Ipv4View::parse(frame.payload()).expect("a packet");
        assert!(packet.checksum_ok() && packet.total_len() == 50);
        let message = Icmpv4View::parse(packet.payload()).expect("a message");
        assert!(message.checksum_ok() && message.ty() == icmp_type::ECHO_REQUEST);

        // The kernel's answer: the type changes, the addresses change places.
        slot[LINK_HEADER + ipv4::MIN_HEADER_LEN] = icmp_type::ECHO_REPLY;
        let (src, dst) = (kernels.octets(), ours.octets());
        slot[LINK_HEADER + 12..LINK_HEADER + 16].copy_from_slice(&src);
        slot[LINK_HEADER + 16..LINK_HEADER + 20].copy_from_slice(&dst);
        assert_eq!(talk.hear(&slot), Heard::Back(7));
    }
}
