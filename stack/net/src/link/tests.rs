use super::*;
use proptest::prelude::*;

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn ethernet(vlan: Option<u16>) -> LinkConfig {
    LinkConfig {
        kind: LinkKind::Ethernet,
        mac: OURS,
        vlan,
        mtu: 1500,
    }
}

/// A frame from `THEIRS` with an optional tag and two bytes of payload.
fn frame(dst: MacAddr, vlan: Option<u16>, ty: EtherType) -> Vec<u8> {
    let sender = LinkConfig {
        mac: THEIRS,
        ..ethernet(vlan)
    };
    let mut buf = vec![0xaa; header_len(&sender) + 2];
    let n = emit(&sender, &mut buf, dst, ty);
    assert_eq!(n, buf.len() - 2);
    assert_eq!(buf[n..], [0xaa, 0xaa]);
    buf
}

#[test]
fn untagged_frames_by_destination() {
    let parse_to = |dst| parse(&ethernet(None), &frame(dst, None, EtherType::IPV4));
    let inbound = |cast| Inbound {
        proto: L3Proto::Ipv4,
        l3_offset: 14,
        cast,
        src: THEIRS,
    };
    assert_eq!(parse_to(OURS), Ok(inbound(Cast::Unicast)));
    assert_eq!(parse_to(MacAddr::BROADCAST), Ok(inbound(Cast::Broadcast)));
    assert_eq!(
        parse_to(multicast_mac(Ipv4Addr::new(224, 128, 0, 251))),
        Ok(inbound(Cast::Multicast))
    );
    assert_eq!(parse_to(THEIRS), Err(DropReason::LinkNotOurMac));
}

#[test]
fn vlan_tags_must_match() {
    let try_tags = |own, tag| {
        parse(&ethernet(own), &frame(OURS, tag, EtherType::ARP)).map(|i| (i.proto, i.l3_offset))
    };
    assert_eq!(try_tags(Some(7), Some(7)), Ok((L3Proto::Arp, 18)));
    assert_eq!(
        try_tags(Some(7), Some(8)),
        Err(DropReason::LinkVlanMismatch)
    );
    assert_eq!(
        try_tags(Some(7), Some(0)),
        Err(DropReason::LinkVlanMismatch)
    );
    assert_eq!(try_tags(Some(7), None), Err(DropReason::LinkVlanMismatch));
    assert_eq!(try_tags(None, Some(7)), Err(DropReason::LinkVlanMismatch));
    assert_eq!(
        try_tags(None, Some(0)),
        Ok((L3Proto::Arp, 18)),
        "a priority tag is no VLAN"
    );
}

#[test]
fn foreign_protocols_and_runts() {
    assert_eq!(
        parse(&ethernet(None), &frame(OURS, None, EtherType::IPV6)),
        Err(DropReason::LinkUnknownEtherType)
    );
    assert_eq!(parse(&ethernet(None), &[0; 13]), Err(DropReason::LinkRunt));
    let tagged = frame(OURS, Some(7), EtherType::IPV4);
    assert_eq!(
        parse(&ethernet(Some(7)), &tagged[..17]),
        Err(DropReason::LinkRunt)
    );
}

#[test]
fn ip_links_have_no_header() {
    let cfg = LinkConfig {
        kind: LinkKind::Ip,
        ..ethernet(None)
    };
    assert_eq!(header_len(&cfg), 0);
    assert_eq!(emit(&cfg, &mut [], THEIRS, EtherType::IPV4), 0);
    let inbound = Inbound {
        proto: L3Proto::Ipv4,
        l3_offset: 0,
        cast: Cast::Unicast,
        src: MacAddr::ZERO,
    };
    assert_eq!(parse(&cfg, &[0x45]), Ok(inbound));
    assert_eq!(parse(&cfg, &[0x60]), Err(DropReason::LinkUnknownEtherType));
    assert_eq!(parse(&cfg, &[]), Err(DropReason::LinkRunt));
}

#[test]
fn multicast_address_keeps_23_bits() {
    assert_eq!(
        multicast_mac(Ipv4Addr::new(239, 255, 1, 2)),
        MacAddr([1, 0, 0x5e, 0x7f, 1, 2])
    );
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), vlan in proptest::option::of(1u16..4095)) {
        let mut bytes = bytes;
        if let Some(dst) = bytes.get_mut(..6) {
            dst.copy_from_slice(&OURS.0);
        }
        if let Ok(inbound) = parse(&ethernet(vlan), &bytes) {
            prop_assert!(inbound.l3_offset <= bytes.len());
        }
    }
}
