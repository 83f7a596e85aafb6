//! Rows 21, 22, 24, 25, 27, 32, 33 and 41 to 44: packets that no honest host sends.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_net::link::LinkKind;
use millrace_net::{Config, DropReason, IfaceId, SockError, SockOpt, TcpState};
use millrace_wire::arp::{ArpOp, ArpPacket};
use millrace_wire::ethernet::{self, EtherType};
use millrace_wire::frame::{RxCsum, RxFrame, RxMeta};
use millrace_wire::icmpv4;
use millrace_wire::ipv4::{Ipv4Header, protocol};
use millrace_wire::mac::MacAddr;
use millrace_wire::tcp::{TcpFlags, TcpOptions};
use rand::{RngExt, SeedableRng};

use crate::net::{Conn, FULL, Net, OURS, PEER, PLAIN, PORT, Seg};

/// Row 21 (LAND) and row 22 (martians; RFC 9293 MUST-57, MUST-63): a SYN from an address that nobody can have, or to an
/// address that is not one host's, is dropped without a word.
#[test]
fn syns_from_nobody_and_to_everybody() {
    let mut net = Net::new();
    net.listen(16);
    let from = [
        OURS,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(10, 255, 255, 255),
    ];
    for (i, src) in from.into_iter().enumerate() {
        for port in [PORT, 5000] {
            let syn = net.syn(SocketAddrV4::new(src, port), FULL);
            assert!(net.inject(&syn).is_empty(), "an answer to {src}");
        }
        assert_eq!(net.drops(DropReason::Ipv4MartianSource), 2 * (i as u64 + 1));
        assert_eq!(net.count("IpInAddrErrors"), 2 * (i as u64 + 1));
    }
    let to = [
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 255, 255, 255),
        Ipv4Addr::new(224, 0, 0, 1),
    ];
    for dst in to {
        let peer = net.stranger();
        let syn = Seg {
            dst: SocketAddrV4::new(dst, PORT),
            ..net.syn(peer, FULL)
        };
        assert!(net.inject(&syn).is_empty(), "an answer for {dst}");
    }
    assert_eq!(net.drops(DropReason::TcpNotUnicast), 3);
    assert_eq!(net.host.stack_ref().census().requests, 0);
}

/// An ICMP error from a router about a packet of the connection with this sequence number.
fn icmp_about(conn: &Conn, seq: u32, ty: u8, code: u8, mtu: u16) -> Vec<u8> {
    let quoted = Seg {
        src: conn.local,
        dst: conn.peer,
        seq,
        flags: TcpFlags::ACK,
        ..conn.seg(TcpFlags::ACK, &[0; 8])
    }
    .bytes();
    let [high, low] = mtu.to_be_bytes();
    let mut packet = vec![0; 20 + 8 + 28];
    icmpv4::emit(
        &mut packet[20..],
        ty,
        code,
        [0, 0, high, low],
        &quoted[..28],
    );
    let header = Ipv4Header {
        src: Ipv4Addr::new(10, 200, 0, 1),
        dst: OURS,
        protocol: protocol::ICMP,
        ttl: 64,
        tos: 0,
        id: 7,
        dont_fragment: false,
    };
    header.emit(&mut packet, 36);
    packet
}

/// Row 24 (RFC 5927): errors about data that is not in flight are ignored, and counted; those about data in flight are
/// soft once a connection is established.
#[test]
fn forged_unreachables_do_not_end_connections() {
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, PLAIN);
    let _ = net.write(&conn, b"in flight");
    let mut bad = 0;
    for code in 0..=15 {
        for seq in [1u32, 10, 11, 1000, 0x8000_0000, u32::MAX - 5000] {
            let outside = seq > 9;
            bad += u64::from(outside && code != icmpv4::unreachable::FRAG_NEEDED);
            let packet = icmp_about(&conn, conn.ack.wrapping_add(seq), 3, code, 0);
            assert!(net.raw(packet).iter().all(|p| p.data == b"in flight"));
        }
    }
    assert!(net.count("TcpExtOutOfWindowIcmps") >= bad);
    conn.ack = conn.ack.wrapping_add(9);
    net.assert_alive(&mut conn);
    assert_eq!(net.stack().take_error(conn.sock), None);
    // A connection that does not exist yet has nothing to lose, if the number is right.
    let (s, syn) = net.connect(SocketAddrV4::new(PEER, 99));
    let opening = Conn {
        sock: s,
        peer: syn.dst,
        local: SocketAddrV4::new(OURS, syn.sport),
        ..conn
    };
    let _ = net.raw(icmp_about(&opening, syn.seq.wrapping_add(5), 3, 1, 0));
    assert_eq!(net.state(&opening), TcpState::SynSent);
    let _ = net.raw(icmp_about(&opening, syn.seq, 3, 1, 0));
    assert_eq!(net.stack().take_error(s), Some(SockError::HostUnreachable));
}

/// Row 25 (RFC 1191, RFC 5927 §7): a router that lies about the path's MTU cannot push segments below `min_pmtu`, nor
/// raise them, nor speak about data that is not in flight; after ten minutes it is forgotten.
#[test]
fn path_mtu_lies_are_bounded() {
    let longest = |sent: &[crate::net::Got]| sent.iter().map(|p| p.data.len()).max();
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, PLAIN);
    let sent = net.write(&conn, &[1; 4380]);
    assert_eq!(longest(&sent), Some(1460));
    let frag = icmpv4::unreachable::FRAG_NEEDED;
    // Not in flight.
    let seq = conn.ack.wrapping_add(100_000);
    assert!(net.raw(icmp_about(&conn, seq, 3, frag, 600)).is_empty());
    assert_eq!(net.count("MillracePmtuLowered"), 0);
    for mtu in [1000u16, 1400, 1500, 68, 0, 1, 9000] {
        let sent = net.raw(icmp_about(&conn, conn.ack, 3, frag, mtu));
        let most = if [1000, 1400, 1500].contains(&mtu) {
            960
        } else {
            512
        };
        assert!(
            longest(&sent).is_none_or(|len| len <= most && len >= 512),
            "{mtu}: {sent:?}"
        );
    }
    assert_eq!(net.count("MillracePmtuLowered"), 2, "1000, then the floor");
    conn.ack = conn.ack.wrapping_add(4380);
    let _ = net.inject(&conn.seg(TcpFlags::ACK, &[]));
    let sent = net.write(&conn, &[1; 1500]);
    assert_eq!(longest(&sent), Some(512), "552 less headers");
    conn.ack = conn.ack.wrapping_add(1500);
    let _ = net.inject(&conn.seg(TcpFlags::ACK, &[]));
    net.wait(Duration::from_secs(601));
    let fresh = net.open(l, PLAIN);
    let sent = net.write(&fresh, &[1; 1460]);
    assert_eq!(longest(&sent), Some(1460), "forgotten");
}

fn arp(op: ArpOp, mac: MacAddr, ip: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let packet = ArpPacket {
        op,
        sha: mac,
        spa: ip,
        tha: MacAddr([2, 0, 0, 0, 0, 1]),
        tpa: target,
    };
    let mut frame = vec![0; 14 + 28];
    ethernet::emit(&mut frame, MacAddr([2, 0, 0, 0, 0, 1]), mac, EtherType::ARP);
    packet.emit(&mut frame[14..]);
    frame
}

/// Row 27: 20,000 hosts that nobody asked for, by request and by reply. The table stays within its bound; unasked
/// replies make no entry, and the entry of the host that we talk to survives.
#[test]
fn arp_flood_stays_within_the_table() {
    let mut net = Net::on(Config::new([9; 32]), LinkKind::Ethernet);
    let gateway = MacAddr([2, 0, 0, 0, 9, 9]);
    net.host
        .inject(&mut [arp(ArpOp::Request, gateway, PEER, OURS)]);
    let mut worst = 0;
    for i in 0..20_000u32 {
        let mac = MacAddr([2, 1, (i >> 16) as u8, (i >> 8) as u8, i as u8, 0]);
        let ip = Ipv4Addr::from_bits(0x0a40_0000 + i);
        net.host.inject(&mut [
            arp(ArpOp::Reply, mac, ip, OURS),
            arp(ArpOp::Request, mac, ip, OURS),
        ]);
        if i % 100 == 0 {
            // The gateway is in use.
            net.host
                .inject(&mut [arp(ArpOp::Request, gateway, PEER, OURS)]);
        }
        net.host.sent().clear();
        net.wait(Duration::from_micros(50));
        worst = worst.max(net.host.stack_ref().census().neighbours);
    }
    assert!(worst <= 1024, "{worst} neighbours");
    // Still known: a SYN goes out to its address without a question first.
    let now = net.now();
    let s = net.stack().tcp_socket().expect("a socket");
    let _ = net.stack().connect(now, s, SocketAddrV4::new(PEER, 80));
    net.host.flush();
    let frame = net.host.sent().pop_front().expect("a frame");
    assert_eq!(&frame.bytes[..6], &gateway.0, "to the gateway");
    assert_eq!(&frame.bytes[12..14], &[8, 0], "IPv4, not ARP");
}

/// Row 27: replies that nobody asked for make no entry at all.
#[test]
fn unasked_arp_replies_make_no_entry() {
    let mut net = Net::on(Config::new([9; 32]), LinkKind::Ethernet);
    for i in 0..2000u32 {
        let mac = MacAddr([2, 1, 0, (i >> 8) as u8, i as u8, 0]);
        let ip = Ipv4Addr::from_bits(0x0a40_0000 + i);
        net.host.inject(&mut [arp(ArpOp::Reply, mac, ip, OURS)]);
    }
    assert_eq!(net.host.stack_ref().census().neighbours, 0);
}

/// Row 32 (RFC 9293 MUST-3): a segment with any single bit wrong is refused, whichever bit it is; only a device that
/// vouches for the checksum is believed, and counted.
#[test]
fn every_flipped_bit_is_found() {
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, FULL);
    let good = conn.seg(TcpFlags::ACK | TcpFlags::PSH, b"payload!").bytes();
    let mut refused = 0;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let _ = net.raw(bad);
        refused += 1;
        assert_eq!(net.stack().recv_len(conn.sock), Ok(0), "bit {bit}");
    }
    let all = net.drops(DropReason::TcpBadChecksum)
        + net.drops(DropReason::LinkUnknownEtherType)
        + net.drops(DropReason::TcpMalformed)
        + net.drops(DropReason::Ipv4BadChecksum)
        + net.drops(DropReason::Ipv4Malformed);
    assert_eq!(all, refused);
    assert!(net.count("TcpInCsumErrors") >= 30 * 8);
    let mut lying = good.clone();
    let last = lying.len() - 1;
    lying[last] ^= 1;
    let now = net.now();
    let meta = RxMeta { csum: RxCsum::L4Ok };
    let mut frames = [RxFrame::new(&mut lying, meta)];
    net.stack().rx(now, IfaceId(0), &mut frames);
    assert_eq!(net.count("MillraceCsumByDevice"), 1);
    assert_eq!(net.read(&conn).len(), 8);
    conn.seq = conn.seq.wrapping_add(8);
    let _ = net.sent();
    net.assert_alive(&mut conn);
}

/// Row 33 (RFC 9293 MUST-7, MUST-64, MUST-68): every beginning of an option list of one to three octets, and of four
/// with the kinds and lengths that mean something.
#[test]
fn every_option_prefix_is_read() {
    let mut seen = 0u64;
    let mut look = |bytes: &[u8]| {
        let options = TcpOptions::parse(bytes);
        assert_ne!(options.mss, Some(0));
        assert!(options.sack.as_slice().len() <= 4);
        seen += 1;
    };
    for a in 0..=255u8 {
        look(&[a]);
        for b in 0..=255u8 {
            look(&[a, b]);
            for c in 0..=255u8 {
                look(&[a, b, c]);
            }
        }
    }
    for kind in [0u8, 1, 2, 3, 4, 5, 8, 19, 29, 34, 254, 255] {
        for len in (0..=41).chain([254, 255]) {
            for c in 0..=255u8 {
                for d in (0..=255u8).step_by(5) {
                    look(&[kind, len, c, d]);
                }
            }
        }
    }
    assert!(seen > 20_000_000);
}

/// Row 33: the same at the stack: a SYN with any two first octets of options is answered.
#[test]
fn a_syn_with_any_options_is_answered() {
    let mut net = Net::new();
    net.listen(16);
    for first in 0..=u16::MAX {
        let peer = SocketAddrV4::new(PEER, 9);
        let [a, b] = first.to_be_bytes();
        let mut syn = net.syn(peer, PLAIN);
        syn.options = vec![a, b, 0xff, 0xff, 2, 4, 5, 0xb4];
        let answer = net.inject(&syn);
        assert_eq!(answer.len(), 1, "{a} {b}");
        assert!(answer[0].is(TcpFlags::SYN | TcpFlags::ACK));
        syn.seq += 1;
        syn.flags = TcpFlags::RST;
        syn.options.clear();
        let _ = net.inject(&syn);
    }
}

/// Row 41 (RFC 9293 MUST-34): a peer that takes back its window, at random. New data never goes beyond the furthest
/// edge that was ever given, and all of it arrives when the window stays open.
#[test]
fn a_window_that_shrinks_is_survived() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(41);
    for _ in 0..50 {
        let mut net = Net::new();
        let l = net.listen(1);
        let conn = net.open(l, PLAIN);
        let total = net.queue(&conn, &[5; 16_000]).expect("room") as u32;
        let mut sent = net.sent();
        let (mut have, mut edge, mut newest) = (0u32, 65_535u32, 0u32);
        for step in 0..400 {
            for p in sent.drain(..) {
                let at = p.seq.wrapping_sub(conn.ack);
                let end = at.wrapping_add(p.data.len() as u32);
                if (at as i32) < 0 {
                    continue;
                }
                newest = newest.max(end);
                assert!(newest <= edge, "{newest} beyond {edge}");
                // Every third segment is lost.
                if at <= have && (step > 300 || rng.random_range(0..3) != 0) {
                    have = have.max(end);
                }
            }
            let win = if step > 300 {
                65_535
            } else {
                rng.random_range(0..3000)
            };
            edge = edge.max(have + u32::from(win));
            let ack = Seg {
                win,
                ..conn.off(TcpFlags::ACK, 0, have, &[])
            };
            sent = net.inject(&ack);
            let most = if step > 300 { 120_000 } else { 2000 };
            sent.extend(net.wait(Duration::from_millis(rng.random_range(1..most))));
        }
        assert_eq!(have, total);
    }
}

/// Row 42 (RFC 6093): urgent pointers of every kind. The stream stays in order; at most the octets that are pointed at
/// are taken out of it.
#[test]
fn urgent_pointers_stay_within_bounds() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(42);
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, PLAIN);
    let mut read = Vec::new();
    let rounds = 2000usize;
    for i in 0..rounds {
        let mut seg = conn.seg(TcpFlags::ACK | TcpFlags::URG, &[i as u8; 10]);
        seg.urgent = match rng.random_range(0..4) {
            0 => 0,
            1 => u16::MAX,
            2 => rng.random_range(0..12),
            _ => rng.random(),
        };
        if i % 7 == 0 {
            // Ahead of its turn, then in order.
            seg.seq = seg.seq.wrapping_add(10);
            seg.data = vec![(i + 1) as u8; 10];
            let _ = net.inject(&seg);
        } else {
            let _ = net.inject(&seg);
            conn.seq = conn.seq.wrapping_add(10);
        }
        if i % 7 == 0 {
            let _ = net.inject(&conn.seg(TcpFlags::ACK, &[i as u8; 10]));
            conn.seq = conn.seq.wrapping_add(10);
        }
        read.extend(net.read(&conn));
    }
    read.extend(net.read(&conn));
    assert!(
        read.len() <= rounds * 10 && read.len() >= rounds * 9,
        "{}",
        read.len()
    );
    let mut expected = 0u8;
    for byte in &read {
        assert!(byte.wrapping_sub(expected) <= 1, "{byte} after {expected}");
        expected = *byte;
    }
    assert_eq!(net.state(&conn), TcpState::Established);
}

/// Row 43: overlapping segments with different octets. What waits out of order keeps its first copy; what comes in
/// order counts whole. A model decides, octet by octet.
#[test]
fn overlaps_follow_one_rule() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(43);
    for _ in 0..300 {
        let mut net = Net::new();
        let l = net.listen(1);
        let conn = net.open(l, PLAIN);
        let len = 400usize;
        let mut model = vec![None::<u8>; len];
        let mut next = 0;
        let mut mark = 0u8;
        while next < len {
            mark = mark.wrapping_add(1);
            let from = if rng.random_range(0..4) == 0 {
                next
            } else {
                rng.random_range(0..len)
            };
            let to = (from + rng.random_range(1..80)).min(len);
            let seg = conn.off(TcpFlags::ACK, from as u32, 0, &vec![mark; to - from]);
            let _ = net.inject(&seg);
            if from <= next && next < to {
                model[next..to].fill(Some(mark));
            } else {
                for octet in &mut model[from.max(next)..to.max(next)] {
                    octet.get_or_insert(mark);
                }
            }
            while next < len && model[next].is_some() {
                next += 1;
            }
        }
        let expected: Vec<u8> = model.into_iter().flatten().collect();
        assert_eq!(net.read(&conn), expected);
    }
}

/// Row 44: the identification of TCP packets tells nothing: it is 0, and they may not be fragmented (RFC 6864).
#[test]
fn ip_identification_is_silent() {
    let mut net = Net::new();
    let l = net.listen(1);
    let conn = net.open(l, FULL);
    let mut all = net.write(&conn, &[1; 10_000]);
    all.extend(net.inject(&conn.off(TcpFlags::ACK, 100, 0, b"a hole before it")));
    all.extend(net.wait(Duration::from_secs(2)));
    let peer = net.stranger();
    let syn = net.syn(peer, FULL);
    all.extend(net.inject(&syn));
    all.extend(net.inject(&Seg {
        dst: SocketAddrV4::new(OURS, 9),
        ..syn
    }));
    all.extend([net.connect(peer).1]);
    let now = net.now();
    let linger = SockOpt::Linger(true, Duration::ZERO);
    net.stack()
        .set_option(now, conn.sock, linger)
        .expect("an option");
    all.extend(net.close(&conn));
    assert!(all.len() > 12 && all.iter().any(|p| p.flags.contains(TcpFlags::RST)));
    assert!(all.iter().all(|p| p.ip_id == 0 && p.dont_fragment));
    assert!(all.iter().all(|p| p.at <= net.now()));
}
