//! The table against a script of events; `model` runs it under random ones.

use core::time::Duration;
use std::net::Ipv4Addr;

use millrace_wire::arp::{ArpOp, ArpPacket};
use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use super::*;
use crate::drop::DropReason;
use crate::link::Cast;

mod model;
mod policy;

const IFACE: IfaceId = IfaceId(0);
const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

type Table = NeighTable<u32>;

fn at(seconds: f64) -> Instant {
    Instant::ZERO + Duration::from_secs_f64(1000.0 + seconds)
}

fn table() -> Table {
    NeighTable::new(NeighConfig::default(), 7)
}

fn effects(table: &mut Table) -> Vec<Effect<u32>> {
    let mut out = Vec::new();
    table.take_effects(&mut out);
    out
}

fn state(table: &Table, ip: Ipv4Addr) -> Option<NudState> {
    table.get(IFACE, ip).map(|neighbour| neighbour.state)
}

fn reply_from(ip: Ipv4Addr, mac: MacAddr) -> ArpPacket {
    ArpPacket {
        op: ArpOp::Reply,
        sha: mac,
        spa: ip,
        tha: OWN_MAC,
        tpa: US,
    }
}

fn input(
    table: &mut Table,
    now: Instant,
    cast: Cast,
    packet: &ArpPacket,
) -> Result<ArpInput, DropReason> {
    table.input(now, IFACE, OWN_MAC, cast, packet, |ip| ip == US)
}

/// `PEER` resolved and REACHABLE at `now`.
fn reachable(now: Instant) -> Table {
    let mut table = table();
    assert_eq!(table.resolve(now, IFACE, PEER), Resolution::Waiting);
    assert_eq!(
        input(&mut table, now, Cast::Unicast, &reply_from(PEER, PEER_MAC)),
        Ok(ArpInput::Updated)
    );
    effects(&mut table);
    table
}

/// Ticks at every deadline up to `until`; returns the effects with the times at which they arose.
fn run(table: &mut Table, until: Instant) -> Vec<(Instant, Effect<u32>)> {
    let mut seen = Vec::new();
    while let Some(deadline) = table.next_deadline().filter(|&deadline| deadline <= until) {
        table.tick(deadline);
        seen.extend(effects(table).into_iter().map(|effect| (deadline, effect)));
    }
    seen
}

fn solicit(to: Option<MacAddr>) -> Effect<u32> {
    Effect::Solicit {
        iface: IFACE,
        target: PEER,
        to,
    }
}

#[test]
fn cold_resolution_releases_what_waited() {
    let mut table = table();
    assert_eq!(table.resolve(at(0.0), IFACE, PEER), Resolution::Waiting);
    assert_eq!(table.resolve(at(0.0), IFACE, PEER), Resolution::Waiting);
    assert_eq!(
        effects(&mut table),
        [solicit(None)],
        "one question is enough"
    );

    table.park_flow(IFACE, PEER, 5);
    assert_eq!(table.park_packet(IFACE, PEER, vec![1]), Ok(Parked::Queued));
    table.park_flow(IFACE, PEER, 3);
    assert_eq!(table.park_packet(IFACE, PEER, vec![2]), Ok(Parked::Queued));
    assert_eq!(effects(&mut table), []);

    let answer = input(
        &mut table,
        at(0.1),
        Cast::Unicast,
        &reply_from(PEER, PEER_MAC),
    );
    assert_eq!(answer, Ok(ArpInput::Updated));
    let release = Effect::Release {
        iface: IFACE,
        ip: PEER,
        mac: PEER_MAC,
        flows: vec![5, 3],
        packets: vec![vec![1], vec![2]],
    };
    assert_eq!(effects(&mut table), [release]);
    assert_eq!(state(&table, PEER), Some(NudState::Reachable));
    assert_eq!(
        table.resolve(at(0.2), IFACE, PEER),
        Resolution::Ready(PEER_MAC)
    );
}

#[test]
fn silence_fails_after_three_requests() {
    let mut table = table();
    let _ = table.resolve(at(0.0), IFACE, PEER);
    assert_eq!(effects(&mut table), [solicit(None)]);
    table.park_flow(IFACE, PEER, 9);
    assert_eq!(table.park_packet(IFACE, PEER, vec![1]), Ok(Parked::Queued));
    let fail = Effect::Fail {
        iface: IFACE,
        ip: PEER,
        flows: vec![9],
        packets: vec![vec![1]],
    };
    assert_eq!(
        run(&mut table, at(60.0)),
        [
            (at(1.0), solicit(None)),
            (at(2.0), solicit(None)),
            (at(3.0), fail)
        ]
    );
    assert_eq!(state(&table, PEER), Some(NudState::Failed));
    assert_eq!(table.counters().res_failed, 1);

    assert_eq!(
        table.resolve(at(61.0), IFACE, PEER),
        Resolution::Waiting,
        "the next use asks anew"
    );
    assert_eq!(effects(&mut table), [solicit(None)]);
}

#[test]
fn unused_entry_goes_stale_and_is_probed_on_use() {
    let mut table = reachable(at(0.0));
    let stale_at = table.next_deadline().unwrap();
    assert!(
        (at(15.0)..at(45.0)).contains(&stale_at),
        "0.5 to 1.5 of 30 s: {stale_at:?}"
    );
    // Its only use was long ago by then.
    assert_eq!(run(&mut table, at(100.0)), []);
    assert_eq!(state(&table, PEER), Some(NudState::Stale));

    assert_eq!(
        table.resolve(at(100.0), IFACE, PEER),
        Resolution::Ready(PEER_MAC),
        "stale is usable"
    );
    assert_eq!(state(&table, PEER), Some(NudState::Delay));
    let probes = run(&mut table, at(107.5));
    let unicast = |seconds| (at(seconds), solicit(Some(PEER_MAC)));
    assert_eq!(probes, [unicast(105.0), unicast(106.0), unicast(107.0)]);
    assert_eq!(state(&table, PEER), Some(NudState::Probe));
    assert_eq!(
        table.resolve(at(107.5), IFACE, PEER),
        Resolution::Ready(PEER_MAC),
        "so is a probed entry"
    );
    assert_eq!(run(&mut table, at(200.0)), []);
    assert_eq!(state(&table, PEER), Some(NudState::Failed));
}

#[test]
fn a_probe_that_is_answered_makes_reachable() {
    let mut table = reachable(at(0.0));
    run(&mut table, at(100.0));
    let _ = table.resolve(at(100.0), IFACE, PEER);
    assert_eq!(run(&mut table, at(105.0)).len(), 1);
    let _ = input(
        &mut table,
        at(105.1),
        Cast::Unicast,
        &reply_from(PEER, PEER_MAC),
    );
    assert_eq!(state(&table, PEER), Some(NudState::Reachable));
    assert_eq!(run(&mut table, at(110.0)), [], "no more probes");
}

#[test]
fn progress_above_spares_the_probes() {
    let mut table = reachable(at(0.0));
    run(&mut table, at(100.0));
    let _ = table.resolve(at(100.0), IFACE, PEER);
    table.confirm(at(102.0), IFACE, PEER);
    assert_eq!(run(&mut table, at(105.0)), []);
    assert_eq!(state(&table, PEER), Some(NudState::Reachable));
    // As long as it is confirmed, it stays so.
    for second in 105..400 {
        table.confirm(at(f64::from(second)), IFACE, PEER);
        let _ = table.resolve(at(f64::from(second)), IFACE, PEER);
        assert_eq!(run(&mut table, at(f64::from(second))), []);
        assert_eq!(state(&table, PEER), Some(NudState::Reachable));
    }
}

#[test]
fn an_entry_in_use_goes_from_reachable_to_delay() {
    let mut table = reachable(at(0.0));
    let until = table.next_deadline().unwrap();
    let _ = table.resolve(until - Duration::from_secs(1), IFACE, PEER);
    table.tick(until);
    assert_eq!(state(&table, PEER), Some(NudState::Delay));
}

#[test]
fn progress_ends_probing_and_proves_nothing_about_the_unresolved() {
    let mut table = reachable(at(0.0));
    run(&mut table, at(100.0));
    let _ = table.resolve(at(100.0), IFACE, PEER);
    run(&mut table, at(105.0));
    table.confirm(at(105.5), IFACE, PEER);
    assert_eq!(run(&mut table, at(106.0)), []);
    assert_eq!(state(&table, PEER), Some(NudState::Reachable));

    let silent = Ipv4Addr::new(10, 0, 0, 3);
    let _ = table.resolve(at(110.0), IFACE, silent);
    table.confirm(at(110.0), IFACE, silent);
    assert_eq!(state(&table, silent), Some(NudState::Incomplete));
    assert_eq!(table.get(IFACE, silent).unwrap().mac, None);
}

#[test]
fn addresses_without_neighbour() {
    let mut table = table();
    let mut resolve = |ip: [u8; 4]| table.resolve(at(0.0), IFACE, ip.into());
    assert_eq!(
        resolve([224, 0, 0, 251]),
        Resolution::Ready(MacAddr([1, 0, 0x5e, 0, 0, 251]))
    );
    assert_eq!(resolve([255; 4]), Resolution::Ready(MacAddr::BROADCAST));
    assert_eq!(resolve([0; 4]), Resolution::Failed);
    assert_eq!(resolve([127, 0, 0, 1]), Resolution::Failed);
    assert!(table.is_empty());
}

#[test]
fn queue_of_one_neighbour_drops_its_oldest() {
    let config = NeighConfig {
        unres_qlen: 3,
        unres_qlen_bytes: 100,
        ..NeighConfig::default()
    };
    let mut table: Table = NeighTable::new(config, 7);
    let _ = table.resolve(at(0.0), IFACE, PEER);
    for tag in 1..=3 {
        assert_eq!(
            table.park_packet(IFACE, PEER, vec![tag; 30]),
            Ok(Parked::Queued)
        );
    }
    assert_eq!(
        table.park_packet(IFACE, PEER, vec![4; 5]),
        Ok(Parked::Displaced { packets: 1 }),
        "too many"
    );
    assert_eq!(
        table.park_packet(IFACE, PEER, vec![5; 70]),
        Ok(Parked::Displaced { packets: 2 }),
        "too long"
    );
    assert_eq!(
        table.park_packet(IFACE, PEER, vec![6; 101]),
        Err(DropReason::NeighQueueFull)
    );
    assert_eq!(table.counters().unresolved_discards, 4);
    effects(&mut table);
    let _ = input(
        &mut table,
        at(0.1),
        Cast::Unicast,
        &reply_from(PEER, PEER_MAC),
    );
    let packets = vec![vec![4; 5], vec![5; 70]];
    let release = Effect::Release {
        iface: IFACE,
        ip: PEER,
        mac: PEER_MAC,
        flows: vec![],
        packets,
    };
    assert_eq!(effects(&mut table), [release]);
    assert_eq!(table.parked_bytes, 0);
}

#[test]
fn all_queues_together_are_bounded() {
    let config = NeighConfig {
        unres_total_bytes: 100,
        ..NeighConfig::default()
    };
    let mut table: Table = NeighTable::new(config, 7);
    let other = Ipv4Addr::new(10, 0, 0, 3);
    let _ = table.resolve(at(0.0), IFACE, PEER);
    let _ = table.resolve(at(0.0), IFACE, other);
    assert_eq!(
        table.park_packet(IFACE, PEER, vec![0; 60]),
        Ok(Parked::Queued)
    );
    assert_eq!(
        table.park_packet(IFACE, other, vec![0; 41]),
        Err(DropReason::NeighQueueFull)
    );
    assert_eq!(
        table.park_packet(IFACE, other, vec![0; 40]),
        Ok(Parked::Queued)
    );
}

#[test]
fn what_parks_too_late_comes_back_at_once() {
    let mut table = reachable(at(0.0));
    table.park_flow(IFACE, PEER, 1);
    let back = Effect::Release {
        iface: IFACE,
        ip: PEER,
        mac: PEER_MAC,
        flows: vec![1],
        packets: vec![],
    };
    assert_eq!(effects(&mut table), [back]);
    let nobody = Ipv4Addr::new(10, 0, 0, 9);
    assert_eq!(
        table.park_packet(IFACE, nobody, vec![1]),
        Ok(Parked::Queued)
    );
    let back = Effect::Fail {
        iface: IFACE,
        ip: nobody,
        flows: vec![],
        packets: vec![vec![1]],
    };
    assert_eq!(effects(&mut table), [back]);
}

#[test]
fn flush_spares_other_interfaces() {
    let mut table = table();
    let _ = table.resolve(at(0.0), IFACE, PEER);
    let _ = table.resolve(at(0.0), IfaceId(1), PEER);
    table.flush_iface(IFACE);
    assert_eq!(
        table.iter().map(|n| n.iface).collect::<Vec<_>>(),
        [IfaceId(1)]
    );
}
