//! Packets for the machine, put together from live numbers.

pub(super) mod icmp;

use std::net::SocketAddrV4;

use millrace_wire::icmpv4;
use millrace_wire::ipv4::{self, Ipv4Header, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{self, TcpFlags, TcpHeader, options::kind};
use millrace_wire::udp;

use super::ast::{AccEcnCounter, Ecn, EcnFlags, Flags, IpInfo, Options, Tcp, TcpOption};

/// TTL of injected packets, as the packetdrill tool sends them.
const TTL: u8 = 255;

/// Where an injected segment comes from and goes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuple {
    /// The peer.
    pub src: SocketAddrV4,
    /// The machine.
    pub dst: SocketAddrV4,
}

/// The IP packets of an injected segment whose numbers are live: one, or a train of `train_mss`-sized ones with
/// FIN and PSH on the last. The payload is zeros. The error says which option has no encoding.
pub(super) fn tcp_packets(
    tuple: Tuple,
    ip: IpInfo,
    segment: &Tcp,
    train_mss: Option<u16>,
) -> Result<Vec<Vec<u8>>, &'static str> {
    let options = encode_options(&segment.options)?;
    let piece = match train_mss {
        Some(mss) if segment.len > 0 => u32::from(mss),
        _ => segment.len.max(1),
    };
    let mut packets = Vec::new();
    let mut offset = 0;
    loop {
        let len = piece.min(segment.len - offset);
        let mut part = Tcp {
            seq: segment.seq.wrapping_add(offset),
            len,
            ..segment.clone()
        };
        offset += len;
        if offset < segment.len {
            part.flags.bits &= !(Flags::FIN | Flags::PSH);
        }
        packets.push(tcp_packet(tuple, ip, &part, &options)?);
        if offset >= segment.len {
            return Ok(packets);
        }
    }
}

fn tcp_packet(
    tuple: Tuple,
    ip: IpInfo,
    segment: &Tcp,
    options: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let header_len = tcp::MIN_HEADER_LEN + options.len();
    let total = header_len + segment.len as usize;
    if total + ipv4::MIN_HEADER_LEN > usize::from(u16::MAX) {
        return Err("a segment that fits no IP packet");
    }
    let mut packet = vec![0; ipv4::MIN_HEADER_LEN + total];
    ip_header(tuple, ip, protocol::TCP).emit(&mut packet, total as u16);
    let bytes = &mut packet[ipv4::MIN_HEADER_LEN..];
    let header = TcpHeader {
        src_port: tuple.src.port(),
        dst_port: tuple.dst.port(),
        seq: SeqNum::new(segment.seq),
        ack: SeqNum::new(segment.ack.unwrap_or(0)),
        flags: wire_flags(segment.flags),
        window: segment.win.unwrap_or(0),
        urgent: segment.urg.unwrap_or(0),
    };
    header.emit(bytes, options);
    if segment.flags.ece.bits() & EcnFlags::A != 0 {
        bytes[12] |= 1;
    }
    tcp::fill_checksum(bytes, *tuple.src.ip(), *tuple.dst.ip());
    Ok(packet)
}

fn wire_flags(flags: Flags) -> TcpFlags {
    let mut bits = flags.bits;
    if flags.ece.bits() & EcnFlags::E != 0 {
        bits |= TcpFlags::ECE.0;
    }
    if flags.ece.bits() & EcnFlags::W != 0 {
        bits |= TcpFlags::CWR.0;
    }
    TcpFlags(bits)
}

fn ip_header(tuple: Tuple, ip: IpInfo, protocol: u8) -> Ipv4Header {
    let mark = match ip.ecn {
        None | Some(Ecn::NoEcn) => 0,
        Some(Ecn::Ect1) => 1,
        Some(Ecn::Ect0 | Ecn::Ect01) => 2,
        Some(Ecn::Ce) => 3,
    };
    Ipv4Header {
        src: *tuple.src.ip(),
        dst: *tuple.dst.ip(),
        protocol,
        ttl: ip.ttl.unwrap_or(TTL),
        tos: ip.tos.unwrap_or(mark),
        id: 0,
        dont_fragment: false,
    }
}

/// The bytes of an option list, which the script pads itself.
pub(super) fn encode_options(options: &Options) -> Result<Vec<u8>, &'static str> {
    let Options::List(list) = options else {
        return Err("`<...>` on an injected segment");
    };
    let mut bytes = Vec::with_capacity(tcp::MAX_OPTIONS_LEN);
    list.iter()
        .for_each(|option| encode_option(option, &mut bytes));
    if !bytes.len().is_multiple_of(4) || bytes.len() > tcp::MAX_OPTIONS_LEN {
        return Err("options that do not fill whole words, or more than 40 bytes");
    }
    Ok(bytes)
}

fn encode_option(option: &TcpOption, out: &mut Vec<u8>) {
    let mut put = |number: u8, value: &[u8]| {
        out.extend([number, value.len() as u8 + 2]);
        out.extend(value);
    };
    match option {
        TcpOption::Nop => out.push(kind::NOP),
        TcpOption::Eol => out.push(kind::EOL),
        TcpOption::Mss(mss) => put(kind::MSS, &mss.to_be_bytes()),
        TcpOption::WindowScale(shift) => put(kind::WSCALE, &[*shift]),
        TcpOption::SackPermitted => put(kind::SACK_PERMITTED, &[]),
        TcpOption::Sack(blocks) => {
            let edges = blocks.iter().flat_map(|(left, right)| [*left, *right]);
            put(
                kind::SACK,
                &edges.flat_map(u32::to_be_bytes).collect::<Vec<u8>>(),
            );
        }
        TcpOption::Timestamps { val, ecr } => put(
            kind::TIMESTAMPS,
            &[val.to_be_bytes(), ecr.to_be_bytes()].concat(),
        ),
        TcpOption::Md5(digest) => put(19, digest),
        TcpOption::FastOpen(cookie) => put(34, cookie),
        TcpOption::FastOpenExp(cookie) => put(254, &[&[0xf9, 0x89], cookie.as_slice()].concat()),
        TcpOption::AccEcn(counters) => {
            let order_1 = matches!(counters.first(), Some((AccEcnCounter::E1b, _)));
            let bytes = counters
                .iter()
                .flat_map(|(_, value)| value.to_be_bytes().into_iter().skip(1));
            put(if order_1 { 174 } else { 172 }, &bytes.collect::<Vec<u8>>());
        }
        TcpOption::Other { kind, value } => put(*kind, value),
    }
}

/// The IP packet of an ICMP message from the peer.
pub(super) fn icmp_packet(tuple: Tuple, ip: IpInfo, message: &icmp::Message) -> Vec<u8> {
    let len = icmpv4::HEADER_LEN + message.payload.len();
    let mut packet = vec![0; ipv4::MIN_HEADER_LEN + len];
    ip_header(tuple, ip, protocol::ICMP).emit(&mut packet, len as u16);
    let bytes = &mut packet[ipv4::MIN_HEADER_LEN..];
    icmpv4::emit(
        bytes,
        message.ty,
        message.code,
        message.rest,
        &message.payload,
    );
    packet
}

/// The IP packet of a UDP datagram with that many zeros in it.
pub(super) fn udp_packet(tuple: Tuple, ip: IpInfo, len: u16) -> Vec<u8> {
    let payload = vec![0; usize::from(len.min(u16::MAX - 28))];
    let total = udp::HEADER_LEN + payload.len();
    let mut packet = vec![0; ipv4::MIN_HEADER_LEN + total];
    ip_header(tuple, ip, protocol::UDP).emit(&mut packet, total as u16);
    let bytes = &mut packet[ipv4::MIN_HEADER_LEN..];
    udp::emit(bytes, tuple.src, tuple.dst, &payload);
    packet
}
