//! Rows 12, 14, 18 and 19: a receiver that lies about what it has, or about how large its segments are.

use std::time::Duration;

use millrace_net::{DropReason, SockOpt, TcpState};
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{SackBlock, write_established};
use rand::{RngExt, SeedableRng};

use crate::net::{Conn, FULL, Got, Net, Offer, PLAIN, Seg};

/// The peer acknowledges up to `ack` octets past what it expects next, with these SACK blocks.
fn ack_with(conn: &Conn, ack: u32, blocks: &[(u32, u32)]) -> Seg {
    let blocks: Vec<_> = blocks
        .iter()
        .map(|(start, end)| SackBlock {
            start: SeqNum::new(conn.ack.wrapping_add(*start)),
            end: SeqNum::new(conn.ack.wrapping_add(*end)),
        })
        .collect();
    Seg {
        options: write_established(conn.ts, &blocks).as_bytes().to_vec(),
        ..conn.off(TcpFlags::ACK, 0, ack, &[])
    }
}

fn octets(sent: &[Got]) -> usize {
    sent.iter().map(|p| p.data.len()).sum()
}

/// Rows 12 and 13 (CVE-2019-11477): the least segment size, a full window of tiny segments, and 10,000 random SACKs.
/// Nothing overflows; once the peer acknowledges honestly everything arrives.
#[test]
fn random_sacks_over_tiny_segments() {
    let offer = Offer {
        mss: Some(48),
        ..FULL
    };
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, offer);
    let now = net.now();
    net.stack()
        .set_option(now, conn.sock, SockOpt::SndBuf(200_000))
        .expect("a buffer");
    let total = net.queue(&conn, &vec![7; 100_000]).expect("room") as u32;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(12);
    let (mut una, mut newest) = (0, 0);
    let mut sent = net.sent();
    for _ in 0..10_000 {
        let mut edge = || rng.random_range(0..total + 100);
        let blocks = [(edge(), edge()), (edge(), edge()), (edge(), edge())];
        for p in sent.drain(..) {
            assert!(p.data.len() <= 48);
            newest = newest.max(p.seq.wrapping_sub(conn.ack) + p.data.len() as u32);
        }
        // Only what has been sent may be acknowledged.
        una = (una + rng.random_range(0..20)).min(newest);
        sent = net.inject(&ack_with(&conn, una, &blocks));
        sent.extend(net.wait(Duration::from_micros(200)));
    }
    assert_eq!(net.state(&conn), TcpState::Established);
    // The truth, at last.
    let mut have = una;
    for _ in 0..100_000 {
        if have == total {
            break;
        }
        let sent = net.inject(&ack_with(&conn, have, &[]));
        let sent = if sent.is_empty() {
            net.wait(Duration::from_secs(1))
        } else {
            sent
        };
        for p in &sent {
            let at = p.seq.wrapping_sub(conn.ack);
            if at <= have {
                have = have.max(at + p.data.len() as u32);
            }
        }
    }
    assert_eq!(have, total);
    conn.ack = conn.ack.wrapping_add(total);
    let _ = net.inject(&conn.seg(TcpFlags::ACK, &[]));
    net.assert_alive(&mut conn);
}

/// Row 14 (CVE-2019-11479): a segment size of 0, 1 or 47 does not make segments of a byte: `tcp_min_snd_mss` holds.
#[test]
fn tiny_segment_sizes_are_not_obeyed() {
    for (least, mss, expected) in [
        (48, Some(0), 536),
        (48, None, 536),
        (48, Some(1), 48),
        (48, Some(47), 48),
        (48, Some(48), 48),
        (48, Some(49), 49),
        (536, Some(1), 536),
    ] {
        let mut net = Net::with(|c| c.sysctl.tcp_min_snd_mss = least);
        let l = net.listen(1);
        let conn = net.open(l, Offer { mss, ..PLAIN });
        let sent = net.write(&conn, &[1; 3000]);
        let longest = sent.iter().map(|p| p.data.len()).max();
        assert_eq!(longest, Some(expected), "least {least}, offered {mss:?}");
    }
}

/// Row 18 (Savage 1999): an ACK of what was not sent yet is refused, and nothing follows from it.
#[test]
fn acknowledging_the_unsent_gains_nothing() {
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, PLAIN);
    let now = net.now();
    net.stack()
        .set_option(now, conn.sock, SockOpt::SndBuf(400_000))
        .expect("a buffer");
    let first = net.write(&conn, &vec![3; 200_000]);
    let sent = octets(&first) as u32;
    assert_eq!(sent, 14_600, "ten segments");
    let mut answers = Vec::new();
    for i in 0..1000 {
        answers.extend(net.inject(&conn.off(TcpFlags::ACK, 0, sent + 1 + i * 1000, &[])));
    }
    assert!(answers.len() <= 1, "one challenge: {answers:?}");
    assert_eq!(octets(&answers), 0);
    assert_eq!(net.drops(DropReason::TcpAckUnsent), 1000);
    // An honest ACK doubles the window, as in slow start, not more.
    let answer = net.inject(&conn.off(TcpFlags::ACK, 0, sent, &[]));
    assert_eq!(octets(&answer), 29_200);
    conn.ack = conn.ack.wrapping_add(sent + 29_200);
    let _ = net.inject(&conn.seg(TcpFlags::ACK, &[]));
    assert_eq!(net.state(&conn), TcpState::Established);
}

/// Row 19 (RFC 3465): an ACK cut into a hundred is worth what it is worth whole.
#[test]
fn divided_acks_open_the_window_no_further() {
    let run = |parts: u32| {
        let mut net = Net::new();
        let l = net.listen(1);
        let conn = net.open(l, PLAIN);
        let now = net.now();
        net.stack()
            .set_option(now, conn.sock, SockOpt::SndBuf(400_000))
            .expect("a buffer");
        let _ = net.write(&conn, &vec![3; 200_000]);
        (1..=parts)
            .map(|i| octets(&net.inject(&conn.off(TcpFlags::ACK, 0, i * 14_600 / parts, &[]))))
            .sum::<usize>()
    };
    let whole = run(1);
    assert_eq!(whole, 29_200);
    assert_eq!(run(10), whole);
    assert_eq!(run(100), whole);
    assert_eq!(run(14_600), whole);
}

/// Row 19 (RFC 9937): with SACK agreed a duplicate ACK without news is no evidence of anything.
#[test]
fn duplicate_acks_without_sack_news_cause_nothing() {
    let mut net = Net::new();
    let l = net.listen(1);
    let conn = net.open(l, FULL);
    let sent = octets(&net.write(&conn, &vec![3; 16_000])) as u32;
    assert!(sent > 10_000);
    for _ in 0..100 {
        assert!(net.inject(&ack_with(&conn, 0, &[])).is_empty());
        // A block about the past, and one about the future.
        assert!(
            net.inject(&ack_with(&conn, 0, &[(u32::MAX - 500, u32::MAX - 1)]))
                .is_empty()
        );
        assert!(
            net.inject(&ack_with(&conn, 0, &[(sent + 1, sent + 500)]))
                .is_empty()
        );
    }
    assert_eq!(net.count("TcpExtTCPFastRetrans"), 0);
    assert_eq!(net.count("TcpExtTCPSackRecovery"), 0);
}
