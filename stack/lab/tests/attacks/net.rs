//! The attacker's tools: one stack in virtual time, and segments made by hand.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_lab::host::Host;
use millrace_net::link::{LinkConfig, LinkKind};
use millrace_net::{
    Config, DropReason, IfaceConfig, Instant, MsgFlags, SockError, SockId, Stack, TcpState,
};
use millrace_wire::ipv4::{Ipv4Header, Ipv4View, protocol};
use millrace_wire::mac::MacAddr;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::options::{Timestamps, write_established, write_syn};
use millrace_wire::tcp::{TcpFlags, TcpHeader, TcpOptions, TcpView, fill_checksum};

/// The stack's address, and the port it listens on.
pub const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const PORT: u16 = 80;
/// The honest peer.
pub const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub const MTU: u16 = 1500;

/// A segment to be sent to the stack.
#[derive(Clone, Debug)]
pub struct Seg {
    pub src: SocketAddrV4,
    pub dst: SocketAddrV4,
    pub seq: u32,
    pub ack: u32,
    pub flags: TcpFlags,
    pub win: u16,
    pub urgent: u16,
    pub options: Vec<u8>,
    pub data: Vec<u8>,
}

impl Seg {
    /// The IP packet.
    pub fn bytes(&self) -> Vec<u8> {
        let tcp_len = 20 + self.options.len() + self.data.len();
        let mut bytes = vec![0; 20 + tcp_len];
        let header = Ipv4Header {
            src: *self.src.ip(),
            dst: *self.dst.ip(),
            protocol: protocol::TCP,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: true,
        };
        header.emit(&mut bytes, tcp_len as u16);
        let header = TcpHeader {
            src_port: self.src.port(),
            dst_port: self.dst.port(),
            seq: SeqNum::new(self.seq),
            ack: SeqNum::new(self.ack),
            flags: self.flags,
            window: self.win,
            urgent: self.urgent,
        };
        header.emit(&mut bytes[20..], &self.options);
        bytes[40 + self.options.len()..].copy_from_slice(&self.data);
        fill_checksum(&mut bytes[20..], *self.src.ip(), *self.dst.ip());
        bytes
    }
}

/// A segment that the stack sent.
#[derive(Clone, Debug)]
pub struct Got {
    pub at: Instant,
    pub dst: SocketAddrV4,
    pub sport: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: TcpFlags,
    pub win: u16,
    pub options: TcpOptions,
    pub raw_options: Vec<u8>,
    pub data: Vec<u8>,
    pub ip_id: u16,
    pub dont_fragment: bool,
}

impl Got {
    fn parse(at: Instant, bytes: &[u8]) -> Option<Self> {
        let ip = Ipv4View::parse(bytes).expect("what is sent has a good IPv4 header");
        if ip.protocol() != protocol::TCP {
            return None;
        }
        let tcp = TcpView::parse(ip.payload()).expect("what is sent has a good TCP header");
        assert!(ip.checksum_ok() && tcp.checksum_ok(ip.src(), ip.dst()));
        Some(Self {
            at,
            dst: SocketAddrV4::new(ip.dst(), tcp.dst_port()),
            sport: tcp.src_port(),
            seq: tcp.seq().raw(),
            ack: tcp.ack().raw(),
            flags: tcp.flags(),
            win: tcp.window(),
            options: TcpOptions::parse(tcp.options()),
            raw_options: tcp.options().to_vec(),
            data: tcp.payload().to_vec(),
            ip_id: ip.id(),
            dont_fragment: ip.dont_fragment(),
        })
    }

    pub fn is(&self, flags: TcpFlags) -> bool {
        self.flags == flags
    }
}

/// A connection as the peer sees it.
#[derive(Clone, Debug)]
pub struct Conn {
    pub sock: SockId,
    pub peer: SocketAddrV4,
    pub local: SocketAddrV4,
    /// What the peer sends next, and what it expects next.
    pub seq: u32,
    pub ack: u32,
    pub win: u16,
    /// The peer's clock and what it echoes, with timestamps.
    pub ts: Option<Timestamps>,
}

impl Conn {
    /// A segment with the numbers that are right now.
    pub fn seg(&self, flags: TcpFlags, data: &[u8]) -> Seg {
        Seg {
            src: self.peer,
            dst: self.local,
            seq: self.seq,
            ack: self.ack,
            flags,
            win: self.win,
            urgent: 0,
            options: write_established(self.ts, &[]).as_bytes().to_vec(),
            data: data.to_vec(),
        }
    }

    /// The same with other numbers, relative to the right ones.
    pub fn off(&self, flags: TcpFlags, seq: u32, ack: u32, data: &[u8]) -> Seg {
        Seg {
            seq: self.seq.wrapping_add(seq),
            ack: self.ack.wrapping_add(ack),
            ..self.seg(flags, data)
        }
    }
}

/// Which options the peer's SYN has.
#[derive(Clone, Copy)]
pub struct Offer {
    pub mss: Option<u16>,
    pub wscale: Option<u8>,
    pub sack: bool,
    pub ts: bool,
}

/// Everything, as hosts do it today.
pub const FULL: Offer = Offer {
    mss: Some(1460),
    wscale: Some(7),
    sack: true,
    ts: true,
};
/// A segment size and nothing else.
pub const PLAIN: Offer = Offer {
    mss: Some(1460),
    wscale: None,
    sack: false,
    ts: false,
};

pub struct Net {
    pub host: Host,
    next_peer: u16,
}

impl Net {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other settings or limits.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new([9; 32]);
        change(&mut config);
        Self::on(config, LinkKind::Ip)
    }

    pub fn on(config: Config, kind: LinkKind) -> Self {
        let link = LinkConfig {
            kind,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            vlan: None,
            mtu: MTU,
        };
        let iface = IfaceConfig {
            name: "a0".into(),
            link,
            accept_partial_csum: false,
        };
        let mut host = Host::new(config, iface).expect("a good interface");
        let iface = host.iface();
        let ours = ipnet::Ipv4Net::new(OURS, 8).expect("a prefix");
        host.stack().add_addr(iface, ours).expect("an address");
        host.flush();
        host.sent().clear();
        Self {
            host,
            next_peer: 10_000,
        }
    }

    pub fn stack(&mut self) -> &mut Stack {
        self.host.stack()
    }

    pub fn now(&self) -> Instant {
        self.host.now()
    }

    /// What the stack has sent since the last look.
    pub fn sent(&mut self) -> Vec<Got> {
        self.host.flush();
        let frames: Vec<_> = self.host.sent().drain(..).collect();
        self.host.stack_ref().audit().expect("a sound stack");
        frames
            .iter()
            .filter_map(|f| Got::parse(f.at, &f.bytes))
            .collect()
    }

    /// Hands a packet to the stack; what it answers at once comes back.
    pub fn raw(&mut self, packet: Vec<u8>) -> Vec<Got> {
        self.host.inject(&mut [packet]);
        self.sent()
    }

    pub fn inject(&mut self, seg: &Seg) -> Vec<Got> {
        self.raw(seg.bytes())
    }

    /// Many at once, without a look at what is answered to each: for floods. The stack is audited at the end only.
    pub fn flood(&mut self, segs: impl Iterator<Item = Seg>) -> Vec<Got> {
        let mut burst = Vec::with_capacity(64);
        for seg in segs {
            burst.push(seg.bytes());
            if burst.len() == 64 {
                self.host.inject(&mut burst);
                burst.clear();
            }
        }
        self.host.inject(&mut burst);
        self.sent()
    }

    pub fn wait(&mut self, time: Duration) -> Vec<Got> {
        let to = self.now() + time;
        self.host.advance_to(to).expect("time passes");
        self.sent()
    }

    pub fn count(&self, name: &str) -> u64 {
        let mib = self.host.stack_ref().mib();
        mib.get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.host.stack_ref().drops().get(reason)
    }

    pub fn listen(&mut self, backlog: u32) -> SockId {
        let stack = self.stack();
        let s = stack.tcp_socket().expect("a socket");
        stack.bind(s, SocketAddrV4::new(OURS, PORT)).expect("bind");
        stack.listen(s, backlog).expect("listen");
        s
    }

    pub fn syn(&self, peer: SocketAddrV4, offer: Offer) -> Seg {
        let ts = offer.ts.then_some(Timestamps { val: 5000, ecr: 0 });
        Seg {
            src: peer,
            dst: SocketAddrV4::new(OURS, PORT),
            seq: 0x7fff_0000,
            ack: 0,
            flags: TcpFlags::SYN,
            win: 65_535,
            urgent: 0,
            options: write_syn(offer.mss, offer.wscale, offer.sack, ts)
                .as_bytes()
                .to_vec(),
            data: Vec::new(),
        }
    }

    /// A peer nobody has been yet.
    pub fn stranger(&mut self) -> SocketAddrV4 {
        self.next_peer += 1;
        SocketAddrV4::new(PEER, self.next_peer)
    }

    /// An honest connection of a new peer to the listener.
    pub fn open(&mut self, listener: SockId, offer: Offer) -> Conn {
        let peer = self.stranger();
        self.open_from(listener, peer, offer)
    }

    pub fn open_from(&mut self, listener: SockId, peer: SocketAddrV4, offer: Offer) -> Conn {
        let syn = self.syn(peer, offer);
        let answer = self.inject(&syn);
        let [syn_ack] = answer.as_slice() else {
            panic!("one SYN-ACK, not {answer:?}");
        };
        let mut conn = Conn {
            sock: listener,
            peer,
            local: syn.dst,
            seq: syn.seq + 1,
            ack: syn_ack.seq.wrapping_add(1),
            win: if offer.wscale.is_some() { 512 } else { 65_535 },
            ts: syn_ack.options.timestamps.map(|ts| Timestamps {
                val: 5001,
                ecr: ts.val,
            }),
        };
        let _ = self.inject(&conn.seg(TcpFlags::ACK, &[]));
        let now = self.now();
        let (sock, from) = self.stack().accept(now, listener).expect("a connection");
        assert_eq!(from, peer);
        conn.sock = sock;
        conn
    }

    pub fn state(&self, conn: &Conn) -> TcpState {
        let stack = self.host.stack_ref();
        stack.state(conn.sock).unwrap_or(TcpState::Close)
    }

    /// The connection is alive: a byte each way.
    #[track_caller]
    pub fn assert_alive(&mut self, conn: &mut Conn) {
        assert_eq!(self.state(conn), TcpState::Established);
        let _ = self.inject(&conn.seg(TcpFlags::ACK | TcpFlags::PSH, b"?"));
        conn.seq = conn.seq.wrapping_add(1);
        assert_eq!(self.read(conn), b"?");
        let sent = self.write(conn, b"!");
        let answer = sent.iter().find(|p| p.data == b"!");
        assert!(answer.is_some_and(|p| p.ack == conn.seq), "{sent:?}");
        conn.ack = conn.ack.wrapping_add(1);
        let _ = self.inject(&conn.seg(TcpFlags::ACK, &[]));
    }

    pub fn read(&mut self, conn: &Conn) -> Vec<u8> {
        let now = self.now();
        let mut all = Vec::new();
        let mut buf = [0; 65_536];
        while let Ok(n @ 1..) = self.stack().recv(now, conn.sock, &mut buf, MsgFlags::NONE) {
            all.extend_from_slice(&buf[..n]);
        }
        all
    }

    /// What goes out at once when the application writes.
    pub fn write(&mut self, conn: &Conn, data: &[u8]) -> Vec<Got> {
        let _ = self.queue(conn, data);
        self.sent()
    }

    /// As much as fits.
    pub fn queue(&mut self, conn: &Conn, data: &[u8]) -> Result<usize, SockError> {
        let now = self.now();
        self.stack().send(now, conn.sock, data, MsgFlags::NONE)
    }

    pub fn close(&mut self, conn: &Conn) -> Vec<Got> {
        let now = self.now();
        let _ = self.stack().close(now, conn.sock);
        self.sent()
    }

    /// connect to somebody; the socket and its SYN.
    pub fn connect(&mut self, to: SocketAddrV4) -> (SockId, Got) {
        let now = self.now();
        let stack = self.stack();
        let s = stack.tcp_socket().expect("a socket");
        let _ = stack.connect(now, s, to);
        let sent = self.sent();
        let syn = sent.into_iter().find(|p| p.is(TcpFlags::SYN));
        (s, syn.expect("a SYN"))
    }
}
