//! The other end, as the fuzzer plays it: it remembers just enough to aim segments at the edges that matter.

use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_wire::ipv4::{self, Ipv4Header, Ipv4View, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::FastOpen;
use millrace_wire::tcp::{self, OptionsBuf, SackBlock, TcpFlags, TcpHeader, TcpOptions, TcpView};
use millrace_wire::{ethernet, icmpv4};

use super::tape::Segment;

/// The stack's address.
pub(super) const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The peer's address.
pub(super) const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The port that the stack listens on.
pub(super) const PORT: u16 = 80;
/// The peer has this many ports.
pub(super) const PORTS: usize = 4;

/// The longest payload of a template.
const MAX_PAYLOAD: u16 = 3_000;

/// What the peer knows of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    /// The stack's port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// The next sequence number that the stack expects, from its newest acknowledgement.
    pub expected: SeqNum,
    /// The end of what the stack has sent.
    pub sent: SeqNum,
    /// The first sequence number that the stack has sent and the peer has not acknowledged.
    pub unacked: SeqNum,
    /// The stack's newest timestamp.
    pub their_ts: u32,
    /// The peer's newest timestamp.
    pub our_ts: u32,
}

/// The peer.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    flows: [Flow; PORTS],
    /// The stack's newest Fast Open cookie: it is for the peer's address.
    cookie: Option<FastOpen>,
}

impl Peer {
    pub(super) fn new() -> Self {
        let flow = |n: usize| Flow {
            local_port: PORT,
            remote_port: 40_000 + n as u16,
            expected: SeqNum::new(0xffff_fff0_u32.wrapping_add(n as u32 * 0x4000_0000)),
            sent: SeqNum::new(0),
            unacked: SeqNum::new(0),
            their_ts: 0,
            our_ts: 1_000,
        };
        Self {
            flows: std::array::from_fn(flow),
            cookie: None,
        }
    }

    pub(super) fn flow(&self, who: u8) -> &Flow {
        &self.flows[usize::from(who) % PORTS]
    }

    /// The stack connects to port `remote_port`: the last flow becomes that connection.
    pub(super) fn called(&mut self, remote_port: u16, local_port: u16) {
        let last = &mut self.flows[PORTS - 1];
        last.remote_port = remote_port;
        last.local_port = local_port;
    }

    /// Learns from an IP packet that the stack has sent, and checks that it is well-formed.
    ///
    /// # Panics
    /// When it is not: that is a finding.
    pub(super) fn learn(&mut self, packet: &[u8]) {
        let ip = Ipv4View::parse(packet).expect("a sent packet has a good IPv4 header");
        assert!(ip.checksum_ok(), "a sent packet has a good IPv4 checksum");
        if ip.protocol() != protocol::TCP {
            return;
        }
        let tcp = TcpView::parse(ip.payload()).expect("a sent segment has a good header");
        assert!(
            tcp.checksum_ok(ip.src(), ip.dst()),
            "a sent segment has a good checksum"
        );
        let ports = (tcp.src_port(), tcp.dst_port());
        let Some(flow) = self
            .flows
            .iter_mut()
            .find(|flow| (flow.local_port, flow.remote_port) == ports)
        else {
            return;
        };
        self.cookie = FastOpen::parse(tcp.options()).or(self.cookie);
        let flags = tcp.flags();
        let fins = [TcpFlags::SYN, TcpFlags::FIN]
            .into_iter()
            .filter(|flag| flags.contains(*flag))
            .count();
        let end = tcp.seq() + tcp.payload().len() as u32 + fins as u32;
        if flags.contains(TcpFlags::SYN) {
            flow.unacked = tcp.seq();
            flow.sent = end;
        }
        flow.sent = flow.sent.max(end);
        if flags.contains(TcpFlags::ACK) {
            flow.expected = tcp.ack();
        }
        if let Some(timestamps) = TcpOptions::parse(tcp.options()).timestamps {
            flow.their_ts = timestamps.val;
        }
    }

    /// The IP packet of a template.
    pub(super) fn segment(&mut self, template: &Segment) -> Vec<u8> {
        let flow = &mut self.flows[usize::from(template.who) % PORTS];
        let header = TcpHeader {
            src_port: flow.remote_port,
            dst_port: flow.local_port,
            seq: flow.expected + template.seq.distance(),
            ack: flow.sent + template.ack.distance(),
            flags: TcpFlags(template.flags),
            window: template.window,
            urgent: if template.damage == 5 {
                template.window
            } else {
                0
            },
        };
        let options = options(flow, self.cookie, template);
        if header.flags.contains(TcpFlags::ACK) && header.ack.within(flow.unacked, flow.sent) {
            flow.unacked = header.ack;
        }
        let len = usize::from(template.len % MAX_PAYLOAD);
        let total = tcp::MIN_HEADER_LEN + options.len() + len;
        let mut packet = vec![0x5a; ipv4::MIN_HEADER_LEN + total];
        let src = if template.damage == 6 { LOCAL } else { REMOTE };
        ip(src, LOCAL, protocol::TCP).emit(&mut packet, total as u16);
        let bytes = &mut packet[ipv4::MIN_HEADER_LEN..];
        header.emit(bytes, &options);
        tcp::fill_checksum(bytes, src, LOCAL);
        damage(&mut packet, template);
        packet
    }

    /// The IP packet of an ICMP error about a flow.
    pub(super) fn icmp(&self, who: u8, (ty, code): (u8, u8), mtu: u16, seq: i16) -> Vec<u8> {
        let flow = self.flow(who);
        let mut quote = vec![0; ipv4::MIN_HEADER_LEN + 8];
        ip(LOCAL, REMOTE, protocol::TCP).emit(&mut quote, 1_480);
        quote[20..22].copy_from_slice(&flow.local_port.to_be_bytes());
        quote[22..24].copy_from_slice(&flow.remote_port.to_be_bytes());
        let quoted = flow.sent + i32::from(seq).cast_unsigned();
        quote[24..28].copy_from_slice(&quoted.raw().to_be_bytes());
        let len = icmpv4::HEADER_LEN + quote.len();
        let mut packet = vec![0; ipv4::MIN_HEADER_LEN + len];
        ip(REMOTE, LOCAL, protocol::ICMP).emit(&mut packet, len as u16);
        let [high, low] = mtu.to_be_bytes();
        icmpv4::emit(
            &mut packet[ipv4::MIN_HEADER_LEN..],
            ty,
            code,
            [0, 0, high, low],
            &quote,
        );
        packet
    }

    /// The remote end of a flow.
    pub(super) fn remote(&self, who: u8) -> SocketAddrV4 {
        SocketAddrV4::new(REMOTE, self.flow(who).remote_port)
    }
}

fn ip(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8) -> Ipv4Header {
    Ipv4Header {
        src,
        dst,
        protocol,
        ttl: 64,
        tos: 0,
        id: 0,
        dont_fragment: true,
    }
}

/// The options of a template: none, well-formed ones as a peer would send them, or nonsense.
fn options(flow: &mut Flow, cookie: Option<FastOpen>, template: &Segment) -> Vec<u8> {
    let detail = u32::from(template.detail);
    let mut buf = OptionsBuf::new();
    let mut timestamps = |buf: &mut OptionsBuf, back: u32| {
        flow.our_ts = flow.our_ts.wrapping_add(detail);
        buf.timestamps(flow.our_ts.wrapping_sub(back), flow.their_ts);
    };
    match template.options % 12 {
        1 => timestamps(&mut buf, 0),
        2 => {
            buf.sack(&blocks(flow, template));
        }
        3 => {
            timestamps(&mut buf, 0);
            buf.sack(&blocks(flow, template)[..2]);
        }
        4 => {
            buf.mss([1460, 536, 88, 1, 0, 65_535, 9_000, 48][template.detail as usize % 8]);
            buf.sack_permitted();
            timestamps(&mut buf, 0);
            buf.wscale(template.detail % 16);
        }
        5 => {
            let len = usize::from(template.detail % 10) * 4;
            return (0..len)
                .map(|at| (at as u32 * detail + u32::from(template.window)) as u8)
                .collect();
        }
        6 => {
            buf.mss(u16::from(template.detail));
        }
        7 => timestamps(&mut buf, 1 << (detail % 32)),
        8 | 9 => {
            buf.mss(1_460);
            if template.options % 12 == 9 {
                buf.sack_permitted();
                timestamps(&mut buf, 0);
            }
            buf.fast_open(&fast_open(cookie, template.detail));
        }
        10 => {
            // A signature that cannot be right.
            buf.md5();
        }
        _ => {}
    }
    buf.as_bytes().to_vec()
}

/// The option of a SYN as Fast Open has it: asks for a cookie, brings the one that the stack gave, or a made-up one.
fn fast_open(given: Option<FastOpen>, detail: u8) -> FastOpen {
    let made_up = [detail; 16];
    let cookie = match detail % 4 {
        0 => &[],
        1 => &made_up[..usize::from(detail % 17)],
        _ => given.as_ref().map_or(&[][..], FastOpen::as_bytes),
    };
    let experimental = detail & 4 != 0;
    FastOpen::cookie(cookie, experimental).unwrap_or(FastOpen::request(experimental))
}

/// Three blocks above the first unacknowledged byte, or below it.
fn blocks(flow: &Flow, template: &Segment) -> [SackBlock; 3] {
    let step = u32::from(template.detail).wrapping_mul(100);
    let base = if template.damage == 7 {
        flow.unacked - step
    } else {
        flow.unacked
    };
    let block = |n: u32| SackBlock {
        start: base + n * step,
        end: base + n * step + step / 2 + u32::from(template.len % 7),
    };
    [block(1), block(3), block(2)]
}

/// What is wrong around the segment. The values not named leave it whole.
fn damage(packet: &mut Vec<u8>, template: &Segment) {
    match template.damage {
        1 => packet[ipv4::MIN_HEADER_LEN + 16] ^= 1,
        2 => packet[10] ^= 1,
        3 => packet.truncate(packet.len() / 2),
        4 => {
            // Data offset from nothing to beyond the end; the checksum is right again afterwards.
            packet[ipv4::MIN_HEADER_LEN + 12] = template.detail << 4;
            let bytes = &mut packet[ipv4::MIN_HEADER_LEN..];
            tcp::fill_checksum(bytes, REMOTE, LOCAL);
        }
        8 => packet.extend([0; 6]),
        _ => {}
    }
}

/// An Ethernet header in front of an IP packet.
pub(super) fn framed(
    packet: &[u8],
    dst: millrace_wire::mac::MacAddr,
    ty: ethernet::EtherType,
) -> Vec<u8> {
    let mut frame = vec![0; ethernet::HEADER_LEN + packet.len()];
    ethernet::emit(&mut frame, dst, super::play::REMOTE_MAC, ty);
    frame[ethernet::HEADER_LEN..].copy_from_slice(packet);
    frame
}
