//! Segmentation as late as possible (Linux GSO): one super-segment, with one header, is cut into slots of the
//! device. Checksums are taken over the slot, after the copy.

use crate::link::{self, LinkConfig};
use crate::tcp::demux::Tuple;
use crate::tcp::md5::{self, Key};
use millrace_ring::ByteConsumer;
use millrace_wire::checksum::{Sum, pseudo_header_v4, update_u16};
use millrace_wire::ethernet::EtherType;
use millrace_wire::frame::TxBatch;
use millrace_wire::ipv4::{Ipv4Header, MIN_HEADER_LEN, protocol};
use millrace_wire::mac::MacAddr;
use millrace_wire::tcp::options::OptionsBuf;
use millrace_wire::tcp::{self, MAX_HEADER_LEN, TcpFlags, TcpHeader};
use std::ops::Range;

/// Link header: none, Ethernet, Ethernet with a tag.
const NO_LINK: usize = 0;
const ETHERNET: usize = 14;
const TAGGED: usize = 18;
/// All headers with all options.
const MAX_HEADER: usize = TAGGED + MIN_HEADER_LEN + MAX_HEADER_LEN;

/// In the IP header.
const IP_TOTAL_LEN: Range<usize> = 2..4;
const IP_ID: Range<usize> = 4..6;
const IP_CHECKSUM: Range<usize> = 10..12;
/// In the TCP header.
const TCP_SEQ: Range<usize> = 4..8;
const TCP_FLAGS: usize = 13;
const TCP_CHECKSUM: Range<usize> = 16..18;

/// IP fields of a packet that are not in the TCP header.
#[derive(Clone, Copy)]
pub(crate) struct IpFields {
    pub tos: u8,
    pub ttl: u8,
    /// Routers may cut it: the identification of the first packet. None: don't fragment.
    pub id: Option<u16>,
}

/// The headers of a super-segment, ready to be copied.
pub(crate) struct Template {
    bytes: [u8; MAX_HEADER],
    l3: usize,
    len: usize,
    /// Checksum of an IP header without payload.
    ip_csum: u16,
    /// Sum of the pseudo-header with a length of zero.
    pseudo: Sum,
    seq: u32,
    /// Identification of the first packet; none with "don't fragment".
    id: Option<u16>,
}

impl Template {
    pub(crate) fn new(
        link: &LinkConfig,
        mac: MacAddr,
        tuple: &Tuple,
        ip: IpFields,
        tcp: &TcpHeader,
        options: &OptionsBuf,
    ) -> Self {
        // With the offsets known at compile time, no store needs a check.
        match link::header_len(link) {
            NO_LINK => Self::at::<NO_LINK>(link, mac, tuple, ip, tcp, options),
            ETHERNET => Self::at::<ETHERNET>(link, mac, tuple, ip, tcp, options),
            _ => Self::at::<TAGGED>(link, mac, tuple, ip, tcp, options),
        }
    }

    #[inline]
    fn at<const L3: usize>(
        link: &LinkConfig,
        mac: MacAddr,
        tuple: &Tuple,
        ip: IpFields,
        tcp: &TcpHeader,
        options: &OptionsBuf,
    ) -> Self {
        let mut bytes = [0; MAX_HEADER];
        link::emit(link, &mut bytes, mac, EtherType::IPV4);
        let header = Ipv4Header {
            src: tuple.local,
            dst: tuple.remote,
            protocol: protocol::TCP,
            ttl: ip.ttl,
            tos: ip.tos,
            id: 0,
            dont_fragment: ip.id.is_none(),
        };
        let l4 = L3 + header.emit(&mut bytes[L3..], 0);
        let ip_csum = L3 + IP_CHECKSUM.start;
        let ip_csum = u16::from_be_bytes([bytes[ip_csum], bytes[ip_csum + 1]]);
        let mut len = l4;
        if let Some(rest) = bytes[l4..].first_chunk_mut() {
            len += tcp.emit_padded(rest, options);
        }
        Self {
            bytes,
            l3: L3,
            len,
            ip_csum,
            pseudo: pseudo_header_v4(tuple.local, tuple.remote, protocol::TCP, 0),
            seq: tcp.seq.raw(),
            id: ip.id,
        }
    }

    /// Writes the headers of a packet into a slot of the right length; the payload comes after, over what is too much.
    #[inline]
    fn copy_to(&self, slot: &mut [u8]) {
        // A copy of a length that the compiler knows needs no call.
        if let Some(front) = slot.first_chunk_mut::<MAX_HEADER>() {
            *front = self.bytes;
        } else {
            slot[..self.len].copy_from_slice(&self.bytes[..self.len]);
        }
    }

    /// Completes packet `index` in a slot, `offset` octets into the super-segment: what differs from one to the next.
    #[inline]
    fn finish(
        &self,
        slot: &mut [u8],
        (index, offset): (u32, u32),
        flags: TcpFlags,
        sign: Option<(&Tuple, &Key)>,
    ) {
        let packet = &mut slot[self.l3..];
        let total = packet.len() as u16;
        let Some((ip, segment)) = packet.split_first_chunk_mut::<MIN_HEADER_LEN>() else {
            return;
        };
        let mut csum = update_u16(self.ip_csum, MIN_HEADER_LEN as u16, total);
        if let Some(first) = self.id {
            let id = first.wrapping_add(index as u16);
            ip[IP_ID].copy_from_slice(&id.to_be_bytes());
            csum = update_u16(csum, 0, id);
        }
        ip[IP_TOTAL_LEN].copy_from_slice(&total.to_be_bytes());
        ip[IP_CHECKSUM].copy_from_slice(&csum.to_be_bytes());
        let Some(tcp) = segment.first_chunk_mut::<{ tcp::MIN_HEADER_LEN }>() else {
            return;
        };
        tcp[TCP_SEQ].copy_from_slice(&self.seq.wrapping_add(offset).to_be_bytes());
        tcp[TCP_FLAGS] |= flags.0;
        if let Some((tuple, key)) = sign {
            md5::sign_segment(tuple, segment, key);
        }
        let len = total - MIN_HEADER_LEN as u16;
        let csum = self.pseudo.add_u16(len).add_bytes(segment).finish();
        segment[TCP_CHECKSUM].copy_from_slice(&csum.to_be_bytes());
    }
}

/// A super-segment: `len` octets of the ring from `pos`, to be cut at `mss`.
pub(crate) struct Super<'a> {
    pub template: &'a Template,
    pub pos: u64,
    pub len: u32,
    pub mss: u16,
    /// Added to the flags of the first packet (CWR).
    pub first: TcpFlags,
    /// Added to the flags of the last packet.
    pub last: TcpFlags,
    /// Each packet is signed; the options have room for that.
    pub sign: Option<(&'a Tuple, &'a Key)>,
}

/// Cuts it into slots. Returns the packets made and the octets they carry; fewer than asked when the device is full.
pub(crate) fn cut(
    job: &Super<'_>,
    ring: Option<&mut ByteConsumer>,
    batch: &mut dyn TxBatch,
) -> (u32, u32) {
    let header = job.template.len;
    let mut ring = ring.filter(|_| job.len > 0);
    let len = if ring.is_some() { job.len } else { 0 };
    let (mut packets, mut done) = (0, 0);
    let mut flags = job.first;
    loop {
        let take = (len - done).min(u32::from(job.mss));
        let Some(slot) = batch.next(header + take as usize) else {
            break;
        };
        job.template.copy_to(slot);
        if let Some(ring) = &mut ring {
            ring.copy_to(job.pos + u64::from(done), &mut slot[header..]);
        }
        let last = done + take == len;
        if last {
            flags |= job.last;
        }
        job.template.finish(slot, (packets, done), flags, job.sign);
        flags = TcpFlags::NONE;
        done += take;
        packets += 1;
        if last {
            break;
        }
    }
    (packets, done)
}

/// An IP packet with a TCP segment and no payload, without link header: for a neighbour that is not known yet.
pub(crate) fn bare_packet(
    tuple: &Tuple,
    ip: IpFields,
    tcp: &TcpHeader,
    options: &OptionsBuf,
) -> Vec<u8> {
    let link = LinkConfig {
        kind: link::LinkKind::Ip,
        mac: MacAddr::ZERO,
        vlan: None,
        mtu: u16::MAX,
    };
    let template = Template::new(&link, MacAddr::ZERO, tuple, ip, tcp, options);
    let mut packet = vec![0; template.len];
    template.copy_to(&mut packet);
    template.finish(&mut packet, (0, 0), TcpFlags::NONE, None);
    packet
}
