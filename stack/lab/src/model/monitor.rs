//! The monitor of one node: it follows every connection of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_wire::arp::{ArpOp, ArpPacket};
use millrace_wire::ethernet::{EtherType, EthernetView};
use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use super::end::{Calls, End};
use super::segment::Segment;

/// The own address and the peer's.
type Pair = (SocketAddrV4, SocketAddrV4);

/// See the module.
#[derive(Debug)]
pub(crate) struct Monitor {
    mac: MacAddr,
    /// The node runs out of memory: it may refuse data.
    short: bool,
    ends: BTreeMap<Pair, End>,
    /// Those with something to judge when all is quiet.
    busy: BTreeSet<Pair>,
    /// Neighbours that were asked for and have not answered: what is for them waits, or is lost.
    asked: BTreeSet<Ipv4Addr>,
}

impl Monitor {
    /// For a node with this hardware address that is short of memory, or not.
    pub(crate) fn new(mac: MacAddr, short: bool) -> Self {
        Self {
            mac,
            short,
            ends: BTreeMap::new(),
            busy: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The node takes a frame from its device.
    pub(crate) fn heard(&mut self, now: Instant, frame: &[u8]) {
        let for_us = |link: EthernetView<'_>| link.dst() == self.mac;
        if let Some(arp) = arp(frame) {
            self.asked.remove(&arp.spa);
        } else if !EthernetView::parse(frame).is_ok_and(for_us) {
            // A switch floods what it does not know.
        } else if let Some(segment) = Segment::arrived(frame) {
            let pair = (segment.to, segment.from);
            self.busy.insert(pair);
            let end = self.ends.entry(pair).or_default();
            end.heard(now, &segment, self.short);
        }
    }

    /// The node sends a frame.
    pub(crate) fn sent(&mut self, now: Instant, frame: &[u8]) -> Result<(), String> {
        if let Some(segment) = Segment::sent(frame) {
            let pair = (segment.from, segment.to);
            self.busy.insert(pair);
            let end = self.ends.entry(pair).or_default();
            return end.sent(now, &segment).map_err(|what| {
                let (from, to) = pair;
                format!("{what}, from {from} to {to}")
            });
        }
        if let Some(arp) = arp(frame)
            && arp.op == ArpOp::Request
        {
            self.asked.insert(arp.tpa);
        }
        Ok(())
    }

    /// An application has called.
    pub(crate) fn called(&mut self, pair: (SocketAddrV4, SocketAddrV4), calls: Calls) {
        self.busy.insert(pair);
        self.ends.entry(pair).or_default().called(calls);
    }

    /// The node has nothing more to do at this time.
    pub(crate) fn quiet(&mut self, now: Instant) -> Result<(), String> {
        let mut later = BTreeSet::new();
        for pair in std::mem::take(&mut self.busy) {
            let Some(end) = self.ends.get_mut(&pair) else {
                continue;
            };
            if self.asked.contains(pair.1.ip()) {
                end.excuse();
                continue;
            }
            let waits = end.quiet(now, self.short).map_err(|what| {
                let (ours, theirs) = pair;
                format!("{what}, of {ours} to {theirs}")
            })?;
            if waits {
                later.insert(pair);
            }
        }
        self.busy = later;
        Ok(())
    }
}

fn arp(frame: &[u8]) -> Option<ArpPacket> {
    let link = EthernetView::parse(frame).ok()?;
    if link.ethertype() != EtherType::ARP {
        return None;
    }
    ArpPacket::parse(link.payload()).ok()
}
