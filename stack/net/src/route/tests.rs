use core::time::Duration;

use millrace_wire::time::Instant;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ETH0: IfaceId = IfaceId(0);
const ETH1: IfaceId = IfaceId(1);

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn via(dst: &str, iface: IfaceId, gateway: Option<&str>, metric: u32) -> Route {
    Route {
        dst: net(dst),
        kind: RouteKind::Unicast,
        iface,
        gateway: gateway.map(ip),
        metric,
        prefsrc: None,
        mtu: None,
    }
}

fn refusing(dst: &str, kind: RouteKind) -> Route {
    Route {
        kind,
        ..via(dst, ETH0, None, 0)
    }
}

/// Two interfaces and a default route.
fn table() -> RouteTable {
    let mut table = RouteTable::new();
    table.set_iface(ETH0, 1500);
    table.set_iface(ETH1, 9000);
    table
        .add_address(ETH0, net("10.0.0.1/24"), Scope::Global)
        .unwrap();
    table
        .add_address(ETH0, net("10.0.0.2/24"), Scope::Global)
        .unwrap();
    table
        .add_address(ETH1, net("192.168.1.1/24"), Scope::Global)
        .unwrap();
    table
        .add(via("0.0.0.0/0", ETH0, Some("10.0.0.254"), 0))
        .unwrap();
    table
}

fn hop(
    iface: IfaceId,
    next_hop: &str,
    src: &str,
    mtu: u16,
    kind: HopKind,
) -> Result<Hop, RouteError> {
    Ok(Hop {
        iface,
        next_hop: ip(next_hop),
        src: ip(src),
        mtu,
        kind,
    })
}

#[test]
fn neighbours_gateways_and_ourselves() {
    let table = table();
    let to = |dst: &str| table.lookup(ip(dst), None);
    assert_eq!(
        to("10.0.0.9"),
        hop(ETH0, "10.0.0.9", "10.0.0.1", 1500, HopKind::Unicast)
    );
    assert_eq!(
        to("192.168.1.9"),
        hop(ETH1, "192.168.1.9", "192.168.1.1", 9000, HopKind::Unicast)
    );
    assert_eq!(
        to("8.8.8.8"),
        hop(ETH0, "10.0.0.254", "10.0.0.1", 1500, HopKind::Unicast)
    );
    assert_eq!(
        to("10.0.0.2"),
        hop(ETH0, "10.0.0.2", "10.0.0.2", 65535, HopKind::Local)
    );
    assert_eq!(to("0.0.0.0"), Err(RouteError::Unreachable));
    let bound = table.lookup(ip("8.8.8.8"), Some(ip("10.0.0.2")));
    assert_eq!(
        bound,
        hop(ETH0, "10.0.0.254", "10.0.0.2", 1500, HopKind::Unicast)
    );
}

#[test]
fn everybody_and_groups() {
    let table = table();
    let to = |dst: &str, src: Option<&str>| table.lookup(ip(dst), src.map(ip));
    let broadcast = |next_hop| hop(ETH0, next_hop, "10.0.0.1", 1500, HopKind::Broadcast);
    assert_eq!(to("10.0.0.255", None), broadcast("10.0.0.255"));
    assert_eq!(to("255.255.255.255", None), broadcast("255.255.255.255"));
    let from_eth1 = |dst, kind| {
        (
            to(dst, Some("192.168.1.1")),
            hop(ETH1, dst, "192.168.1.1", 9000, kind),
        )
    };
    for (found, wanted) in [
        from_eth1("255.255.255.255", HopKind::Broadcast),
        from_eth1("224.0.0.251", HopKind::Multicast),
    ] {
        assert_eq!(found, wanted);
    }
    assert!(table.is_broadcast(ip("192.168.1.255")) && table.is_broadcast(ip("255.255.255.255")));
    assert!(!table.is_broadcast(ip("10.0.0.254")) && !table.is_broadcast(ip("10.0.1.255")));
}

#[test]
fn refusing_routes() {
    let mut table = table();
    table
        .add(refusing("20.0.0.0/8", RouteKind::Blackhole))
        .unwrap();
    table
        .add(refusing("20.1.0.0/16", RouteKind::Unreachable))
        .unwrap();
    table
        .add(refusing("20.1.1.0/24", RouteKind::Prohibit))
        .unwrap();
    table.remove(net("0.0.0.0/0"), None).unwrap();
    let to = |dst: &str| table.lookup(ip(dst), None).unwrap_err();
    assert_eq!(to("20.2.0.1"), RouteError::Blackhole);
    assert_eq!(to("20.1.0.1"), RouteError::HostUnreachable);
    assert_eq!(to("20.1.1.1"), RouteError::Prohibited);
    assert_eq!(to("21.0.0.1"), RouteError::Unreachable);
}

#[test]
fn metrics_decide_between_equals() {
    let mut table = table();
    let gateway = |table: &RouteTable| table.lookup(ip("9.9.9.9"), None).unwrap().next_hop;
    table
        .add(via("9.0.0.0/8", ETH0, Some("10.0.0.20"), 20))
        .unwrap();
    table
        .add(via("9.0.0.0/8", ETH0, Some("10.0.0.10"), 10))
        .unwrap();
    assert_eq!(gateway(&table), ip("10.0.0.10"));
    let again = via("9.0.0.0/8", ETH1, None, 10);
    assert_eq!(table.add(again), Err(RouteTableError::Exists));
    let old = table.replace(again).unwrap().unwrap();
    assert_eq!(old.gateway, Some(ip("10.0.0.10")));
    assert_eq!(table.lookup(ip("9.9.9.9"), None).unwrap().iface, ETH1);
    table.remove(net("9.0.0.0/8"), Some(10)).unwrap();
    assert_eq!(gateway(&table), ip("10.0.0.20"));
    table.remove(net("9.0.0.0/8"), None).unwrap();
    assert_eq!(gateway(&table), ip("10.0.0.254"), "the default route again");
    assert_eq!(
        table.remove(net("9.0.0.0/8"), None),
        Err(RouteTableError::NotFound)
    );
}

#[test]
fn source_and_mtu_of_a_route() {
    let mut table = table();
    let route = Route {
        prefsrc: Some(ip("10.0.0.2")),
        mtu: Some(1400),
        ..via("9.0.0.0/8", ETH1, None, 0)
    };
    table.add(route).unwrap();
    assert_eq!(
        table.lookup(ip("9.1.1.1"), None),
        hop(ETH1, "9.1.1.1", "10.0.0.2", 1400, HopKind::Unicast)
    );
    let foreign = Route {
        prefsrc: Some(ip("1.1.1.1")),
        ..via("11.0.0.0/8", ETH0, None, 0)
    };
    assert_eq!(table.add(foreign), Err(RouteTableError::BadAddress));
}

#[test]
fn source_selection() {
    let mut table = table();
    table
        .add_address(ETH0, net("10.9.0.1/16"), Scope::Global)
        .unwrap();
    table
        .add(via("30.0.0.0/8", ETH0, Some("10.9.0.254"), 0))
        .unwrap();
    let src = |table: &RouteTable, dst: &str| table.lookup(ip(dst), None).unwrap().src;
    assert_eq!(
        src(&table, "30.0.0.1"),
        ip("10.9.0.1"),
        "the address in the gateway's subnet"
    );

    // An interface without address borrows a global one, never one that is valid on its link only.
    table.set_iface(IfaceId(2), 1500);
    table.set_iface(IfaceId(3), 1500);
    table.add(via("40.0.0.0/8", IfaceId(2), None, 0)).unwrap();
    assert_eq!(src(&table, "40.0.0.1"), ip("10.0.0.1"));
    let mut lone = RouteTable::new();
    lone.set_iface(ETH0, 1500);
    lone.set_iface(ETH1, 1500);
    lone.add(via("40.0.0.0/8", ETH0, None, 0)).unwrap();
    lone.add_address(ETH1, net("169.254.0.1/16"), Scope::Link)
        .unwrap();
    assert_eq!(src(&lone, "40.0.0.1"), Ipv4Addr::UNSPECIFIED);
}

#[test]
fn addresses_come_and_go() {
    let mut table = table();
    let ranks: Vec<_> = table.addresses().map(|a| (a.net.addr(), a.rank)).collect();
    let wanted = [
        (ip("10.0.0.1"), AddressRank::Primary),
        (ip("10.0.0.2"), AddressRank::Secondary),
        (ip("192.168.1.1"), AddressRank::Primary),
    ];
    assert_eq!(ranks, wanted);
    assert_eq!(
        table.add_address(ETH0, net("10.0.0.1/24"), Scope::Global),
        Err(RouteTableError::Exists)
    );
    assert_eq!(
        table.add_address(IfaceId(9), net("10.5.0.1/24"), Scope::Global),
        Err(RouteTableError::NoSuchIface)
    );
    assert_eq!(
        table.add_address(ETH0, net("224.0.0.1/24"), Scope::Global),
        Err(RouteTableError::BadAddress)
    );
    assert_eq!(
        table.remove_address(ETH1, ip("10.0.0.1")),
        Err(RouteTableError::NotFound)
    );

    table
        .add(Route {
            prefsrc: Some(ip("10.0.0.2")),
            ..via("9.0.0.0/8", ETH1, None, 0)
        })
        .unwrap();
    table.remove_address(ETH0, ip("10.0.0.1")).unwrap();
    assert!(
        !table.is_local(ip("10.0.0.1")) && !table.is_local(ip("10.0.0.2")),
        "secondaries go with their primary"
    );
    assert_eq!(
        table.remove(net("9.0.0.0/8"), None),
        Err(RouteTableError::NotFound),
        "its source is gone"
    );
    assert_eq!(
        table.lookup(ip("10.0.0.9"), None).unwrap().next_hop,
        ip("10.0.0.254"),
        "no longer a neighbour"
    );
}

#[test]
fn an_interface_takes_its_routes_along() {
    let mut table = table();
    table
        .add(refusing("20.0.0.0/8", RouteKind::Blackhole))
        .unwrap();
    table.remove_iface(ETH0);
    assert_eq!(
        table.lookup(ip("8.8.8.8"), None),
        Err(RouteError::Unreachable)
    );
    assert_eq!(
        table.lookup(ip("20.0.0.1"), None),
        Err(RouteError::Blackhole),
        "needs no interface"
    );
    assert_eq!(table.lookup(ip("192.168.1.9"), None).unwrap().iface, ETH1);
    assert_eq!(
        table.add(via("9.0.0.0/8", ETH0, None, 0)),
        Err(RouteTableError::NoSuchIface)
    );
}

#[test]
fn loopback_owns_its_subnet() {
    let mut table = table();
    assert!(!table.is_local(Ipv4Addr::LOCALHOST));
    table.set_iface(IfaceId(7), 65535);
    table
        .add_address(IfaceId(7), net("127.0.0.1/8"), Scope::Host)
        .unwrap();
    assert!(table.is_local(ip("127.3.2.1")));
    assert_eq!(
        table.lookup(ip("127.3.2.1"), None).unwrap().iface,
        IfaceId(7)
    );
    assert_eq!(
        table.lookup(ip("8.8.8.8"), None).unwrap().src,
        ip("10.0.0.1")
    );
}

#[test]
fn every_change_moves_the_generation_and_no_failure_does() {
    let mut table = table();
    let mut last = table.generation();
    let mut moved =
        |table: &RouteTable| core::mem::replace(&mut last, table.generation()) < table.generation();
    table.add(via("9.0.0.0/8", ETH0, None, 0)).unwrap();
    assert!(moved(&table));
    table.add(via("9.0.0.0/8", ETH0, None, 0)).unwrap_err();
    table.remove(net("99.0.0.0/8"), None).unwrap_err();
    table
        .add_address(ETH0, net("10.0.0.1/24"), Scope::Global)
        .unwrap_err();
    assert!(!moved(&table));
    table.replace(via("9.0.0.0/8", ETH1, None, 0)).unwrap();
    assert!(moved(&table));
    table.remove(net("9.0.0.0/8"), None).unwrap();
    assert!(moved(&table));
    table.set_iface(ETH0, 1400);
    assert!(moved(&table));
    table.remove_address(ETH0, ip("10.0.0.2")).unwrap();
    assert!(moved(&table));
    table.remove_iface(ETH1);
    assert!(moved(&table));
}

/// Longest match, then least metric, by looking at every route.
fn linear(routes: &[Route], dst: Ipv4Addr) -> Option<&Route> {
    routes
        .iter()
        .filter(|route| route.dst.contains(&dst))
        .min_by_key(|route| (u8::MAX - route.dst.prefix_len(), route.metric))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn lookup_agrees_with_a_linear_scan(
        // Few distinct bits, so that prefixes nest and collide.
        adds in vec((0u32..256, 0u8..=8, 0u32..3, 1u8..250), 0..60),
        removes in vec((0u32..256, 0u8..=8, proptest::option::of(0u32..3)), 0..20),
        dsts in vec(0u32..256, 1..20),
    ) {
        let prefix = |bits: u32, len: u8| Ipv4Net::new(Ipv4Addr::from_bits(0x1400_0000 | bits), 24 + len).unwrap().trunc();
        let mut table = RouteTable::new();
        table.set_iface(ETH0, 1500);
        let mut model: Vec<Route> = Vec::new();
        for (bits, len, metric, gateway) in adds {
            let dst = prefix(bits, len);
            let gateway = Some(Ipv4Addr::new(10, 0, 0, gateway));
            let route = Route { dst, gateway, ..via("0.0.0.0/0", ETH0, None, metric) };
            let known = model.iter().any(|other| other.dst == dst && other.metric == metric);
            prop_assert_eq!(table.add(route), if known { Err(RouteTableError::Exists) } else { Ok(()) });
            if !known {
                model.push(route);
            }
        }
        for (bits, len, metric) in removes {
            let dst = prefix(bits, len);
            let victim = model
                .iter()
                .filter(|other| other.dst == dst && metric.is_none_or(|metric| other.metric == metric))
                .min_by_key(|other| other.metric)
                .copied();
            prop_assert_eq!(table.remove(dst, metric).ok(), victim);
            model.retain(|other| Some(*other) != victim);
        }
        prop_assert_eq!(table.routes().count(), model.len());
        for bits in dsts {
            let dst = Ipv4Addr::from_bits(0x1400_0000 | bits);
            let found = table.lookup(dst, None).ok().map(|hop| hop.next_hop);
            prop_assert_eq!(found, linear(&model, dst).and_then(|route| route.gateway));
        }
    }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

#[test]
fn path_mtu_only_goes_down_to_a_floor() {
    let mut cache = PmtuCache::default();
    let dst = ip("8.8.8.8");
    assert_eq!(
        cache.update(at(0), dst, 1500, 9000),
        None,
        "more than the route takes"
    );
    assert_eq!(cache.update(at(0), dst, 1500, 1500), None);
    assert_eq!((cache.get(at(0), dst), cache.len()), (None, 0));
    assert_eq!(cache.update(at(0), dst, 1500, 1400), Some(1400));
    assert_eq!(cache.update(at(1), dst, 1500, 1450), None);
    assert_eq!(cache.update(at(1), dst, 1500, 68), Some(552));
    assert_eq!(
        cache.update(at(1), dst, 1500, 0),
        None,
        "already at the floor"
    );
    assert_eq!(cache.get(at(1), dst), Some(552));
    assert_eq!(
        cache.update(at(1), ip("9.9.9.9"), 500, 68),
        None,
        "a route below the floor stays as it is"
    );
    let PmtuCounters {
        lowered,
        ignored,
        floored,
        evicted,
    } = *cache.counters();
    assert_eq!((lowered, ignored, floored, evicted), (2, 5, 3, 0));
}

#[test]
fn path_mtu_expires_unless_heard_again() {
    let mut cache = PmtuCache::default();
    let dst = ip("8.8.8.8");
    let _ = cache.update(at(0), dst, 1500, 1400);
    assert_eq!(cache.get(at(599), dst), Some(1400));
    assert_eq!(cache.update(at(599), dst, 1500, 1400), None);
    assert_eq!(cache.get(at(1198), dst), Some(1400));
    assert_eq!(cache.get(at(1199), dst), None);
    assert_eq!(
        cache.update(at(1199), dst, 1500, 1450),
        Some(1450),
        "what expired binds no longer"
    );
}

#[test]
fn path_mtu_cache_forgets_the_oldest() {
    let mut cache = PmtuCache::new(2, 552, Duration::from_secs(600));
    for n in 0..3u8 {
        assert_eq!(
            cache.update(at(n.into()), Ipv4Addr::new(8, 0, 0, n), 1500, 1400),
            Some(1400)
        );
    }
    assert_eq!((cache.len(), cache.counters().evicted), (2, 1));
    assert_eq!(cache.get(at(3), ip("8.0.0.0")), None);
    assert_eq!(cache.get(at(3), ip("8.0.0.2")), Some(1400));
    cache.forget(ip("8.0.0.2"));
    assert_eq!(cache.get(at(3), ip("8.0.0.2")), None);
    cache.clear();
    assert!(cache.is_empty());
}
