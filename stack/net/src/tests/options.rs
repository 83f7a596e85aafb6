//! What options do to connections, and what accepted sockets inherit.

use super::*;

pub(super) type Pair = Net<Nobody, Nobody>;

fn set(stack: &mut Stack, now: Instant, s: SockId, options: &[SockOpt]) {
    for option in options {
        stack.set_option(now, s, *option).unwrap();
    }
}

/// A listener at B:80 and a client at A, both with options before they begin.
pub(super) fn opened(on_client: &[SockOpt], on_listener: &[SockOpt]) -> (Pair, SockId, SockId) {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = net.b.tcp_socket().unwrap();
    set(&mut net.b, net.now, l, on_listener);
    net.b.bind(l, SocketAddrV4::new(B, 80)).unwrap();
    net.b.listen(l, 8).unwrap();
    let c = net.a.tcp_socket().unwrap();
    set(&mut net.a, net.now, c, on_client);
    let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
    net.settle();
    let (s, _) = net.b.accept(net.now, l).unwrap();
    (net, c, s)
}

/// Linux 6.18: a child has its listener's options, but for the priority and what TCP_MAXSEG becomes of a connection.
#[test]
fn accepted_sockets_inherit() {
    let options = [
        (OptName::ReuseAddr, SockOpt::ReuseAddr(true)),
        (OptName::ReusePort, SockOpt::ReusePort(true)),
        (OptName::KeepAlive, SockOpt::KeepAlive(true)),
        (
            OptName::Linger,
            SockOpt::Linger(true, Duration::from_secs(5)),
        ),
        (OptName::SndBuf, SockOpt::SndBuf(50_000)),
        (OptName::RcvBuf, SockOpt::RcvBuf(60_000)),
        (OptName::RcvLowat, SockOpt::RcvLowat(7)),
        (
            OptName::RcvTimeo,
            SockOpt::RcvTimeo(Some(Duration::from_secs(3))),
        ),
        (
            OptName::SndTimeo,
            SockOpt::SndTimeo(Some(Duration::from_secs(4))),
        ),
        (OptName::NoDelay, SockOpt::NoDelay(true)),
        (OptName::Cork, SockOpt::Cork(true)),
        (OptName::KeepIdle, SockOpt::KeepIdle(11)),
        (OptName::KeepIntvl, SockOpt::KeepIntvl(12)),
        (OptName::KeepCnt, SockOpt::KeepCnt(13)),
        (OptName::SynCnt, SockOpt::SynCnt(14)),
        (OptName::Linger2, SockOpt::Linger2(15)),
        (OptName::WindowClamp, SockOpt::WindowClamp(5000)),
        (
            OptName::ThinLinearTimeouts,
            SockOpt::ThinLinearTimeouts(true),
        ),
        (OptName::UserTimeout, SockOpt::UserTimeout(9999)),
        (OptName::NotSentLowat, SockOpt::NotSentLowat(77)),
        (OptName::Inq, SockOpt::Inq(true)),
        (OptName::RtoMaxMs, SockOpt::RtoMaxMs(5000)),
        (OptName::Tos, SockOpt::Tos(0x10)),
        (OptName::Ttl, SockOpt::Ttl(33)),
        (OptName::FreeBind, SockOpt::FreeBind(true)),
        (OptName::BindAddressNoPort, SockOpt::BindAddressNoPort(true)),
        (
            OptName::LocalPortRange,
            SockOpt::LocalPortRange(41_000, 41_001),
        ),
        (OptName::Kept(Kept::Mark), SockOpt::Kept(Kept::Mark, 5)),
        (
            OptName::Kept(Kept::TxRehash),
            SockOpt::Kept(Kept::TxRehash, 0),
        ),
        (
            OptName::Kept(Kept::PktInfo),
            SockOpt::Kept(Kept::PktInfo, 1),
        ),
    ];
    let (net, _, child) = opened(&[], &options.map(|(_, option)| option));
    let (plain, _, other) = opened(&[], &[]);
    for (name, option) in options {
        let expected = match option {
            SockOpt::SndBuf(n) => SockOpt::SndBuf(2 * n),
            SockOpt::RcvBuf(n) => SockOpt::RcvBuf(2 * n),
            same => same,
        };
        assert_eq!(net.b.option(child, name), Ok(expected));
        assert_ne!(
            plain.b.option(other, name),
            Ok(expected),
            "the default proves nothing"
        );
    }
    let priority = net.b.option(child, OptName::Kept(Kept::Priority));
    assert_eq!(priority, Ok(SockOpt::Kept(Kept::Priority, 0)));
}

#[test]
fn a_clamped_window_is_never_exceeded() {
    for clamp_listener in [false, true] {
        let clamp = [SockOpt::WindowClamp(3000)];
        let (on_client, on_listener) = if clamp_listener {
            (&[][..], &clamp[..])
        } else {
            (&clamp[..], &[][..])
        };
        let (mut net, c, s) = opened(on_client, on_listener);
        let (sender, receiver) = if clamp_listener {
            (&mut net.a, c)
        } else {
            (&mut net.b, s)
        };
        let sender_sock = receiver;
        let sent = sender.send(net.now, sender_sock, &[1; 16_000], MsgFlags::NONE);
        assert_eq!(sent, Ok(16_000));
        net.settle();
        let (reader, sock) = if clamp_listener {
            (&mut net.b, s)
        } else {
            (&mut net.a, c)
        };
        assert_eq!(
            reader.option(sock, OptName::WindowClamp),
            Ok(SockOpt::WindowClamp(3000))
        );
        let unread = reader.recv_len(sock).unwrap();
        assert!((1000..=3000).contains(&unread), "{unread}");
    }
}

#[test]
fn a_clamp_on_a_connection_counts_from_the_next_window() {
    let (mut net, c, s) = opened(&[], &[]);
    // Autotuning would open the window again.
    net.b.set_sysctl("tcp_moderate_rcvbuf", "0").unwrap();
    set(&mut net.b, net.now, s, &[SockOpt::WindowClamp(4000)]);
    let none = net.b.set_option(net.now, s, SockOpt::WindowClamp(0));
    assert_eq!(none, Err(SockError::Invalid));
    let sk = net.b.socks.tcp.get_mut(s).unwrap();
    assert_eq!(sk.warm.rcvbuf, 4000);
    assert!(sk.rx.rcv_ssthresh <= 4000);
    // What was given is not taken back: the peer may fill the old window, and then gets 4000 at most.
    for _ in 0..50 {
        let _ = net.a.send(net.now, c, &[1; 8192], MsgFlags::NONE);
        net.run(Duration::from_millis(50));
    }
    let mut buf = [0; 100_000];
    while net.b.recv(net.now, s, &mut buf, MsgFlags::NONE).is_ok() {}
    net.settle();
    let wnd = net.b.socks.tcp.get(s).unwrap().rx.rcv_wnd;
    assert!((1..=4000).contains(&wnd), "{wnd}");
}

/// How often a segment goes out again while nothing comes back, and when.
fn retransmissions(on_client: &[SockOpt], for_seconds: u64) -> u64 {
    let (mut net, c, _) = opened(on_client, &[]);
    // Out of the initial slow start, as after a loss.
    net.a.socks.tcp.get_mut(c).unwrap().tx.snd_ssthresh = 20;
    net.cut = true;
    let _ = net.a.send(net.now, c, b"lost", MsgFlags::NONE);
    net.run(Duration::from_secs(for_seconds));
    net.a.mib().value(Counter::TcpRetransSegs)
}

/// A probe, six time-outs that double nothing, and then 0.2, 0.4, 0.8 seconds; usually these follow the probe.
#[test]
fn thin_streams_do_not_back_off() {
    let usual = retransmissions(&[], 3);
    let thin = retransmissions(&[SockOpt::ThinLinearTimeouts(true)], 3);
    assert!((3..=5).contains(&usual), "{usual}");
    assert!((9..=10).contains(&thin), "{thin}");
}

/// A ceiling of one second: about one retransmission a second, instead of one in 1, 2, 4, 8 and 16.
#[test]
fn the_rto_has_the_sockets_own_ceiling() {
    let usual = retransmissions(&[], 13);
    let often = retransmissions(&[SockOpt::RtoMaxMs(1000)], 13);
    assert!((5..=7).contains(&usual), "{usual}");
    assert!((14..=16).contains(&often), "{often}");
}

/// bind with an address only: the port is connect's to choose, within the socket's own range.
#[test]
fn the_port_is_left_to_connect() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    listener(&mut net.b, false);
    let c = net.a.tcp_socket().unwrap();
    let range = SockOpt::LocalPortRange(40_000, 40_001);
    set(
        &mut net.a,
        net.now,
        c,
        &[SockOpt::BindAddressNoPort(true), range],
    );
    let any_port = SocketAddrV4::new(A, 0);
    net.a.bind(c, any_port).unwrap();
    assert_eq!(net.a.local_addr(c), Ok(any_port));
    assert_eq!(net.a.census().bound_ports, 0);
    net.a.bind(c, any_port).unwrap();
    let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
    net.settle();
    let local = net.a.local_addr(c).unwrap();
    assert!((40_000..=40_001).contains(&local.port()) && *local.ip() == A);
    assert_eq!(net.a.bind(c, any_port), Err(SockError::Invalid));
    assert_eq!(net.a.option(c, OptName::Mtu), Ok(SockOpt::Mtu(1500)));
}

/// SO_REUSEADDR counts from when it is set, on a bound socket too.
#[test]
fn reuse_is_looked_at_when_it_matters() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let at = SocketAddrV4::new(A, 80);
    let [one, two] = [(); 2].map(|()| net.a.tcp_socket().unwrap());
    net.a.bind(one, at).unwrap();
    set(&mut net.a, net.now, two, &[SockOpt::ReuseAddr(true)]);
    assert_eq!(net.a.bind(two, at), Err(SockError::AddrInUse));
    set(&mut net.a, net.now, one, &[SockOpt::ReuseAddr(true)]);
    assert_eq!(net.a.bind(two, at), Ok(()));
    for s in [one, two] {
        net.a.close(net.now, s).unwrap();
    }
    assert_eq!(net.a.census().bound_ports, 0);
}
