//! SYN cookies through the whole stack (attack rows 1 and 2; counters measured on 6.18).

use super::*;
use proptest::prelude::*;

/// A lab where every SYN gets a cookie.
fn always() -> Lab {
    Lab::new(100, &[("tcp_syncookies", "2")])
}

#[test]
fn a_full_queue_sends_cookies_and_keeps_nothing() {
    let mut lab = Lab::new(0, &[]);
    let before = lab.stack.census();
    for i in 0..1000 {
        let syn_ack = lab.one(&seg(3000 + i, S, 100, 0).with(SYN_OPTIONS(1000)));
        assert_eq!(syn_ack.flags, S | A);
        assert_eq!(syn_ack.options.mss, Some(1460));
        assert!(syn_ack.options.sack_permitted && syn_ack.options.wscale.is_some());
    }
    let after = lab.stack.census();
    assert_eq!((after.requests, after.timers, after.hashed), (1, 1, 1));
    assert_eq!(after.sockets, before.sockets);
    assert_eq!(lab.count(Counter::TcpExtSyncookiesSent), 999);
    assert_eq!(lab.count(Counter::TcpExtTCPReqQFullDoCookies), 999);
    assert_eq!(lab.count(Counter::TcpExtListenDrops), 0);
    assert_eq!(lab.stack.ctx.keys.cookie_hashes(), 999, "one per SYN");
}

proptest! {
    #[test]
    fn what_was_agreed_comes_back(
        mss in prop::option::of(48u16..9000),
        wscale in prop::option::of(0u8..=14),
        sack: bool, stamps: bool, rtt in 0u64..60_000,
    ) {
        let mut lab = always();
        let stamp = stamps.then_some(Timestamps { val: 77, ecr: 0 });
        let syn = seg(5000, S, 100, 0).with(write_syn(mss, wscale, sack, stamp));
        let syn_ack = lab.one(&syn);
        // Without timestamps there is nowhere to keep the rest.
        prop_assert_eq!(syn_ack.options.timestamps.is_some(), stamps);
        prop_assert_eq!(syn_ack.options.sack_permitted, sack && stamps);
        prop_assert_eq!(syn_ack.options.wscale.is_some(), wscale.is_some() && stamps);
        lab.pass(Duration::from_millis(rtt));
        let mut third = seg(5000, A, 101, syn_ack.seq + 1);
        if let Some(t) = syn_ack.options.timestamps {
            third = third.with(ts(80, t.val));
        }
        lab.none(&third);
        let child = lab.accept().unwrap();
        let sk = lab.stack.socks.tcp.get(child).unwrap();
        let features = sk.rx.features;
        use crate::tcp::sock::hot::Features;
        prop_assert_eq!(features.contains(Features::TIMESTAMPS), stamps);
        prop_assert_eq!(features.contains(Features::SACK), sack && stamps);
        prop_assert_eq!(features.contains(Features::WSCALE), wscale.is_some() && stamps);
        let shift = wscale.filter(|_| stamps).unwrap_or(0);
        prop_assert_eq!(sk.rx.snd_wscale, shift);
        prop_assert_eq!(sk.tx.snd_wnd, 500 << shift);
        let asked = mss.unwrap_or(536);
        let table = [1460, 1440, 1300, 536].into_iter().find(|m| *m <= asked);
        prop_assert_eq!(sk.warm.mss_clamp, table.unwrap_or(536));
        prop_assert_eq!(sk.rx.rcv_wscale, syn_ack.options.wscale.unwrap_or(0));
        // Karn forbids a measure; the echo, up to 64 ms late, allows one.
        prop_assert_eq!(sk.warm.rtt.has_sample(), stamps);
        // It is a connection like any other.
        lab.feed(&seg(5000, A, 101, syn_ack.seq + 1).data(b"hello").with(third.options));
        prop_assert_eq!(lab.stack.recv_len(child), Ok(5));
    }
}

#[test]
fn a_cookie_counts_only_after_an_overflow_of_its_listener() {
    let mut lab = always();
    let cookie = lab.one(&seg(5001, S, 100, 0));
    let third = seg(5001, A, 101, cookie.seq + 1);
    lab.stack
        .socks
        .tcp
        .get_mut(lab.listener)
        .and_then(|sk| sk.cold.listen.as_mut())
        .unwrap()
        .overflow = None;
    let hashes = lab.stack.ctx.keys.cookie_hashes();
    assert_eq!(lab.one(&third).flags, R);
    assert_eq!(lab.stack.ctx.keys.cookie_hashes(), hashes, "no hash at all");
    assert_eq!(lab.count(Counter::TcpExtSyncookiesFailed), 0);
    lab.one(&seg(5002, S, 100, 0));
    lab.none(&third);
    assert!(lab.accept().is_ok());
}

#[test]
fn a_cookie_dies_after_two_minutes() {
    let mut lab = always();
    let cookie = lab.one(&seg(5003, S, 100, 0));
    lab.pass(Duration::from_secs(119));
    lab.one(&seg(5004, S, 100, 0));
    lab.pass(Duration::from_secs(2));
    let reset = lab.one(&seg(5003, A, 101, cookie.seq + 1));
    assert_eq!((reset.flags, reset.seq), (R, cookie.seq + 1));
    assert_eq!(lab.count(Counter::TcpExtSyncookiesFailed), 1);
}

#[test]
fn forged_acks_cost_a_hash_and_make_nothing() {
    let mut lab = always();
    lab.one(&seg(5005, S, 100, 0));
    let (before, census) = (lab.stack.ctx.keys.cookie_hashes(), lab.stack.census());
    for i in 0..10_000u32 {
        let guess = lab.stack.ctx.keys.random() as u32;
        let reset = lab.one(&seg(6000 + (i % 1000) as u16, A, i, guess));
        assert_eq!(reset.flags, R);
    }
    assert!(lab.stack.ctx.keys.cookie_hashes() - before <= 10_000);
    assert_eq!(lab.stack.census(), census);
    assert_eq!(lab.count(Counter::TcpExtSyncookiesFailed), 10_000);
    assert_eq!(lab.count(Counter::TcpExtSyncookiesRecv), 0);
}

#[test]
fn cookies_can_be_switched_off_and_meet_full_accept_queues() {
    let mut lab = always();
    let cookies = [5006, 5007].map(|port| lab.one(&seg(port, S, 100, 0)));
    let thirds = cookies.map(|c| seg(c.port, A, 101, c.seq + 1));
    lab.stack.set_sysctl("tcp_syncookies", "0").unwrap();
    assert_eq!(lab.one(&thirds[0]).flags, R);
    lab.stack.set_sysctl("tcp_syncookies", "1").unwrap();
    // One connection fits into an accept queue of length 0; the next is dropped without a word.
    lab.stack.listen(lab.listener, 0).unwrap();
    lab.none(&thirds[0]);
    lab.none(&thirds[1]);
    assert_eq!(lab.count(Counter::TcpExtSyncookiesRecv), 2);
    assert_eq!(lab.count(Counter::TcpExtListenOverflows), 1);
    // Nor is a SYN taken now.
    lab.none(&seg(5008, S, 100, 0));
    assert_eq!(lab.count(Counter::TcpExtListenOverflows), 2);
    assert!(lab.accept().is_ok());
    lab.none(&thirds[1]);
    assert!(lab.accept().is_ok());
}
