//! Random events: the table keeps its bounds, and what is parked comes back exactly once.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Resolve(u8),
    Park(u8, usize),
    Confirm(u8),
    Arp {
        op: ArpOp,
        host: u8,
        mac: u8,
        for_us: u8,
        cast: Cast,
    },
    Permanent(u8),
    Remove(u8),
    Flush,
    Advance(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let host = || 0u8..12;
    let op = prop_oneof![Just(ArpOp::Request), Just(ArpOp::Reply)];
    let cast = prop_oneof![Just(Cast::Unicast), Just(Cast::Broadcast)];
    prop_oneof![
        6 => host().prop_map(Event::Resolve),
        6 => (host(), 0usize..60).prop_map(|(host, len)| Event::Park(host, len)),
        2 => host().prop_map(Event::Confirm),
        6 => (op, host(), 0u8..4, 0u8..3, cast)
            .prop_map(|(op, host, mac, for_us, cast)| Event::Arp { op, host, mac, for_us, cast }),
        1 => host().prop_map(Event::Permanent),
        1 => host().prop_map(Event::Remove),
        1 => Just(Event::Flush),
        4 => (1u64..20_000).prop_map(Event::Advance),
    ]
}

/// The table, and what the outside world knows about it.
struct World {
    table: Table,
    now: Instant,
    parked_packets: u64,
    returned_packets: u64,
    parked_flows: Vec<u32>,
    next_flow: u32,
    permanents: usize,
}

const CONFIG: NeighConfig = NeighConfig {
    base_reachable_time: Duration::from_secs(30),
    delay_first_probe_time: Duration::from_secs(5),
    retrans_time: Duration::from_secs(1),
    ucast_solicit: 3,
    mcast_solicit: 3,
    unres_qlen_bytes: 100,
    unres_qlen: 4,
    unres_total_bytes: 250,
    locktime: Duration::from_secs(1),
    gc_staletime: Duration::from_secs(60),
    gc_thresh1: 4,
    gc_thresh3: 6,
};

fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 10 + host)
}

impl World {
    fn apply(&mut self, event: &Event) {
        let Self { table, now, .. } = self;
        match *event {
            Event::Resolve(host) => {
                if table.resolve(*now, IFACE, ip(host)) == Resolution::Waiting {
                    table.park_flow(IFACE, ip(host), self.next_flow);
                    self.parked_flows.push(self.next_flow);
                    self.next_flow += 1;
                }
            }
            Event::Park(host, len) => {
                self.parked_packets += 1;
                match table.park_packet(IFACE, ip(host), vec![host; len]) {
                    Ok(Parked::Queued) => {}
                    Ok(Parked::Displaced { packets }) => {
                        self.returned_packets += u64::from(packets)
                    }
                    Err(reason) => {
                        assert_eq!(reason, DropReason::NeighQueueFull);
                        self.returned_packets += 1;
                    }
                }
            }
            Event::Confirm(host) => table.confirm(*now, IFACE, ip(host)),
            Event::Arp {
                op,
                host,
                mac,
                for_us,
                cast,
            } => {
                let tpa = [US, ip(host), ip(0)][usize::from(for_us)];
                let packet = ArpPacket {
                    op,
                    sha: MacAddr([2, 0, 0, 0, 1, mac]),
                    spa: ip(host),
                    tha: OWN_MAC,
                    tpa,
                };
                let _ = input(table, *now, cast, &packet);
            }
            Event::Permanent(host) => table.add_permanent(*now, IFACE, ip(host), PEER_MAC),
            Event::Remove(host) => table.remove(IFACE, ip(host)),
            Event::Flush => table.flush_iface(IFACE),
            Event::Advance(millis) => {
                *now = *now + Duration::from_millis(millis);
                table.tick(*now);
                assert!(
                    table.next_deadline().is_none_or(|at| at > *now),
                    "tick leaves nothing due"
                );
            }
        }
        self.permanents = self
            .table
            .iter()
            .filter(|n| n.state == NudState::Permanent)
            .count();
        self.take_back();
        self.check();
    }

    /// Takes the effects; what comes back must have been parked.
    fn take_back(&mut self) {
        for effect in effects(&mut self.table) {
            let (Effect::Release { flows, packets, .. } | Effect::Fail { flows, packets, .. }) =
                effect
            else {
                continue;
            };
            self.returned_packets += packets.len() as u64;
            for flow in flows {
                let at = self.parked_flows.iter().position(|&parked| parked == flow);
                self.parked_flows
                    .remove(at.expect("a flow came back that was not parked"));
            }
        }
    }

    fn check(&self) {
        let table = &self.table;
        assert!(table.len() <= CONFIG.gc_thresh3 + self.permanents);
        let entries = || table.slots.iter().flatten();
        assert_eq!(entries().count(), table.len());
        assert_eq!(
            entries().map(|e| e.flows.len()).sum::<usize>(),
            self.parked_flows.len()
        );
        let parked: usize = table
            .slots
            .iter()
            .flatten()
            .map(|entry| entry.flows.len())
            .sum();
        assert_eq!(parked, self.parked_flows.len());
        let queued: usize = entries().map(|e| e.packets.len()).sum();
        assert_eq!(
            queued as u64 + self.returned_packets,
            self.parked_packets,
            "no packet is lost or doubled"
        );
        assert_eq!(
            entries().map(|e| e.packet_bytes).sum::<usize>(),
            table.parked_bytes
        );
        assert!(table.parked_bytes <= CONFIG.unres_total_bytes);
        for entry in entries() {
            let bytes: usize = entry.packets.iter().map(Vec::len).sum();
            assert_eq!(bytes, entry.packet_bytes);
            assert!(bytes <= CONFIG.unres_qlen_bytes && entry.packets.len() <= CONFIG.unres_qlen);
            let waits = !entry.flows.is_empty() || !entry.packets.is_empty();
            assert!(
                !waits || entry.state == NudState::Incomplete,
                "{:?} keeps what could go",
                entry.state
            );
            let timed = !matches!(
                entry.state,
                NudState::Stale | NudState::Failed | NudState::Permanent
            );
            assert_eq!(entry.deadline.is_some(), timed, "{:?}", entry.state);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bounds_hold_and_nothing_is_lost(seed: u64, events in vec(event(), 1..120)) {
        let mut world = World {
            table: NeighTable::new(CONFIG, seed),
            now: at(0.0),
            parked_packets: 0,
            returned_packets: 0,
            parked_flows: Vec::new(),
            next_flow: 0,
            permanents: 0,
        };
        for event in &events {
            world.apply(event);
        }
        world.apply(&Event::Flush);
        prop_assert_eq!(world.returned_packets, world.parked_packets);
        prop_assert!(world.parked_flows.is_empty());
        prop_assert_eq!(world.table.timers.first(), None);
    }
}
