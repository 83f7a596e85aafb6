//! TCP_INFO, with the kernel's answers (Linux 6.18, asked over loopback; times and sizes that depend on the link are
//! not compared).

use super::data::pair;
use super::*;

impl Net<Nobody, Nobody> {
    fn infos(&mut self, c: SockId, s: SockId) -> [TcpInfo; 2] {
        [
            self.a.tcp_info(self.now, c).unwrap(),
            self.b.tcp_info(self.now, s).unwrap(),
        ]
    }
}

/// Octets acknowledged, received, sent; segments out, in; with data out, in; delivered.
fn counts(info: &TcpInfo) -> ([u64; 3], [u32; 5]) {
    (
        [info.bytes_acked, info.bytes_received, info.bytes_sent],
        [
            info.segs_out,
            info.segs_in,
            info.data_segs_out,
            info.data_segs_in,
            info.delivered,
        ],
    )
}

#[test]
fn of_a_new_socket() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let n = net.a.tcp_socket().unwrap();
    net.now = Instant::from_nanos(13_365_500_000_000);
    let expected = TcpInfo {
        state: 7,
        delivery_rate_flags: 1,
        rto: 1_000_000,
        snd_mss: 536,
        last_data_sent: 13_365_500,
        last_data_recv: 13_365_500,
        last_ack_recv: 13_365_500,
        rttvar: 250_000,
        snd_ssthresh: 0x7fff_ffff,
        snd_cwnd: 10,
        reordering: 3,
        pacing_rate: u64::MAX,
        max_pacing_rate: u64::MAX,
        min_rtt: u32::MAX,
        ..TcpInfo::default()
    };
    assert_eq!(net.a.tcp_info(net.now, n), Ok(expected));
}

#[test]
fn of_a_listener() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    net.b.listen(l, 7).unwrap();
    for waiting in 0..2 {
        let expected = TcpInfo {
            state: 10,
            unacked: waiting,
            sacked: 7,
            snd_cwnd: 10,
            reordering: 3,
            pacing_rate: u64::MAX,
            max_pacing_rate: u64::MAX,
            ..TcpInfo::default()
        };
        assert_eq!(net.b.tcp_info(net.now, l), Ok(expected));
        let c = net.a.tcp_socket().unwrap();
        let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
        net.settle();
    }
}

#[test]
fn counters_of_both_sides_from_handshake_to_close() {
    let (mut net, c, s) = pair();
    let step = Duration::from_millis(100);
    net.run(step);
    let of = |net: &mut Net<_, _>| net.infos(c, s).map(|i| counts(&i));
    assert_eq!(
        of(&mut net),
        [([1, 0, 0], [2, 1, 0, 0, 1]), ([0, 0, 0], [0, 2, 0, 0, 1]),]
    );
    net.give(c, b"hello");
    net.run(step);
    assert_eq!(
        of(&mut net),
        [([6, 0, 5], [3, 2, 1, 0, 2]), ([0, 5, 0], [1, 3, 0, 1, 1]),]
    );
    net.get(s, 5, MsgFlags::NONE).unwrap();
    net.b.send(net.now, s, b"xyz", MsgFlags::NONE).unwrap();
    net.run(step);
    assert_eq!(
        of(&mut net),
        [([6, 3, 5], [4, 3, 1, 1, 2]), ([3, 5, 3], [2, 4, 1, 1, 2]),]
    );
    net.a.shutdown(net.now, c, Shutdown::Write).unwrap();
    net.run(step);
    let [a, b] = net.infos(c, s);
    assert_eq!((a.state, b.state), (5, 8));
    assert_eq!(counts(&a), ([7, 3, 5], [5, 4, 1, 1, 3]));
    assert_eq!(counts(&b), ([3, 6, 3], [3, 5, 1, 1, 2]));
    net.b.close(net.now, s).unwrap();
    net.run(step);
    let a = net.a.tcp_info(net.now, c).unwrap();
    assert_eq!(a.state, 7);
    assert_eq!(counts(&a), ([7, 4, 5], [6, 5, 1, 1, 3]));
}

#[test]
fn what_was_agreed() {
    let (mut net, c, s) = pair();
    net.run(Duration::from_millis(100));
    net.give(c, b"hello");
    net.run(Duration::from_millis(250));
    let [a, b] = net.infos(c, s);
    // Timestamps, SACK, window scaling; a shift of 7 both ways.
    assert_eq!((a.options, b.options), (7, 7));
    assert_eq!((a.wscale, b.wscale), (0x77, 0x77));
    assert_eq!((a.snd_mss, a.advmss, a.pmtu), (1448, 1448, 1500));
    assert_eq!((a.ca_state, a.unacked, a.lost, a.retrans), (0, 0, 0, 0));
    assert_eq!((b.ato, b.rcv_mss), (40_000, 536));
    assert_eq!((a.last_data_sent, b.last_data_recv), (250, 250));
    assert_eq!((a.snd_wnd, b.snd_wnd), (b.rcv_wnd, a.rcv_wnd));
    assert!(a.min_rtt < 1000 && a.rto >= 200_000, "{a:?}");
}

#[test]
fn losses_are_counted() {
    let (mut net, c, s) = pair();
    net.cut = true;
    net.a.send(net.now, c, &[7; 3000], MsgFlags::NONE).unwrap();
    net.run(Duration::from_millis(1000));
    let [a, _] = net.infos(c, s);
    assert_eq!((a.state, a.ca_state), (1, 4));
    assert!(a.retransmits > 0 && u16::from(a.retransmits) == a.total_rto);
    assert_eq!(u32::from(a.backoff), u32::from(a.retransmits));
    assert_eq!((a.unacked, a.lost, a.notsent_bytes), (3, 3, 0));
    assert_eq!(a.total_rto_recoveries, 1);
    let running = a.total_rto_time;
    assert!(running > 0);
    net.cut = false;
    net.run(Duration::from_secs(5));
    let [a, b] = net.infos(c, s);
    assert_eq!((a.retransmits, a.backoff, a.ca_state), (0, 0, 0));
    assert!(a.total_rto_time > running && a.total_rto_time < 5000);
    assert_eq!(a.bytes_acked, 3001);
    assert_eq!(a.bytes_sent, 3000 + a.bytes_retrans);
    assert_eq!(a.data_segs_out, 3 + a.total_retrans);
    assert_eq!((b.bytes_received, a.delivered), (3000, 4));
    let end = a.total_rto_time;
    net.run(Duration::from_secs(5));
    let [a, _] = net.infos(c, s);
    assert_eq!(a.total_rto_time, end, "it does not go on");
}

#[test]
fn reordering_and_duplicates_are_counted() {
    let (mut net, c, s) = pair();
    net.a.send(net.now, c, &[7; 4344], MsgFlags::NONE).unwrap();
    let mut wire = Wire::default();
    net.a.tx(net.now, IfaceId(0), &mut wire);
    assert_eq!(wire.0.len(), 3);
    // The last two first, then the first twice.
    let late = wire.0[0].clone();
    for mut one in [wire.0[1].clone(), wire.0[2].clone(), late.clone(), late].map(|f| Wire(vec![f]))
    {
        feed(&mut net.b, net.now, &mut one, &mut Nobody);
        net.now = net.now + Duration::from_millis(1);
        net.settle();
    }
    let [a, b] = net.infos(c, s);
    assert_eq!((b.rcv_ooopack, b.data_segs_in), (2, 4));
    assert_eq!(a.dsack_dups, 1);
    assert_eq!((a.delivered, a.bytes_acked), (4, 4345));
}

/// What was thrown away when the connection was reset is not taken for acknowledged.
#[test]
fn a_reset_does_not_acknowledge() {
    let (mut net, c, s) = pair();
    net.give(c, b"abc");
    net.cut = true;
    net.a.send(net.now, c, b"lost", MsgFlags::NONE).unwrap();
    net.settle();
    net.cut = false;
    net.b.close(net.now, s).unwrap();
    net.settle();
    let a = net.a.tcp_info(net.now, c).unwrap();
    assert_eq!((a.state, a.bytes_acked, a.bytes_sent), (7, 4, 7));
}

#[test]
fn bytes_lie_where_the_kernel_has_them() {
    let info = TcpInfo {
        state: 1,
        wscale: 0x78,
        rto: 204_000,
        snd_cwnd: 10,
        total_retrans: 5,
        pacing_rate: 6,
        bytes_received: 7,
        segs_out: 8,
        min_rtt: 9,
        delivery_rate: 11,
        delivered: 12,
        bytes_sent: 13,
        snd_wnd: 14,
        rcv_wnd: 15,
        total_rto: 16,
        accecn_opt_seen: 17,
        ..TcpInfo::default()
    };
    let bytes = info.to_bytes();
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((bytes[0], bytes[6]), (1, 0x78));
    // Offsets of `struct tcp_info` on x86-64.
    for (at, value) in [
        (8, 204_000),
        (80, 10),
        (100, 5),
        (104, 6),
        (128, 7),
        (136, 8),
        (148, 9),
        (160, 11),
        (192, 12),
        (200, 13),
        (228, 14),
        (232, 15),
        (240, 16),
    ] {
        assert_eq!(u32_at(at), value, "offset {at}");
    }
    assert_eq!((bytes[278], bytes.len()), (17, 280));
}
