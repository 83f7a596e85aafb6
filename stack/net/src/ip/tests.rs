use std::net::Ipv4Addr;

use millrace_wire::checksum;
use millrace_wire::ipv4::{Ipv4View, protocol};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::drop::DropReason;
use crate::ids::IfaceId;
use crate::link::LinkKind;
use crate::route::{RouteTable, Scope};

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn routes() -> RouteTable {
    let mut routes = RouteTable::new();
    routes.set_iface(IfaceId(0), 1500);
    routes
        .add_address(IfaceId(0), "10.0.0.1/24".parse().unwrap(), Scope::Global)
        .unwrap();
    routes.set_iface(IfaceId(1), 65535);
    routes
        .add_address(IfaceId(1), "127.0.0.1/8".parse().unwrap(), Scope::Host)
        .unwrap();
    routes
}

fn header(src: Ipv4Addr, dst: Ipv4Addr) -> Ipv4Header {
    Ipv4Header {
        src,
        dst,
        protocol: protocol::TCP,
        ttl: 64,
        tos: 0,
        id: 1,
        dont_fragment: true,
    }
}

/// A packet with four bytes of payload.
fn packet(src: Ipv4Addr, dst: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![0xaa; 24];
    assert_eq!(header(src, dst).emit(&mut bytes, 4), 20);
    bytes
}

/// A packet with `options`, a multiple of four bytes long.
fn packet_with_options(options: &[u8]) -> Vec<u8> {
    let mut bytes = packet(PEER, US);
    bytes.splice(20..20, options.iter().copied());
    bytes[0] = 0x40 | ((20 + options.len()) / 4) as u8;
    bytes[3] = bytes.len() as u8;
    fix_checksum(&mut bytes);
    bytes
}

fn fix_checksum(bytes: &mut [u8]) {
    let header_len = usize::from(bytes[0] & 0xf) * 4;
    bytes[10..12].fill(0);
    let sum = checksum::checksum(&bytes[..header_len]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn check(bytes: &[u8]) -> Result<Dst, DropReason> {
    input(bytes, Origin::Wire, &routes()).map(|accepted| accepted.dst)
}

fn between(src: [u8; 4], dst: [u8; 4]) -> Result<Dst, DropReason> {
    check(&packet(src.into(), dst.into()))
}

#[test]
fn destinations() {
    let peer = PEER.octets();
    assert_eq!(between(peer, US.octets()), Ok(Dst::Local));
    assert_eq!(between(peer, [10, 0, 0, 255]), Ok(Dst::Broadcast));
    assert_eq!(between(peer, [255; 4]), Ok(Dst::Broadcast));
    assert_eq!(between(peer, [224, 0, 0, 251]), Ok(Dst::Multicast));
    assert_eq!(between(peer, [10, 0, 0, 3]), Err(DropReason::Ipv4NotOurs));
    assert_eq!(between(peer, [127, 0, 0, 1]), Err(DropReason::Ipv4NotOurs));
}

#[test]
fn martian_sources() {
    let impossible = [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [255; 4],
        [10, 0, 0, 255],
        US.octets(),
    ];
    for src in impossible {
        assert_eq!(
            between(src, US.octets()),
            Err(DropReason::Ipv4MartianSource),
            "{src:?}"
        );
    }
}

#[test]
fn within_the_host_our_own_addresses_are_honest() {
    for address in [US, Ipv4Addr::LOCALHOST] {
        let bytes = packet(address, address);
        let accepted = input(&bytes, Origin::Loopback, &routes()).map(|accepted| accepted.dst);
        assert_eq!(accepted, Ok(Dst::Local));
    }
    let bytes = packet(Ipv4Addr::UNSPECIFIED, US);
    assert_eq!(
        input(&bytes, Origin::Loopback, &routes()).unwrap_err(),
        DropReason::Ipv4MartianSource
    );
}

#[test]
fn broken_headers() {
    let good = packet(PEER, US);
    assert_eq!(check(&good[..19]), Err(DropReason::Ipv4Malformed));
    assert_eq!(check(&good[..23]), Err(DropReason::Ipv4Malformed));
    let mut flipped = good.clone();
    flipped[8] ^= 1;
    assert_eq!(check(&flipped), Err(DropReason::Ipv4BadChecksum));
    let mut padded = good;
    padded.resize(46, 0);
    let routes = routes();
    let accepted = input(&padded, Origin::Wire, &routes).unwrap();
    assert_eq!(
        accepted.packet.payload(),
        [0xaa; 4],
        "Ethernet padding is cut off"
    );
}

#[test]
fn options_are_ignored_unless_they_route() {
    let nop = 1;
    assert_eq!(
        check(&packet_with_options(&[nop, nop, nop, 0])),
        Ok(Dst::Local)
    );
    assert_eq!(
        check(&packet_with_options(&[nop, 7, 7, 4, 0, 0, 0, 0])),
        Ok(Dst::Local),
        "record route"
    );
    assert_eq!(
        check(&packet_with_options(&[131, 7, 4, 9, 9, 9, 9, 0])),
        Err(DropReason::Ipv4SourceRoute)
    );
    assert_eq!(
        check(&packet_with_options(&[nop, 137, 7, 4, 9, 9, 9, 9])),
        Err(DropReason::Ipv4SourceRoute)
    );
    assert_eq!(
        check(&packet_with_options(&[0, 131, 3, 4])),
        Ok(Dst::Local),
        "nothing counts after the end"
    );
    for bad in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 5, 0, 0], [nop, nop, nop, 7]] {
        assert_eq!(
            check(&packet_with_options(&bad)),
            Err(DropReason::Ipv4BadOptions),
            "{bad:?}"
        );
    }
}

#[test]
fn fragments_are_counted_out() {
    for flags in [0x2000u16, 0x0001, 0x2001] {
        let mut bytes = packet(PEER, US);
        bytes[6..8].copy_from_slice(&flags.to_be_bytes());
        fix_checksum(&mut bytes);
        assert_eq!(check(&bytes), Err(DropReason::Ipv4Fragment), "{flags:#06x}");
    }
}

#[test]
fn a_host_takes_packets_at_the_end_of_their_life() {
    let mut bytes = packet(PEER, US);
    bytes[8] = 0;
    fix_checksum(&mut bytes);
    assert_eq!(check(&bytes), Ok(Dst::Local));
}

#[test]
fn output_writes_what_input_takes() {
    let ours = LinkConfig {
        kind: LinkKind::Ethernet,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        vlan: Some(5),
        mtu: 1500,
    };
    let theirs = LinkConfig {
        mac: MacAddr([2, 0, 0, 0, 0, 2]),
        ..ours
    };
    let mut frame = vec![0; 18 + 20 + 3];
    let payload_at = output(&theirs, &mut frame, ours.mac, &header(PEER, US), 3);
    assert_eq!(payload_at, 38);
    frame[payload_at..].copy_from_slice(b"abc");
    let inbound = link::parse(&ours, &frame).unwrap();
    let routes = routes();
    let accepted = input(&frame[inbound.l3_offset..], Origin::Wire, &routes).unwrap();
    assert_eq!(accepted.packet.payload(), b"abc");
    assert_eq!(
        (accepted.packet.src(), accepted.packet.dst(), accepted.dst),
        (PEER, US, Dst::Local)
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..80), ihl in 5u8..16) {
        let _ = check(&bytes);
        // The same with a header that stands up to the first checks.
        if bytes.len() >= usize::from(ihl) * 4 {
            let len = bytes.len() as u16;
            bytes[0] = 0x40 | ihl;
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[12..16].copy_from_slice(&PEER.octets());
            bytes[16..20].copy_from_slice(&US.octets());
            fix_checksum(&mut bytes);
            let verdict = check(&bytes);
            prop_assert_ne!(verdict, Err(DropReason::Ipv4Malformed));
            prop_assert_ne!(verdict, Err(DropReason::Ipv4BadChecksum));
            prop_assert!(Ipv4View::parse(&bytes).is_ok());
        }
    }

    #[test]
    fn the_cache_keeps_the_newest(writes in vec((0u8..20, 0u64..50), 0..60)) {
        let mut cache = AddrCache::new(5);
        let mut model: Vec<(Ipv4Addr, millrace_wire::time::Instant)> = Vec::new();
        let mut clock = 0;
        for (host, step) in writes {
            clock += step + 1;
            let (addr, now) = (Ipv4Addr::new(10, 0, 0, host), millrace_wire::time::Instant::from_nanos(clock));
            let full = model.len() == 5 && model.iter().all(|&(other, _)| other != addr);
            let inserted = cache.insert(now, addr, clock);
            prop_assert_eq!(inserted, if full { Inserted::Evicted } else { Inserted::Fits });
            model.retain(|&(other, _)| other != addr);
            model.push((addr, now));
            if model.len() > 5 {
                model.remove(0);
            }
        }
        prop_assert_eq!(cache.len(), model.len());
        for (addr, at) in model {
            prop_assert_eq!(cache.get(addr), Some((at, &at.as_nanos())));
        }
    }
}
