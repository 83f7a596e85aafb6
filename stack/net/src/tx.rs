//! The way out, pulled by the device: finished frames, control segments, then flows in turn: neighbour known → tcp
//! output → gso → slots.

use crate::core::{Ctx, Stack};
use crate::drop::DropReason;
use crate::gso::{self, IpFields, Super, Template};
use crate::icmp;
use crate::ids::{IfaceId, SockId};
use crate::link::{self, LinkConfig, LinkKind};
use crate::neigh::{self, Effect, Parked, Resolution};
use crate::qdisc::Ctl;
use crate::sock::error::SockError;
use crate::stats::Counter;
use crate::tcp::input::{acking, icmp as tcp_icmp};
use crate::tcp::output::segment::Path;
use crate::tcp::output::{self, Turn};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Want;
use crate::tcp::state::{CAN_SEND, TcpState};
use crate::tcp::timer;
use core::net::Ipv4Addr;
use millrace_wire::arp::{ArpPacket, PACKET_LEN};
use millrace_wire::ethernet::EtherType;
use millrace_wire::frame::TxBatch;
use millrace_wire::mac::MacAddr;
use millrace_wire::tcp::{TcpFlags, TcpHeader};
use millrace_wire::time::Instant;

impl Stack {
    /// Something waits for the interface: call [`Stack::tx`].
    pub fn has_output(&self, iface: IfaceId) -> bool {
        self.ctx
            .ifaces
            .get(iface.0 as usize)
            .is_some_and(|i| !i.qdisc.is_empty())
    }

    /// Builds frames while the device has room.
    pub fn tx(&mut self, now: Instant, iface: IfaceId, batch: &mut dyn TxBatch) {
        self.ctx.now = now;
        self.flush_neigh();
        self.send_frames(iface, batch);
        self.send_ctl(iface, batch);
        self.send_flows(iface, batch);
        // Asking for neighbours made ARP requests.
        self.flush_neigh();
        self.send_frames(iface, batch);
    }

    fn send_frames(&mut self, iface: IfaceId, batch: &mut dyn TxBatch) {
        let Some(iface) = self.ctx.ifaces.get_mut(iface.0 as usize) else {
            return;
        };
        while let Some(frame) = iface.qdisc.frames.front() {
            if batch.room() == 0 {
                return;
            }
            if let Some(slot) = batch.next(frame.len()) {
                slot.copy_from_slice(frame);
            } else if batch.room() == 0 {
                return;
            } else {
                // Longer than the driver's frames: it can never go.
                self.ctx.drops.count(DropReason::QdiscFull);
            }
            iface.qdisc.frames.pop_front();
        }
    }

    fn send_ctl(&mut self, iface: IfaceId, batch: &mut dyn TxBatch) {
        while batch.room() > 0 {
            let Some(config) = self.ctx.ifaces.get_mut(iface.0 as usize) else {
                return;
            };
            let link = config.link;
            let Some(ctl) = config.qdisc.ctl.pop_front() else {
                return;
            };
            match self.ctx.resolve(&link, iface, ctl.dst.next_hop) {
                Resolution::Ready(mac) => {
                    if self.ctx.emit_ctl(&link, mac, &ctl, batch) == Turn::Full {
                        if let Some(config) = self.ctx.ifaces.get_mut(iface.0 as usize) {
                            config.qdisc.ctl.push_front(ctl);
                        }
                        return;
                    }
                }
                Resolution::Waiting => {
                    let packet =
                        gso::bare_packet(&ctl.tuple, ctl.ip(), &ctl.header(), &ctl.options);
                    self.ctx.park(iface, ctl.dst.next_hop, packet);
                }
                Resolution::Failed => self.ctx.drops.count(DropReason::NeighFailed),
            }
        }
    }

    fn send_flows(&mut self, iface: IfaceId, batch: &mut dyn TxBatch) {
        let turns = self
            .ctx
            .ifaces
            .get(iface.0 as usize)
            .map_or(0, |i| i.qdisc.flows.len());
        for _ in 0..turns {
            if batch.room() == 0 {
                return;
            }
            let Some(config) = self.ctx.ifaces.get_mut(iface.0 as usize) else {
                return;
            };
            let link = config.link;
            let Some(id) = config.qdisc.flows.pop_front() else {
                return;
            };
            if self.flow(iface, &link, id, batch) == Turn::Full {
                return;
            }
        }
    }

    /// One flow's turn.
    fn flow(
        &mut self,
        iface: IfaceId,
        link: &LinkConfig,
        id: SockId,
        batch: &mut dyn TxBatch,
    ) -> Turn {
        let Some(sk) = self.socks.tcp.get_mut(id) else {
            return Turn::Done;
        };
        sk.tx.queued = false;
        if sk.warm.dst.generation != self.ctx.routes.generation() {
            output::sync_mss(sk, &mut self.ctx);
            if sk.warm.dst.generation != self.ctx.routes.generation() {
                // No route any more: timers try again (Linux: the packet is lost).
                self.ctx.mib.inc(Counter::IpOutNoRoutes);
                tcp_icmp::local_error(sk, &mut self.ctx, SockError::NetUnreachable);
                retry_later(sk, &mut self.ctx);
                self.settle_output(id);
                return Turn::Done;
            }
        }
        if sk.warm.dst.iface != iface {
            self.ctx.enqueue_flow(sk);
            return Turn::Done;
        }
        let next_hop = sk.warm.dst.next_hop;
        let mac = match self.ctx.resolve(link, iface, next_hop) {
            Resolution::Ready(mac) => mac,
            Resolution::Waiting => {
                sk.tx.queued = true;
                self.ctx.neigh.park_flow(iface, next_hop, id);
                return Turn::Done;
            }
            Resolution::Failed => {
                self.ctx.drops.count(DropReason::NeighFailed);
                tcp_icmp::local_error(sk, &mut self.ctx, SockError::HostUnreachable);
                retry_later(sk, &mut self.ctx);
                self.settle_output(id);
                return Turn::Done;
            }
        };
        let turn = output::output(sk, &mut self.ctx, &Path { link, mac }, batch);
        match turn {
            Turn::Done => {}
            Turn::More => self.ctx.enqueue_flow(sk),
            // The device has room and refuses: the packet is longer than its frames, and timers try again.
            Turn::Full if batch.room() > 0 => self.ctx.drops.count(DropReason::QdiscFull),
            Turn::Full => {
                sk.tx.queued = true;
                if let Some(config) = self.ctx.ifaces.get_mut(iface.0 as usize)
                    && !mutant!("flow_lost_when_device_full")
                {
                    config.qdisc.flows.push_front(id);
                }
            }
        }
        if sk.rx.state == TcpState::Close {
            self.settle(id);
        } else {
            self.ctx.follow_output(sk);
        }
        turn
    }

    /// [`Stack::settle`] after output.
    fn settle_output(&mut self, id: SockId) {
        let Some(sk) = self.socks.tcp.get_mut(id) else {
            return;
        };
        if sk.rx.state == TcpState::Close {
            self.settle(id);
        } else {
            self.ctx.follow_output(sk);
        }
    }

    /// Carries out what the neighbour table wants done.
    pub(crate) fn flush_neigh(&mut self) {
        if !self.ctx.neigh.has_effects() {
            return;
        }
        let mut effects = Vec::new();
        self.ctx.neigh.take_effects(&mut effects);
        for effect in effects {
            match effect {
                Effect::Solicit { iface, target, to } => self.ctx.solicit(iface, target, to),
                Effect::Reply { iface, to, packet } => self.ctx.send_arp(iface, to, &packet),
                Effect::Release {
                    iface,
                    mac,
                    flows,
                    packets,
                    ..
                } => {
                    for packet in packets {
                        self.ctx.push_l3(iface, mac, EtherType::IPV4, &packet);
                    }
                    for id in flows {
                        self.unpark(id);
                    }
                }
                Effect::Fail { flows, packets, .. } => {
                    self.ctx
                        .drops
                        .count_many(DropReason::NeighFailed, packets.len() as u64);
                    for id in flows {
                        self.neighbour_failed(id);
                    }
                }
            }
        }
    }

    fn unpark(&mut self, id: SockId) {
        if let Some(sk) = self.socks.tcp.get_mut(id) {
            sk.tx.queued = false;
            if !mutant!("parked_flow_lost") {
                self.ctx.enqueue_flow(sk);
            }
        }
    }

    /// Nobody answers for the next hop (Linux `arp_error_report`).
    fn neighbour_failed(&mut self, id: SockId) {
        if let Some(sk) = self.socks.tcp.get_mut(id) {
            sk.tx.queued = false;
            // What was wanted is lost like a packet; timers bring it back. An ACK counts as sent.
            if sk.tx.want.contains(Want::ACK) {
                acking::event_ack_sent(sk);
            }
            sk.tx.want = Default::default();
            tcp_icmp::local_error(sk, &mut self.ctx, SockError::HostUnreachable);
            retry_later(sk, &mut self.ctx);
            self.settle_output(id);
        }
    }
}

/// Nothing went out: the probe timer tries again (Linux `tcp_check_probe_timer`).
fn retry_later(sk: &mut TcpSock, ctx: &mut Ctx) {
    if sk.rx.state.is_in(CAN_SEND) && sk.records.is_empty() && sk.has_unsent() {
        timer::arm_probe0(sk, ctx);
    }
}

impl Ctl {
    pub(crate) fn header(&self) -> TcpHeader {
        TcpHeader {
            src_port: self.tuple.lport,
            dst_port: self.tuple.rport,
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: self.urgent,
        }
    }

    fn ip(&self) -> IpFields {
        IpFields {
            tos: self.tos,
            ttl: self.ttl,
            id: self.id,
        }
    }
}

impl Ctx {
    fn resolve(&mut self, link: &LinkConfig, iface: IfaceId, next_hop: Ipv4Addr) -> Resolution {
        match link.kind {
            LinkKind::Ip => Resolution::Ready(MacAddr::ZERO),
            LinkKind::Ethernet => self.neigh.resolve(self.now, iface, next_hop),
        }
    }

    fn emit_ctl(
        &mut self,
        link: &LinkConfig,
        mac: MacAddr,
        ctl: &Ctl,
        batch: &mut dyn TxBatch,
    ) -> Turn {
        let template = Template::new(link, mac, &ctl.tuple, ctl.ip(), &ctl.header(), &ctl.options);
        let job = Super {
            template: &template,
            pos: 0,
            len: 0,
            mss: 1,
            first: TcpFlags::NONE,
            last: TcpFlags::NONE,
            sign: None,
        };
        if gso::cut(&job, None, batch).0 == 0 {
            return Turn::Full;
        }
        self.mib.inc(Counter::TcpOutSegs);
        self.mib.inc(Counter::IpOutRequests);
        Turn::Done
    }

    fn park(&mut self, iface: IfaceId, next_hop: Ipv4Addr, packet: Vec<u8>) {
        match self.neigh.park_packet(iface, next_hop, packet) {
            Ok(Parked::Queued) => {}
            Ok(Parked::Displaced { packets }) => {
                self.drops
                    .count_many(DropReason::NeighQueueFull, u64::from(packets));
            }
            Err(reason) => self.drops.count(reason),
        }
    }

    /// A finished IP packet (ICMP) to a host.
    pub(crate) fn send_ip(&mut self, dst: Ipv4Addr, src: Ipv4Addr, packet: Vec<u8>) {
        self.mib.inc(Counter::IpOutRequests);
        let Some(hop) = self.route(dst, Some(src)) else {
            self.mib.inc(Counter::IpOutNoRoutes);
            self.drops.count(DropReason::NoRoute);
            return;
        };
        let Some(link) = self.ifaces.get(hop.iface.0 as usize).map(|i| i.link) else {
            return;
        };
        match self.resolve(&link, hop.iface, hop.next_hop) {
            Resolution::Ready(mac) => self.push_l3(hop.iface, mac, EtherType::IPV4, &packet),
            Resolution::Waiting => self.park(hop.iface, hop.next_hop, packet),
            Resolution::Failed => self.drops.count(DropReason::NeighFailed),
        }
    }

    /// Queues a frame made of a link header and `payload`.
    pub(crate) fn push_l3(&mut self, iface: IfaceId, to: MacAddr, ty: EtherType, payload: &[u8]) {
        let Some(config) = self.ifaces.get_mut(iface.0 as usize) else {
            return;
        };
        let header = link::header_len(&config.link);
        let mut frame = vec![0; header + payload.len()];
        link::emit(&config.link, &mut frame, to, ty);
        frame[header..].copy_from_slice(payload);
        if config.qdisc.push_frame(frame).is_err() {
            self.mib.inc(Counter::IpOutDiscards);
            self.drops.count(DropReason::QdiscFull);
        }
    }

    fn send_arp(&mut self, iface: IfaceId, to: MacAddr, packet: &ArpPacket) {
        let mut bytes = [0; PACKET_LEN];
        packet.emit(&mut bytes);
        self.push_l3(iface, to, EtherType::ARP, &bytes);
    }

    fn solicit(&mut self, iface: IfaceId, target: Ipv4Addr, to: Option<MacAddr>) {
        let Some(mac) = self.ifaces.get(iface.0 as usize).map(|i| i.link.mac) else {
            return;
        };
        let Ok(hop) = self.routes.lookup(target, None) else {
            return;
        };
        let packet = neigh::solicitation(mac, hop.src, target);
        self.send_arp(iface, to.unwrap_or(MacAddr::BROADCAST), &packet);
    }

    /// IP fields of an ICMP packet.
    pub(crate) fn icmp_fields(&mut self) -> icmp::IpFields {
        self.ip_id = self.ip_id.wrapping_add(1);
        icmp::IpFields {
            ttl: self.sysctl.ip_default_ttl as u8,
            id: self.ip_id,
        }
    }
}
