//! TCP segments taken apart and put together again, for what sits between the nodes.

use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_wire::ethernet::{self, EtherType, EthernetView};
use millrace_wire::ipv4::{self, Ipv4Header, Ipv4View, protocol};
use millrace_wire::mac::MacAddr;
use millrace_wire::tcp::{self, TcpHeader, TcpView};
use millrace_wire::{arp, icmpv4};

/// ICMP quotes the header and this many bytes of what follows (RFC 792).
const QUOTED: usize = 8;

/// A TCP segment in an Ethernet frame.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub to: MacAddr,
    pub from: MacAddr,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub tos: u8,
    pub tcp: TcpHeader,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Packet {
    /// The segment in a frame, if it is one in good order.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let link = EthernetView::parse(frame).ok()?;
        if link.ethertype() != EtherType::IPV4 {
            return None;
        }
        let ip = Ipv4View::parse(link.payload()).ok()?;
        if ip.protocol() != protocol::TCP || !ip.checksum_ok() {
            return None;
        }
        let view = TcpView::parse(ip.payload()).ok()?;
        if !view.checksum_ok(ip.src(), ip.dst()) {
            return None;
        }
        Some(Self {
            to: link.dst(),
            from: link.src(),
            src: ip.src(),
            dst: ip.dst(),
            tos: ip.tos(),
            tcp: TcpHeader {
                src_port: view.src_port(),
                dst_port: view.dst_port(),
                seq: view.seq(),
                ack: view.ack(),
                flags: view.flags(),
                window: view.window(),
                urgent: view.urgent(),
            },
            options: view.options().to_vec(),
            payload: view.payload().to_vec(),
        })
    }

    /// Bytes of the IP packet.
    pub(super) fn ip_len(&self) -> usize {
        ipv4::MIN_HEADER_LEN + tcp::MIN_HEADER_LEN + self.options.len() + self.payload.len()
    }

    /// The frame.
    pub(super) fn emit(&self) -> Vec<u8> {
        let mut frame = vec![0; ethernet::HEADER_LEN + self.ip_len()];
        let l3 = ethernet::emit(&mut frame, self.to, self.from, EtherType::IPV4);
        let l4 = l3 + ipv4::MIN_HEADER_LEN;
        let len = (self.ip_len() - ipv4::MIN_HEADER_LEN) as u16;
        let header = ip(self.src, self.dst, protocol::TCP, self.tos);
        header.emit(&mut frame[l3..], len);
        let data = l4 + self.tcp.emit(&mut frame[l4..], &self.options);
        frame[data..].copy_from_slice(&self.payload);
        tcp::fill_checksum(&mut frame[l4..], self.src, self.dst);
        frame
    }

    /// Who sends it to whom.
    pub(super) fn flow(&self) -> (SocketAddrV4, SocketAddrV4) {
        (
            SocketAddrV4::new(self.src, self.tcp.src_port),
            SocketAddrV4::new(self.dst, self.tcp.dst_port),
        )
    }

    /// The other direction.
    pub(super) fn back(&self) -> (SocketAddrV4, SocketAddrV4) {
        let (from, to) = self.flow();
        (to, from)
    }

    /// An ICMP error about this segment, from `router` to its sender.
    pub(super) fn icmp_error(
        &self,
        router: Ipv4Addr,
        (ty, code): (u8, u8),
        rest: [u8; 4],
    ) -> Vec<u8> {
        let quoted = self.emit();
        let quoted = &quoted[ethernet::HEADER_LEN..][..ipv4::MIN_HEADER_LEN + QUOTED];
        let mut message = [0; 64];
        let len = icmpv4::emit(&mut message, ty, code, rest, quoted);
        let mut frame = vec![0; ethernet::HEADER_LEN + ipv4::MIN_HEADER_LEN + len];
        let l3 = ethernet::emit(&mut frame, self.from, self.to, EtherType::IPV4);
        let header = ip(router, self.src, protocol::ICMP, 0);
        let l4 = l3 + header.emit(&mut frame[l3..], len as u16);
        frame[l4..].copy_from_slice(&message[..len]);
        frame
    }
}

fn ip(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, tos: u8) -> Ipv4Header {
    Ipv4Header {
        src,
        dst,
        protocol,
        ttl: 64,
        tos,
        id: 0,
        dont_fragment: true,
    }
}

/// The answer of `mac` to an ARP request for `address`, if the frame is one.
pub(super) fn arp_answer(frame: &[u8], address: Ipv4Addr, mac: MacAddr) -> Option<Vec<u8>> {
    let link = EthernetView::parse(frame).ok()?;
    if link.ethertype() != EtherType::ARP {
        return None;
    }
    let asked = arp::ArpPacket::parse(link.payload()).ok()?;
    if asked.op != arp::ArpOp::Request || asked.tpa != address {
        return None;
    }
    let answer = arp::ArpPacket {
        op: arp::ArpOp::Reply,
        sha: mac,
        spa: address,
        tha: asked.sha,
        tpa: asked.spa,
    };
    let mut frame = vec![0; ethernet::HEADER_LEN + arp::PACKET_LEN];
    let l3 = ethernet::emit(&mut frame, asked.sha, mac, EtherType::ARP);
    answer.emit(&mut frame[l3..]);
    Some(frame)
}
