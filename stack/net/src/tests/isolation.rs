//! Several stacks in one process have nothing in common (Linux: network namespaces).

use super::*;

/// Two pairs of stacks with the same addresses, names and ports: what happens in one is nothing to the other.
#[test]
fn stacks_share_nothing() {
    let mut one = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let mut two = Net::new(LinkKind::Ip, (Nobody, Nobody));
    two.b.set_sysctl("tcp_sack", "0").unwrap();
    two.b.set_sysctl("ip_default_ttl", "7").unwrap();
    assert!(one.b.sysctl().tcp_sack && one.b.sysctl().ip_default_ttl == 64);
    // The port is free in each, and in each taken once.
    let (l1, l2) = (listener(&mut one.b, false), listener(&mut two.b, false));
    for net in [&mut one, &mut two] {
        let again = net.b.tcp_socket().unwrap();
        let taken = net.b.bind(again, SocketAddrV4::new(B, 80));
        assert_eq!(taken, Err(SockError::AddrInUse));
        net.b.close(net.now, again).unwrap();
    }
    let (c1, s1) = connected(&mut one, l1);
    assert_eq!(two.b.census().established, 0);
    assert_eq!(two.b.mib().value(Counter::TcpPassiveOpens), 0);
    // A socket of one is nobody in the other.
    assert_eq!(two.b.recv_len(s1), Err(SockError::BadSocket));
    let (c2, s2) = connected(&mut two, l2);
    let same = one.a.socks.tcp.get(c1).unwrap().warm.iss;
    assert_eq!(same, two.a.socks.tcp.get(c2).unwrap().warm.iss, "same seed");
    assert_eq!(one.a.send(one.now, c1, b"one", MsgFlags::NONE), Ok(3));
    assert_eq!(two.a.send(two.now, c2, b"second", MsgFlags::NONE), Ok(6));
    // An address, a route and a neighbour come and go in one alone.
    let other = "10.7.0.1/24".parse().unwrap();
    one.b.add_addr(IfaceId(0), other).unwrap();
    let s = two.b.tcp_socket().unwrap();
    let foreign = two.b.bind(s, SocketAddrV4::new(other.addr(), 1));
    assert_eq!(foreign, Err(SockError::AddrNotAvailable));
    one.run(Duration::from_secs(1));
    two.run(Duration::from_secs(1));
    assert_eq!(one.b.recv_len(s1), Ok(3));
    assert_eq!(two.b.recv_len(s2), Ok(6));
    // One ends as a whole; the other does not notice.
    drop(one);
    let mut buf = [0; 8];
    assert_eq!(two.b.recv(two.now, s2, &mut buf, MsgFlags::NONE), Ok(6));
    assert_eq!(&buf[..6], b"second");
}

/// `min_pmtu` and `mtu_expires` count from when they are set, for what was learnt before too.
#[test]
fn path_mtu_settings_count_at_once() {
    let mut stack = stack(LinkKind::Ip, A, 1);
    let now = Instant::from_nanos(1_000_000_000);
    let cache = |stack: &mut Stack, mtu| stack.ctx.pmtu.update(now, B, 1500, mtu);
    assert_eq!(cache(&mut stack, 100), Some(552));
    stack.set_sysctl("min_pmtu", "400").unwrap();
    assert_eq!(cache(&mut stack, 100), Some(400));
    let later = now + Duration::from_secs(5);
    assert_eq!(stack.ctx.pmtu.get(later, B), Some(400));
    stack.set_sysctl("mtu_expires", "3").unwrap();
    assert_eq!(stack.ctx.pmtu.get(later, B), None);
}
