//! Plays a tape on a stack.

mod calls;

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use ipnet::Ipv4Net;
use millrace_net::link::{LinkConfig, LinkKind};
use millrace_net::{Census, Config, IfaceConfig, RouteSpec, SockId};
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
    fn seeds_reach_what_they_are_named_for() {
        let counted = |player: &Player, name: &str| player.host.stack_ref().mib().get(name);
        let played = |mut player: Player, seeds: &[super::super::seeds::Seed], name: &str, head| {
            let seed = seeds.iter().find(|seed| seed.name == name);
            let mut tape = Tape::new(&seed.expect("a seed of this name").bytes[head..]);
            while let Some(op) = tape.op() {
                player.op(&op);
            }
            player
        };
        let listening = |name: &str| {
            let player = Player::listening(LinkKind::Ethernet);
            played(player, &super::super::seeds::listening(), name, 0)
        };
        let established = |name: &str| {
            let mut player = Player::listening(LinkKind::Ip);
            player.establish(0, 4, 7);
            played(player, &super::super::seeds::established(), name, 2)
        };
        let player = listening("fast-open-server");
        // One wish, and one cookie that is too short to be one.
        assert_eq!(counted(&player, "TcpExtTCPFastOpenCookieReqd"), Some(2));
        assert_eq!(counted(&player, "TcpExtTCPFastOpenPassive"), Some(1));
        let player = listening("cookies");
        assert_eq!(counted(&player, "TcpExtSyncookiesRecv"), Some(1));
        let player = listening("signed-listener");
        assert!(counted(&player, "TcpExtTCPMD5NotFound") > Some(0));
        let player = established("disconnect");
        assert_eq!(
            player.host.stack_ref().state(player.sockets[1]),
            Ok(TcpState::SynSent),
        );
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
