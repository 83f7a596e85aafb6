//! The queue of handshakes: who is let in, what repeats, what ends a handshake (`tcp_check_req`, measured on 6.18).

use super::*;

/// A SYN, answered; the SYN-ACK.
fn begin(lab: &mut Lab, port: u16) -> Got {
    lab.one(&seg(port, S, 100, 0))
}

#[test]
fn one_more_handshake_than_the_backlog_and_then_none() {
    for backlog in [0, 1, 4] {
        let mut lab = Lab::new(backlog, &[("tcp_syncookies", "0")]);
        let answered = (0..10)
            .filter(|i| !lab.feed(&seg(1000 + i, S, 100, 0)).is_empty())
            .count();
        assert_eq!(answered, backlog as usize + 1);
        let refused = 10 - answered as u64;
        assert_eq!(lab.count(Counter::TcpExtTCPReqQFullDrop), refused);
        assert_eq!(lab.count(Counter::TcpExtListenDrops), refused);
        assert_eq!(lab.stack.census().requests, answered);
    }
}

#[test]
fn without_cookies_the_last_quarter_stays_empty() {
    let settings = [("tcp_syncookies", "0"), ("tcp_max_syn_backlog", "8")];
    let mut lab = Lab::new(100, &settings);
    let answered = (0..20)
        .filter(|i| !lab.feed(&seg(1000 + i, S, 100, 0)).is_empty())
        .count();
    assert_eq!(answered, 7, "8 - 7 < 8 / 4");
    assert_eq!(lab.count(Counter::TcpExtTCPReqQFullDrop), 0);
    assert_eq!(lab.count(Counter::TcpExtListenDrops), 13);
}

#[test]
fn only_the_exact_reset_ends_a_handshake() {
    let mut lab = Lab::new(10, &[]);
    let syn_ack = begin(&mut lab, 2000);
    let challenge = lab.one(&seg(2000, R, 151, 0));
    assert_eq!((challenge.seq, challenge.ack), (syn_ack.seq + 1, 101));
    lab.none(&seg(2000, R, 152, 0));
    lab.none(&seg(2000, R, 90_000, 0));
    assert_eq!(lab.count(Counter::TcpExtTCPChallengeACK), 1);
    assert_eq!(lab.count(Counter::TcpExtTCPACKSkippedChallenge), 1);
    assert_eq!(lab.stack.census().requests, 1);
    lab.none(&seg(2000, R, 101, 0));
    assert_eq!(lab.stack.census().requests, 0);
    assert_eq!(lab.count(Counter::TcpExtEmbryonicRsts), 1);
    assert_eq!(lab.count(Counter::TcpAttemptFails), 1);
}

#[test]
fn another_syn_in_the_window_ends_it_with_a_reset() {
    let mut lab = Lab::new(10, &[]);
    begin(&mut lab, 2001);
    let reset = lab.one(&seg(2001, S, 500, 0));
    assert_eq!((reset.flags, reset.seq, reset.ack), (R | A, 0, 501));
    assert_eq!(lab.stack.census().requests, 0);
    assert_eq!(lab.count(Counter::TcpExtEmbryonicRsts), 1);
}

#[test]
fn what_does_not_belong_draws_an_ack_or_a_reset_and_nothing_ends() {
    let mut lab = Lab::new(10, &[]);
    let syn_ack = lab.one(&seg(2002, S, 100_000, 0));
    // Another SYN left of the window; the ACK is limited to one per 500 ms.
    let ack = lab.one(&seg(2002, S, 500, 0));
    assert_eq!((ack.flags, ack.seq, ack.ack), (A, syn_ack.seq + 1, 100_001));
    lab.none(&seg(2002, S, 500, 0));
    assert_eq!(lab.count(Counter::TcpExtTCPACKSkippedSynRecv), 1);
    // FIN without ACK; an ACK of what was never sent; a SYN-ACK with the right number.
    lab.none(&seg(2002, TcpFlags::FIN, 100_001, 0));
    let reset = lab.one(&seg(2002, A, 100_001, syn_ack.seq + 5));
    assert_eq!((reset.flags, reset.seq), (R, syn_ack.seq + 5));
    lab.pass(Duration::from_millis(600));
    let ack = lab.one(&seg(2002, S | A, 100_000, syn_ack.seq + 1));
    assert_eq!((ack.flags, ack.seq), (A, syn_ack.seq + 1));
    assert_eq!(lab.stack.census().requests, 1);
    lab.none(&seg(2002, A, 100_001, syn_ack.seq + 1));
    assert!(lab.accept().is_ok());
}

#[test]
fn timestamps_of_the_third_ack_are_checked() {
    let mut lab = Lab::new(10, &[]);
    let syn_ack = lab.one(&seg(2003, S, 100, 0).with(SYN_OPTIONS(1000)));
    let val = syn_ack.options.timestamps.unwrap().val;
    let third = |ts| seg(2003, A, 101, syn_ack.seq + 1).with(ts);
    assert_eq!(lab.one(&third(ts(1001, val + 5000))).flags, A);
    assert_eq!(lab.count(Counter::TcpExtTSEcrRejected), 1);
    lab.none(&third(ts(900, val)));
    assert_eq!(lab.count(Counter::TcpExtPAWSEstab), 1);
    assert_eq!(lab.count(Counter::TcpExtTCPACKSkippedSynRecv), 1);
    lab.none(&third(ts(1001, val)));
    assert!(lab.accept().is_ok());
}

#[test]
fn a_repeated_syn_starts_the_wait_anew_and_is_limited() {
    let mut lab = Lab::new(10, &[]);
    let first = begin(&mut lab, 2004);
    lab.pass(Duration::from_millis(900));
    assert_eq!(lab.one(&seg(2004, S, 100, 0)).seq, first.seq);
    lab.none(&seg(2004, S, 100, 0));
    let later = lab.pass(Duration::from_millis(1500));
    let times: Vec<_> = later.iter().map(|(ms, _)| *ms).collect();
    assert_eq!(times, [1000]);
    assert_eq!(lab.count(Counter::TcpExtTCPTimeouts), 1);
    assert_eq!(lab.count(Counter::TcpExtTCPSynRetrans), 2);
}

#[test]
fn synack_retries_by_sysctl_and_by_syncnt() {
    for (syncnt, expected) in [(None, 5), (Some(2), 2)] {
        let mut lab = Lab::new(10, &[]);
        if let Some(n) = syncnt {
            let (now, l) = (lab.now, lab.listener);
            lab.stack.set_option(now, l, SockOpt::SynCnt(n)).unwrap();
        }
        begin(&mut lab, 2005);
        let again = lab.pass(Duration::from_secs(200));
        assert_eq!(again.len(), expected);
        assert_eq!(lab.stack.census().requests, 0);
    }
}

#[test]
fn old_handshakes_are_given_up_when_they_fill_the_queue() {
    let mut lab = Lab::new(20, &[]);
    for port in 0..21 {
        begin(&mut lab, 3000 + port);
    }
    // All are of one age and half of the queue is full: two retransmissions, then they make room.
    lab.pass(Duration::from_millis(7500));
    assert_eq!(lab.stack.census().requests, 10, "the rest has room");
}

#[test]
fn deferred_until_data_comes() {
    let mut lab = Lab::new(10, &[]);
    let (now, l) = (lab.now, lab.listener);
    lab.stack
        .set_option(now, l, SockOpt::DeferAccept(5))
        .unwrap();
    assert_eq!(
        lab.stack.option(l, OptName::DeferAccept),
        Ok(SockOpt::DeferAccept(7))
    );
    let syn_ack = begin(&mut lab, 2006);
    lab.none(&seg(2006, A, 101, syn_ack.seq + 1));
    assert_eq!(lab.count(Counter::TcpExtTCPDeferAcceptDrop), 1);
    assert_eq!(lab.accept(), Err(SockError::WouldBlock));
    // No SYN-ACK disturbs the peer that has answered.
    assert!(lab.pass(Duration::from_millis(2500)).is_empty());
    lab.feed(&seg(2006, A, 101, syn_ack.seq + 1).data(b"GET"));
    let child = lab.accept().unwrap();
    assert_eq!(lab.stack.recv_len(child), Ok(3));
}

#[test]
fn deferring_ends_with_a_last_chance() {
    let mut lab = Lab::new(10, &[]);
    let (now, l) = (lab.now, lab.listener);
    lab.stack
        .set_option(now, l, SockOpt::DeferAccept(5))
        .unwrap();
    let syn_ack = begin(&mut lab, 2007);
    lab.none(&seg(2007, A, 101, syn_ack.seq + 1));
    // Time-outs at 1, 3 and 7 s; the third comes with a SYN-ACK, and then a bare ACK will do.
    let again = lab.pass(Duration::from_secs(8));
    let times: Vec<_> = again.iter().map(|(ms, _)| *ms).collect();
    assert_eq!(times, [7000]);
    lab.none(&seg(2007, A, 101, syn_ack.seq + 1));
    assert!(lab.accept().is_ok());
}

#[test]
fn a_full_accept_queue_drops_the_third_ack_or_resets() {
    for (abort, answers) in [("0", 0), ("1", 1)] {
        let mut lab = Lab::new(1, &[("tcp_abort_on_overflow", abort)]);
        let syn_acks: Vec<_> = (0..2).map(|i| begin(&mut lab, 4000 + i)).collect();
        lab.stack.listen(lab.listener, 0).unwrap();
        for s in &syn_acks[..1] {
            lab.none(&seg(s.port, A, 101, s.seq + 1));
        }
        let last = &syn_acks[1];
        let got = lab.feed(&seg(last.port, A, 101, last.seq + 1));
        assert_eq!(got.len(), answers);
        assert_eq!(lab.count(Counter::TcpExtListenOverflows), 1);
        assert_eq!(lab.stack.census().requests, 1 - answers);
        // A SYN meets the full queue too.
        lab.none(&seg(4444, S, 1, 0));
        assert_eq!(lab.count(Counter::TcpExtListenOverflows), 2);
    }
}

#[test]
fn a_listener_that_closes_leaves_nobody_to_answer_for() {
    let mut lab = Lab::new(10, &[]);
    let syn_ack = begin(&mut lab, 2008);
    lab.stack.close(lab.now, lab.listener).unwrap();
    let reset = lab.one(&seg(2008, A, 101, syn_ack.seq + 1));
    assert_eq!((reset.flags, reset.seq), (R, syn_ack.seq + 1));
    assert_eq!(lab.stack.census().hashed, 0);
}

#[test]
fn data_and_fin_with_the_third_ack() {
    let mut lab = Lab::new(10, &[]);
    let syn_ack = begin(&mut lab, 2009);
    let third = seg(2009, A | TcpFlags::FIN, 101, syn_ack.seq + 1).data(b"all of it");
    lab.none(&third);
    // After a FIN ACKs are delayed (Linux `tcp_fin`).
    let answers = lab.pass(Duration::from_millis(200));
    let [(_, answer)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((answer.flags, answer.ack), (A, 101 + 9 + 1));
    let child = lab.accept().unwrap();
    assert_eq!(lab.stack.recv_len(child), Ok(9));
    assert_eq!(lab.stack.state(child), Ok(TcpState::CloseWait));
}

#[test]
fn data_in_a_syn_waits_for_its_second_coming() {
    let mut lab = Lab::new(10, &[]);
    let syn_ack = lab.one(&seg(2010, S, 100, 0).data(b"early"));
    assert_eq!(syn_ack.ack, 101, "not acknowledged");
    lab.feed(&seg(2010, A, 101, syn_ack.seq + 1).data(b"early"));
    let child = lab.accept().unwrap();
    assert_eq!(lab.stack.recv_len(child), Ok(5));
}
