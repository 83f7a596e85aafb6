//! Injected super-segments become trains of segments (the tool's `--mss`, which does not reach a plug-in).

use millrace_wire::checksum::checksum;
use millrace_wire::ipv4::{Ipv4View, protocol};
use millrace_wire::tcp::{TcpView, fill_checksum};

/// FIN and PSH: only the last of a train has them.
const LAST_ONLY: u8 = 0x09;

/// Cuts a TCP packet into ones of at most `mss` octets of payload; every other packet stays as it is.
pub(crate) fn cut(packet: &[u8], mss: usize) -> Vec<Vec<u8>> {
    let whole = || vec![packet.to_vec()];
    let Ok(ip) = Ipv4View::parse(packet) else {
        return whole();
    };
    if ip.protocol() != protocol::TCP || ip.more_fragments() || ip.fragment_offset() > 0 {
        return whole();
    }
    let Ok(tcp) = TcpView::parse(ip.payload()) else {
        return whole();
    };
    let payload = tcp.payload();
    if payload.len() <= mss {
        return whole();
    }
    let ip_len = ip.header_len();
    let headers = &packet[..ip.total_len() - payload.len()];
    let pieces = payload.chunks(mss).enumerate();
    pieces
        .map(|(index, piece)| {
            let offset = index * mss;
            let mut bytes = [headers, piece].concat();
            let total = bytes.len() as u16;
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
            bytes[10..12].fill(0);
            let sum = checksum(&bytes[..ip_len]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            let segment = &mut bytes[ip_len..];
            let seq = tcp.seq().raw().wrapping_add(offset as u32);
            segment[4..8].copy_from_slice(&seq.to_be_bytes());
            if offset + piece.len() < payload.len() {
                segment[13] &= !LAST_ONLY;
            }
            fill_checksum(segment, ip.src(), ip.dst());
            bytes
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use millrace_wire::ipv4::Ipv4Header;
    use millrace_wire::seq::SeqNum;
    use millrace_wire::tcp::{TcpFlags, TcpHeader};

    use super::*;

    const SRC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const DST: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

    fn packet(payload: usize) -> Vec<u8> {
        let mut bytes = vec![0; 40 + payload];
        let ip = Ipv4Header {
            src: SRC,
            dst: DST,
            protocol: protocol::TCP,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: false,
        };
        ip.emit(&mut bytes, 20 + payload as u16);
        let tcp = TcpHeader {
            src_port: 1,
            dst_port: 2,
            seq: SeqNum::new(u32::MAX - 10),
            ack: SeqNum::new(7),
            flags: TcpFlags(0x19),
            window: 1000,
            urgent: 0,
        };
        tcp.emit(&mut bytes[20..], &[]);
        fill_checksum(&mut bytes[20..], SRC, DST);
        bytes
    }

    #[test]
    fn a_super_segment_is_a_train() {
        let train = cut(&packet(2500), 1000);
        let seen: Vec<_> = train
            .iter()
            .map(|bytes| {
                let ip = Ipv4View::parse(bytes).unwrap();
                let tcp = TcpView::parse(ip.payload()).unwrap();
                assert!(ip.checksum_ok() && tcp.checksum_ok(SRC, DST));
                (tcp.seq().raw(), tcp.payload().len(), tcp.flags().0)
            })
            .collect();
        let first = u32::MAX - 10;
        let wanted = [(first, 1000, 0x10), (989, 1000, 0x10), (1989, 500, 0x19)];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(cut(&packet(1000), 1000), [packet(1000)]);
        assert_eq!(cut(&[0x45, 0, 1], 1000), [vec![0x45, 0, 1]]);
    }
}
