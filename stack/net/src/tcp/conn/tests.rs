//! Handshakes against a peer made by hand: every segment in, every segment out, in virtual time.

use crate::link::{LinkConfig, LinkKind};
use crate::*;
use ::core::net::{Ipv4Addr, SocketAddrV4};
use ::core::time::Duration;
use millrace_wire::frame::{RxFrame, RxMeta, TxBatch};
use millrace_wire::ipv4::{Ipv4Header, Ipv4View, protocol};
use millrace_wire::mac::MacAddr;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::{FastOpen, OptionsBuf, Timestamps, write_established, write_syn};
use millrace_wire::tcp::{TcpFlags, TcpHeader, TcpOptions, TcpView, fill_checksum};

mod cookies;
mod fastopen_client;
mod fastopen_server;
mod queue;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const S: TcpFlags = TcpFlags::SYN;
const A: TcpFlags = TcpFlags::ACK;
const R: TcpFlags = TcpFlags::RST;

#[derive(Default)]
struct Out(Vec<Vec<u8>>);

impl TxBatch for Out {
    fn room(&self) -> usize {
        64
    }
    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }
}

struct Nobody;

impl Service for Nobody {
    fn data(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, _: &[u8]) -> usize {
        0
    }
    fn ready(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, _: Readiness) {}
}

/// A segment on the wire.
#[derive(Clone)]
struct Seg {
    port: u16,
    to: u16,
    seq: u32,
    ack: u32,
    flags: TcpFlags,
    window: u16,
    options: OptionsBuf,
    data: Vec<u8>,
}

fn seg(port: u16, flags: TcpFlags, seq: u32, ack: u32) -> Seg {
    Seg {
        port,
        to: 80,
        seq,
        ack,
        flags,
        window: 500,
        options: OptionsBuf::new(),
        data: Vec::new(),
    }
}

impl Seg {
    fn with(mut self, options: OptionsBuf) -> Self {
        self.options = options;
        self
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }
}

/// What came out.
#[derive(Debug)]
struct Got {
    from: u16,
    port: u16,
    seq: u32,
    ack: u32,
    flags: TcpFlags,
    options: TcpOptions,
    fastopen: Option<FastOpen>,
    data: Vec<u8>,
}

/// A stack with a listener on port 80, and the wire.
struct Lab {
    stack: Stack,
    now: Instant,
    listener: SockId,
}

const SYN_OPTIONS: fn(u32) -> OptionsBuf =
    |val| write_syn(Some(1460), Some(7), true, Some(Timestamps { val, ecr: 0 }));

fn ts(val: u32, ecr: u32) -> OptionsBuf {
    write_established(Some(Timestamps { val, ecr }), &[])
}

impl Lab {
    fn new(backlog: u32, sysctls: &[(&str, &str)]) -> Self {
        let mut stack = Stack::new(Config::new([5; 32]));
        for (name, value) in sysctls {
            stack.set_sysctl(name, value).unwrap();
        }
        let link = LinkConfig {
            kind: LinkKind::Ip,
            mac: MacAddr::ZERO,
            vlan: None,
            mtu: 1500,
        };
        let config = IfaceConfig {
            name: "t".into(),
            link,
            accept_partial_csum: false,
        };
        let iface = stack.add_iface(config).unwrap();
        stack
            .add_addr(iface, ipnet::Ipv4Net::new(OURS, 24).unwrap())
            .unwrap();
        let listener = stack.tcp_socket().unwrap();
        stack.bind(listener, SocketAddrV4::new(OURS, 80)).unwrap();
        stack.listen(listener, backlog).unwrap();
        Self {
            stack,
            now: Instant::from_nanos(1_000_000_000_000),
            listener,
        }
    }

    /// Everything that comes out now.
    fn out(&mut self) -> Vec<Got> {
        let mut out = Out::default();
        self.stack.tx(self.now, IfaceId(0), &mut out);
        self.stack.audit().unwrap();
        out.0.iter().map(|p| parse(p)).collect()
    }

    /// A segment in, everything out.
    fn feed(&mut self, s: &Seg) -> Vec<Got> {
        let mut frames = [packet(s)];
        let mut lent: Vec<_> = frames
            .iter_mut()
            .map(|f| RxFrame::new(f, RxMeta::default()))
            .collect();
        self.stack.rx(self.now, IfaceId(0), &mut lent);
        self.stack.deliver(self.now, &lent, &mut Nobody);
        drop(lent);
        self.out()
    }

    /// The one answer to a segment.
    #[track_caller]
    fn one(&mut self, s: &Seg) -> Got {
        let mut got = self.feed(s);
        assert_eq!(got.len(), 1, "{got:?}");
        got.remove(0)
    }

    /// No answer.
    #[track_caller]
    fn none(&mut self, s: &Seg) {
        let got = self.feed(s);
        assert!(got.is_empty(), "{got:?}");
    }

    /// Lets time pass; what comes out, and when (ms from now).
    fn pass(&mut self, wait: Duration) -> Vec<(u64, Got)> {
        let (start, end) = (self.now, self.now + wait);
        let mut all = Vec::new();
        while let Some(at) = self.stack.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max_of(at);
            self.stack.tick(self.now);
            let ms = self.now.since(start).as_millis() as u64;
            all.extend(self.out().into_iter().map(|g| (ms, g)));
        }
        self.now = end;
        all
    }

    fn count(&self, counter: Counter) -> u64 {
        self.stack.mib().value(counter)
    }

    fn accept(&mut self) -> Result<SockId, SockError> {
        self.stack.accept(self.now, self.listener).map(|c| c.0)
    }
}

trait MaxOf {
    fn max_of(self, other: Self) -> Self;
}

impl MaxOf for Instant {
    fn max_of(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

fn packet(s: &Seg) -> Vec<u8> {
    let tcp = TcpHeader {
        src_port: s.port,
        dst_port: s.to,
        seq: SeqNum::new(s.seq),
        ack: SeqNum::new(s.ack),
        flags: s.flags,
        window: s.window,
        urgent: 0,
    };
    let mut bytes = vec![0; 20 + 60 + s.data.len()];
    let header = tcp.emit(&mut bytes[20..], s.options.as_bytes());
    bytes.truncate(20 + header + s.data.len());
    bytes[20 + header..].copy_from_slice(&s.data);
    fill_checksum(&mut bytes[20..], PEER, OURS);
    let ip = Ipv4Header {
        src: PEER,
        dst: OURS,
        protocol: protocol::TCP,
        tos: 0,
        ttl: 64,
        id: 0,
        dont_fragment: true,
    };
    let len = bytes.len() as u16 - 20;
    ip.emit(&mut bytes, len);
    bytes
}

fn parse(packet: &[u8]) -> Got {
    let ip = Ipv4View::parse(packet).unwrap();
    let tcp = TcpView::parse(ip.payload()).unwrap();
    Got {
        from: tcp.src_port(),
        port: tcp.dst_port(),
        seq: tcp.seq().raw(),
        ack: tcp.ack().raw(),
        flags: tcp.flags(),
        options: TcpOptions::parse(tcp.options()),
        fastopen: FastOpen::parse(tcp.options()),
        data: tcp.payload().to_vec(),
    }
}
