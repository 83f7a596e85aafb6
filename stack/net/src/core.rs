//! The stack of one shard: plain fields, split so that a socket and everything else can be borrowed at once.

use crate::census::Census;
use crate::drop::DropCounters;
use crate::dst::Dst;
use crate::icmp::IcmpLimits;
use crate::ids::{SockId, SockKind};
use crate::keys::Keys;
use crate::link::LinkConfig;
use crate::neigh::NeighTable;
use crate::qdisc::{Ctl, Qdisc};
use crate::route::{HopKind, PmtuCache, RouteTable};
use crate::slab::Slab;
use crate::sock::bhash::Bhash;
use crate::sock::readiness::Readiness;
use crate::stats::{Counter, Mib};
use crate::sysctl::Sysctl;
use crate::tcp::demux::ehash::Ehash;
use crate::tcp::demux::lhash::Lhash;
use crate::tcp::fastopen;
use crate::tcp::md5;
use crate::tcp::output;
use crate::tcp::pressure::{self, Pressure};
use crate::tcp::segment::Part;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::sock::request::Request;
use crate::tcp::sock::timewait::TimeWait;
use crate::tcp::state::TcpState;
use crate::tcp::trace::StateTrace;
use crate::wheel::Wheel;
use core::net::Ipv4Addr;
use core::time::Duration;
use millrace_ring::ChunkPool;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::OptionsBuf;
use millrace_wire::time::Instant;
use std::collections::{BTreeMap, VecDeque};

/// Bounds of the tables; each has a counter that tells when it is hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Full TCP sockets.
    pub max_sockets: usize,
    /// Handshakes in progress.
    pub max_requests: usize,
    /// TIME_WAIT sockets (`tcp_max_tw_buckets` applies too).
    pub max_time_wait: usize,
    /// Ring memory in all, chunks of 4 KiB.
    pub ring_chunks: usize,
    /// Timers that one tick serves.
    pub tick_budget: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sockets: 1 << 20,
            max_requests: 1 << 16,
            max_time_wait: 1 << 17,
            ring_chunks: 1 << 18,
            tick_budget: 4096,
        }
    }
}

/// What a stack is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings.
    pub sysctl: Sysctl,
    /// Bounds.
    pub limits: Limits,
    /// Source of all secrets and randomness: the system's at start, the run's seed in the lab.
    pub seed: [u8; 32],
}

impl Config {
    /// Linux's defaults with this seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            sysctl: Sysctl::default(),
            limits: Limits::default(),
            seed,
        }
    }
}

/// A segment that a mini-socket or nobody sends.
pub(crate) struct Reply {
    pub seq: SeqNum,
    pub ack: Option<SeqNum>,
    pub flags: TcpFlags,
    pub window: u16,
    pub options: OptionsBuf,
    pub tos: u8,
}

/// Octets lent to a service: where they lie in this poll's frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lent {
    pub sock: SockId,
    pub part: Part,
    /// Chunks promised for them, should they have to be stored.
    pub chunks: u16,
}

/// An interface.
pub(crate) struct Iface {
    pub name: String,
    pub link: LinkConfig,
    /// The peer leaves checksums to us (veth without `tx off`): the folded pseudo-header sum is accepted.
    pub accept_partial_csum: bool,
    pub qdisc: Qdisc,
}

/// The tables of sockets.
pub(crate) struct Socks {
    pub tcp: Slab<TcpSock>,
    pub requests: Slab<Request>,
    pub tw: Slab<TimeWait>,
    pub ehash: Ehash,
    pub lhash: Lhash,
    pub bhash: Bhash,
    /// Keys of signed connections in TIME_WAIT, by index of the mini-socket.
    pub tw_keys: BTreeMap<u32, md5::Key>,
    /// Some socket has had a key (Linux `tcp_md5_needed`).
    pub md5_needed: bool,
}

/// Everything that the code of one socket may touch besides the socket.
pub(crate) struct Ctx {
    pub now: Instant,
    pub sysctl: Sysctl,
    pub keys: Keys,
    pub mib: Mib,
    pub drops: DropCounters,
    pub wheel: Wheel,
    pub chunks: ChunkPool,
    pub pressure: Pressure,
    /// State changes, when somebody wants them.
    pub trace: Option<Box<StateTrace>>,
    pub ifaces: Vec<Iface>,
    pub routes: RouteTable,
    pub pmtu: PmtuCache,
    pub neigh: NeighTable<SockId>,
    pub icmp: IcmpLimits,
    /// Sockets whose owner has something to hear; each at most once.
    pub events: VecDeque<SockId>,
    /// Octets to be delivered by the end of this poll.
    pub lent: Vec<Lent>,
    /// The socket whose service is being shown octets; it settles afterwards.
    pub delivering: Option<SockId>,
    /// Fast Open: cookies of servers, and what is left to be told to listeners.
    pub fastopen: fastopen::Shared,
    /// Scratch of the out-of-order path.
    pub gaps: Vec<(SeqNum, SeqNum)>,
    pub orphans: u32,
    /// Identification of packets that may be fragmented.
    pub ip_id: u16,
    /// Header prediction is off: the property test that compares the two paths.
    #[cfg(test)]
    pub slow_only: bool,
}

impl Ctx {
    /// Whole seconds of the clock, for timestamps' ages.
    pub(crate) fn seconds(&self) -> u32 {
        (self.now.as_millis() / 1000) as u32
    }

    /// TSval now: milliseconds plus the connection's offset.
    #[inline]
    pub(crate) fn ts_now(&self, offset: u32) -> u32 {
        (self.now.as_millis() as u32).wrapping_add(offset)
    }

    /// The way to `dst`; none when there is no route, or not to a single host beyond a link.
    pub(crate) fn route(&self, dst: Ipv4Addr, src: Option<Ipv4Addr>) -> Option<Dst> {
        let hop = self
            .routes
            .lookup(dst, src)
            .ok()
            .filter(|hop| hop.kind == HopKind::Unicast)?;
        let mtu = self
            .pmtu
            .get(self.now, dst)
            .map_or(hop.mtu, |learnt| learnt.min(hop.mtu));
        Some(Dst {
            iface: hop.iface,
            next_hop: hop.next_hop,
            mtu,
            generation: self.generation(),
        })
    }

    /// The routing generation; never 0.
    fn generation(&self) -> u32 {
        self.routes.generation()
    }

    /// Looks the route of a socket up again if routes have changed since.
    #[inline]
    pub(crate) fn refresh_dst(&mut self, sk: &mut TcpSock) {
        if sk.warm.dst.generation == self.generation() {
            return;
        }
        if let Some(dst) = self.route(sk.rx.tuple.remote, Some(sk.rx.tuple.local)) {
            sk.warm.dst = dst;
            output::compute_mss(sk, &self.sysctl);
        }
    }

    /// Queues a control segment on its interface.
    pub(crate) fn push_ctl(&mut self, ctl: Ctl) {
        let queued = self
            .ifaces
            .get_mut(ctl.dst.iface.0 as usize)
            .map(|i| i.qdisc.push_ctl(ctl));
        if !matches!(queued, Some(Ok(()))) {
            self.mib.inc(Counter::MillraceCtlQueueFull);
            self.drops.count(crate::drop::DropReason::ControlQueueFull);
        }
    }

    /// Progress of a connection proves its neighbour reachable (Linux `sk_dst_confirm`); once a second is enough.
    #[inline]
    pub(crate) fn confirm_neighbour(&mut self, sk: &mut TcpSock) {
        let now = self.seconds();
        if sk.warm.confirmed != now {
            sk.warm.confirmed = now;
            self.neigh
                .confirm(self.now, sk.warm.dst.iface, sk.warm.dst.next_hop);
        }
    }

    /// Queues the socket's owner to be told, if there is something to tell.
    #[inline]
    pub(crate) fn announce(&mut self, sk: &mut TcpSock) {
        if sk.warm.pending != Readiness::NONE
            && !sk.warm.event_queued
            && sk.rx.features.intersects(Features::OWNED)
            && sk.cold.parent.is_none()
        {
            sk.warm.event_queued = true;
            self.events.push_back(sk.warm.id);
        }
    }

    /// The socket's place in the qdisc, its timer and its events follow its state.
    #[inline]
    pub(crate) fn follow(&mut self, sk: &mut TcpSock) {
        if !sk.tx.queued && output::has_work(sk) {
            self.enqueue_flow(sk);
        }
        self.follow_output(sk);
    }

    /// The same after output: timers may have started, and less may be unsent than before (TCP_NOTSENT_LOWAT); nothing
    /// else has changed, and the flow must not queue itself again.
    #[inline]
    pub(crate) fn follow_output(&mut self, sk: &mut TcpSock) {
        self.arm(sk);
        self.announce(sk);
    }

    /// The wheel wakes the socket at its nearest deadline.
    #[inline]
    pub(crate) fn arm(&mut self, sk: &mut TcpSock) {
        if let Some(at) = sk.warm.timers.next() {
            self.wheel.arm(&mut sk.warm.wheel, sk.warm.id, at);
        }
    }

    /// Puts a flow into the qdisc of its interface.
    pub(crate) fn enqueue_flow(&mut self, sk: &mut TcpSock) {
        if sk.tx.queued {
            return;
        }
        self.refresh_dst(sk);
        if let Some(iface) = self.ifaces.get_mut(sk.warm.dst.iface.0 as usize) {
            sk.tx.queued = true;
            iface.qdisc.flows.push_back(sk.warm.id);
        }
    }
}

/// `min_pmtu` and `mtu_expires`, as the cache wants them.
fn pmtu_settings(sysctl: &Sysctl) -> (u16, Duration) {
    let least = sysctl.min_pmtu.min(u32::from(u16::MAX)) as u16;
    (least, Duration::from_secs(u64::from(sysctl.mtu_expires)))
}

/// See the module.
pub struct Stack {
    pub(crate) socks: Socks,
    pub(crate) ctx: Ctx,
    pub(crate) limits: Limits,
}

impl Stack {
    /// A stack without interfaces.
    pub fn new(config: Config) -> Self {
        let Config {
            mut sysctl,
            limits,
            seed,
        } = config;
        pressure::default_marks(&mut sysctl, limits.ring_chunks);
        let mut keys = Keys::new(&seed);
        let socks = Socks {
            tcp: Slab::new(SockKind::Tcp, limits.max_sockets),
            requests: Slab::new(SockKind::Request, limits.max_requests),
            tw: Slab::new(SockKind::TimeWait, limits.max_time_wait),
            ehash: Ehash::new(),
            lhash: Lhash::default(),
            bhash: Bhash::default(),
            tw_keys: BTreeMap::new(),
            md5_needed: false,
        };
        let (min_pmtu, expires) = pmtu_settings(&sysctl);
        let ctx = Ctx {
            now: Instant::ZERO,
            neigh: NeighTable::new(Default::default(), keys.random()),
            icmp: IcmpLimits::new(Default::default(), keys.random()),
            ip_id: keys.random() as u16,
            keys,
            mib: Mib::default(),
            drops: DropCounters::new(),
            wheel: Wheel::new(),
            chunks: ChunkPool::new(limits.ring_chunks),
            pressure: Pressure::new(limits.ring_chunks),
            trace: None,
            ifaces: Vec::new(),
            routes: RouteTable::new(),
            pmtu: PmtuCache::new(4096, min_pmtu, expires),
            events: VecDeque::new(),
            lent: Vec::with_capacity(64),
            delivering: None,
            fastopen: fastopen::Shared::default(),
            gaps: Vec::new(),
            orphans: 0,
            #[cfg(test)]
            slow_only: false,
            sysctl,
        };
        let mut stack = Self { socks, ctx, limits };
        stack.ctx.apply_memory_marks();
        stack
    }

    /// MIB counters.
    pub fn mib(&self) -> &Mib {
        &self.ctx.mib
    }

    /// Refused packets by reason.
    pub fn drops(&self) -> &DropCounters {
        &self.ctx.drops
    }

    /// Settings; see [`Stack::set_sysctl`].
    pub fn sysctl(&self) -> &Sysctl {
        &self.ctx.sysctl
    }

    /// Changes a setting while the stack runs.
    ///
    /// # Errors
    /// As [`Sysctl::set`].
    pub fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), crate::SysctlError> {
        self.ctx.sysctl.set(name, value)?;
        let (least, expires) = pmtu_settings(&self.ctx.sysctl);
        self.ctx.pmtu.set_limits(least, expires);
        self.ctx.apply_memory_marks();
        Ok(())
    }

    /// The names of the interfaces, in the order of their ids.
    pub fn iface_names(&self) -> impl Iterator<Item = &str> {
        self.ctx.ifaces.iter().map(|i| i.name.as_str())
    }

    /// Counts everything.
    pub fn census(&self) -> Census {
        let queues = || self.ctx.ifaces.iter().map(|i| &i.qdisc);
        Census {
            sockets: self.socks.tcp.len(),
            listeners: self.socks.lhash.len(),
            established: self.ctx.mib.value(Counter::TcpCurrEstab),
            requests: self.socks.requests.len(),
            time_wait: self.socks.tw.len(),
            orphans: self.ctx.orphans,
            hashed: self.socks.ehash.len(),
            bound_ports: self.socks.bhash.len(),
            timers: self.ctx.wheel.len(),
            ring_chunks: self.ctx.chunks.in_use(),
            queued_flows: queues().map(|q| q.flows.len()).sum(),
            queued_packets: queues().map(|q| q.frames.len() + q.ctl.len()).sum(),
            neighbours: self.ctx.neigh.len(),
        }
    }

    /// After anything happened to a socket: its table entries, its place in the qdisc, its timer and its events
    /// follow its state. The one place where effects leave a socket.
    pub(crate) fn settle(&mut self, id: SockId) {
        let Some(sk) = self.socks.tcp.get_mut(id) else {
            return;
        };
        if sk.rx.state == TcpState::Close {
            self.settle_closed(id);
        } else {
            self.ctx.follow(sk);
        }
    }

    fn settle_closed(&mut self, id: SockId) {
        let Some(sk) = self.socks.tcp.get_mut(id) else {
            return;
        };
        if sk.warm.hashed || sk.warm.leaving.is_some() {
            self.unhash(id);
        }
        let Some(sk) = self.socks.tcp.get_mut(id) else {
            return;
        };
        if sk.rx.features.contains(Features::ORPHAN) && sk.cold.parent.is_none() {
            self.destroy(id);
            return;
        }
        self.ctx.follow(sk);
    }

    /// The connection is over: its tuple is free, or a mini-socket's.
    fn unhash(&mut self, id: SockId) {
        let Some(sk) = self.socks.tcp.get_mut(id) else {
            return;
        };
        let leaving = sk.warm.leaving.take();
        let hash = sk.warm.hash;
        let mini = leaving.is_some_and(|(substate, ms)| self.insert_time_wait(id, substate, ms));
        if !mini {
            self.socks.ehash.remove(hash, id.place());
        }
        if let Some(sk) = self.socks.tcp.get_mut(id) {
            sk.warm.hashed = false;
        }
        self.drop_unnamed_port(id);
    }

    /// Frees a socket that nobody can reach any more.
    pub(crate) fn destroy(&mut self, id: SockId) {
        self.drop_port(id);
        let Some(mut sk) = self.socks.tcp.remove(id) else {
            return;
        };
        self.ctx.wheel.cancel(&mut sk.warm.wheel);
        if sk.warm.counted_orphan && !mutant!("orphan_stays_counted") {
            self.ctx.orphans -= 1;
        }
        if let Some(rings) = sk.rings.take() {
            rings.release(&mut self.ctx.chunks);
        }
    }
}
