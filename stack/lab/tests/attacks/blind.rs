//! Rows 3 to 7: an attacker who guesses numbers, and two peers who disagree about them.

use std::time::Duration;

use millrace_net::{DropReason, TcpState};
use millrace_wire::tcp::TcpFlags;
use rand::{RngExt, SeedableRng};

use crate::net::{Conn, FULL, Got, Net, PLAIN, Seg};

const MS: Duration = Duration::from_millis(1);

/// Row 3 (RFC 5961 §3): a RST in every window of the sequence space, none exact. At most one lies in the window, and
/// draws a challenge; the others draw nothing.
#[test]
fn blind_reset_never_hits() {
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, PLAIN);
    let window = 64_240u64;
    let probes = (1u64 << 32).div_ceil(window);
    let base = conn.clone();
    let sent = net.flood((0..probes).map(|i| {
        let seq = (i * window + 1) as u32;
        base.off(TcpFlags::RST, seq, 0, &[])
    }));
    assert_eq!(sent.len(), 1, "the one in the window is challenged");
    assert_eq!((sent[0].seq, sent[0].ack), (conn.ack, conn.seq));
    assert_eq!(net.count("TcpExtTCPChallengeACK"), 1);
    assert_eq!(net.drops(DropReason::TcpInvalidRst), probes);
    net.assert_alive(&mut conn);
    // The exact number ends it.
    assert!(net.inject(&conn.seg(TcpFlags::RST, &[])).is_empty());
    assert_eq!(net.state(&conn), TcpState::Close);
}

/// Row 4 (RFC 5961 §4): a SYN, wherever it points, draws a challenge and nothing else, and not more than one in 500 ms.
#[test]
fn blind_syn_is_challenged() {
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, FULL);
    let offsets = [0u32, 1, 1000, 64_239, 64_241, 0x7fff_ffff, 0x8000_0000];
    let back = [u32::MAX, u32::MAX - 70_000];
    for (i, seq) in offsets.into_iter().chain(back).enumerate() {
        net.wait(MS * 501);
        for flags in [TcpFlags::SYN, TcpFlags::SYN | TcpFlags::ACK] {
            let mut syn = conn.off(flags, seq, 0, &[]);
            syn.options = net.syn(conn.peer, PLAIN).options;
            let answer = net.inject(&syn);
            if flags == TcpFlags::SYN {
                assert_eq!(answer.len(), 1, "offset {seq}");
                assert!(answer[0].is(TcpFlags::ACK));
                assert_eq!((answer[0].seq, answer[0].ack), (conn.ack, conn.seq));
            } else {
                assert!(answer.is_empty(), "offset {seq}: limited, not {answer:?}");
            }
        }
        assert_eq!(net.count("TcpExtTCPSYNChallenge"), 2 * (i as u64 + 1));
        assert_eq!(net.count("TcpExtTCPChallengeACK"), i as u64 + 1);
    }
    net.assert_alive(&mut conn);
}

/// Row 5 (RFC 5961 §5): data in the window whose ACK lies outside [SND.UNA - MAX.SND.WND, SND.NXT] is refused.
#[test]
fn blind_data_needs_a_plausible_ack() {
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, PLAIN);
    let step = 65_535u32;
    let base = conn.clone();
    let acks: Vec<u32> = (1..(u32::MAX / step)).map(|i| i * step).collect();
    let probes = acks.len() as u64;
    let sent = net.flood(
        acks.into_iter()
            .map(|ack| base.off(TcpFlags::ACK | TcpFlags::PSH, 0, ack, b"forged")),
    );
    assert!(sent.len() <= 1, "one challenge in no time: {}", sent.len());
    assert_eq!(net.stack().recv_len(conn.sock), Ok(0));
    let refused = net.drops(DropReason::TcpOldAck) + net.drops(DropReason::TcpAckUnsent);
    assert_eq!(refused, probes);
    net.assert_alive(&mut conn);
}

/// Row 6 (CVE-2016-5696): how many challenges one connection gets does not depend on how many others drew. 1,000
/// trials with 0 to 200 probes of the neighbour's connection in each.
#[test]
fn challenges_of_one_connection_tell_nothing_of_another() {
    let mut net = Net::new();
    let l = net.listen(2);
    let (mut spy, victim) = (net.open(l, PLAIN), net.open(l, PLAIN));
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(6);
    for trial in 0..1000 {
        net.wait(MS * 501);
        let probes = rng.random_range(0..200);
        let base = victim.clone();
        let _ = net.flood((0..probes).map(|i| base.off(TcpFlags::RST, 1 + i, 0, &[])));
        let base = spy.clone();
        let seen = net
            .flood((0..5).map(|i| base.off(TcpFlags::RST, 1 + i, 0, &[])))
            .iter()
            .filter(|p| p.dst == spy.peer)
            .count();
        assert_eq!(seen, 1, "trial {trial} with {probes} probes of the victim");
    }
    assert_eq!(net.state(&victim), TcpState::Established);
    net.assert_alive(&mut spy);
}

/// Row 7: two ends, each of which believes that the other has sent and acknowledged what it has not. The answers to
/// each other's answers are limited to one in 500 ms, and data that can never be acknowledged ends the connection.
#[test]
fn desynchronised_ends_fall_silent() {
    let (mut a, mut b) = (Net::new(), Net::new());
    let (la, lb) = (a.listen(1), b.listen(1));
    let (at_a, at_b) = (a.open(la, PLAIN), b.open(lb, PLAIN));
    // An attacker has given each of them a different amount of forged data.
    let _ = a.inject(&at_a.seg(TcpFlags::ACK, &[1; 700]));
    let _ = b.inject(&at_b.seg(TcpFlags::ACK, &[2; 300]));
    a.wait(Duration::from_secs(1));
    b.wait(Duration::from_secs(1));
    // The numbers of one as the other would see them: a tuple apart, the same distance from what is right.
    let towards = |got: &Got, from: &Conn, to: &Conn| Seg {
        seq: got.seq.wrapping_sub(from.ack).wrapping_add(to.seq),
        ack: got.ack.wrapping_sub(from.seq).wrapping_add(to.ack),
        flags: got.flags,
        win: got.win,
        data: got.data.clone(),
        ..to.seg(TcpFlags::ACK, &[])
    };
    let mut to_b = a.write(&at_a, b"never acknowledged");
    let mut to_a = b.write(&at_b, b"nor this");
    let (mut total, mut worst) = (0, 0);
    let mut second = 0;
    for step in 0..20 * 60 * 100 {
        let (from_a, from_b) = (std::mem::take(&mut to_b), std::mem::take(&mut to_a));
        for got in &from_a {
            to_a.extend(b.inject(&towards(got, &at_a, &at_b)));
        }
        for got in &from_b {
            to_b.extend(a.inject(&towards(got, &at_b, &at_a)));
        }
        second += from_a.len() + from_b.len();
        if step % 100 == 99 {
            total += second;
            // While retransmissions are still close together there are more.
            worst = worst.max(if step < 500 { 0 } else { second });
            second = 0;
        }
        to_b.extend(a.wait(MS * 10));
        to_a.extend(b.wait(MS * 10));
    }
    assert!(worst <= 2 * 4, "{worst} packets of two ends in one second");
    assert!(total <= 200, "{total} packets in 20 minutes");
    assert_eq!(a.state(&at_a), TcpState::Close, "given up");
    assert_eq!(b.state(&at_b), TcpState::Close, "given up");
    assert_eq!(a.count("TcpExtTCPAbortOnTimeout"), 1);
}
