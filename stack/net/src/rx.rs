//! The way in: link → ip → (tcp: gro → demux → input | icmp | udp) → what is due goes to the qdisc; `deliver` then
//! hands bytes to services.

mod icmp;

use crate::core::Stack;
use crate::drop::DropReason;
use crate::gro::Gro;
use crate::icmp::ErrorKind;
use crate::ids::{IfaceId, SockKind};
use crate::ip::{self, Accepted, Dst, Origin};
use crate::link::{self, Cast, Inbound, L3Proto};
use crate::stats::Counter;
use crate::tcp::demux::Tuple;
use crate::tcp::input::{self, Fate, ecn, fast};
use crate::tcp::md5;
use crate::tcp::output::reset;
use crate::tcp::segment::{Part, Payload, Segment};
use crate::tcp::sock::hot::Features;
use arrayvec::ArrayVec;
use millrace_wire::arp::ArpPacket;
use millrace_wire::checksum::pseudo_header_v4;
use millrace_wire::frame::{RxCsum, RxFrame};
use millrace_wire::ipv4::protocol;
use millrace_wire::tcp::{TcpFlags, TcpView};
use millrace_wire::time::Instant;
use millrace_wire::udp::UdpView;

impl Stack {
    /// Takes the frames of one poll, at most 65,535. Call [`Stack::deliver`] with the same frames before they go back.
    pub fn rx(&mut self, now: Instant, iface: IfaceId, frames: &mut [RxFrame<'_>]) {
        self.ctx.now = now;
        let frames: &[RxFrame<'_>] = frames;
        for start in (0..frames.len()).step_by(crate::gro::MAX) {
            let mut gro = Gro::new();
            for (index, frame) in frames.iter().enumerate().skip(start).take(crate::gro::MAX) {
                if let Err(reason) = self.frame(iface, index as u16, frame, &mut gro) {
                    self.ctx.drops.count(reason);
                }
            }
            self.trains(&gro, frames);
        }
        self.ctx.check_memory();
        self.flush_neigh();
    }

    /// One frame as far as its transport; TCP segments are collected.
    fn frame(
        &mut self,
        iface: IfaceId,
        index: u16,
        frame: &RxFrame<'_>,
        gro: &mut Gro,
    ) -> Result<(), DropReason> {
        let Some(config) = self.ctx.ifaces.get(iface.0 as usize).map(|i| i.link) else {
            return Err(DropReason::LinkNotOurMac);
        };
        let inbound = link::parse(&config, frame.data())?;
        let l3 = frame.data().get(inbound.l3_offset..).unwrap_or_default();
        match inbound.proto {
            L3Proto::Arp => self.arp(iface, &inbound, l3),
            L3Proto::Ipv4 => self.ipv4(iface, index, frame, &inbound, l3, gro),
        }
    }

    fn arp(&mut self, iface: IfaceId, inbound: &Inbound, bytes: &[u8]) -> Result<(), DropReason> {
        let packet = ArpPacket::parse(bytes).map_err(|_| DropReason::ArpMalformed)?;
        let ctx = &mut self.ctx;
        let mac = ctx
            .ifaces
            .get(iface.0 as usize)
            .map(|i| i.link.mac)
            .unwrap_or_default();
        let routes = &ctx.routes;
        ctx.neigh
            .input(ctx.now, iface, mac, inbound.cast, &packet, |ip| {
                routes.is_local(ip)
            })
            .map(|_| ())
    }

    fn ipv4(
        &mut self,
        iface: IfaceId,
        index: u16,
        frame: &RxFrame<'_>,
        inbound: &Inbound,
        bytes: &[u8],
        gro: &mut Gro,
    ) -> Result<(), DropReason> {
        self.ctx.mib.inc(Counter::IpInReceives);
        let mark = ecn::counter(bytes.get(1).copied().unwrap_or_default());
        let accepted = ip::input(bytes, Origin::Wire, &self.ctx.routes).inspect_err(|reason| {
            match reason {
                DropReason::Ipv4NotOurs | DropReason::Ipv4MartianSource => {
                    self.ctx.mib.inc(Counter::IpInAddrErrors)
                }
                _ => self.ctx.mib.inc(Counter::IpInHdrErrors),
            }
            if *reason != DropReason::Ipv4Malformed {
                self.ctx.mib.inc(mark);
            }
        })?;
        self.ctx.mib.inc(mark);
        match accepted.packet.protocol() {
            protocol::TCP => {
                self.ctx.mib.inc(Counter::IpInDelivers);
                self.tcp_segment(iface, index, frame, inbound, &accepted, gro)
            }
            protocol::ICMP => {
                self.ctx.mib.inc(Counter::IpInDelivers);
                self.icmp(&accepted)
            }
            protocol::UDP => {
                self.ctx.mib.inc(Counter::IpInDelivers);
                self.udp(&accepted, inbound.cast)
            }
            _ => {
                self.ctx.mib.inc(Counter::IpInUnknownProtos);
                self.send_icmp_error(&accepted, inbound.cast, ErrorKind::ProtocolUnreachable);
                Err(DropReason::Ipv4UnknownProtocol)
            }
        }
    }

    /// Parses and verifies a TCP segment, and collects it.
    fn tcp_segment(
        &mut self,
        iface: IfaceId,
        index: u16,
        frame: &RxFrame<'_>,
        inbound: &Inbound,
        accepted: &Accepted<'_>,
        gro: &mut Gro,
    ) -> Result<(), DropReason> {
        let mib = &mut self.ctx.mib;
        mib.inc(Counter::TcpInSegs);
        let packet = &accepted.packet;
        if accepted.dst != Dst::Local || inbound.cast != Cast::Unicast {
            return Err(DropReason::TcpNotUnicast);
        }
        let Ok(view) = TcpView::parse(packet.payload()) else {
            mib.inc(Counter::TcpInErrs);
            return Err(DropReason::TcpMalformed);
        };
        match frame.meta().csum {
            RxCsum::L4Ok => mib.inc(Counter::MillraceCsumByDevice),
            RxCsum::None
                if view.checksum_ok(packet.src(), packet.dst())
                    || mutant!("checksum_unchecked") => {}
            RxCsum::None => {
                let partial = self
                    .ctx
                    .ifaces
                    .get(iface.0 as usize)
                    .is_some_and(|i| i.accept_partial_csum);
                let len = packet.payload().len() as u16;
                let pseudo =
                    pseudo_header_v4(packet.src(), packet.dst(), protocol::TCP, len).fold();
                if !partial || view.checksum() != pseudo {
                    mib.inc(Counter::TcpInErrs);
                    mib.inc(Counter::TcpInCsumErrors);
                    return Err(DropReason::TcpBadChecksum);
                }
            }
        }
        let tuple = Tuple {
            local: packet.dst(),
            remote: packet.src(),
            lport: view.dst_port(),
            rport: view.src_port(),
        };
        let l4 = inbound.l3_offset + packet.header_len();
        let header = view.header_len();
        let part = |offset: usize, len: usize| Part {
            frame: index,
            offset: offset as u16,
            len: len as u16,
        };
        let options = part(l4 + 20, view.options().len());
        let payload = part(l4 + header, view.payload().len());
        let hash = tuple.hash(&self.ctx.keys);
        let segment = Segment::new(&view, tuple, hash, options, packet.tos());
        gro.push(segment, payload);
        Ok(())
    }

    fn trains(&mut self, gro: &Gro, frames: &[RxFrame<'_>]) {
        self.ctx
            .mib
            .add(Counter::TcpExtTCPRcvCoalesce, gro.coalesced);
        let mut parts = ArrayVec::new();
        for index in 0..gro.trains() {
            let segment = gro.train(index, &mut parts);
            let payload = Payload {
                frames,
                parts: &parts,
            };
            if self.fast(segment, &payload) == fast::Fast::Taken {
                continue;
            }
            // The slow path sees every segment as it came.
            for (segment, part) in gro.members(index) {
                let payload = Payload {
                    frames,
                    parts: &[part],
                };
                self.tcp(&segment, &payload);
            }
        }
    }

    /// The fast path: an established socket and nothing unusual.
    fn fast(&mut self, seg: &Segment, payload: &Payload<'_, '_>) -> fast::Fast {
        let socks = &mut self.socks;
        let tcp = &socks.tcp;
        let place = socks.ehash.lookup(seg.hash, |p| {
            p.kind() == SockKind::Tcp
                && tcp.at(p.index()).is_some_and(|sk| sk.rx.tuple == seg.tuple)
        });
        let Some(sk) = place.and_then(|p| socks.tcp.at_mut(p.index())) else {
            return fast::Fast::Declined;
        };
        #[cfg(test)]
        if self.ctx.slow_only {
            fast::move_window_mark(sk, seg);
            return fast::Fast::Declined;
        }
        let id = sk.id();
        let outcome = fast::try_fast(sk, &mut self.ctx, seg, payload);
        if outcome == fast::Fast::Taken {
            sk.warm.counts.received(u32::from(seg.segs), seg.len);
            // What was lent settles when it is delivered.
            if sk.warm.lent == 0 {
                self.settle(id);
            }
        }
        outcome
    }

    /// One segment: demux, input, and the answer if it is refused.
    pub(crate) fn tcp(&mut self, seg: &Segment, payload: &Payload<'_, '_>) {
        // The socket may be gone when its RST is made.
        let signed = md5::is_signed(seg, payload);
        let key = if signed {
            self.socks.reply_key(&seg.tuple, seg.hash).cloned()
        } else {
            None
        };
        let fate = self.demux(seg, payload);
        match fate {
            Fate::Taken => {}
            Fate::Dropped(reason) => self.ctx.drops.count(reason),
            Fate::Reset(reason) => {
                self.ctx.drops.count(reason);
                // A signed segment that belongs to nobody gets no answer: we could not sign it.
                let answered = !seg.has(TcpFlags::RST) || mutant!("rst_answered");
                if answered && signed == key.is_some() {
                    self.ctx.mib.inc(Counter::TcpOutRsts);
                    self.reply_signed(seg.tuple, &reset::reply_to(seg), key.as_ref());
                }
            }
        }
    }

    fn demux(&mut self, seg: &Segment, payload: &Payload<'_, '_>) -> Fate {
        let socks = &self.socks;
        let found = socks.ehash.lookup(seg.hash, |p| match p.kind() {
            SockKind::Tcp => socks
                .tcp
                .at(p.index())
                .is_some_and(|sk| sk.rx.tuple == seg.tuple),
            SockKind::Request => socks
                .requests
                .at(p.index())
                .is_some_and(|r| r.tuple == seg.tuple),
            SockKind::TimeWait => socks.tw.at(p.index()).is_some_and(|t| t.tuple == seg.tuple),
        });
        match found.map(|p| (p.kind(), p.index())) {
            Some((SockKind::Tcp, index)) => self.full_socket(index, seg, payload),
            Some((SockKind::Request, index)) => match self
                .socks
                .requests
                .at(index)
                .map(|_| self.socks.requests.id_at(index))
            {
                Some(id) => self.request_input(id, seg, payload),
                None => Fate::Dropped(DropReason::TcpNoSocket),
            },
            Some((SockKind::TimeWait, index)) => {
                let id = self.socks.tw.id_at(index);
                self.time_wait_input(id, seg, payload)
            }
            None => match self
                .socks
                .lhash
                .lookup(seg.tuple.local, seg.tuple.lport, seg.hash)
            {
                Some(listener) => self.listener_input(listener, seg, payload, None),
                None => Fate::Reset(DropReason::TcpNoSocket),
            },
        }
    }

    fn full_socket(&mut self, index: u32, seg: &Segment, payload: &Payload<'_, '_>) -> Fate {
        let Some(sk) = self.socks.tcp.at_mut(index) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        if !seg.simple || sk.rx.features.contains(Features::MD5) {
            let key = md5::key_for(&sk.rx, &sk.cold);
            if let Err(reason) = md5::inbound(key, &mut self.ctx.mib, seg, payload) {
                return Fate::Dropped(reason);
            }
        }
        let id = sk.id();
        sk.warm.counts.received(1, seg.len);
        let fate = input::segment(sk, &mut self.ctx, seg, payload);
        self.settle(id);
        fate
    }

    fn udp(&mut self, accepted: &Accepted<'_>, cast: Cast) -> Result<(), DropReason> {
        let packet = &accepted.packet;
        let Ok(view) = UdpView::parse(packet.payload()) else {
            self.ctx.mib.inc(Counter::UdpInErrors);
            return Err(DropReason::UdpMalformed);
        };
        if !view.checksum_ok(packet.src(), packet.dst()) {
            self.ctx.mib.inc(Counter::UdpInErrors);
            self.ctx.mib.inc(Counter::UdpInCsumErrors);
            return Err(DropReason::UdpBadChecksum);
        }
        self.ctx.mib.inc(Counter::UdpNoPorts);
        self.send_icmp_error(accepted, cast, ErrorKind::PortUnreachable);
        Err(DropReason::UdpNoPort)
    }
}
