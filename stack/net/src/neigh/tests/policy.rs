//! What ARP packets may teach us, and what floods cannot do.

use super::*;

fn request_from(ip: Ipv4Addr, mac: MacAddr) -> ArpPacket {
    ArpPacket {
        op: ArpOp::Request,
        sha: mac,
        spa: ip,
        tha: MacAddr::ZERO,
        tpa: US,
    }
}

fn mac_of(table: &Table, ip: Ipv4Addr) -> Option<MacAddr> {
    table.get(IFACE, ip).and_then(|neighbour| neighbour.mac)
}

/// The `n`th host of a flood.
fn host(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a80_0000 + n)
}

#[test]
fn a_request_for_us_is_answered_and_teaches() {
    let mut table = table();
    let request = request_from(PEER, PEER_MAC);
    assert_eq!(
        input(&mut table, at(0.0), Cast::Broadcast, &request),
        Ok(ArpInput::Answered)
    );
    let packet = ArpPacket {
        op: ArpOp::Reply,
        sha: OWN_MAC,
        spa: US,
        tha: PEER_MAC,
        tpa: PEER,
    };
    assert_eq!(
        effects(&mut table),
        [Effect::Reply {
            iface: IFACE,
            to: PEER_MAC,
            packet
        }]
    );
    assert_eq!(state(&table, PEER), Some(NudState::Stale));

    // While we are asking, it is the answer; what goes out then is a use.
    let other = Ipv4Addr::new(10, 0, 0, 3);
    let _ = table.resolve(at(0.0), IFACE, other);
    table.park_flow(IFACE, other, 1);
    effects(&mut table);
    let _ = input(
        &mut table,
        at(0.1),
        Cast::Broadcast,
        &request_from(other, OTHER_MAC),
    );
    assert!(matches!(
        effects(&mut table)[..],
        [Effect::Release { mac: OTHER_MAC, .. }, Effect::Reply { .. }]
    ));
    assert_eq!(state(&table, other), Some(NudState::Delay));
}

#[test]
fn a_probe_is_answered_and_teaches_nothing() {
    let mut table = table();
    let probe = request_from(Ipv4Addr::UNSPECIFIED, PEER_MAC);
    assert_eq!(
        input(&mut table, at(0.0), Cast::Broadcast, &probe),
        Ok(ArpInput::Answered)
    );
    assert!(matches!(
        effects(&mut table)[..],
        [Effect::Reply { to: PEER_MAC, .. }]
    ));
    assert!(table.is_empty());
}

#[test]
fn strangers_are_not_remembered() {
    let mut table = table();
    let reply = reply_from(PEER, PEER_MAC);
    assert_eq!(
        input(&mut table, at(0.0), Cast::Unicast, &reply),
        Err(DropReason::ArpNotForUs)
    );
    let gratuitous = announcement(PEER_MAC, PEER);
    assert_eq!(
        input(&mut table, at(0.0), Cast::Broadcast, &gratuitous),
        Err(DropReason::ArpNotForUs)
    );
    let for_another = ArpPacket {
        tpa: Ipv4Addr::new(10, 0, 0, 9),
        ..request_from(PEER, PEER_MAC)
    };
    assert_eq!(
        input(&mut table, at(0.0), Cast::Broadcast, &for_another),
        Err(DropReason::ArpNotForUs)
    );
    assert!(table.is_empty());
    assert_eq!(effects(&mut table), []);
}

#[test]
fn only_a_unicast_reply_proves_reachability() {
    let mut table = table();
    let _ = table.resolve(at(0.0), IFACE, PEER);
    let _ = input(
        &mut table,
        at(0.0),
        Cast::Broadcast,
        &reply_from(PEER, PEER_MAC),
    );
    assert_eq!(state(&table, PEER), Some(NudState::Stale));
    let _ = input(
        &mut table,
        at(0.0),
        Cast::Unicast,
        &reply_from(PEER, PEER_MAC),
    );
    assert_eq!(state(&table, PEER), Some(NudState::Reachable));
    let _ = input(
        &mut table,
        at(0.0),
        Cast::Broadcast,
        &request_from(PEER, PEER_MAC),
    );
    assert_eq!(
        state(&table, PEER),
        Some(NudState::Reachable),
        "the same address again is no news"
    );
}

#[test]
fn the_first_of_several_answers_wins() {
    let mut table = reachable(at(0.0));
    let other = reply_from(PEER, OTHER_MAC);
    assert_eq!(
        input(&mut table, at(0.9), Cast::Unicast, &other),
        Err(DropReason::ArpIgnored)
    );
    assert_eq!(mac_of(&table, PEER), Some(PEER_MAC));
    assert_eq!(
        input(&mut table, at(1.1), Cast::Unicast, &other),
        Ok(ArpInput::Updated)
    );
    assert_eq!(
        mac_of(&table, PEER),
        Some(OTHER_MAC),
        "after locktime the host may have moved"
    );
}

#[test]
fn gratuitous_arp_moves_a_known_neighbour_at_once() {
    let mut table = reachable(at(0.0));
    let gratuitous = announcement(OTHER_MAC, PEER);
    assert_eq!(
        input(&mut table, at(0.1), Cast::Broadcast, &gratuitous),
        Ok(ArpInput::Updated)
    );
    let neighbour = table.get(IFACE, PEER).unwrap();
    assert_eq!(
        (neighbour.mac, neighbour.state),
        (Some(OTHER_MAC), NudState::Stale)
    );
    assert_eq!(
        neighbour.confirmed, None,
        "nobody has confirmed the new address"
    );
}

#[test]
fn permanent_entries_never_change() {
    let mut table = table();
    let _ = table.resolve(at(0.0), IFACE, PEER);
    table.park_flow(IFACE, PEER, 1);
    effects(&mut table);
    table.add_permanent(at(0.0), IFACE, PEER, PEER_MAC);
    assert!(matches!(
        effects(&mut table)[..],
        [Effect::Release { mac: PEER_MAC, .. }]
    ));
    for packet in [reply_from(PEER, OTHER_MAC), announcement(OTHER_MAC, PEER)] {
        assert_eq!(
            input(&mut table, at(10.0), Cast::Unicast, &packet),
            Err(DropReason::ArpIgnored)
        );
    }
    let _ = input(
        &mut table,
        at(10.0),
        Cast::Broadcast,
        &request_from(PEER, OTHER_MAC),
    );
    effects(&mut table);
    assert_eq!(run(&mut table, at(10_000.0)), []);
    assert_eq!(
        table.resolve(at(10_000.0), IFACE, PEER),
        Resolution::Ready(PEER_MAC)
    );
    table.remove(IFACE, PEER);
    assert!(table.is_empty());
}

#[test]
fn impossible_claims_are_malformed() {
    let mut table = table();
    let good = request_from(PEER, PEER_MAC);
    let bad = [
        ArpPacket {
            sha: MacAddr::BROADCAST,
            ..good
        },
        ArpPacket {
            sha: MacAddr::ZERO,
            ..good
        },
        ArpPacket {
            sha: MacAddr([1, 0, 0x5e, 0, 0, 1]),
            ..good
        },
        ArpPacket {
            spa: Ipv4Addr::BROADCAST,
            ..good
        },
        ArpPacket {
            spa: Ipv4Addr::new(224, 0, 0, 1),
            ..good
        },
        ArpPacket {
            spa: Ipv4Addr::LOCALHOST,
            ..good
        },
        ArpPacket {
            tpa: Ipv4Addr::LOCALHOST,
            ..good
        },
        ArpPacket {
            tpa: Ipv4Addr::new(224, 0, 0, 1),
            ..good
        },
    ];
    for packet in &bad {
        assert_eq!(
            input(&mut table, at(0.0), Cast::Broadcast, packet),
            Err(DropReason::ArpMalformed),
            "{packet:?}"
        );
    }
    assert!(table.is_empty());
}

#[test]
fn claims_of_our_address_and_our_own_frames() {
    let mut table = table();
    assert_eq!(
        input(
            &mut table,
            at(0.0),
            Cast::Broadcast,
            &announcement(OTHER_MAC, US)
        ),
        Err(DropReason::ArpIgnored)
    );
    assert_eq!(table.counters().conflicts, 1);
    assert_eq!(
        input(
            &mut table,
            at(0.0),
            Cast::Broadcast,
            &announcement(OWN_MAC, US)
        ),
        Err(DropReason::ArpIgnored)
    );
    assert_eq!(
        table.counters().conflicts,
        1,
        "our own frame is no conflict"
    );
    assert_eq!(effects(&mut table), []);
}

#[test]
fn a_flood_of_requests_harms_nobody() {
    let mut table = reachable(at(0.0));
    let asking = Ipv4Addr::new(10, 0, 0, 3);
    let _ = table.resolve(at(0.0), IFACE, asking);
    table.park_flow(IFACE, asking, 1);
    effects(&mut table);
    for n in 0..5_000 {
        let answered = input(
            &mut table,
            at(0.5),
            Cast::Broadcast,
            &request_from(host(n), OTHER_MAC),
        );
        assert_eq!(answered, Ok(ArpInput::Answered));
        assert!(table.len() <= 1024);
    }
    assert_eq!(state(&table, PEER), Some(NudState::Reachable));
    assert_eq!(state(&table, asking), Some(NudState::Incomplete));
    assert!(
        effects(&mut table)
            .iter()
            .all(|effect| matches!(effect, Effect::Reply { .. }))
    );
    assert!(table.counters().forced_gc_runs > 3_000);
}

#[test]
fn a_scan_by_ourselves_evicts_the_longest_unused() {
    let config = NeighConfig {
        gc_thresh3: 4,
        ..NeighConfig::default()
    };
    let mut table: Table = NeighTable::new(config, 7);
    table.add_permanent(at(0.0), IFACE, host(100), OTHER_MAC);
    for n in 0..4 {
        let _ = table.resolve(at(f64::from(n)), IFACE, host(n));
        let _ = input(
            &mut table,
            at(f64::from(n)),
            Cast::Unicast,
            &reply_from(host(n), PEER_MAC),
        );
    }
    let _ = table.resolve(at(5.0), IFACE, host(0));
    let _ = table.resolve(at(6.0), IFACE, host(4));
    assert_eq!(state(&table, host(1)), None, "longest unused");
    // What failed goes before what works.
    run(&mut table, at(10.0));
    let _ = table.resolve(at(10.0), IFACE, host(5));
    assert_eq!(state(&table, host(4)), None, "failed");
    for n in [0, 2, 3, 5, 100] {
        assert!(state(&table, host(n)).is_some(), "host {n}");
    }
}

#[test]
fn what_waits_on_an_evicted_entry_fails() {
    let config = NeighConfig {
        gc_thresh3: 1,
        ..NeighConfig::default()
    };
    let mut table: Table = NeighTable::new(config, 7);
    let _ = table.resolve(at(0.0), IFACE, host(0));
    table.park_flow(IFACE, host(0), 7);
    effects(&mut table);
    let _ = table.resolve(at(0.0), IFACE, host(1));
    let fail = Effect::Fail {
        iface: IFACE,
        ip: host(0),
        flows: vec![7],
        packets: vec![],
    };
    assert_eq!(effects(&mut table)[0], fail);
    assert_eq!(
        input(
            &mut table,
            at(0.0),
            Cast::Broadcast,
            &request_from(host(2), PEER_MAC)
        ),
        Ok(ArpInput::Answered)
    );
    assert_eq!(
        state(&table, host(2)),
        None,
        "a stranger does not replace what we are asking for"
    );
    assert_eq!(table.counters().table_fulls, 1);
}

#[test]
fn the_stale_and_the_failed_are_collected() {
    let config = NeighConfig {
        gc_thresh1: 3,
        ..NeighConfig::default()
    };
    let mut table: Table = NeighTable::new(config, 7);
    table.add_permanent(at(0.0), IFACE, host(100), OTHER_MAC);
    for n in 0..3 {
        let _ = table.resolve(at(0.0), IFACE, host(n));
        let _ = input(
            &mut table,
            at(0.0),
            Cast::Unicast,
            &reply_from(host(n), PEER_MAC),
        );
    }
    let _ = table.resolve(at(0.0), IFACE, host(3));
    run(&mut table, at(14.9));
    assert_eq!(state(&table, host(3)), Some(NudState::Failed));
    run(&mut table, at(15.0));
    assert_eq!(state(&table, host(3)), None);
    let _ = table.resolve(at(50.0), IFACE, host(0));
    let _ = input(
        &mut table,
        at(50.0),
        Cast::Unicast,
        &reply_from(host(0), PEER_MAC),
    );
    run(&mut table, at(75.0));
    assert_eq!(table.iter().count(), 2, "one in use, one permanent");
    assert_eq!(
        table.next_deadline(),
        table.timers.first(),
        "a small table is left alone"
    );
}
