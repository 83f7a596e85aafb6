//! Which addresses and ports bind and connect take, and what becomes of the ports.

use super::*;

fn to(addr: [u8; 4], port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(addr.into(), port)
}

/// A stack at 10.0.0.1/24 and 127.0.0.1/8.
fn alone() -> Stack {
    let mut stack = stack(LinkKind::Ip, A, 1);
    let loopback = "127.0.0.1/8".parse().unwrap();
    stack.add_addr(IfaceId(0), loopback).unwrap();
    stack
}

const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// Address; bind; connect to it; with `ip_nonlocal_bind`, connect from it to a neighbour (Linux 6.18).
#[test]
fn addresses() {
    let cases = [
        ([0, 0, 0, 0], "ok", "", "EINPROGRESS"),
        ([127, 0, 0, 1], "ok", "", "EINVAL"),
        ([127, 9, 9, 9], "ok", "", "EINVAL"),
        ([10, 0, 0, 1], "ok", "", "EINPROGRESS"),
        ([10, 0, 0, 2], "EADDRNOTAVAIL", "EINPROGRESS", "ENETUNREACH"),
        ([10, 0, 0, 0], "EADDRNOTAVAIL", "EINPROGRESS", "ENETUNREACH"),
        ([10, 0, 0, 255], "ok", "ENETUNREACH", "EINPROGRESS"),
        ([255, 255, 255, 255], "ok", "ENETUNREACH", "EINPROGRESS"),
        ([224, 0, 0, 1], "ok", "ENETUNREACH", "EINPROGRESS"),
        (
            [240, 0, 0, 1],
            "EADDRNOTAVAIL",
            "ENETUNREACH",
            "ENETUNREACH",
        ),
        ([8, 8, 8, 8], "EADDRNOTAVAIL", "ENETUNREACH", "ENETUNREACH"),
        ([0, 0, 0, 1], "EADDRNOTAVAIL", "ENETUNREACH", "ENETUNREACH"),
    ];
    let text = |done: Result<(), SockError>| done.map_or_else(SockError::name, |()| "ok");
    for (addr, bind, connect, connect_from) in cases {
        let mut stack = alone();
        let mut socks = [(); 3].map(|()| stack.tcp_socket().unwrap()).into_iter();
        let mut next = || socks.next().unwrap();
        assert_eq!(
            text(stack.bind(next(), to(addr, 99))),
            bind,
            "bind {addr:?}"
        );
        // To its own addresses a stack has no way yet.
        if !connect.is_empty() {
            let done = stack.connect(NOW, next(), to(addr, 9));
            assert_eq!(text(done), connect, "connect {addr:?}");
        }
        stack.set_sysctl("ip_nonlocal_bind", "1").unwrap();
        let sock = next();
        assert_eq!(stack.bind(sock, to(addr, 98)), Ok(()), "bind {addr:?}");
        let done = stack.connect(NOW, sock, to([10, 0, 0, 3], 9));
        assert_eq!(text(done), connect_from, "connect from {addr:?}");
    }
}

#[test]
fn a_foreign_address_is_refused_before_a_second_bind() {
    let mut stack = alone();
    let s = stack.tcp_socket().unwrap();
    stack.bind(s, to([10, 0, 0, 1], 80)).unwrap();
    let foreign = stack.bind(s, to([8, 8, 8, 8], 80));
    assert_eq!(foreign, Err(SockError::AddrNotAvailable));
    assert_eq!(
        stack.bind(s, to([10, 0, 0, 1], 81)),
        Err(SockError::Invalid)
    );
}

/// A range of four ports: bind takes odd distances first, connect even ones, both all four; then EADDRINUSE and
/// EADDRNOTAVAIL. Another address, or another destination, has all four again.
#[test]
fn the_ephemeral_range_runs_out() {
    let mut stack = alone();
    stack
        .set_sysctl("ip_local_port_range", "50000 50003")
        .unwrap();
    let bind = |stack: &mut Stack, addr: [u8; 4]| {
        let s = stack.tcp_socket().unwrap();
        stack.bind(s, to(addr, 0))?;
        Ok((s, stack.local_addr(s)?.port()))
    };
    let mine = [10, 0, 0, 1];
    let mut bound: Vec<_> = (0..4).map(|_| bind(&mut stack, mine).unwrap()).collect();
    let parity: Vec<_> = bound.iter().map(|(_, port)| port % 2).collect();
    assert_eq!(parity, [1, 1, 0, 0]);
    assert_eq!(bind(&mut stack, mine), Err(SockError::AddrInUse));
    assert_eq!(bind(&mut stack, [0; 4]), Err(SockError::AddrInUse));
    let s = stack.tcp_socket().unwrap();
    assert_eq!(stack.listen(s, 1), Err(SockError::AddrInUse));
    bound.push(bind(&mut stack, [127, 0, 0, 1]).unwrap());
    // SO_REUSEADDR shares a port that is named, not one that is to be chosen.
    stack.set_option(NOW, s, SockOpt::ReuseAddr(true)).unwrap();
    assert_eq!(stack.bind(s, to(mine, 0)), Err(SockError::AddrInUse));
    let connect = |stack: &mut Stack, host: u8| {
        let s = stack.tcp_socket().unwrap();
        match stack.connect(NOW, s, to([10, 0, 0, host], 9)) {
            Err(SockError::InProgress) => Ok((s, stack.local_addr(s)?.port())),
            other => Err(other.unwrap_err()),
        }
    };
    assert_eq!(connect(&mut stack, 5), Err(SockError::AddrNotAvailable));
    for (s, _) in bound {
        stack.close(NOW, s).unwrap();
    }
    let opened: Vec<_> = (0..4).map(|_| connect(&mut stack, 5).unwrap()).collect();
    let parity: Vec<_> = opened.iter().map(|(_, port)| port % 2).collect();
    assert_eq!(parity, [0, 0, 1, 1]);
    assert_eq!(connect(&mut stack, 5), Err(SockError::AddrNotAvailable));
    connect(&mut stack, 6).unwrap();
    assert_eq!(bind(&mut stack, mine), Err(SockError::AddrInUse));
    bind(&mut stack, [127, 0, 0, 1]).unwrap();
    for (s, _) in opened {
        stack.abort(NOW, s);
    }
    bind(&mut stack, mine).unwrap();
}

#[test]
fn reserved_ports_are_named_and_never_chosen() {
    let mut stack = alone();
    stack
        .set_sysctl("ip_local_port_range", "50000 50003")
        .unwrap();
    stack
        .set_sysctl("ip_local_reserved_ports", "50000-50001,50003")
        .unwrap();
    let s = stack.tcp_socket().unwrap();
    stack.bind(s, to([10, 0, 0, 1], 0)).unwrap();
    assert_eq!(stack.local_addr(s).unwrap().port(), 50_002);
    let other = stack.tcp_socket().unwrap();
    let none = stack.bind(other, to([10, 0, 0, 1], 0));
    assert_eq!(none, Err(SockError::AddrInUse));
    let none = stack.connect(NOW, other, to([10, 0, 0, 5], 9));
    assert_eq!(none, Err(SockError::AddrNotAvailable));
    assert_eq!(stack.bind(other, to([10, 0, 0, 1], 50_003)), Ok(()));
}

/// All of 28,232 ports are taken, by bind and by connect, and given back.
#[test]
fn the_whole_range() {
    let mut stack = alone();
    let socks: Vec<_> = (0..28_232)
        .map(|i| {
            let s = stack.tcp_socket().unwrap();
            if i % 2 == 0 {
                stack.bind(s, to([10, 0, 0, 1], 0)).unwrap();
            } else {
                let done = stack.connect(NOW, s, to([10, 0, 0, 5], 9));
                assert_eq!(done, Err(SockError::InProgress));
            }
            s
        })
        .collect();
    assert_eq!(stack.census().bound_ports, 28_232);
    let s = stack.tcp_socket().unwrap();
    assert_eq!(stack.listen(s, 1), Err(SockError::AddrInUse));
    for s in socks {
        stack.abort(NOW, s);
    }
    assert_eq!(stack.census().bound_ports, 0);
}

/// A listener goes; its accepted connection, and then its TIME_WAIT, keep the port from those that do not share it.
#[test]
fn a_port_outlives_its_listener() {
    for reuse in [false, true] {
        let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
        let l = net.b.tcp_socket().unwrap();
        net.b
            .set_option(net.now, l, SockOpt::ReuseAddr(reuse))
            .unwrap();
        net.b
            .bind(l, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80))
            .unwrap();
        net.b.listen(l, 5).unwrap();
        let (c, s) = connected(&mut net, l);
        net.b.close(net.now, l).unwrap();
        let again = |net: &mut Net<Nobody, Nobody>, addr: Ipv4Addr| {
            let s = net.b.tcp_socket().unwrap();
            net.b
                .set_option(net.now, s, SockOpt::ReuseAddr(true))
                .unwrap();
            let done = net.b.bind(s, SocketAddrV4::new(addr, 80));
            net.b.close(net.now, s).unwrap();
            done
        };
        let shared = if reuse {
            Ok(())
        } else {
            Err(SockError::AddrInUse)
        };
        assert_eq!(again(&mut net, B), shared);
        net.b.close(net.now, s).unwrap();
        net.settle();
        net.a.close(net.now, c).unwrap();
        net.run(Duration::from_secs(1));
        assert_eq!(net.b.census().time_wait, 1);
        assert_eq!(again(&mut net, Ipv4Addr::UNSPECIFIED), shared);
        net.run(Duration::from_secs(61));
        assert_eq!(net.b.census().time_wait, 0);
        assert_eq!(again(&mut net, Ipv4Addr::UNSPECIFIED), Ok(()));
        assert_eq!(net.b.census().bound_ports, 0);
    }
}

/// SO_REUSEPORT: all members of the group get connections, each flow always the same one.
#[test]
fn a_group_of_listeners_shares_the_connections() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let group: Vec<_> = (0..4)
        .map(|_| {
            let s = net.b.tcp_socket().unwrap();
            net.b
                .set_option(net.now, s, SockOpt::ReusePort(true))
                .unwrap();
            net.b.bind(s, SocketAddrV4::new(B, 80)).unwrap();
            net.b.listen(s, 100).unwrap();
            s
        })
        .collect();
    // The group has the address; a wildcard listener gets nothing.
    let any = net.b.tcp_socket().unwrap();
    net.b
        .set_option(net.now, any, SockOpt::ReusePort(true))
        .unwrap();
    net.b
        .bind(any, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80))
        .unwrap();
    net.b.listen(any, 100).unwrap();
    for _ in 0..80 {
        let c = net.a.tcp_socket().unwrap();
        let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
        net.settle();
    }
    let mut counts = Vec::new();
    for s in group {
        let mut n = 0;
        while net.b.accept(net.now, s).is_ok() {
            n += 1;
        }
        counts.push(n);
    }
    assert_eq!(counts.iter().sum::<u32>(), 80);
    assert!(counts.iter().all(|n| (5..50).contains(n)), "{counts:?}");
}

/// connect takes a tuple over from TIME_WAIT only when `tcp_tw_reuse` and its delay allow, beyond the old numbers.
#[test]
fn a_tuple_in_time_wait_is_used_again() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let open = |net: &mut Net<Nobody, Nobody>| {
        let c = net.a.tcp_socket().unwrap();
        net.a
            .set_option(net.now, c, SockOpt::ReuseAddr(true))
            .unwrap();
        net.a.bind(c, SocketAddrV4::new(A, 4000)).unwrap();
        let done = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
        (c, done)
    };
    let (c, done) = open(&mut net);
    assert_eq!(done, Err(SockError::InProgress));
    net.settle();
    let (s, _) = net.b.accept(net.now, l).unwrap();
    net.a.close(net.now, c).unwrap();
    net.run(Duration::from_millis(100));
    net.b.close(net.now, s).unwrap();
    net.run(Duration::from_millis(100));
    assert_eq!(net.a.census().time_wait, 1);
    let last = net.a.socks.tw.ids().next().unwrap();
    let last = net.a.socks.tw.get(last).unwrap().snd_nxt;
    net.run(Duration::from_secs(2));
    // 2, the default, is for the loopback interface alone.
    let (refused, done) = open(&mut net);
    assert_eq!(done, Err(SockError::AddrNotAvailable));
    net.a.close(net.now, refused).unwrap();
    net.a.set_sysctl("tcp_tw_reuse", "1").unwrap();
    net.a.set_sysctl("tcp_tw_reuse_delay", "10000").unwrap();
    let (refused, done) = open(&mut net);
    assert_eq!(done, Err(SockError::AddrNotAvailable));
    net.a.close(net.now, refused).unwrap();
    net.run(Duration::from_secs(10));
    let (c, done) = open(&mut net);
    assert_eq!(done, Err(SockError::InProgress));
    assert_eq!(net.a.socks.tcp.get(c).unwrap().warm.iss, last + 65_537);
    net.settle();
    assert_eq!(net.a.state(c), Ok(TcpState::Established));
    assert_eq!(net.a.mib().value(Counter::TcpExtTWRecycled), 1);
    assert_eq!(net.a.census().time_wait, 0);
}

/// `somaxconn` bounds a backlog when listen is called, a negative one included; one connection more than the backlog
/// waits (Linux 6.18: 3 for a backlog of 2, 1 for 0).
#[test]
fn backlogs() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let backlog = |net: &Net<Nobody, Nobody>| {
        let sk = net.b.socks.tcp.get(l).unwrap();
        sk.cold.listen.as_ref().unwrap().backlog
    };
    for (asked, given) in [
        (0, 0),
        (-1, 4096),
        (1, 1),
        (5000, 4096),
        (i32::MAX, 4096),
        (3, 3),
    ] {
        net.b.listen(l, asked.cast_unsigned()).unwrap();
        assert_eq!(backlog(&net), given, "{asked}");
    }
    net.b.set_sysctl("somaxconn", "2").unwrap();
    assert_eq!(backlog(&net), 3);
    net.b.listen(l, 100).unwrap();
    assert_eq!(backlog(&net), 2);
    for (asked, waiting) in [(2, 3), (0, 1)] {
        net.b.listen(l, asked).unwrap();
        for _ in 0..6 {
            let c = net.a.tcp_socket().unwrap();
            let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
            net.settle();
        }
        let taken = std::iter::from_fn(|| net.b.accept(net.now, l).ok()).count();
        assert_eq!(taken, waiting, "backlog {asked}");
        // Those that found no room give up or come again elsewhere.
        net = Net::new(LinkKind::Ip, (Nobody, Nobody));
        assert_eq!(listener(&mut net.b, false), l);
    }
}

/// RFC 9293 MUST-44: a socket that names no address has the one that the route to its peer has, and its SYN bears it.
#[test]
fn a_connect_without_address_asks_the_routes() {
    let mut stack = alone();
    let second = "10.7.0.1/16".parse().unwrap();
    stack.add_addr(IfaceId(0), second).unwrap();
    for (peer, own) in [
        ([10, 0, 0, 9], [10, 0, 0, 1]),
        ([10, 7, 3, 3], [10, 7, 0, 1]),
    ] {
        let s = stack.tcp_socket().unwrap();
        assert_eq!(
            stack.connect(NOW, s, to(peer, 9)),
            Err(SockError::InProgress)
        );
        assert_eq!(*stack.local_addr(s).unwrap().ip(), Ipv4Addr::from(own));
        let mut wire = Wire::default();
        stack.tx(NOW, IfaceId(0), &mut wire);
        assert_eq!(wire.0.len(), 1);
        assert_eq!(wire.0[0][12..20], [own, peer].concat());
    }
}
