//! What waits for a neighbour: flows (unbounded here, they are sockets that exist anyway) and owned packets (bounded
//! per neighbour and in all).

use std::net::Ipv4Addr;

use super::entry::Key;
use super::{Effect, NeighTable, NudState};
use crate::drop::DropReason;
use crate::ids::IfaceId;

/// What became of the packets that waited before.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parked {
    /// The packet waits, or left at once as an effect.
    Queued,
    /// The packet waits; this many older ones were dropped for it. Count them as [`DropReason::NeighQueueFull`].
    Displaced {
        /// Packets dropped, at least 1.
        packets: u32,
    },
}

impl<F: Copy + Eq> NeighTable<F> {
    /// Parks a flow that [`NeighTable::resolve`] told to wait. The caller remembers that it is parked, and does not
    /// park it twice. If the entry is no longer being resolved, the effect that returns the flow follows at once.
    pub fn park_flow(&mut self, iface: IfaceId, ip: Ipv4Addr, flow: F) {
        if let Some(slot) = self.unresolved(iface, ip)
            && let Some(entry) = self.entry_mut(slot)
        {
            entry.flows.push(flow);
            return;
        }
        self.bounce(iface, ip, vec![flow], Vec::new());
    }

    /// Parks a packet (from the IP header on) that [`NeighTable::resolve`] told to wait. When the neighbour's queue
    /// is full the oldest packets are dropped, as in Linux.
    ///
    /// # Errors
    /// [`DropReason::NeighQueueFull`] when the packet alone is too large for the queue, or the packets that wait for
    /// all neighbours together have reached their bound; the packet is gone.
    pub fn park_packet(
        &mut self,
        iface: IfaceId,
        ip: Ipv4Addr,
        packet: Vec<u8>,
    ) -> Result<Parked, DropReason> {
        let Some(slot) = self.unresolved(iface, ip) else {
            self.bounce(iface, ip, Vec::new(), vec![packet]);
            return Ok(Parked::Queued);
        };
        let (qlen_bytes, qlen) = (self.config.unres_qlen_bytes, self.config.unres_qlen);
        let (parked_bytes, total) = (self.parked_bytes, self.config.unres_total_bytes);
        let Some(entry) = self.entry_mut(slot) else {
            return Err(DropReason::NeighQueueFull);
        };

        // What has to go is counted before anything goes: a packet that is refused displaces nobody.
        let mut dropped = 0;
        let mut freed = 0;
        for old in &entry.packets {
            if entry.packet_bytes - freed + packet.len() <= qlen_bytes
                && entry.packets.len() - dropped < qlen
            {
                break;
            }
            freed += old.len();
            dropped += 1;
        }
        let fits =
            packet.len() <= qlen_bytes && qlen > 0 && parked_bytes - freed + packet.len() <= total;
        if !fits {
            self.counters.unresolved_discards += 1;
            return Err(DropReason::NeighQueueFull);
        }
        entry.packets.drain(..dropped);
        entry.packet_bytes = entry.packet_bytes - freed + packet.len();
        self.parked_bytes = parked_bytes - freed + packet.len();
        if let Some(entry) = self.entry_mut(slot) {
            entry.packets.push_back(packet);
        }
        self.counters.unresolved_discards += dropped as u64;
        match u32::try_from(dropped).unwrap_or(u32::MAX) {
            0 => Ok(Parked::Queued),
            packets => Ok(Parked::Displaced { packets }),
        }
    }

    /// The slot of an entry that is being resolved.
    fn unresolved(&mut self, iface: IfaceId, ip: Ipv4Addr) -> Option<u32> {
        let slot = self.find(Key { iface, ip })?;
        let state = self.entry(slot)?.state;
        (state == NudState::Incomplete).then_some(slot)
    }

    /// Returns at once what cannot park, because its entry is resolved, failed or gone.
    fn bounce(&mut self, iface: IfaceId, ip: Ipv4Addr, flows: Vec<F>, packets: Vec<Vec<u8>>) {
        let known = self.get(iface, ip).and_then(|neighbour| neighbour.mac);
        self.effects.push(match known {
            Some(mac) => Effect::Release {
                iface,
                ip,
                mac,
                flows,
                packets,
            },
            None => Effect::Fail {
                iface,
                ip,
                flows,
                packets,
            },
        });
    }

    /// Takes what waits on an entry; `None` when nothing does.
    pub(super) fn unpark(&mut self, slot: u32) -> Option<(Vec<F>, Vec<Vec<u8>>)> {
        let entry = self.entry_mut(slot)?;
        if entry.flows.is_empty() && entry.packets.is_empty() {
            return None;
        }
        let flows = core::mem::take(&mut entry.flows);
        let packets = core::mem::take(&mut entry.packets);
        let bytes = core::mem::take(&mut entry.packet_bytes);
        self.parked_bytes -= bytes;
        Some((flows, packets.into()))
    }

    /// Fails what waits on an entry.
    pub(super) fn fail_parked(&mut self, slot: u32) {
        let Some((flows, packets)) = self.unpark(slot) else {
            return;
        };
        let Some(Key { iface, ip }) = self.entry(slot).map(|entry| entry.key) else {
            return;
        };
        self.effects.push(Effect::Fail {
            iface,
            ip,
            flows,
            packets,
        });
    }
}
