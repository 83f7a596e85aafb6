//! Any calls in any order, on both sides of a link: the tables stay consistent, and in the end nothing is left.

use super::*;
use proptest::prelude::*;

/// One call on one of a side's sockets.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open,
    Bind { any: bool, port: u16 },
    Listen,
    Accept,
    Connect { port: u16 },
    Disconnect,
    Shutdown(u8),
    Send,
    Recv,
    Close,
    Abort,
    Reuse { addr: bool, on: bool },
    NoPort(bool),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    // Few ports, so that sockets meet.
    let port = prop_oneof![Just(0u16), 1u16..5];
    prop_oneof![
        3 => Just(Step::Open),
        3 => (any::<bool>(), port).prop_map(|(any, port)| Step::Bind { any, port }),
        3 => Just(Step::Listen),
        4 => Just(Step::Accept),
        6 => prop_oneof![3 => Just(1u16), 1 => 1u16..5].prop_map(|port| Step::Connect { port }),
        2 => Just(Step::Disconnect),
        1 => (0u8..3).prop_map(Step::Shutdown),
        2 => Just(Step::Send),
        1 => Just(Step::Recv),
        2 => Just(Step::Close),
        1 => Just(Step::Abort),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(addr, on)| Step::Reuse { addr, on }),
        1 => any::<bool>().prop_map(Step::NoPort),
        2 => (1u16..2000).prop_map(Step::Wait),
    ]
}

/// Makes the call; sockets come and go in `socks`.
fn play(
    stack: &mut Stack,
    now: Instant,
    local: Ipv4Addr,
    socks: &mut Vec<SockId>,
    pick: usize,
    step: Step,
) {
    let remote = if local == A { B } else { A };
    if let Step::Open = step {
        socks.push(stack.tcp_socket().unwrap());
        return;
    }
    let at = pick % socks.len().max(1);
    let Some(&s) = socks.get(at) else { return };
    // Whether a call succeeds is other tests' business.
    let _ = match step {
        Step::Bind { any, port } => {
            let addr = if any { Ipv4Addr::UNSPECIFIED } else { local };
            stack.bind(s, SocketAddrV4::new(addr, port))
        }
        Step::Listen => stack.listen(s, 2),
        Step::Accept => stack.accept(now, s).map(|(child, _)| socks.push(child)),
        Step::Connect { port } => stack.connect(now, s, SocketAddrV4::new(remote, port)),
        Step::Disconnect => stack.disconnect(now, s),
        Step::Shutdown(how) => {
            let how = [Shutdown::Read, Shutdown::Write, Shutdown::Both][usize::from(how)];
            stack.shutdown(now, s, how)
        }
        Step::Send => stack.send(now, s, b"bytes", MsgFlags::NONE).map(|_| ()),
        Step::Recv => stack.recv(now, s, &mut [0; 3], MsgFlags::NONE).map(|_| ()),
        Step::Close => {
            socks.swap_remove(at);
            stack.close(now, s)
        }
        Step::Abort => {
            socks.swap_remove(at);
            stack.abort(now, s);
            Ok(())
        }
        Step::Reuse { addr: true, on } => stack.set_option(now, s, SockOpt::ReuseAddr(on)),
        Step::Reuse { addr: false, on } => stack.set_option(now, s, SockOpt::ReusePort(on)),
        Step::NoPort(on) => stack.set_option(now, s, SockOpt::BindAddressNoPort(on)),
        Step::Open | Step::Wait(_) => Ok(()),
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn nothing_breaks_and_nothing_is_left(
        steps in prop::collection::vec((any::<bool>(), 0usize..8, step()), 1..80)
    ) {
        let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
        // Each side listens to begin with.
        let socks = [(A, &mut net.a), (B, &mut net.b)].map(|(addr, stack)| {
            let s = stack.tcp_socket().unwrap();
            stack.bind(s, SocketAddrV4::new(addr, 1)).unwrap();
            stack.listen(s, 5).unwrap();
            vec![s]
        });
        let mut socks = <(Vec<_>, Vec<_>)>::from(socks);
        for (on_a, pick, step) in steps {
            if let Step::Wait(ms) = step {
                net.run(Duration::from_millis(u64::from(ms)));
            } else if on_a {
                play(&mut net.a, net.now, A, &mut socks.0, pick, step);
            } else {
                play(&mut net.b, net.now, B, &mut socks.1, pick, step);
            }
            prop_assert_eq!(net.a.audit(), Ok(()), "{:?}", step);
            prop_assert_eq!(net.b.audit(), Ok(()), "{:?}", step);
            // Not after every step: calls meet the network in all states.
            if pick % 2 == 0 {
                net.settle();
            }
        }
        for s in socks.0 {
            let _ = net.a.close(net.now, s);
        }
        for s in socks.1 {
            let _ = net.b.close(net.now, s);
        }
        net.run(Duration::from_secs(2000));
        for stack in [&net.a, &net.b] {
            let census = stack.census();
            let left = (census.sockets, census.requests, census.time_wait, census.hashed);
            prop_assert_eq!(left, (0, 0, 0, 0));
            let left = (census.bound_ports, census.listeners, census.orphans, census.timers);
            prop_assert_eq!(left, (0, 0, 0, 0));
            prop_assert_eq!((census.ring_chunks, census.queued_packets), (0, 0));
        }
    }
}
