//! Whatever arrives, `parse` refuses it or every accessor of the view answers. Purely random bytes rarely pass
//! a check, so the bytes that decide about lengths are steered half of the time.

use millrace_wire::arp::ArpPacket;
use millrace_wire::ethernet::EthernetView;
use millrace_wire::icmpv4::Icmpv4View;
use millrace_wire::ipv4::Ipv4View;
use millrace_wire::tcp::{TcpOptions, TcpView, parse_aligned_timestamp};
use millrace_wire::udp::UdpView;
use millrace_wire::vlan::VlanView;
use proptest::prelude::*;
use std::hint::black_box;
use std::net::Ipv4Addr;

const SRC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Random bytes, with `(offset, value)` written over them where they are long enough.
fn bytes_with(steered: impl Strategy<Value = Vec<(usize, u8)>>) -> impl Strategy<Value = Vec<u8>> {
    (
        prop::collection::vec(any::<u8>(), 0..120),
        prop::option::of(steered),
    )
        .prop_map(|(mut bytes, steered)| {
            for (at, value) in steered.into_iter().flatten() {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes
        })
}

proptest! {
    #[test]
    fn links(bytes in bytes_with(Just(vec![]))) {
        if let Ok(eth) = EthernetView::parse(&bytes) {
            prop_assert_eq!(eth.payload().len(), bytes.len() - 14);
            black_box((eth.dst(), eth.src(), eth.ethertype()));
        }
        if let Ok(vlan) = VlanView::parse(&bytes) {
            prop_assert!(vlan.vid() < 4096 && vlan.pcp() < 8);
            prop_assert_eq!(vlan.payload().len(), bytes.len() - 4);
            black_box((vlan.dei(), vlan.ethertype()));
        }
    }

    #[test]
    fn arp(bytes in bytes_with(Just(vec![(0, 0), (1, 1), (2, 8), (3, 0), (4, 6), (5, 4), (6, 0), (7, 1)]))) {
        if let Ok(arp) = ArpPacket::parse(&bytes) {
            let mut again = [0; 28];
            arp.emit(&mut again);
            prop_assert_eq!(&again[..], &bytes[..28]);
        }
    }

    #[test]
    fn ipv4(bytes in bytes_with((0x44u8..=0x4f, 0u8..130).prop_map(|(v, len)| vec![(0, v), (2, 0), (3, len)]))) {
        if let Ok(ip) = Ipv4View::parse(&bytes) {
            prop_assert!((20..=60).contains(&ip.header_len()));
            prop_assert_eq!(ip.header().len(), 20 + ip.options().len());
            prop_assert_eq!(ip.total_len(), ip.header_len() + ip.payload().len());
            prop_assert!(ip.total_len() <= bytes.len());
            prop_assert_eq!(ip.fragment_offset() % 8, 0);
            black_box((ip.tos(), ip.id(), ip.dont_fragment(), ip.more_fragments(), ip.ttl()));
            black_box((ip.protocol(), ip.checksum(), ip.checksum_ok(), ip.src(), ip.dst()));
        }
    }

    #[test]
    fn icmpv4(bytes in bytes_with(Just(vec![]))) {
        if let Ok(icmp) = Icmpv4View::parse(&bytes) {
            prop_assert_eq!(icmp.payload().len(), bytes.len() - 8);
            black_box((icmp.ty(), icmp.code(), icmp.checksum(), icmp.checksum_ok()));
            black_box((icmp.rest(), icmp.ident(), icmp.seq(), icmp.mtu()));
        }
    }

    #[test]
    fn udp(bytes in bytes_with((0u8..130).prop_map(|len| vec![(4, 0), (5, len)]))) {
        if let Ok(udp) = UdpView::parse(&bytes) {
            prop_assert_eq!(udp.len(), 8 + udp.payload().len());
            prop_assert_eq!(udp.is_empty(), udp.payload().is_empty());
            prop_assert!(udp.len() <= bytes.len());
            black_box((udp.src_port(), udp.dst_port(), udp.checksum(), udp.checksum_ok(SRC, DST)));
        }
    }

    #[test]
    fn tcp(bytes in bytes_with((4u8..16).prop_map(|words| vec![(12, words << 4)]))) {
        if let Ok(tcp) = TcpView::parse(&bytes) {
            prop_assert_eq!(tcp.header_len(), 20 + tcp.options().len());
            prop_assert_eq!(bytes.len(), tcp.header_len() + tcp.payload().len());
            prop_assert!(tcp.reserved() < 8);
            black_box((tcp.src_port(), tcp.dst_port(), tcp.seq(), tcp.ack(), tcp.flags(), tcp.window()));
            black_box((tcp.checksum(), tcp.checksum_ok(SRC, DST), tcp.urgent(), tcp.ae()));
            black_box((TcpOptions::parse(tcp.options()), parse_aligned_timestamp(tcp.options())));
        }
    }

    /// Kinds and lengths from the range where options live, so that lists of several are common.
    #[test]
    fn tcp_options(bytes in prop::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..80)) {
        let options = TcpOptions::parse(&bytes);
        prop_assert!(options.sack.as_slice().len() <= 4);
        prop_assert!(options.mss != Some(0));
    }
}

#[test]
fn a_segment_too_long_for_a_checksum_has_none() {
    let mut segment = vec![0; 70_000];
    segment[12] = 5 << 4;
    let tcp = TcpView::parse(&segment).expect("a valid header");
    assert!(!tcp.checksum_ok(SRC, DST));
}
