//! Plays a tape on a stack.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddrV4};
use std::time::Duration;

use ipnet::Ipv4Net;
use millrace_net::link::{LinkConfig, LinkKind};
use millrace_net::{Census, Config, IfaceConfig, MsgFlags, RouteSpec, SockId, SockOpt};
use millrace_wire::arp::{ArpOp, ArpPacket};
use millrace_wire::ethernet::{EtherType, EthernetView, HEADER_LEN};
use millrace_wire::mac::MacAddr;
use millrace_wire::tcp::TcpFlags;

use super::peer::{LOCAL, PORT, Peer, REMOTE, framed};
use super::tape::{MAX_OPS, Op, Segment, Tape};
use crate::host::Host;

/// The stack's link address.
pub(super) const LOCAL_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// The peer's link address.
pub(super) const REMOTE_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// Sockets an application holds at most.
const MAX_SOCKETS: usize = 16;

/// After this long with a silent peer and a closed application nothing may be left.
const AFTERLIFE: Duration = Duration::from_secs(4 * 3_600);

/// A stack that is being played to.
pub(super) struct Player {
    host: Host,
    kind: LinkKind,
    peer: Peer,
    sockets: Vec<SockId>,
    /// Arrivals that are collected, and how many are still to come, for a batch.
    batch: Option<(usize, Vec<Vec<u8>>)>,
}

impl Player {
    /// A listening stack on a link of this kind.
    pub(super) fn listening(kind: LinkKind) -> Self {
        let link = LinkConfig {
            kind,
            mac: LOCAL_MAC,
            vlan: None,
            mtu: 1_500,
        };
        let iface = IfaceConfig {
            name: "fuzz0".to_owned(),
            link,
            accept_partial_csum: false,
        };
        let mut host =
            Host::new(Config::new([3; 32]), iface).expect("the interface is well-formed");
        let id = host.iface();
        let stack = host.stack();
        let net = Ipv4Net::new(LOCAL, 24).expect("24 is a prefix length");
        stack.add_addr(id, net).expect("the address is well-formed");
        let gateway = matches!(kind, LinkKind::Ethernet).then_some(REMOTE);
        let route = RouteSpec {
            dest: Ipv4Net::default(),
            gateway,
            iface: id,
            prefsrc: None,
            metric: 0,
            mtu: None,
        };
        stack.add_route(route).expect("the route is well-formed");
        let listener = stack.tcp_socket().expect("the first socket");
        stack
            .bind(listener, SocketAddrV4::new(LOCAL, PORT))
            .expect("the port is free");
        stack.listen(listener, 3).expect("it is bound");
        Self {
            host,
            kind,
            peer: Peer::new(),
            sockets: vec![listener],
            batch: None,
        }
    }

    /// A handshake from the peer's port `who`, with the options of template `options`, and the accepted socket.
    pub(super) fn establish(&mut self, who: u8, options: u8, detail: u8) {
        let syn = Segment {
            who,
            flags: TcpFlags::SYN.0,
            window: 65_000,
            options,
            detail,
            ..Segment::default()
        };
        self.arrive(&syn);
        // With timestamps agreed on, the last segment of the handshake must have one too.
        let stamped = if options % 8 == 4 { 1 } else { 0 };
        let ack = Segment {
            who,
            flags: TcpFlags::ACK.0,
            window: 2_000,
            options: stamped,
            ..Segment::default()
        };
        self.arrive(&ack);
        self.call(0, 0, 0);
    }

    fn arrive(&mut self, template: &Segment) {
        let packet = self.peer.segment(template);
        self.packet(packet);
    }

    /// Plays the rest of a tape, then closes everything and lets the afterlife pass.
    ///
    /// # Panics
    /// When the stack breaks a promise: that is a finding.
    pub(super) fn play(mut self, tape: &mut Tape<'_>) {
        for _ in 0..MAX_OPS {
            let Some(op) = tape.op() else { break };
            self.op(&op);
        }
        self.deliver_batch();
        let now = self.host.now();
        for sock in std::mem::take(&mut self.sockets) {
            // Stale by now, or not: either answer will do.
            let _ = self.host.stack().close(now, sock);
        }
        self.host.flush();
        self.pass(AFTERLIFE);
        let mut census = self.host.stack_ref().census();
        census.neighbours = 0;
        assert_eq!(
            census,
            Census::default(),
            "the peer is silent, the application gone: what is left?"
        );
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::Frame { link, bytes } => match (self.kind, link) {
                (LinkKind::Ethernet, 0) => self.frame(framed(bytes, LOCAL_MAC, EtherType::IPV4)),
                (LinkKind::Ethernet, 2) => {
                    self.frame(framed(bytes, MacAddr::BROADCAST, EtherType::ARP))
                }
                (LinkKind::Ethernet, 3) => self.frame(framed(bytes, LOCAL_MAC, EtherType::VLAN)),
                _ => self.frame(bytes.clone()),
            },
            Op::Segment(template) => self.arrive(template),
            Op::Wait { exponent, mantissa } => {
                self.deliver_batch();
                let nanos = (u64::from(*mantissa) + 1) << (exponent % 34);
                self.pass(Duration::from_nanos(nanos));
            }
            Op::Call { what, which, n } => {
                self.deliver_batch();
                self.call(*what, *which, *n);
            }
            Op::Icmp {
                who,
                ty,
                code,
                mtu,
                seq,
            } => {
                let packet = self.peer.icmp(*who, (*ty, *code), *mtu, *seq);
                self.packet(packet);
            }
            Op::Batch { count } => {
                self.deliver_batch();
                self.batch = Some((usize::from(count % 16) + 1, Vec::new()));
            }
            Op::Arp { op, spoof } => self.arp(*op, *spoof),
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.host.now() + time;
        loop {
            // Sent frames are looked at as time goes on: neighbours must be answered.
            let peek = |host: &mut Host| (!host.sent().is_empty()).then_some(());
            let sent = self
                .host
                .run_until(until, &mut { peek })
                .expect("time passes");
            self.look();
            if sent.is_none() {
                return;
            }
        }
    }

    fn packet(&mut self, packet: Vec<u8>) {
        match self.kind {
            LinkKind::Ethernet => self.frame(framed(&packet, LOCAL_MAC, EtherType::IPV4)),
            _ => self.frame(packet),
        }
    }

    fn frame(&mut self, frame: Vec<u8>) {
        match &mut self.batch {
            Some((left, frames)) => {
                frames.push(frame);
                *left -= 1;
                if *left == 0 {
                    self.deliver_batch();
                }
            }
            None => {
                self.host.inject(&mut [frame]);
                self.look();
            }
        }
    }

    fn deliver_batch(&mut self) {
        if let Some((_, mut frames)) = self.batch.take() {
            self.host.inject(&mut frames);
            self.look();
        }
    }

    /// Learns from what was sent, and answers what asks for our link address.
    fn look(&mut self) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(sent) = self.host.sent().pop_front() {
                if !matches!(self.kind, LinkKind::Ethernet) {
                    self.peer.learn(&sent.bytes);
                    continue;
                }
                let view =
                    EthernetView::parse(&sent.bytes).expect("a sent frame has a good link header");
                match view.ethertype() {
                    EtherType::IPV4 => self.peer.learn(view.payload()),
                    EtherType::ARP => answers.extend(arp_answer(view.payload())),
                    other => panic!("the stack sent a frame of type {other:?}"),
                }
            }
            let Some(answer) = answers.pop_front() else {
                return;
            };
            self.host.inject(&mut [answer]);
        }
    }

    fn arp(&mut self, op: u8, spoof: u8) {
        let op = if op.is_multiple_of(2) {
            ArpOp::Request
        } else {
            ArpOp::Reply
        };
        let spa = if spoof & 1 == 0 { REMOTE } else { LOCAL };
        let tpa = if spoof & 2 == 0 { LOCAL } else { REMOTE };
        let sha = if spoof & 4 == 0 {
            REMOTE_MAC
        } else {
            MacAddr::BROADCAST
        };
        let frame = arp_frame(&ArpPacket {
            op,
            sha,
            spa,
            tha: LOCAL_MAC,
            tpa,
        });
        self.frame(frame);
    }

    /// One socket call; errors are as good as results.
    fn call(&mut self, what: u8, which: u8, n: u16) {
        let now = self.host.now();
        let sock = self.sockets[usize::from(which) % self.sockets.len()];
        let stack = self.host.stack();
        match what % 16 {
            0 | 1 => {
                if self.sockets.len() < MAX_SOCKETS
                    && let Ok((child, _)) = stack.accept(now, self.sockets[0])
                {
                    self.sockets.push(child);
                }
            }
            2 | 3 => drop(stack.send(now, sock, &vec![0x33; usize::from(n)], MsgFlags::NONE)),
            4 => drop(stack.send(now, sock, &vec![0x33; usize::from(n)], MsgFlags::MORE)),
            5 | 6 => drop(stack.recv(now, sock, &mut vec![0; usize::from(n)], MsgFlags::NONE)),
            7 => drop(stack.recv(now, sock, &mut vec![0; usize::from(n)], MsgFlags::PEEK)),
            8 => drop(stack.shutdown(
                now,
                sock,
                [Shutdown::Read, Shutdown::Write, Shutdown::Both][usize::from(n) % 3],
            )),
            9 if self.sockets.len() > 1 && usize::from(which) % self.sockets.len() > 0 => {
                let _ = stack.close(now, sock);
                self.sockets
                    .swap_remove(usize::from(which) % self.sockets.len());
            }
            10 if usize::from(which) % self.sockets.len() > 0 => stack.abort(now, sock),
            11 | 12 => drop(stack.set_option(now, sock, option(which, n))),
            13 => drop(stack.readiness(sock).map(|_| stack.take_error(sock))),
            14 => self.connect(which),
            _ => drop((
                stack.send_space(sock),
                stack.recv_len(sock),
                stack.peer_addr(sock),
            )),
        }
        self.host.flush();
        self.look();
    }

    fn connect(&mut self, who: u8) {
        let now = self.host.now();
        let stack = self.host.stack();
        if self.sockets.len() >= MAX_SOCKETS {
            return;
        }
        let Ok(sock) = stack.tcp_socket() else { return };
        let to = self.peer.remote(who);
        let _ = stack.connect(now, sock, to);
        if let Ok(local) = stack.local_addr(sock) {
            self.peer.called(to.port(), local.port());
        }
        self.sockets.push(sock);
    }
}

fn option(which: u8, n: u16) -> SockOpt {
    let on = n & 1 == 1;
    let number = u32::from(n);
    match which % 12 {
        0 => SockOpt::NoDelay(on),
        1 => SockOpt::Cork(on),
        2 => SockOpt::QuickAck(i32::from(n % 3)),
        3 => SockOpt::KeepAlive(on),
        4 => SockOpt::KeepIdle(number % 40_000),
        5 => SockOpt::KeepCnt(number % 200),
        6 => SockOpt::Linger(on.then(|| Duration::from_secs(u64::from(n / 2)))),
        7 => SockOpt::SndBuf(number * 16),
        8 => SockOpt::RcvBuf(number * 16),
        9 => SockOpt::UserTimeout(number),
        10 => SockOpt::MaxSeg(n),
        _ => SockOpt::Linger2(i32::from(n.cast_signed())),
    }
}

fn arp_answer(request: &[u8]) -> Option<Vec<u8>> {
    let request = ArpPacket::parse(request).expect("a sent ARP packet is well-formed");
    (request.op == ArpOp::Request && request.tpa == REMOTE).then(|| {
        arp_frame(&ArpPacket {
            op: ArpOp::Reply,
            sha: REMOTE_MAC,
            spa: REMOTE,
            tha: request.sha,
            tpa: request.spa,
        })
    })
}

fn arp_frame(packet: &ArpPacket) -> Vec<u8> {
    let mut body = [0; 28];
    packet.emit(&mut body);
    let frame = framed(&body, LOCAL_MAC, EtherType::ARP);
    debug_assert_eq!(frame.len(), HEADER_LEN + body.len());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_net::TcpState;

    #[test]
    fn the_handshake_succeeds_whatever_the_options() {
        for kind in [LinkKind::Ip, LinkKind::Ethernet] {
            for (who, options) in [(0, 4), (1, 6), (2, 0)] {
                let mut player = Player::listening(kind);
                player.establish(who, options, 7);
                let [_, child] = player.sockets[..] else {
                    panic!("options {options}: nothing to accept");
                };
                let state = player.host.stack_ref().state(child);
                assert_eq!(state, Ok(TcpState::Established));
            }
        }
    }

    #[test]
    fn templates_hit_the_window() {
        let mut player = Player::listening(LinkKind::Ip);
        player.establish(0, 4, 7);
        let ack = TcpFlags::ACK.0;
        for len in [100, 200] {
            player.arrive(&Segment {
                flags: ack,
                len,
                options: 1,
                ..Segment::default()
            });
        }
        let child = player.sockets[1];
        assert_eq!(player.host.stack().recv_len(child), Ok(300));
    }
}
