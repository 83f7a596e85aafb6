//! What a receiver advertises, and orphans.

use super::options::opened;
use super::*;
use crate::stats::Counter;

/// Where the window ends that was advertised last.
fn edge(stack: &Stack, s: SockId) -> u32 {
    let rx = &stack.socks.tcp.get(s).unwrap().rx;
    (rx.rcv_wup + rx.rcv_wnd).raw()
}

/// RFC 9293 SHLD-14: whatever comes, is read, or is set, nothing that was advertised is taken back.
#[test]
fn the_right_edge_never_moves_back() {
    let (mut net, c, s) = opened(&[], &[SockOpt::RcvBuf(30_000)]);
    let mut last = edge(&net.b, s);
    let mut buf = [0; 100_000];
    for step in 0..200usize {
        match step {
            40 => net.b.set_option(net.now, s, SockOpt::WindowClamp(4000)),
            80 => net.b.set_option(net.now, s, SockOpt::RcvBuf(2000)),
            120 => net.b.set_option(net.now, s, SockOpt::WindowClamp(20_000)),
            160 => net.b.set_option(net.now, s, SockOpt::RcvBuf(100_000)),
            _ => Ok(()),
        }
        .unwrap();
        let _ = net
            .a
            .send(net.now, c, &[1; 9000][..step * 40 + 1], MsgFlags::NONE);
        net.run(Duration::from_millis(60));
        if step % 3 > 0 {
            let some = &mut buf[..step * 97 % 5000 + 1];
            let _ = net.b.recv(net.now, s, some, MsgFlags::NONE);
            net.settle();
        }
        let now = edge(&net.b, s);
        assert!(
            now.wrapping_sub(last) as i32 >= 0,
            "step {step}: {last} {now}"
        );
        last = now;
    }
    assert!(net.b.mib().value(Counter::TcpInSegs) > 100);
}

/// RFC 9293 MUST-39: a closed window opens when a segment, or half of the buffer, fits, and not for less.
#[test]
fn the_window_does_not_open_by_crumbs() {
    let (mut net, c, s) = opened(&[], &[SockOpt::RcvBuf(10_000)]);
    for _ in 0..40 {
        let _ = net.a.send(net.now, c, &[1; 8192], MsgFlags::NONE);
        net.run(Duration::from_millis(20));
    }
    let window = |net: &Net<Nobody, Nobody>| net.b.socks.tcp.get(s).unwrap().rx.receive_window();
    let mss = u32::from(net.b.socks.tcp.get(s).unwrap().rx.rcv_mss);
    assert!(window(&net) < mss, "{} is left", window(&net));
    let full = edge(&net.b, s);
    let (mut read, mut sent) = (0, net.b.mib().value(Counter::TcpOutSegs));
    while edge(&net.b, s) == full {
        assert_eq!(
            net.b.mib().value(Counter::TcpOutSegs),
            sent,
            "{read} were read"
        );
        read += net
            .b
            .recv(net.now, s, &mut [0; 100], MsgFlags::NONE)
            .unwrap();
        let before = edge(&net.b, s);
        // Without the sender's probes: only what reading brings.
        let mut wire = Wire::default();
        net.b.tx(net.now, IfaceId(0), &mut wire);
        if before == edge(&net.b, s) {
            sent = net.b.mib().value(Counter::TcpOutSegs);
            assert!(wire.0.is_empty(), "{read} were read");
        }
        assert!(read < 20_000);
    }
    let opened = edge(&net.b, s).wrapping_sub(full);
    assert!(opened >= mss.min(5000), "{opened} after {read}");
}

/// An orphan whose time-out comes when there are too many ends with a RST (Linux `tcp_out_of_resources`), and those that
/// are left stay.
#[test]
fn a_time_out_of_an_orphan_too_many_ends_it() {
    let (mut net, c, _) = opened(&[], &[]);
    let other = net.a.tcp_socket().unwrap();
    let _ = net.a.connect(net.now, other, SocketAddrV4::new(B, 80));
    net.settle();
    net.cut = true;
    for sock in [c, other] {
        net.a.send(net.now, sock, b"lost", MsgFlags::NONE).unwrap();
        net.a.close(net.now, sock).unwrap();
    }
    net.run(Duration::from_secs(1));
    assert_eq!(net.a.census().orphans, 2);
    net.a.set_sysctl("tcp_max_orphans", "1").unwrap();
    net.run(Duration::from_secs(3));
    assert_eq!(net.a.census().orphans, 1);
    let mib = net.a.mib();
    assert_eq!(mib.value(Counter::TcpExtTCPAbortOnMemory), 1);
    assert_eq!(mib.value(Counter::TcpOutRsts), 1);
}
