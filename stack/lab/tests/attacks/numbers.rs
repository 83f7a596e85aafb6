//! Rows 8 to 11: what can be learnt from numbers that we choose, and what can be done to those we remember.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_net::DropReason;
use millrace_wire::tcp::TcpFlags;

use crate::net::{FULL, Net, Seg};

/// Sum of squares against even chances in 256 buckets; 255 degrees of freedom: above 330 once in a thousand.
fn chi_square(values: &[u32]) -> f64 {
    let mut buckets = [0u32; 256];
    for value in values {
        buckets[(value >> 24) as usize] += 1;
    }
    let expected = values.len() as f64 / 256.0;
    buckets
        .iter()
        .map(|n| (f64::from(*n) - expected).powi(2) / expected)
        .sum()
}

fn differences(values: &[u32]) -> Vec<u32> {
    values.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect()
}

fn peer(i: u32) -> SocketAddrV4 {
    SocketAddrV4::new(
        Ipv4Addr::from_bits(0x0a10_0000 + i / 50_000),
        (i % 50_000) as u16 + 1024,
    )
}

/// The SYN-ACK to a peer, which then resets the handshake.
fn probe(net: &mut Net, from: SocketAddrV4) -> crate::net::Got {
    let syn = net.syn(from, FULL);
    let mut answer = net.inject(&syn);
    assert_eq!(answer.len(), 1);
    let reset = Seg {
        seq: syn.seq + 1,
        flags: TcpFlags::RST,
        options: Vec::new(),
        ..syn
    };
    assert!(net.inject(&reset).is_empty());
    answer.remove(0)
}

/// Row 8 (RFC 6528): initial sequence numbers of neighbouring tuples are unrelated; those of one tuple rise.
#[test]
fn initial_sequence_numbers_cannot_be_predicted() {
    let mut net = Net::new();
    net.listen(16);
    let numbers: Vec<u32> = (0..100_000).map(|i| probe(&mut net, peer(i)).seq).collect();
    assert!(chi_square(&numbers) < 330.0, "{}", chi_square(&numbers));
    let steps = differences(&numbers);
    assert!(chi_square(&steps) < 330.0, "{}", chi_square(&steps));
    let distinct: BTreeSet<_> = steps.iter().collect();
    assert!(distinct.len() > steps.len() - 10, "no common distance");
    for i in 0..100 {
        let before = probe(&mut net, peer(i)).seq;
        net.wait(Duration::from_millis(10));
        let later = probe(&mut net, peer(i)).seq;
        let ticks = later.wrapping_sub(before);
        assert!(ticks > 0 && ticks < 1 << 20, "{before} then {later}");
    }
    assert_eq!(net.count("TcpExtEmbryonicRsts"), 100_200);
}

/// Row 9 (RFC 6056, CVE-2022-1012): who sees the port of a connection to himself cannot tell the next one to another.
#[test]
fn ports_towards_others_cannot_be_predicted() {
    let mut net = Net::new();
    let attacker = SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 443);
    let mut guesses = vec![0u32; 65_536];
    let trials = 20_000u32;
    for i in 0..trials {
        let (s, syn) = net.connect(attacker);
        let now = net.now();
        let _ = net.stack().close(now, s);
        let victim = SocketAddrV4::new(Ipv4Addr::from_bits(0x0a20_0000 + i), 443);
        let (s, other) = net.connect(victim);
        let _ = net.stack().close(now, s);
        guesses[usize::from(other.sport.wrapping_sub(syn.sport))] += 1;
    }
    let best = guesses.iter().max().copied().unwrap_or_default();
    assert!(best <= trials / 1000, "a guess that is right {best} times");
}

/// Row 9: towards one destination no port comes again before the range could be through: a step is 16 at most.
#[test]
fn ports_towards_one_destination_are_not_reused_soon() {
    let mut net = Net::new();
    let to = SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 443);
    let mut seen = BTreeSet::new();
    for i in 0..28_232 / 16 {
        let (s, syn) = net.connect(to);
        let now = net.now();
        let _ = net.stack().close(now, s);
        assert!(
            seen.insert(syn.sport),
            "port {} again, the {i}th",
            syn.sport
        );
    }
}

/// Row 10 (RFC 7323 §5.4): the offset of the timestamp clock is another for every address, and stays the same.
#[test]
fn timestamp_offsets_are_independent() {
    let mut net = Net::new();
    net.listen(16);
    let offsets: Vec<u32> = (0..50_000)
        .map(|i| {
            let from = SocketAddrV4::new(Ipv4Addr::from_bits(0x0a30_0000 + i), 5000);
            let ts = probe(&mut net, from).options.timestamps;
            ts.expect("timestamps").val
        })
        .collect();
    assert!(chi_square(&offsets) < 330.0);
    assert!(chi_square(&differences(&offsets)) < 330.0);
    let from = SocketAddrV4::new(Ipv4Addr::from_bits(0x0a30_0000), 5001);
    let again = probe(&mut net, from)
        .options
        .timestamps
        .expect("timestamps")
        .val;
    assert_eq!(
        again, offsets[0],
        "one clock towards one address, whatever the port"
    );
}

/// Row 11 (RFC 7323 §4.3): a forged timestamp from the future is remembered neither from outside the window nor from
/// beyond the last ACK, so that the peer's own segments are not taken for old ones.
#[test]
fn future_timestamps_do_not_poison_paws() {
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, FULL);
    net.assert_alive(&mut conn);
    let honest = conn.ts.expect("timestamps");
    let mut forged = conn.clone();
    forged.ts = Some(millrace_wire::tcp::options::Timestamps {
        val: honest.val + (1 << 30),
        ecr: honest.ecr,
    });
    let outside = [0x4000_0000u32, 0x8000_0000, 0xc000_0000, 0xffff_0000];
    for seq in outside {
        let _ = net.inject(&forged.off(TcpFlags::ACK, seq, 0, b"x"));
        let _ = net.inject(&forged.off(TcpFlags::ACK, seq, 0, &[]));
    }
    let _ = net.inject(&forged.off(TcpFlags::ACK | TcpFlags::PSH, 1000, 0, b"beyond a hole"));
    assert_eq!(net.drops(DropReason::TcpOutOfWindow), 8);
    let answer = net.write(&conn, b"echo?");
    let echoed = answer[0].options.timestamps.expect("timestamps").ecr;
    assert_eq!(echoed, honest.val);
    conn.ack = conn.ack.wrapping_add(5);
    net.assert_alive(&mut conn);
    assert_eq!(net.count("TcpExtPAWSEstab"), 0);
}
