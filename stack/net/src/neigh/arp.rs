//! ARP input and the packets we ask with (Linux `arp_process`; RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use millrace_wire::arp::{ArpOp, ArpPacket};
use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use super::entry::Key;
use super::nud::{Trust, Updated};
use super::table::Creator;
use super::{Effect, NeighTable, NudState};
use crate::drop::DropReason;
use crate::ids::IfaceId;
use crate::link::Cast;

/// What an ARP packet was good for.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpInput {
    /// It asked for an address of ours; the reply is among the effects.
    Answered,
    /// It told us about a neighbour that we know.
    Updated,
}

/// The request that asks for `target`: broadcast, or the unicast probe of a known neighbour (RFC 1122 §2.3.2.1).
pub fn solicitation(own_mac: MacAddr, own_ip: Ipv4Addr, target: Ipv4Addr) -> ArpPacket {
    ArpPacket {
        op: ArpOp::Request,
        sha: own_mac,
        spa: own_ip,
        tha: MacAddr::ZERO,
        tpa: target,
    }
}

/// The broadcast that tells all neighbours a new owner of `own_ip` (RFC 5227 §2.3; gratuitous ARP).
pub fn announcement(own_mac: MacAddr, own_ip: Ipv4Addr) -> ArpPacket {
    solicitation(own_mac, own_ip, own_ip)
}

/// Addresses that no honest ARP packet holds (RFC 1812 §3.3.2; what Linux's route lookup calls martian).
fn plausible(packet: &ArpPacket) -> bool {
    let sha = packet.sha.is_unicast() && packet.sha != MacAddr::ZERO;
    let spa = !packet.spa.is_multicast() && !packet.spa.is_broadcast() && !packet.spa.is_loopback();
    let tpa = !packet.tpa.is_multicast() && !packet.tpa.is_loopback();
    sha && spa && tpa
}

impl<F: Copy + Eq> NeighTable<F> {
    /// An ARP packet came in on `iface`, whose address is `own_mac`, in a frame addressed as `cast` says. `local`
    /// knows which addresses are ours.
    ///
    /// A request for us is answered and teaches us the asker (STALE). Anything else changes only what we already
    /// know or are asking for (`arp_accept` = 0), and replaces a known address only after `locktime` or when it is
    /// gratuitous. Only a unicast reply proves reachability.
    ///
    /// # Errors
    /// Why the packet was of no use: [`DropReason::ArpMalformed`], [`DropReason::ArpNotForUs`],
    /// [`DropReason::ArpIgnored`].
    pub fn input(
        &mut self,
        now: Instant,
        iface: IfaceId,
        own_mac: MacAddr,
        cast: Cast,
        packet: &ArpPacket,
        local: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<ArpInput, DropReason> {
        if !plausible(packet) {
            return Err(DropReason::ArpMalformed);
        }
        if packet.sha == own_mac {
            return Err(DropReason::ArpIgnored); // Our own frame, come back.
        }
        if local(packet.spa) {
            self.counters.conflicts += 1;
            return Err(DropReason::ArpIgnored);
        }
        if packet.op == ArpOp::Request && local(packet.tpa) {
            // A probe (RFC 5227 §2.1) has no sender address to learn.
            if !packet.spa.is_unspecified() {
                self.learn(now, iface, packet);
            }
            self.reply(iface, own_mac, packet);
            return Ok(ArpInput::Answered);
        }
        self.news(now, iface, cast, packet)
    }

    /// Remembers who asked for us (Linux `neigh_event_ns`). A permanent entry or a full table changes nothing.
    fn learn(&mut self, now: Instant, iface: IfaceId, packet: &ArpPacket) {
        let key = Key {
            iface,
            ip: packet.spa,
        };
        let slot = match self.find(key) {
            Some(slot) => Some(slot),
            None => self.create(now, key, NudState::Incomplete, Creator::Input),
        };
        if let Some(slot) = slot {
            let (Updated::Taken | Updated::Refused) =
                self.update(now, slot, packet.sha, NudState::Stale, Trust::Override);
        }
    }

    /// A reply, or a request for somebody else: it may only change what we know.
    fn news(
        &mut self,
        now: Instant,
        iface: IfaceId,
        cast: Cast,
        packet: &ArpPacket,
    ) -> Result<ArpInput, DropReason> {
        let slot = self
            .find(Key {
                iface,
                ip: packet.spa,
            })
            .ok_or(DropReason::ArpNotForUs)?;
        let updated = self.entry(slot).map_or(now, |entry| entry.updated);
        let locked = now.since(updated) <= self.config.locktime;
        let gratuitous = packet.spa == packet.tpa
            && (packet.op == ArpOp::Request
                || packet.tha == packet.sha
                || packet.tha == MacAddr::ZERO);
        // The first of several answers wins: with proxies about, that is the nearest one.
        let trust = if gratuitous || !locked {
            Trust::Override
        } else {
            Trust::Weak
        };
        let state = match (packet.op, cast) {
            (ArpOp::Reply, Cast::Unicast) => NudState::Reachable,
            _ => NudState::Stale,
        };
        match self.update(now, slot, packet.sha, state, trust) {
            Updated::Taken => Ok(ArpInput::Updated),
            Updated::Refused => Err(DropReason::ArpIgnored),
        }
    }

    fn reply(&mut self, iface: IfaceId, own_mac: MacAddr, request: &ArpPacket) {
        let packet = ArpPacket {
            op: ArpOp::Reply,
            sha: own_mac,
            spa: request.tpa,
            tha: request.sha,
            tpa: request.spa,
        };
        self.effects.push(Effect::Reply {
            iface,
            to: request.sha,
            packet,
        });
        self.counters.replies += 1;
    }
}
