//! TCP Fast Open, active (RFC 7413): cookies, data in the SYN, and all that can become of it.

use super::*;

const SERVER: SocketAddrV4 = SocketAddrV4::new(PEER, 443);

fn cookie() -> FastOpen {
    FastOpen::cookie(b"biscuits", false).unwrap()
}

/// The server's SYN-ACK to `syn`.
fn syn_ack(syn: &Got, ack: u32, option: Option<FastOpen>) -> Seg {
    let val = syn.options.timestamps.unwrap().val;
    let stamp = Timestamps { val: 900, ecr: val };
    let mut options = write_syn(Some(1460), Some(7), true, Some(stamp));
    if let Some(option) = option {
        options.fast_open(&option);
    }
    let mut s = seg(443, S | A, 5000, ack).with(options);
    s.to = syn.from;
    s
}

/// Opens a connection; what went out, and what the call said.
fn open(lab: &mut Lab, data: &[u8]) -> (SockId, Result<usize, SockError>, Got) {
    let s = lab.stack.tcp_socket().unwrap();
    let now = lab.now;
    let said = lab.stack.send_fastopen(now, s, SERVER, data);
    let mut out = lab.out();
    assert_eq!(out.len(), 1, "{out:?}");
    (s, said, out.remove(0))
}

/// A lab whose stack has a cookie of the server.
fn with_cookie() -> Lab {
    let mut lab = Lab::new(10, &[]);
    let (s, said, syn) = open(&mut lab, b"early");
    assert_eq!(said, Err(SockError::InProgress));
    assert_eq!(syn.fastopen, Some(FastOpen::request(false)));
    assert!(syn.data.is_empty());
    let ack = lab.one(&syn_ack(&syn, syn.seq + 1, Some(cookie())));
    assert_eq!(ack.flags, A);
    assert_eq!(lab.stack.state(s), Ok(TcpState::Established));
    let now = lab.now;
    assert_eq!(lab.stack.send(now, s, b"early", MsgFlags::NONE), Ok(5));
    assert_eq!(lab.out()[0].data, b"early");
    lab.stack.disconnect(now, s).unwrap();
    lab.out();
    lab
}

#[test]
fn data_goes_with_the_syn_once_there_is_a_cookie() {
    let mut lab = with_cookie();
    let (s, said, syn) = open(&mut lab, b"early");
    assert_eq!((said, syn.flags), (Ok(5), S));
    assert_eq!(
        (syn.fastopen, &syn.data[..]),
        (Some(cookie()), &b"early"[..])
    );
    let ack = lab.one(&syn_ack(&syn, syn.seq + 6, None));
    assert_eq!((ack.flags, ack.seq, ack.ack), (A, syn.seq + 6, 5001));
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenActive), 1);
    assert_eq!(lab.stack.send_queued(s), Ok(0));
    let now = lab.now;
    assert_eq!(lab.stack.connect(now, s, SERVER), Ok(()));
    assert_eq!(
        lab.stack.send_fastopen(now, s, SERVER, b"x"),
        Err(SockError::IsConnected)
    );
}

#[test]
fn as_much_as_one_segment_with_room_for_options() {
    let mut lab = with_cookie();
    let (s, said, syn) = open(&mut lab, &[7; 5000]);
    assert_eq!((said, syn.data.len()), (Ok(1420), 1420));
    let now = lab.now;
    assert_eq!(
        lab.stack.send(now, s, &[7; 100], MsgFlags::NONE),
        Err(SockError::WouldBlock)
    );
    assert_eq!(
        lab.stack.send_fastopen(now, s, SERVER, b"x"),
        Err(SockError::Already)
    );
}

#[test]
fn data_that_the_server_left_goes_again_at_once() {
    for taken in [0, 2] {
        let mut lab = with_cookie();
        let (s, _, syn) = open(&mut lab, b"early");
        let again = lab.one(&syn_ack(&syn, syn.seq + 1 + taken, None));
        assert_eq!((again.seq, again.ack), (syn.seq + 1 + taken, 5001));
        assert_eq!(again.data, b"early"[taken as usize..]);
        assert_eq!(lab.count(Counter::TcpExtTCPFastOpenActiveFail), 1);
        let mut ack = seg(443, A, 5001, syn.seq + 6);
        ack.to = syn.from;
        let val = again.options.timestamps.unwrap().val;
        lab.none(&ack.with(ts(901, val)));
        assert_eq!(lab.stack.send_queued(s), Ok(0));
        let sk = lab.stack.socks.tcp.get(s).unwrap();
        assert_eq!(sk.tx.snd_cwnd, 10, "that was no congestion");
    }
}

#[test]
fn a_syn_that_timed_out_goes_bare() {
    let mut lab = with_cookie();
    let (s, _, syn) = open(&mut lab, b"early");
    let again = lab.pass(Duration::from_millis(1500));
    let [(1000, bare)] = &again[..] else {
        panic!("{again:?}")
    };
    assert_eq!((bare.flags, bare.seq), (S, syn.seq));
    assert!(bare.fastopen.is_none() && bare.data.is_empty());
    let data = lab.one(&syn_ack(bare, syn.seq + 1, None));
    assert_eq!((data.seq, &data.data[..]), (syn.seq + 1, &b"early"[..]));
    assert_eq!(lab.stack.state(s), Ok(TcpState::Established));
    // The first one may have arrived all the same.
    let (_, _, syn) = open(&mut lab, b"early");
    lab.pass(Duration::from_millis(1500));
    assert_eq!(lab.one(&syn_ack(&syn, syn.seq + 6, None)).flags, A);
}

#[test]
fn connect_waits_for_the_first_data() {
    let mut lab = with_cookie();
    let now = lab.now;
    let s = lab.stack.tcp_socket().unwrap();
    lab.stack
        .set_option(now, s, SockOpt::FastOpenConnect(true))
        .unwrap();
    assert_eq!(lab.stack.connect(now, s, SERVER), Ok(()));
    assert!(lab.out().is_empty(), "no SYN yet");
    assert!(lab.stack.readiness(s).unwrap().contains(Readiness::OUT));
    assert_eq!(
        lab.stack.connect(now, s, SERVER),
        Err(SockError::IsConnected)
    );
    assert_eq!(lab.stack.send(now, s, b"early", MsgFlags::NONE), Ok(5));
    let out = lab.out();
    let [syn] = &out[..] else { panic!("{out:?}") };
    assert_eq!(
        (syn.fastopen, &syn.data[..]),
        (Some(cookie()), &b"early"[..])
    );
    lab.one(&syn_ack(syn, syn.seq + 6, None));
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenActive), 1);
    // Without data nothing was ever sent, and close forgets it.
    let s = lab.stack.tcp_socket().unwrap();
    lab.stack
        .set_option(now, s, SockOpt::FastOpenConnect(true))
        .unwrap();
    let before = lab.stack.census();
    assert_eq!(lab.stack.connect(now, s, SERVER), Ok(()));
    lab.stack.close(now, s).unwrap();
    assert!(lab.out().is_empty());
    assert_eq!(lab.stack.census().hashed, before.hashed);
}

#[test]
fn connect_without_a_cookie_asks_for_one() {
    let mut lab = Lab::new(10, &[]);
    let now = lab.now;
    let s = lab.stack.tcp_socket().unwrap();
    lab.stack
        .set_option(now, s, SockOpt::FastOpenConnect(true))
        .unwrap();
    assert_eq!(
        lab.stack.connect(now, s, SERVER),
        Err(SockError::InProgress)
    );
    let syn = lab.out().remove(0);
    assert_eq!(syn.fastopen, Some(FastOpen::request(false)));
    // A server that does not answer the request is asked under the other number next time, and then again so.
    lab.one(&syn_ack(&syn, syn.seq + 1, None));
    for experimental in [true, false, false] {
        let (_, _, syn) = open(&mut lab, b"x");
        assert_eq!(syn.fastopen, Some(FastOpen::request(experimental)));
        lab.one(&syn_ack(&syn, syn.seq + 1, None));
    }
}

#[test]
fn without_cookies_by_setting() {
    let mut lab = Lab::new(10, &[("tcp_fastopen", "5")]);
    let (_, said, syn) = open(&mut lab, b"early");
    assert_eq!(
        (said, syn.fastopen, &syn.data[..]),
        (Ok(5), None, &b"early"[..])
    );
    lab.one(&syn_ack(&syn, syn.seq + 6, None));
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenActive), 1);
}

#[test]
fn a_cookie_that_was_not_asked_for_is_none() {
    let mut lab = Lab::new(10, &[]);
    let now = lab.now;
    let s = lab.stack.tcp_socket().unwrap();
    let _ = lab.stack.connect(now, s, SERVER);
    let syn = lab.out().remove(0);
    assert_eq!(syn.fastopen, None);
    lab.one(&syn_ack(&syn, syn.seq + 1, Some(cookie())));
    assert_eq!(open(&mut lab, b"x").1, Err(SockError::InProgress));
}

#[test]
fn a_black_hole_pauses_everybody_and_longer_each_time() {
    let mut lab = with_cookie();
    let pause = ("tcp_fastopen_blackhole_timeout_sec", "100");
    lab.stack.set_sysctl(pause.0, pause.1).unwrap();
    for round in 0..2u64 {
        let (s, said, _) = open(&mut lab, b"early");
        assert_eq!(said, Ok(5));
        lab.pass(Duration::from_millis(2500));
        assert_eq!(lab.count(Counter::TcpExtTCPFastOpenBlackhole), round);
        lab.pass(Duration::from_millis(1000));
        assert_eq!(lab.count(Counter::TcpExtTCPFastOpenBlackhole), round + 1);
        lab.stack.close(lab.now, s).unwrap();
        let (s, said, syn) = open(&mut lab, b"early");
        assert_eq!((said, syn.fastopen), (Err(SockError::InProgress), None));
        lab.stack.close(lab.now, s).unwrap();
        lab.pass(Duration::from_secs(100 << round));
    }
    // It works again, and all is forgotten.
    let (s, said, syn) = open(&mut lab, b"early");
    assert_eq!(said, Ok(5));
    lab.one(&syn_ack(&syn, syn.seq + 6, None));
    lab.stack.disconnect(lab.now, s).unwrap();
    lab.out();
    assert_eq!(open(&mut lab, b"early").1, Ok(5));
}

#[test]
fn opens_that_cross_keep_the_data() {
    let mut lab = with_cookie();
    let (s, _, syn) = open(&mut lab, b"early");
    let mut cross = seg(443, S, 5000, 0).with(SYN_OPTIONS(900));
    cross.to = syn.from;
    let answer = lab.one(&cross);
    assert_eq!(
        (answer.flags, answer.seq, answer.ack),
        (S | A, syn.seq, 5001)
    );
    assert!(answer.data.is_empty());
    let mut ack = seg(443, A, 5001, syn.seq + 6);
    ack.to = syn.from;
    let val = answer.options.timestamps.unwrap().val;
    lab.none(&ack.with(ts(901, val)));
    assert_eq!(lab.stack.state(s), Ok(TcpState::Established));
    assert_eq!(lab.stack.send_queued(s), Ok(0));
}

#[test]
fn switched_off() {
    let mut lab = Lab::new(10, &[("tcp_fastopen", "0")]);
    let s = lab.stack.tcp_socket().unwrap();
    let now = lab.now;
    assert_eq!(
        lab.stack.send_fastopen(now, s, SERVER, b"x"),
        Err(SockError::OpNotSupported)
    );
    assert!(lab.out().is_empty());
}
