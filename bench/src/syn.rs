//! SYNs of a flood, as packets.

use std::net::Ipv4Addr;

use millrace_wire::ipv4::{Ipv4Header, MIN_HEADER_LEN, protocol};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::{self, TcpFlags, TcpHeader};

/// Options as Linux sends them: MSS 1460, SACK permitted, timestamps, window scale 7.
const OPTIONS: [u8; 20] = [
    2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];
/// Bytes of a SYN.
pub const LEN: usize = MIN_HEADER_LEN + tcp::MIN_HEADER_LEN + OPTIONS.len();

/// The address of a SYN: one of 198.18.0.0/15, which is for measurements.
pub fn source(number: u64) -> Ipv4Addr {
    Ipv4Addr::from(0xC612_0000 | (number as u32 & 0x1_FFFF))
}

/// Writes the SYN with this number; no two of 2³² have the same address and port.
///
/// # Panics
/// When `packet` is shorter than [`LEN`].
pub fn write(packet: &mut [u8], number: u64, to: Ipv4Addr, port: u16) {
    let src = source(number);
    let header = Ipv4Header {
        src,
        dst: to,
        protocol: protocol::TCP,
        ttl: 64,
        tos: 0,
        id: 0,
        dont_fragment: true,
    };
    let start = header.emit(packet, (LEN - MIN_HEADER_LEN) as u16);
    let header = TcpHeader {
        // From 1024 on; the address goes round first.
        src_port: 1024 + ((number >> 17) % 64_000) as u16,
        dst_port: port,
        seq: SeqNum::new(number as u32),
        ack: SeqNum::new(0),
        flags: TcpFlags::SYN,
        window: 64_240,
        urgent: 0,
    };
    let segment = &mut packet[start..LEN];
    header.emit(segment, &OPTIONS);
    tcp::fill_checksum(segment, src, to);
}

#[cfg(test)]
mod tests {
    use millrace_wire::ipv4::Ipv4View;
    use millrace_wire::tcp::{TcpOptions, TcpView};

    use super::*;

    #[test]
    fn a_syn_is_a_good_packet() {
        let to = Ipv4Addr::new(10, 0, 0, 2);
        let mut packet = [0; LEN];
        write(&mut packet, 0x1_FFFF + 5, to, 80);
        let ip = Ipv4View::parse(&packet).expect("a packet");
        assert!(ip.checksum_ok());
        assert_eq!(ip.src(), Ipv4Addr::new(198, 18, 0, 4));
        let tcp = TcpView::parse(ip.payload()).expect("a segment");
        assert!(tcp.checksum_ok(ip.src(), to) && tcp.flags() == TcpFlags::SYN);
        assert_eq!((tcp.src_port(), tcp.dst_port()), (1025, 80));
        let options = TcpOptions::parse(tcp.options());
        assert_eq!((options.mss, options.wscale), (Some(1460), Some(7)));
        assert!(options.sack_permitted && options.timestamps.is_some());
    }
}
