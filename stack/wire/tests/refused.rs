//! Each reason for which a packet is refused, at the exact border.

use millrace_wire::arp::{ArpOp, ArpPacket};
use millrace_wire::ethernet::EthernetView;
use millrace_wire::icmpv4::Icmpv4View;
use millrace_wire::ipv4::{Ipv4Header, Ipv4View, protocol};
use millrace_wire::mac::MacAddr;
use millrace_wire::malformed::Malformed;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{TcpFlags, TcpHeader, TcpView};
use millrace_wire::udp::{self, UdpView};
use millrace_wire::vlan::VlanView;
use std::net::{Ipv4Addr, SocketAddrV4};

const SRC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// `bytes` with the one at `at` replaced.
fn with(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = value;
    bytes
}

#[test]
fn links() {
    assert_eq!(
        EthernetView::parse(&[0; 13]).err(),
        Some(Malformed::Truncated)
    );
    assert!(EthernetView::parse(&[0; 14]).is_ok_and(|eth| eth.payload().is_empty()));
    assert_eq!(VlanView::parse(&[0; 3]).err(), Some(Malformed::Truncated));
    assert!(VlanView::parse(&[0; 4]).is_ok_and(|vlan| vlan.payload().is_empty()));
}

#[test]
fn arp() {
    let request = ArpPacket {
        op: ArpOp::Request,
        sha: MacAddr::BROADCAST,
        spa: SRC,
        tha: MacAddr::ZERO,
        tpa: DST,
    };
    let mut bytes = [0; 28];
    assert_eq!(request.emit(&mut bytes), 28);
    assert_eq!(ArpPacket::parse(&bytes), Ok(request));
    assert_eq!(ArpPacket::parse(&bytes[..27]), Err(Malformed::Truncated));
    for (at, why) in [
        (0, Malformed::HardwareType),
        (1, Malformed::HardwareType),
        (4, Malformed::HardwareType),
        (2, Malformed::ProtocolType),
        (3, Malformed::ProtocolType),
        (5, Malformed::ProtocolType),
        (6, Malformed::Operation),
        (7, Malformed::Operation),
    ] {
        assert_eq!(
            ArpPacket::parse(&with(&bytes, at, 3)),
            Err(why),
            "byte {at}"
        );
    }
}

#[test]
fn ipv4() {
    let header = Ipv4Header {
        src: SRC,
        dst: DST,
        protocol: protocol::TCP,
        ttl: 64,
        tos: 0,
        id: 1,
        dont_fragment: true,
    };
    let mut packet = [0xee; 24];
    assert_eq!(header.emit(&mut packet, 4), 20);
    assert!(Ipv4View::parse(&packet).is_ok_and(|ip| ip.checksum_ok() && ip.payload() == [0xee; 4]));
    let refused = |bytes: &[u8]| Ipv4View::parse(bytes).err();
    assert_eq!(refused(&packet[..19]), Some(Malformed::Truncated));
    assert_eq!(refused(&packet[..23]), Some(Malformed::Truncated));
    assert_eq!(refused(&with(&packet, 0, 0x65)), Some(Malformed::Version));
    assert_eq!(
        refused(&with(&packet, 0, 0x44)),
        Some(Malformed::HeaderLength)
    );
    assert_eq!(refused(&with(&packet, 0, 0x46)), None);
    assert_eq!(
        refused(&with(&packet, 0, 0x47)),
        Some(Malformed::TotalLength)
    );
    assert_eq!(refused(&with(&packet, 3, 19)), Some(Malformed::TotalLength));
    assert_eq!(refused(&with(&packet, 3, 20)), None);
    for at in 0..20 {
        let flipped = with(&packet, at, packet[at] ^ 0x10);
        assert!(
            !Ipv4View::parse(&flipped).is_ok_and(|ip| ip.checksum_ok()),
            "byte {at}"
        );
    }
}

#[test]
fn icmpv4() {
    assert_eq!(Icmpv4View::parse(&[0; 7]).err(), Some(Malformed::Truncated));
    // The sum of nothing but zeroes is the other zero.
    assert!(Icmpv4View::parse(&[0; 8]).is_ok_and(|icmp| !icmp.checksum_ok()));
}

#[test]
fn udp_lengths() {
    let mut datagram = [0; 12];
    let (src, dst) = (SocketAddrV4::new(SRC, 1), SocketAddrV4::new(DST, 2));
    assert_eq!(udp::emit(&mut datagram, src, dst, &[1, 2, 3, 4]), 12);
    assert!(UdpView::parse(&datagram).is_ok_and(|udp| udp.checksum_ok(SRC, DST)));
    assert_eq!(
        UdpView::parse(&datagram[..7]).err(),
        Some(Malformed::Truncated)
    );
    assert_eq!(
        UdpView::parse(&datagram[..11]).err(),
        Some(Malformed::Truncated)
    );
    assert_eq!(
        UdpView::parse(&with(&datagram, 5, 7)).err(),
        Some(Malformed::TotalLength)
    );
    let cut = with(&datagram, 5, 10);
    assert!(UdpView::parse(&cut).is_ok_and(|udp| udp.payload() == [1, 2]));
}

#[test]
fn udp_checksum_zero_means_none_and_is_never_sent() {
    // The one payload word is chosen so that the sum is 0xffff, whose complement is 0.
    let (src, dst) = (SocketAddrV4::new(SRC, 1), SocketAddrV4::new(DST, 2));
    let mut datagram = [0; 10];
    udp::emit(&mut datagram, src, dst, &[0, 0]);
    let word = [datagram[6], datagram[7]];
    udp::emit(&mut datagram, src, dst, &word);
    let udp = UdpView::parse(&datagram).expect("just built");
    assert_eq!(udp.checksum(), 0xffff);
    assert!(udp.checksum_ok(SRC, DST));
    let unchecked = with(&with(&with(&datagram, 6, 0), 7, 0), 9, 0xab);
    assert!(UdpView::parse(&unchecked).is_ok_and(|udp| udp.checksum_ok(SRC, DST)));
}

#[test]
fn tcp() {
    let header = TcpHeader {
        src_port: 1,
        dst_port: 2,
        seq: SeqNum::new(3),
        ack: SeqNum::new(4),
        flags: TcpFlags::ACK,
        window: 5,
        urgent: 0,
    };
    let mut segment = [1; 24];
    assert_eq!(header.emit(&mut segment, &[1; 4]), 24);
    assert!(
        TcpView::parse(&segment)
            .is_ok_and(|tcp| tcp.options() == [1; 4] && tcp.payload().is_empty())
    );
    let refused = |bytes: &[u8]| TcpView::parse(bytes).err();
    assert_eq!(refused(&segment[..19]), Some(Malformed::Truncated));
    assert_eq!(refused(&segment[..23]), Some(Malformed::Truncated));
    assert_eq!(
        refused(&with(&segment, 12, 0x4f)),
        Some(Malformed::HeaderLength)
    );
    assert_eq!(
        refused(&with(&segment, 12, 0x70)),
        Some(Malformed::Truncated)
    );
    let ae = with(&segment, 12, 0x61);
    assert!(TcpView::parse(&ae).is_ok_and(|tcp| tcp.ae() && tcp.reserved() == 0));
    let reserved = with(&segment, 12, 0x6e);
    assert!(TcpView::parse(&reserved).is_ok_and(|tcp| !tcp.ae() && tcp.reserved() == 7));
}
