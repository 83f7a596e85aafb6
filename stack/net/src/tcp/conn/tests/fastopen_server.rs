//! TCP Fast Open, passive (RFC 7413; answers and counters recorded from 6.18). Attack row 23.

use super::*;

const KEYS: &str = "00010203-04050607-08090a0b-0c0d0e0f";

fn lab(queue: u32) -> Lab {
    let settings = [("tcp_fastopen", "3"), ("tcp_fastopen_key", KEYS)];
    let mut lab = Lab::new(10, &settings);
    let (now, l) = (lab.now, lab.listener);
    lab.stack
        .set_option(now, l, SockOpt::FastOpen(queue))
        .unwrap();
    lab
}

fn syn(port: u16, option: Option<FastOpen>) -> Seg {
    let mut options = SYN_OPTIONS(1000);
    if let Some(option) = option {
        options.fast_open(&option);
    }
    seg(port, S, 100, 0).with(options)
}

/// A cookie of this lab's server.
fn cookie(lab: &mut Lab) -> FastOpen {
    let syn_ack = lab.one(&syn(1, Some(FastOpen::request(false))));
    lab.none(&seg(1, R, 101, 0));
    syn_ack.fastopen.unwrap()
}

/// A connection opened by data, accepted.
fn opened(lab: &mut Lab, port: u16) -> (Got, SockId) {
    let c = cookie(lab);
    let syn_ack = lab.one(&syn(port, Some(c)).data(b"hello"));
    assert_eq!(syn_ack.ack, 106);
    (syn_ack, lab.accept().unwrap())
}

fn third(syn_ack: &Got) -> Seg {
    let val = syn_ack.options.timestamps.unwrap().val;
    seg(syn_ack.port, A, 106, syn_ack.seq + 1).with(ts(1001, val))
}

#[test]
fn a_cookie_is_granted_under_the_number_it_was_asked_for() {
    let mut lab = lab(2);
    for experimental in [false, true] {
        let got = lab.one(&syn(2000, Some(FastOpen::request(experimental))));
        let granted = got.fastopen.unwrap();
        assert_eq!((got.ack, granted.experimental), (101, experimental));
        assert_eq!(granted.as_bytes().len(), 8);
        lab.none(&seg(2000, R, 101, 0));
    }
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenCookieReqd), 2);
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenPassive), 0);
}

#[test]
fn data_is_there_before_the_third_ack_and_so_is_the_answer() {
    let mut lab = lab(2);
    let (syn_ack, child) = opened(&mut lab, 2001);
    assert_eq!(syn_ack.fastopen, None);
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenPassive), 1);
    assert_eq!(lab.stack.state(child), Ok(TcpState::SynRecv));
    let ready = lab.stack.readiness(child).unwrap();
    assert!(ready.contains(Readiness::IN | Readiness::OUT));
    let mut buf = [0; 10];
    let now = lab.now;
    assert_eq!(lab.stack.recv(now, child, &mut buf, MsgFlags::NONE), Ok(5));
    assert_eq!(&buf[..5], b"hello");
    assert_eq!(lab.stack.send(now, child, b"early", MsgFlags::NONE), Ok(5));
    let out = lab.out();
    let [answer] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!((answer.seq, answer.ack), (syn_ack.seq + 1, 106));
    assert_eq!(answer.data, b"early");
    let mut last = third(&syn_ack);
    last.ack = syn_ack.seq + 6;
    lab.none(&last);
    assert_eq!(lab.stack.state(child), Ok(TcpState::Established));
    assert_eq!(lab.stack.send_queued(child), Ok(0));
    // It receives like any other.
    let more = seg(2001, A, 106, syn_ack.seq + 6).data(b"more");
    lab.feed(&more.with(last.options));
    assert_eq!(lab.stack.recv_len(child), Ok(4));
}

#[test]
fn a_bad_cookie_opens_as_usual_and_brings_a_good_one() {
    let mut lab = lab(2);
    let good = cookie(&mut lab);
    let bad = FastOpen::cookie(b"12345678", false);
    let got = lab.one(&syn(2002, bad).data(b"hello"));
    assert_eq!((got.ack, got.fastopen), (101, Some(good)));
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenPassiveFail), 1);
    assert_eq!(lab.accept(), Err(SockError::WouldBlock));
}

#[test]
fn cookies_of_the_second_key_are_exchanged() {
    let mut lab = lab(2);
    let old = cookie(&mut lab);
    let keys = format!("a0a1a2a3-1-2-3,{KEYS}");
    lab.stack.set_sysctl("tcp_fastopen_key", &keys).unwrap();
    let got = lab.one(&syn(2003, Some(old)).data(b"hello"));
    assert_eq!(got.ack, 106);
    assert!(got.fastopen.is_some_and(|new| new != old));
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenPassiveAltKey), 1);
    // A SYN-ACK that goes out again does not repeat it.
    let again = lab.pass(Duration::from_millis(1500));
    assert!(
        again
            .iter()
            .any(|(_, g)| g.port == 2003 && g.fastopen.is_none())
    );
}

#[test]
fn nothing_without_the_option_the_queue_or_the_setting() {
    let mut lab = lab(2);
    let c = cookie(&mut lab);
    assert_eq!(lab.one(&syn(2004, None).data(b"hello")).ack, 101);
    for (name, value) in [("tcp_fastopen", "1"), ("tcp_fastopen", "3")] {
        lab.stack.set_sysctl(name, value).unwrap();
        let (now, l) = (lab.now, lab.listener);
        let queue = if value == "1" { 2 } else { 0 };
        lab.stack
            .set_option(now, l, SockOpt::FastOpen(queue))
            .unwrap();
        let port = 2005 + queue as u16;
        let got = lab.one(&syn(port, Some(c)).data(b"hello"));
        assert_eq!((got.ack, got.fastopen), (101, None));
    }
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenPassive), 0);
}

#[test]
fn without_cookies_when_all_agree() {
    let mut lab = lab(2);
    lab.stack.set_sysctl("tcp_fastopen", "0x203").unwrap();
    assert_eq!(lab.one(&syn(2006, None).data(b"hello")).ack, 106);
    assert!(lab.accept().is_ok());
}

#[test]
fn the_queue_is_short_and_resets_hold_their_places() {
    let mut lab = lab(2);
    let c = cookie(&mut lab);
    for port in [3000, 3001] {
        assert_eq!(lab.one(&syn(port, Some(c)).data(b"hello")).ack, 106);
        lab.accept().unwrap();
    }
    let full = lab.one(&syn(3002, Some(c)).data(b"hello"));
    assert_eq!((full.ack, full.fastopen), (101, None));
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenListenOverflow), 1);
    // Victims of forged SYNs answer with RSTs; their places stay taken for a minute.
    lab.none(&seg(3000, R, 106, 0));
    lab.none(&seg(3001, R, 106, 0));
    assert_eq!(lab.one(&syn(3003, Some(c)).data(b"hello")).ack, 101);
    lab.pass(Duration::from_secs(61));
    assert_eq!(lab.one(&syn(3004, Some(c)).data(b"hello")).ack, 106);
    assert_eq!(lab.count(Counter::TcpExtTCPFastOpenListenOverflow), 2);
}

#[test]
fn a_complete_handshake_gives_its_place_back() {
    let mut lab = lab(1);
    let (syn_ack, _) = opened(&mut lab, 3010);
    lab.none(&third(&syn_ack));
    let (_, child) = opened(&mut lab, 3011);
    // So does a child that ends before.
    lab.stack
        .set_option(lab.now, child, SockOpt::Linger(true, Duration::ZERO))
        .unwrap();
    let now = lab.now;
    let mut buf = [0; 5];
    lab.stack
        .recv(now, child, &mut buf, MsgFlags::NONE)
        .unwrap();
    lab.stack.close(now, child).unwrap();
    assert!(lab.out()[0].flags.contains(R));
    opened(&mut lab, 3012);
}

#[test]
fn the_syn_ack_is_repeated_on_request_and_by_the_clock() {
    let mut lab = lab(2);
    let (syn_ack, child) = opened(&mut lab, 2007);
    let again = lab.one(&syn(2007, None).data(b"hello"));
    assert_eq!(
        (again.flags, again.seq, again.ack),
        (S | A, syn_ack.seq, 106)
    );
    lab.none(&syn(2007, None).data(b"hello"));
    assert_eq!(lab.count(Counter::TcpExtTCPACKSkippedSynRecv), 1);
    let repeats = lab.pass(Duration::from_secs(200));
    let seconds: Vec<_> = repeats.iter().map(|(ms, _)| ms / 1000).collect();
    assert_eq!(seconds, [1, 3, 7, 15, 31, 63], "one more than usual");
    assert_eq!(lab.stack.state(child), Ok(TcpState::Close));
    assert_eq!(lab.stack.take_error(child), Some(SockError::TimedOut));
}

#[test]
fn close_before_the_third_ack() {
    let mut lab = lab(2);
    let (syn_ack, child) = opened(&mut lab, 2008);
    let now = lab.now;
    let mut buf = [0; 5];
    lab.stack
        .recv(now, child, &mut buf, MsgFlags::NONE)
        .unwrap();
    lab.stack.send(now, child, b"bye", MsgFlags::NONE).unwrap();
    lab.stack.close(now, child).unwrap();
    let out = lab.out();
    let fin = out.last().unwrap();
    assert!(fin.flags.contains(TcpFlags::FIN));
    assert_eq!((&fin.data[..], fin.seq), (&b"bye"[..], syn_ack.seq + 1));
    // The SYN-ACK was lost: it comes again, not the data.
    let again = lab.pass(Duration::from_millis(1100));
    assert!(
        again
            .iter()
            .any(|(_, g)| g.port == 2008 && g.flags == S | A)
    );
    let mut last = third(&syn_ack);
    last.ack = syn_ack.seq + 5;
    last.flags = A | TcpFlags::FIN;
    assert_eq!(lab.one(&last).ack, 107);
    assert_eq!(lab.stack.census().time_wait, 1);
}

#[test]
fn wrong_acks_are_reset_and_the_child_stays() {
    let mut lab = lab(2);
    let (syn_ack, child) = opened(&mut lab, 2009);
    let mut wrong = third(&syn_ack);
    wrong.ack += 100;
    let out = lab.feed(&wrong);
    assert!(out.iter().any(|g| g.flags == R), "{out:?}");
    assert_eq!(lab.stack.state(child), Ok(TcpState::SynRecv));
    lab.none(&third(&syn_ack));
    assert_eq!(lab.stack.state(child), Ok(TcpState::Established));
}

#[test]
fn options_are_read_back() {
    let mut lab = lab(2);
    let (now, l) = (lab.now, lab.listener);
    let stack = &mut lab.stack;
    assert_eq!(stack.option(l, OptName::FastOpen), Ok(SockOpt::FastOpen(2)));
    assert_eq!(
        stack.option(l, OptName::FastOpenKey),
        Ok(SockOpt::FastOpenKey(None))
    );
    let keys = FastOpenKeys::from_bytes(&[7; 32]);
    stack
        .set_option(now, l, SockOpt::FastOpenKey(keys))
        .unwrap();
    assert_eq!(
        stack.option(l, OptName::FastOpenKey),
        Ok(SockOpt::FastOpenKey(keys))
    );
    assert_eq!(
        stack.set_option(now, l, SockOpt::FastOpenConnect(true)),
        Err(SockError::Invalid)
    );
    stack.set_sysctl("tcp_fastopen", "2").unwrap();
    let s = stack.tcp_socket().unwrap();
    assert_eq!(
        stack.set_option(now, s, SockOpt::FastOpenConnect(true)),
        Err(SockError::OpNotSupported)
    );
}
