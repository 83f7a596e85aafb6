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
use millrace_wire::tcp::{TcpFlags, TcpHeader};

/// Link header with a tag, IP and TCP headers with all options.
const MAX_HEADER: usize = 18 + 20 + 60;
/// Offsets in the IP header.
const IP_TOTAL_LEN: usize = 2;
const IP_CHECKSUM: usize = 10;
/// Offsets in the TCP header.
const TCP_SEQ: usize = 4;
const TCP_FLAGS: usize = 13;
const TCP_CHECKSUM: usize = 16;

/// IP fields of a packet that are not in the TCP header.
pub(crate) struct IpFields {
    pub tos: u8,
    pub ttl: u8,
}

/// The headers of a super-segment, ready to be copied.
pub(crate) struct Template {
    bytes: [u8; MAX_HEADER],
    l3: usize,
    l4: usize,
    len: usize,
    /// Checksum of an IP header without payload.
    ip_csum: u16,
    /// Sum of the pseudo-header with a length of zero.
    pseudo: Sum,
    seq: u32,
}

impl Template {
    pub(crate) fn new(
        link: &LinkConfig,
        mac: MacAddr,
        tuple: &Tuple,
        ip: IpFields,
        tcp: &TcpHeader,
        options: &[u8],
    ) -> Self {
        let mut template = Self {
            bytes: [0; MAX_HEADER],
            l3: 0,
            l4: 0,
            len: 0,
            ip_csum: 0,
            pseudo: pseudo_header_v4(tuple.local, tuple.remote, protocol::TCP, 0),
            seq: tcp.seq.raw(),
        };
        let bytes = &mut template.bytes;
        let l3 = link::emit(link, bytes, mac, EtherType::IPV4);
        let header = Ipv4Header {
            src: tuple.local,
            dst: tuple.remote,
            protocol: protocol::TCP,
            ttl: ip.ttl,
            tos: ip.tos,
            id: 0,
            dont_fragment: true,
        };
        let l4 = l3 + header.emit(&mut bytes[l3..], 0);
        let checksum = l3 + IP_CHECKSUM;
        let ip_csum = u16::from_be_bytes([bytes[checksum], bytes[checksum + 1]]);
        let len = l4 + tcp.emit(&mut bytes[l4..], options);
        template.l3 = l3;
        template.l4 = l4;
        template.len = len;
        template.ip_csum = ip_csum;
        template
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

    /// Completes a packet with `payload` octets, `offset` into the super-segment: what differs from one to the next.
    fn finish(
        &self,
        slot: &mut [u8],
        offset: u32,
        flags: TcpFlags,
        payload: usize,
        sign: Option<(&Tuple, &Key)>,
    ) {
        let total = (self.len - self.l3 + payload) as u16;
        put_u16(slot, self.l3 + IP_TOTAL_LEN, total);
        let csum = update_u16(self.ip_csum, MIN_HEADER_LEN as u16, total);
        put_u16(slot, self.l3 + IP_CHECKSUM, csum);
        let seq = self.l4 + TCP_SEQ;
        slot[seq..seq + 4].copy_from_slice(&self.seq.wrapping_add(offset).to_be_bytes());
        slot[self.l4 + TCP_FLAGS] |= flags.0;
        if let Some((tuple, key)) = sign {
            md5::sign_segment(tuple, &mut slot[self.l4..], key);
        }
        let segment = (self.len - self.l4 + payload) as u16;
        let sum = self.pseudo.add_u16(segment).add_bytes(&slot[self.l4..]);
        put_u16(slot, self.l4 + TCP_CHECKSUM, sum.finish());
    }
}

fn put_u16(buf: &mut [u8], at: usize, value: u16) {
    buf[at..at + 2].copy_from_slice(&value.to_be_bytes());
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
    let Some(ring) = ring.filter(|_| job.len > 0) else {
        let Some(slot) = batch.next(header) else {
            return (0, 0);
        };
        job.template.copy_to(slot);
        job.template
            .finish(slot, 0, job.first | job.last, 0, job.sign);
        return (1, 0);
    };
    let (mut packets, mut done) = (0, 0);
    let mut flags = job.first;
    while done < job.len {
        let take = (job.len - done).min(u32::from(job.mss));
        let Some(slot) = batch.next(header + take as usize) else {
            break;
        };
        job.template.copy_to(slot);
        ring.copy_to(job.pos + u64::from(done), &mut slot[header..]);
        if done + take == job.len {
            flags |= job.last;
        }
        job.template
            .finish(slot, done, flags, take as usize, job.sign);
        flags = TcpFlags::NONE;
        done += take;
        packets += 1;
    }
    (packets, done)
}

/// An IP packet with a TCP segment and no payload, without link header: for a neighbour that is not known yet.
pub(crate) fn bare_packet(tuple: &Tuple, ip: IpFields, tcp: &TcpHeader, options: &[u8]) -> Vec<u8> {
    let link = LinkConfig {
        kind: link::LinkKind::Ip,
        mac: MacAddr::ZERO,
        vlan: None,
        mtu: u16::MAX,
    };
    let template = Template::new(&link, MacAddr::ZERO, tuple, ip, tcp, options);
    let mut packet = vec![0; template.len];
    template.copy_to(&mut packet);
    template.finish(&mut packet, 0, TcpFlags::NONE, 0, None);
    packet
}
