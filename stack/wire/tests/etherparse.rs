//! The formats against etherparse, both ways: what we emit it reads, what it builds we read.

use etherparse::{
    EtherType as EpEtherType, Icmpv4Slice, IpFragOffset, Ipv4HeaderSlice, NetSlice, PacketBuilder,
    SlicedPacket, TcpOptionElement, TransportSlice, VlanId,
};
use millrace_wire::arp::{ArpOp, ArpPacket};
use millrace_wire::ethernet::{self, EtherType, EthernetView};
use millrace_wire::icmpv4::{self, Icmpv4View, icmp_type, unreachable};
use millrace_wire::ipv4::{Ipv4Header, Ipv4View, protocol};
use millrace_wire::mac::MacAddr;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{
    SackBlock, TcpFlags, TcpHeader, TcpOptions, TcpView, Timestamps, fill_checksum,
    write_established, write_syn,
};
use millrace_wire::udp::{self, UdpView};
use millrace_wire::vlan::{self, VlanView};
use proptest::prelude::*;
use std::net::{Ipv4Addr, SocketAddrV4};

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..1500)
}

fn ipv4_header(protocol: u8) -> impl Strategy<Value = Ipv4Header> {
    any::<([u8; 4], [u8; 4], u8, u8, u16, bool)>().prop_map(
        move |(src, dst, ttl, tos, id, dont_fragment)| Ipv4Header {
            src: src.into(),
            dst: dst.into(),
            protocol,
            ttl,
            tos,
            id,
            dont_fragment,
        },
    )
}

fn tcp_header() -> impl Strategy<Value = TcpHeader> {
    any::<(u16, u16, u32, u32, u8, u16, u16)>().prop_map(
        |(src_port, dst_port, seq, ack, flags, window, urgent)| TcpHeader {
            src_port,
            dst_port,
            seq: SeqNum::new(seq),
            ack: SeqNum::new(ack),
            flags: TcpFlags(flags),
            window,
            urgent,
        },
    )
}

/// Options in both vocabularies: ours as bytes, and the elements etherparse should see but for the padding.
fn tcp_options() -> impl Strategy<Value = (Vec<u8>, Vec<TcpOptionElement>)> {
    let syn = any::<(Option<u16>, Option<u8>, bool, Option<(u32, u32)>)>().prop_map(
        |(mss, wscale, sack_permitted, ts)| {
            let buf = write_syn(
                mss,
                wscale,
                sack_permitted,
                ts.map(|(val, ecr)| Timestamps { val, ecr }),
            );
            let elements = [
                mss.map(TcpOptionElement::MaximumSegmentSize),
                sack_permitted.then_some(TcpOptionElement::SelectiveAcknowledgementPermitted),
                ts.map(|(val, ecr)| TcpOptionElement::Timestamp(val, ecr)),
                wscale.map(TcpOptionElement::WindowScale),
            ];
            (
                buf.as_bytes().to_vec(),
                elements.into_iter().flatten().collect(),
            )
        },
    );
    let established = (
        any::<Option<(u32, u32)>>(),
        prop::collection::vec(any::<(u32, u32)>(), 0..=3),
    )
        .prop_map(|(ts, edges)| {
            let blocks: Vec<_> = edges.iter().map(|edges| sack_block(*edges)).collect();
            let buf = write_established(ts.map(|(val, ecr)| Timestamps { val, ecr }), &blocks);
            let elements = [
                ts.map(|(val, ecr)| TcpOptionElement::Timestamp(val, ecr)),
                sack_element(&edges),
            ];
            (
                buf.as_bytes().to_vec(),
                elements.into_iter().flatten().collect(),
            )
        });
    prop_oneof![syn, established]
}

fn sack_block((start, end): (u32, u32)) -> SackBlock {
    SackBlock {
        start: SeqNum::new(start),
        end: SeqNum::new(end),
    }
}

fn sack_element(edges: &[(u32, u32)]) -> Option<TcpOptionElement> {
    let (first, more) = edges.split_first()?;
    let more = std::array::from_fn(|i| more.get(i).copied());
    Some(TcpOptionElement::SelectiveAcknowledgement(*first, more))
}

/// Every bit of the flags octet where etherparse has a bool.
fn flags_of(header: &etherparse::TcpHeader) -> TcpFlags {
    let mut flags = TcpFlags::NONE;
    for (set, flag) in [
        (header.fin, TcpFlags::FIN),
        (header.syn, TcpFlags::SYN),
        (header.rst, TcpFlags::RST),
        (header.psh, TcpFlags::PSH),
        (header.ack, TcpFlags::ACK),
        (header.urg, TcpFlags::URG),
        (header.ece, TcpFlags::ECE),
        (header.cwr, TcpFlags::CWR),
    ] {
        if set {
            flags |= flag;
        }
    }
    flags
}

proptest! {
    #[test]
    fn links_we_emit(dst: [u8; 6], src: [u8; 6], vid in 0u16..4096, pcp in 0u8..8) {
        let mut frame = [0xee; 14 + 4 + 2];
        prop_assert_eq!(ethernet::emit(&mut frame, MacAddr(dst), MacAddr(src), EtherType::VLAN), 14);
        prop_assert_eq!(vlan::emit(&mut frame[14..], vid, pcp, EtherType::IPV6), 4);
        let (eth, rest) = etherparse::Ethernet2Header::from_slice(&frame).unwrap();
        prop_assert_eq!((eth.destination, eth.source, eth.ether_type.0), (dst, src, 0x8100));
        let (tag, rest) = etherparse::SingleVlanHeader::from_slice(rest).unwrap();
        prop_assert_eq!((tag.vlan_id.value(), tag.pcp.value(), tag.drop_eligible_indicator), (vid, pcp, false));
        prop_assert_eq!(tag.ether_type, EpEtherType::IPV6);
        prop_assert_eq!(rest, [0xee; 2]);
    }

    #[test]
    fn links_it_builds(
        dst: [u8; 6],
        src: [u8; 6],
        vid in 0u16..4096,
        pcp in 0u8..8,
        dei: bool,
        inner: u16,
        payload in payload(),
    ) {
        let mut frame = etherparse::Ethernet2Header {
            source: src,
            destination: dst,
            ether_type: EpEtherType::VLAN_TAGGED_FRAME,
        }
        .to_bytes()
        .to_vec();
        let tag = etherparse::SingleVlanHeader {
            pcp: pcp.try_into().unwrap(),
            drop_eligible_indicator: dei,
            vlan_id: VlanId::try_new(vid).unwrap(),
            ether_type: EpEtherType(inner),
        };
        frame.extend(tag.to_bytes());
        frame.extend(&payload);
        let eth = EthernetView::parse(&frame).unwrap();
        prop_assert_eq!((eth.dst(), eth.src(), eth.ethertype()), (MacAddr(dst), MacAddr(src), EtherType::VLAN));
        let vlan = VlanView::parse(eth.payload()).unwrap();
        prop_assert_eq!((vlan.vid(), vlan.pcp(), vlan.dei()), (vid, pcp, dei));
        prop_assert_eq!((vlan.ethertype(), vlan.payload()), (EtherType(inner), &payload[..]));
    }

    #[test]
    fn arp_both_ways(reply: bool, sha: [u8; 6], spa: [u8; 4], tha: [u8; 6], tpa: [u8; 4]) {
        let ours = ArpPacket {
            op: if reply { ArpOp::Reply } else { ArpOp::Request },
            sha: MacAddr(sha),
            spa: spa.into(),
            tha: MacAddr(tha),
            tpa: tpa.into(),
        };
        let theirs = etherparse::ArpEthIpv4Packet {
            operation: etherparse::ArpOperation(if reply { 2 } else { 1 }),
            sender_mac: sha,
            sender_ipv4: spa,
            target_mac: tha,
            target_ipv4: tpa,
        };
        let mut emitted = [0; 28];
        ours.emit(&mut emitted);
        let parsed = etherparse::ArpPacket::from_slice(&emitted).unwrap();
        prop_assert_eq!(parsed.try_eth_ipv4().unwrap(), theirs.clone());
        let built = etherparse::ArpPacket::from(theirs).to_bytes();
        prop_assert_eq!(ArpPacket::parse(&built), Ok(ours));
    }

    #[test]
    fn ipv4_we_emit(header in ipv4_header(protocol::UDP), payload in payload()) {
        let mut packet = vec![0; 20 + payload.len()];
        prop_assert_eq!(header.emit(&mut packet, payload.len() as u16), 20);
        let theirs = Ipv4HeaderSlice::from_slice(&packet).unwrap().to_header();
        prop_assert_eq!((theirs.source, theirs.destination), (header.src.octets(), header.dst.octets()));
        prop_assert_eq!(theirs.dscp.value() << 2 | theirs.ecn.value(), header.tos);
        prop_assert_eq!((theirs.time_to_live, theirs.protocol.0), (header.ttl, protocol::UDP));
        prop_assert_eq!(theirs.identification, header.id);
        prop_assert_eq!(theirs.dont_fragment, header.dont_fragment);
        prop_assert!(!theirs.is_fragmenting_payload());
        prop_assert_eq!(usize::from(theirs.total_len), packet.len());
        prop_assert_eq!(theirs.header_checksum, theirs.calc_header_checksum());
    }

    #[test]
    fn ipv4_it_builds(
        header in ipv4_header(protocol::TCP),
        more_fragments: bool,
        offset in 0u16..0x2000,
        option_words in 0usize..=10,
        payload in payload(),
        padding in 0usize..40,
    ) {
        let mut theirs = etherparse::Ipv4Header {
            dscp: (header.tos >> 2).try_into().unwrap(),
            ecn: (header.tos & 3).try_into().unwrap(),
            identification: header.id,
            dont_fragment: header.dont_fragment,
            more_fragments,
            fragment_offset: IpFragOffset::try_new(offset).unwrap(),
            time_to_live: header.ttl,
            protocol: etherparse::IpNumber(header.protocol),
            source: header.src.octets(),
            destination: header.dst.octets(),
            ..Default::default()
        };
        let options = vec![1; option_words * 4];
        theirs.options = options.as_slice().try_into().unwrap();
        theirs.set_payload_len(payload.len()).unwrap();
        theirs.header_checksum = theirs.calc_header_checksum();
        let mut packet = theirs.to_bytes().to_vec();
        let header_bytes = packet.clone();
        packet.extend(&payload);
        packet.extend(vec![0; padding]);

        let ip = Ipv4View::parse(&packet).unwrap();
        prop_assert!(ip.checksum_ok());
        prop_assert_eq!(ip.checksum(), theirs.header_checksum);
        prop_assert_eq!((ip.header(), ip.options()), (&header_bytes[..], &options[..]));
        prop_assert_eq!(ip.payload(), &payload[..]);
        prop_assert_eq!((ip.header_len(), ip.total_len()), (header_bytes.len(), packet.len() - padding));
        prop_assert_eq!((ip.src(), ip.dst(), ip.protocol()), (header.src, header.dst, header.protocol));
        prop_assert_eq!((ip.tos(), ip.ttl(), ip.id()), (header.tos, header.ttl, header.id));
        prop_assert_eq!((ip.dont_fragment(), ip.more_fragments()), (header.dont_fragment, more_fragments));
        prop_assert_eq!(ip.fragment_offset(), usize::from(offset) * 8);
    }

    #[test]
    fn icmp_we_emit(ty: u8, code: u8, rest: [u8; 4], payload in payload()) {
        let mut message = vec![0xee; 8 + payload.len()];
        prop_assert_eq!(icmpv4::emit(&mut message, ty, code, rest, &payload), message.len());
        prop_assert!(Icmpv4View::parse(&message).unwrap().checksum_ok());
        // Its typed messages forget bytes that their type does not use, so the sum is taken of an untyped one.
        let untyped = etherparse::Icmpv4Type::Unknown { type_u8: ty, code_u8: code, bytes5to8: rest };
        let csum = u16::from_be_bytes([message[2], message[3]]);
        prop_assert_eq!(csum, untyped.calc_checksum(&payload));
        // It insists on the fixed sizes of timestamp messages.
        if !matches!(ty, 13 | 14) {
            let theirs = Icmpv4Slice::from_slice(&message).unwrap();
            prop_assert_eq!((theirs.type_u8(), theirs.code_u8(), theirs.bytes5to8()), (ty, code, rest));
            prop_assert_eq!((theirs.checksum(), theirs.payload()), (csum, &payload[..]));
        }
    }

    #[test]
    fn icmp_it_builds(id: u16, seq: u16, mtu: u16, payload in payload()) {
        let mut packet = vec![];
        let builder = PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
        builder.icmpv4_echo_request(id, seq).write(&mut packet, &payload).unwrap();
        let ip = Ipv4View::parse(&packet).unwrap();
        prop_assert_eq!(ip.protocol(), protocol::ICMP);
        let echo = Icmpv4View::parse(ip.payload()).unwrap();
        prop_assert!(echo.checksum_ok());
        prop_assert_eq!((echo.ty(), echo.code()), (icmp_type::ECHO_REQUEST, 0));
        prop_assert_eq!((echo.ident(), echo.seq(), echo.payload()), (id, seq, &payload[..]));

        let too_big = etherparse::Icmpv4Type::DestinationUnreachable(
            etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu },
        );
        let mut message = etherparse::Icmpv4Header::with_checksum(too_big, &payload).to_bytes().to_vec();
        message.extend(&payload);
        let error = Icmpv4View::parse(&message).unwrap();
        prop_assert!(error.checksum_ok());
        prop_assert_eq!((error.ty(), error.code()), (icmp_type::DEST_UNREACHABLE, unreachable::FRAG_NEEDED));
        prop_assert_eq!((error.mtu(), error.payload()), (mtu, &payload[..]));
    }

    #[test]
    fn udp_both_ways(src: ([u8; 4], u16), dst: ([u8; 4], u16), payload in payload()) {
        let mut built = vec![];
        PacketBuilder::ipv4(src.0, dst.0, 64).udp(src.1, dst.1).write(&mut built, &payload).unwrap();
        let mut emitted = vec![0xee; 8 + payload.len()];
        let (src, dst) = (SocketAddrV4::new(src.0.into(), src.1), SocketAddrV4::new(dst.0.into(), dst.1));
        prop_assert_eq!(udp::emit(&mut emitted, src, dst, &payload), emitted.len());
        prop_assert_eq!(&emitted[..], &built[20..]);

        let udp = UdpView::parse(&emitted).unwrap();
        prop_assert!(udp.checksum_ok(*src.ip(), *dst.ip()));
        prop_assert_eq!((udp.src_port(), udp.dst_port()), (src.port(), dst.port()));
        prop_assert_eq!((udp.len(), udp.payload()), (emitted.len(), &payload[..]));
    }

    #[test]
    fn tcp_we_emit(
        ip in ipv4_header(protocol::TCP),
        header in tcp_header(),
        (options, elements) in tcp_options(),
        payload in payload(),
    ) {
        let mut packet = vec![0xee; 20 + 20 + options.len() + payload.len()];
        let segment_len = packet.len() - 20;
        ip.emit(&mut packet, segment_len as u16);
        let header_len = header.emit(&mut packet[20..], &options);
        prop_assert_eq!(header_len, 20 + options.len());
        packet[20 + header_len..].copy_from_slice(&payload);
        fill_checksum(&mut packet[20..], ip.src, ip.dst);

        let sliced = SlicedPacket::from_ip(&packet).unwrap();
        let (Some(NetSlice::Ipv4(theirs_ip)), Some(TransportSlice::Tcp(theirs))) = (sliced.net, sliced.transport)
        else {
            return Err(TestCaseError::fail("not taken for TCP over IPv4"));
        };
        let sum = theirs.calc_checksum_ipv4(ip.src.octets(), ip.dst.octets());
        prop_assert_eq!(theirs_ip.header().source_addr(), ip.src);
        prop_assert_eq!(theirs.checksum(), sum.unwrap());
        prop_assert_eq!((theirs.source_port(), theirs.destination_port()), (header.src_port, header.dst_port));
        prop_assert_eq!(theirs.sequence_number(), header.seq.raw());
        prop_assert_eq!(theirs.acknowledgment_number(), header.ack.raw());
        prop_assert_eq!(flags_of(&theirs.to_header()), header.flags);
        prop_assert!(!theirs.ns());
        prop_assert_eq!((theirs.window_size(), theirs.urgent_pointer()), (header.window, header.urgent));
        prop_assert_eq!(theirs.payload(), &payload[..]);
        let seen: Result<Vec<_>, _> =
            theirs.options_iterator().filter(|option| *option != Ok(TcpOptionElement::Noop)).collect();
        prop_assert_eq!(seen.unwrap(), elements);
    }

    #[test]
    fn tcp_it_builds(
        addrs: ([u8; 4], [u8; 4]),
        header in tcp_header(),
        ns: bool,
        (_, elements) in tcp_options(),
        payload in payload(),
        flip in any::<prop::sample::Index>(),
    ) {
        let has = |flag| header.flags.contains(flag);
        let mut theirs = etherparse::TcpHeader {
            ns,
            fin: has(TcpFlags::FIN),
            syn: has(TcpFlags::SYN),
            rst: has(TcpFlags::RST),
            psh: has(TcpFlags::PSH),
            ack: has(TcpFlags::ACK),
            urg: has(TcpFlags::URG),
            ece: has(TcpFlags::ECE),
            cwr: has(TcpFlags::CWR),
            acknowledgment_number: header.ack.raw(),
            urgent_pointer: header.urgent,
            ..etherparse::TcpHeader::new(header.src_port, header.dst_port, header.seq.raw(), header.window)
        };
        theirs.set_options(&elements).unwrap();
        let (src, dst) = (Ipv4Addr::from(addrs.0), Ipv4Addr::from(addrs.1));
        theirs.checksum = theirs.calc_checksum_ipv4_raw(addrs.0, addrs.1, &payload).unwrap();
        let mut segment = theirs.to_bytes().to_vec();
        segment.extend(&payload);

        let tcp = TcpView::parse(&segment).unwrap();
        prop_assert!(tcp.checksum_ok(src, dst));
        prop_assert_eq!(tcp.checksum(), theirs.checksum);
        prop_assert_eq!((tcp.src_port(), tcp.dst_port()), (header.src_port, header.dst_port));
        prop_assert_eq!((tcp.seq(), tcp.ack(), tcp.flags()), (header.seq, header.ack, header.flags));
        prop_assert_eq!((tcp.ae(), tcp.reserved()), (ns, 0));
        prop_assert_eq!((tcp.window(), tcp.urgent()), (header.window, header.urgent));
        prop_assert_eq!((tcp.header_len(), tcp.payload()), (theirs.header_len(), &payload[..]));
        prop_assert_eq!(TcpOptions::parse(tcp.options()), options_of(&elements));

        // One flipped bit is always noticed.
        let at = flip.index(segment.len() * 8);
        segment[at / 8] ^= 1 << (at % 8);
        prop_assert!(!TcpView::parse(&segment).is_ok_and(|tcp| tcp.checksum_ok(src, dst)));
    }
}

/// What we should read from these options.
fn options_of(elements: &[TcpOptionElement]) -> TcpOptions {
    let mut options = TcpOptions::default();
    for element in elements {
        match element {
            TcpOptionElement::Noop => {}
            TcpOptionElement::MaximumSegmentSize(mss) => {
                options.mss = Some(*mss).filter(|mss| *mss != 0)
            }
            TcpOptionElement::WindowScale(shift) => options.wscale = Some(*shift),
            TcpOptionElement::SelectiveAcknowledgementPermitted => options.sack_permitted = true,
            TcpOptionElement::Timestamp(val, ecr) => {
                options.timestamps = Some(Timestamps {
                    val: *val,
                    ecr: *ecr,
                });
            }
            TcpOptionElement::SelectiveAcknowledgement(first, more) => {
                for edges in [Some(*first)].iter().chain(more).flatten() {
                    options.sack.push(sack_block(*edges));
                }
            }
        }
    }
    options
}
