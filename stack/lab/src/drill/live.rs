//! Packets that the machine has sent, taken apart.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_wire::icmpv4::Icmpv4View;
use millrace_wire::ipv4::{Ipv4View, protocol};
use millrace_wire::tcp::options::kind;
use millrace_wire::tcp::{TcpFlags, TcpView};
use millrace_wire::udp::UdpView;

use super::ast::{AccEcnCounter, EcnFlags, Flags, Micros, Options, Tcp, TcpOption};

/// A sent packet.
#[derive(Debug, Clone)]
pub(super) struct Live {
    /// When it was sent, in script time.
    pub at: Micros,
    /// IPv4 type-of-service byte.
    pub tos: u8,
    /// IPv4 time to live.
    pub ttl: u8,
    /// What it carries.
    pub body: LiveBody,
}

/// The transport part of a sent packet.
#[derive(Debug, Clone)]
pub(super) enum LiveBody {
    /// A TCP segment with live numbers.
    Tcp(LiveTcp),
    /// An ICMP message.
    Icmp {
        /// Where it goes.
        to: Ipv4Addr,
        /// Type number.
        ty: u8,
        /// Code number.
        code: u8,
    },
    /// A UDP datagram.
    Udp {
        /// Source.
        src: SocketAddrV4,
        /// Destination.
        dst: SocketAddrV4,
        /// Payload.
        payload: Vec<u8>,
    },
    /// Something else, by protocol number.
    Other(u8),
}

impl fmt::Display for LiveBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) => write!(f, "{}", tcp.segment),
            Self::Icmp { ty, code, .. } => write!(f, "icmp type_{ty} code_{code}"),
            Self::Udp { payload, .. } => write!(f, "udp ({})", payload.len()),
            Self::Other(protocol) => write!(f, "protocol {protocol}"),
        }
    }
}

/// A sent TCP segment.
#[derive(Debug, Clone)]
pub(super) struct LiveTcp {
    /// Source.
    pub src: SocketAddrV4,
    /// Destination.
    pub dst: SocketAddrV4,
    /// The header and the payload length, in live numbers.
    pub segment: Tcp,
    /// Reserved header bits, which must be 0.
    pub reserved: u8,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Live {
    /// Takes a sent IP packet apart; the error says what is wrong with it.
    pub(super) fn decode(at: Micros, bytes: &[u8]) -> Result<Self, String> {
        let ip = Ipv4View::parse(bytes).map_err(|error| format!("a bad IPv4 header: {error:?}"))?;
        if !ip.checksum_ok() {
            return Err("a wrong IPv4 header checksum".to_owned());
        }
        let body = match ip.protocol() {
            protocol::TCP => LiveBody::Tcp(LiveTcp::decode(&ip)?),
            protocol::ICMP => {
                let icmp = Icmpv4View::parse(ip.payload())
                    .map_err(|error| format!("a bad ICMP message: {error:?}"))?;
                LiveBody::Icmp {
                    to: ip.dst(),
                    ty: icmp.ty(),
                    code: icmp.code(),
                }
            }
            protocol::UDP => {
                let udp = UdpView::parse(ip.payload())
                    .map_err(|error| format!("a bad UDP header: {error:?}"))?;
                if !udp.checksum_ok(ip.src(), ip.dst()) {
                    return Err("a wrong UDP checksum".to_owned());
                }
                LiveBody::Udp {
                    src: SocketAddrV4::new(ip.src(), udp.src_port()),
                    dst: SocketAddrV4::new(ip.dst(), udp.dst_port()),
                    payload: udp.payload().to_vec(),
                }
            }
            other => LiveBody::Other(other),
        };
        Ok(Self {
            at,
            tos: ip.tos(),
            ttl: ip.ttl(),
            body,
        })
    }
}

impl LiveTcp {
    fn decode(ip: &Ipv4View<'_>) -> Result<Self, String> {
        let tcp =
            TcpView::parse(ip.payload()).map_err(|error| format!("a bad TCP header: {error:?}"))?;
        if !tcp.checksum_ok(ip.src(), ip.dst()) {
            return Err("a wrong TCP checksum".to_owned());
        }
        let flags = tcp.flags();
        let ece = [(TcpFlags::ECE, EcnFlags::E), (TcpFlags::CWR, EcnFlags::W)];
        let letters = ece
            .iter()
            .filter(|(flag, _)| flags.contains(*flag))
            .fold(0, |bits, (_, letter)| bits | letter);
        let ae = if tcp.ae() { EcnFlags::A } else { 0 };
        let segment = Tcp {
            ports: None,
            flags: Flags {
                bits: flags.0 & 0x3f,
                ece: EcnFlags::Letters(letters | ae),
            },
            seq: tcp.seq().raw(),
            len: tcp.payload().len() as u32,
            ack: Some(tcp.ack().raw()),
            win: Some(tcp.window()),
            urg: Some(tcp.urgent()),
            options: Options::List(decode_options(tcp.options())?),
        };
        Ok(Self {
            src: SocketAddrV4::new(ip.src(), tcp.src_port()),
            dst: SocketAddrV4::new(ip.dst(), tcp.dst_port()),
            segment,
            reserved: tcp.reserved(),
            payload: tcp.payload().to_vec(),
        })
    }
}

fn decode_options(mut bytes: &[u8]) -> Result<Vec<TcpOption>, String> {
    let mut list = Vec::new();
    while let Some((&number, rest)) = bytes.split_first() {
        if number == kind::EOL || number == kind::NOP {
            list.push(if number == kind::NOP {
                TcpOption::Nop
            } else {
                TcpOption::Eol
            });
            bytes = rest;
            continue;
        }
        let len = rest.first().map_or(0, |len| usize::from(*len));
        let Some(value) = bytes.get(2..len) else {
            return Err(format!(
                "an option of kind {number} that ends outside of the header"
            ));
        };
        list.push(decode_option(number, value));
        bytes = &bytes[len..];
    }
    Ok(list)
}

fn decode_option(number: u8, value: &[u8]) -> TcpOption {
    let u32_at =
        |at: usize| u32::from_be_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
    match (number, value.len()) {
        (kind::MSS, 2) => TcpOption::Mss(u16::from_be_bytes([value[0], value[1]])),
        (kind::WSCALE, 1) => TcpOption::WindowScale(value[0]),
        (kind::SACK_PERMITTED, 0) => TcpOption::SackPermitted,
        (kind::SACK, len) if len > 0 && len.is_multiple_of(8) => TcpOption::Sack(
            (0..len)
                .step_by(8)
                .map(|at| (u32_at(at), u32_at(at + 4)))
                .collect(),
        ),
        (kind::TIMESTAMPS, 8) => TcpOption::Timestamps {
            val: u32_at(0),
            ecr: u32_at(4),
        },
        (19, 16) => TcpOption::Md5(value.to_vec()),
        (34, _) => TcpOption::FastOpen(value.to_vec()),
        (172 | 174, 3 | 6 | 9) => TcpOption::AccEcn(accecn_counters(number, value)),
        (254, 2..) if value[..2] == [0xf9, 0x89] => TcpOption::FastOpenExp(value[2..].to_vec()),
        _ => TcpOption::Other {
            kind: number,
            value: value.to_vec(),
        },
    }
}

/// Counters of an AccECN option of whole counters: the kind tells their order.
fn accecn_counters(number: u8, value: &[u8]) -> Vec<(AccEcnCounter, u32)> {
    let order = match number {
        172 => [AccEcnCounter::E0b, AccEcnCounter::Ceb, AccEcnCounter::E1b],
        _ => [AccEcnCounter::E1b, AccEcnCounter::Ceb, AccEcnCounter::E0b],
    };
    let words = value
        .chunks_exact(3)
        .map(|word| u32::from_be_bytes([0, word[0], word[1], word[2]]));
    order.into_iter().zip(words).collect()
}
