//! A segment as the model sees it: its numbers, not its octets.

use std::net::SocketAddrV4;

use millrace_wire::ethernet::{EtherType, EthernetView};
use millrace_wire::ipv4::{Ipv4View, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{TcpFlags, TcpOptions, TcpView};

/// The ECN field of a packet that met congestion.
const CE: u8 = 3;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub seq: SeqNum,
    pub ack: SeqNum,
    pub flags: TcpFlags,
    pub window: u16,
    pub options: TcpOptions,
    /// Bytes of options.
    pub options_len: usize,
    /// Octets of data.
    pub len: i64,
    /// The ECN field of its packet.
    pub ecn: u8,
}

impl Segment {
    /// The segment in a frame that arrives, if it is one that a stack must look at.
    pub(crate) fn arrived(frame: &[u8]) -> Option<Self> {
        Self::parse(frame, true)
    }

    /// The segment in a frame that leaves, whose checksums are somebody else's business.
    pub(crate) fn sent(frame: &[u8]) -> Option<Self> {
        Self::parse(frame, false)
    }

    fn parse(frame: &[u8], verify: bool) -> Option<Self> {
        let link = EthernetView::parse(frame).ok()?;
        if link.ethertype() != EtherType::IPV4 {
            return None;
        }
        let ip = Ipv4View::parse(link.payload()).ok()?;
        if ip.protocol() != protocol::TCP || verify && !ip.checksum_ok() {
            return None;
        }
        let tcp = TcpView::parse(ip.payload()).ok()?;
        let whole = !verify || tcp.checksum_ok(ip.src(), ip.dst());
        whole.then(|| Self {
            from: SocketAddrV4::new(ip.src(), tcp.src_port()),
            to: SocketAddrV4::new(ip.dst(), tcp.dst_port()),
            seq: tcp.seq(),
            ack: tcp.ack(),
            flags: tcp.flags(),
            window: tcp.window(),
            options: TcpOptions::parse(tcp.options()),
            options_len: tcp.options().len(),
            len: tcp.payload().len() as i64,
            ecn: ip.tos() & CE,
        })
    }

    pub(crate) fn has(&self, flag: TcpFlags) -> bool {
        self.flags.contains(flag)
    }

    pub(crate) fn fin(&self) -> i64 {
        i64::from(self.has(TcpFlags::FIN))
    }

    /// Sequence numbers that it takes.
    pub(crate) fn takes(&self) -> i64 {
        self.len + self.fin() + i64::from(self.has(TcpFlags::SYN))
    }

    /// The sequence number after it.
    pub(crate) fn end(&self) -> SeqNum {
        self.seq + self.takes() as u32
    }

    /// Its packet met congestion.
    pub(crate) fn met_congestion(&self) -> bool {
        self.ecn == CE
    }
}
