//! Neighbours: which hardware address stands behind a next hop, and what to do while that is not known (ARP).
//!
//! Before: `route/` chose the next hop. After: `link/` writes the frame. The table is pure: it is told the time, and
//! what it wants done it leaves as [`Effect`]s. A flow or packet whose next hop is unresolved parks on the entry and
//! comes back by [`Effect::Release`] or [`Effect::Fail`]; nothing that was parked is ever lost without one of these
//! or a count.
//!
//! Linux counterpart: `net/core/neighbour.c` and `net/ipv4/arp.c`, with their defaults. RFC 826, RFC 1122 §2.3.2,
//! RFC 4861 §7.3 (the states), RFC 5227 (probes and conflicts).
//!
//! Against floods: the table holds at most `gc_thresh3` dynamic entries. What strangers taught us but we never used
//! goes first, and can never push out an entry in use or under resolution; permanent entries are never touched.

mod arp;
mod entry;
mod nud;
mod park;
mod table;
#[cfg(test)]
mod tests;
mod timers;

pub use arp::{ArpInput, announcement, solicitation};
pub use park::Parked;
pub use table::NeighTable;

use core::time::Duration;
use std::net::Ipv4Addr;

use millrace_wire::arp::ArpPacket;
use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use crate::ids::IfaceId;

/// Neighbour unreachability detection: the state of an entry (RFC 4861 §7.3.2, Linux `NUD_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NudState {
    /// Being resolved: broadcast requests go out, nothing can be sent yet.
    Incomplete,
    /// Confirmed within the reachable time.
    Reachable,
    /// Usable, but not confirmed lately; the next use starts [`NudState::Delay`].
    Stale,
    /// In use and unconfirmed: waits for a sign of life from above before it probes.
    Delay,
    /// Usable, with unicast probes under way.
    Probe,
    /// Did not answer; the next use resolves anew.
    Failed,
    /// Set by hand; never changes, never expires.
    Permanent,
}

/// The answer to "where do frames for this next hop go?".
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Send to this address.
    Ready(MacAddr),
    /// Resolution is under way: park the flow or packet.
    Waiting,
    /// There can be no entry: the address cannot be a neighbour, or the table is full of permanent entries.
    Failed,
}

/// What the table wants done. Effects are in the order in which they arose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect<F> {
    /// Send an ARP request ([`solicitation`]).
    Solicit {
        /// Interface to ask on.
        iface: IfaceId,
        /// The address to resolve.
        target: Ipv4Addr,
        /// `None`: broadcast. `Some`: a unicast probe of a known neighbour.
        to: Option<MacAddr>,
    },
    /// Send this ARP reply.
    Reply {
        /// Interface to answer on.
        iface: IfaceId,
        /// Ethernet destination.
        to: MacAddr,
        /// The complete reply.
        packet: ArpPacket,
    },
    /// The neighbour is known: what waited for it can go.
    Release {
        /// Interface of the neighbour.
        iface: IfaceId,
        /// The neighbour.
        ip: Ipv4Addr,
        /// Its hardware address.
        mac: MacAddr,
        /// Flows in the order in which they parked.
        flows: Vec<F>,
        /// Packets from the IP header on, oldest first.
        packets: Vec<Vec<u8>>,
    },
    /// The neighbour did not answer, or its entry is gone: what waited for it cannot go. The receiver counts the
    /// packets as [`NeighFailed`](crate::drop::DropReason::NeighFailed) (Linux also reports host unreachable).
    Fail {
        /// Interface of the neighbour.
        iface: IfaceId,
        /// The neighbour.
        ip: Ipv4Addr,
        /// Flows in the order in which they parked.
        flows: Vec<F>,
        /// Packets from the IP header on, oldest first.
        packets: Vec<Vec<u8>>,
    },
}

/// Settings of the table (`net.ipv4.neigh.default.*`), with Linux's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighConfig {
    /// Mean time that a confirmation lasts; the actual time is random within 0.5 to 1.5 of it.
    pub base_reachable_time: Duration,
    /// How long an entry in use waits for a confirmation from above before it is probed.
    pub delay_first_probe_time: Duration,
    /// Time between two solicitations.
    pub retrans_time: Duration,
    /// Unicast probes before an entry in [`NudState::Probe`] fails.
    pub ucast_solicit: u8,
    /// Broadcast requests before an entry in [`NudState::Incomplete`] fails.
    pub mcast_solicit: u8,
    /// Bytes of packets that may wait for one neighbour.
    pub unres_qlen_bytes: usize,
    /// Packets that may wait for one neighbour (Linux `unres_qlen`).
    pub unres_qlen: usize,
    /// Bytes of packets that may wait for all neighbours together. Linux has no such bound and needs none, as its
    /// socket buffers are charged to their senders.
    pub unres_total_bytes: usize,
    /// Within this time after a change, another claim of the address is not believed (Linux `locktime`).
    pub locktime: Duration,
    /// An unused stale entry may be collected after this time.
    pub gc_staletime: Duration,
    /// With fewer dynamic entries than this nothing is collected.
    pub gc_thresh1: usize,
    /// Hard bound on dynamic entries.
    pub gc_thresh3: usize,
}

impl Default for NeighConfig {
    fn default() -> Self {
        Self {
            base_reachable_time: Duration::from_secs(30),
            delay_first_probe_time: Duration::from_secs(5),
            retrans_time: Duration::from_secs(1),
            ucast_solicit: 3,
            mcast_solicit: 3,
            unres_qlen_bytes: 212_992,
            unres_qlen: 101,
            unres_total_bytes: 4 << 20,
            locktime: Duration::from_secs(1),
            gc_staletime: Duration::from_secs(60),
            gc_thresh1: 128,
            gc_thresh3: 1024,
        }
    }
}

/// What happened to the table (Linux `/proc/net/stat/arp_cache`, same names where they exist there).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NeighCounters {
    /// Entries created.
    pub allocs: u64,
    /// Entries removed.
    pub destroys: u64,
    /// Resolutions and probes that got no answer.
    pub res_failed: u64,
    /// Solicitations asked for.
    pub solicits: u64,
    /// ARP replies asked for.
    pub replies: u64,
    /// Runs of the periodic collection.
    pub periodic_gc_runs: u64,
    /// Entries evicted to make room for another.
    pub forced_gc_runs: u64,
    /// Packets dropped from the queue of an unresolved neighbour because newer ones came (or refused there).
    pub unresolved_discards: u64,
    /// Entries that could not be created.
    pub table_fulls: u64,
    /// ARP packets in which somebody else claimed an address of ours (RFC 5227 §2.4).
    pub conflicts: u64,
}

/// One entry as dumps show it (`ip neigh`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Interface.
    pub iface: IfaceId,
    /// Protocol address.
    pub ip: Ipv4Addr,
    /// Hardware address; `None` while it is not known.
    pub mac: Option<MacAddr>,
    /// State.
    pub state: NudState,
    /// Last use by us, if ever.
    pub used: Option<Instant>,
    /// Last confirmation, if it still counts.
    pub confirmed: Option<Instant>,
    /// Last change of state or address.
    pub updated: Instant,
}
