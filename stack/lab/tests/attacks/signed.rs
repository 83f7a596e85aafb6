//! Row 34: connections signed with MD5 (RFC 2385), and who tries to take part without the key.

use std::net::Ipv4Addr;
use std::time::Duration;

use md5::{Digest, Md5};
use millrace_net::{DropReason, SockError, SockId, TcpState};
use millrace_wire::tcp::TcpFlags;

use crate::net::{Conn, FULL, Got, Net, Offer, PEER, PLAIN, Seg};

const KEY: &[u8] = b"a shared secret";
const KIND: u8 = 19;

/// The digest of RFC 2385, by a second implementation.
fn digest(seg: &Seg, options: usize, key: &[u8]) -> [u8; 16] {
    let bytes = seg.bytes();
    let tcp = &bytes[20..];
    let mut md5 = Md5::new();
    md5.update(&bytes[12..20]);
    md5.update([0, 6]);
    md5.update((tcp.len() as u16).to_be_bytes());
    md5.update(&tcp[..16]);
    md5.update([0, 0]);
    md5.update(&tcp[18..20]);
    md5.update(&tcp[20 + options..]);
    md5.update(key);
    md5.finalize().into()
}

/// The segment with a signature in front of its other options.
fn sign(mut seg: Seg, key: &[u8]) -> Seg {
    let mut options = vec![1, 1, KIND, 18];
    options.extend([0; 16]);
    options.extend(&seg.options);
    options.truncate(40);
    seg.options = options;
    let digest = digest(&seg, seg.options.len(), key);
    seg.options[4..20].copy_from_slice(&digest);
    seg
}

/// What the stack sent is signed with the key.
#[track_caller]
fn assert_signed(net: &Net, sent: &[Got], key: &[u8]) {
    assert!(!sent.is_empty(), "nothing was sent");
    for got in sent {
        let seg = Seg {
            src: std::net::SocketAddrV4::new(crate::net::OURS, got.sport),
            dst: got.dst,
            seq: got.seq,
            ack: got.ack,
            flags: got.flags,
            win: got.win,
            urgent: 0,
            options: got.raw_options.clone(),
            data: got.data.clone(),
        };
        let expected = digest(&seg, seg.options.len(), key);
        assert!(seg.options.starts_with(&[1, 1, KIND, 18]), "{got:?}");
        assert_eq!(&seg.options[4..20], &expected, "{got:?} at {:?}", net.now());
    }
}

fn keyed() -> (Net, SockId) {
    let mut net = Net::new();
    let l = net.listen(16);
    let now = net.now();
    net.stack()
        .set_md5_key(now, l, (PEER, 32), KEY)
        .expect("a key");
    (net, l)
}

fn open(net: &mut Net, l: SockId, offer: Offer) -> (Conn, Got) {
    let peer = net.stranger();
    let syn = sign(net.syn(peer, offer), KEY);
    let mut answer = net.inject(&syn);
    assert_signed(net, &answer, KEY);
    let syn_ack = answer.remove(0);
    let mut conn = Conn {
        sock: l,
        peer,
        local: syn.dst,
        seq: syn.seq + 1,
        ack: syn_ack.seq.wrapping_add(1),
        win: 65_535,
        ts: None,
    };
    let _ = net.inject(&sign(conn.seg(TcpFlags::ACK, &[]), KEY));
    let now = net.now();
    conn.sock = net.stack().accept(now, l).expect("a connection").0;
    (conn, syn_ack)
}

/// Without the key there is no handshake: an unsigned SYN, a wrong key, a signature cut short or given twice. With it
/// the options make room: no timestamps beside SACK (Linux `tcp_synack_options`).
#[test]
fn handshakes_need_the_key() {
    let (mut net, l) = keyed();
    let peer = net.stranger();
    let syn = net.syn(peer, PLAIN);
    assert!(net.inject(&syn).is_empty());
    assert_eq!(net.count("TcpExtTCPMD5NotFound"), 1);
    assert!(
        net.inject(&sign(syn.clone(), b"another secret!"))
            .is_empty()
    );
    assert_eq!(net.count("TcpExtTCPMD5Failure"), 1);
    let mut short = sign(syn.clone(), KEY);
    short.options[3] = 14;
    let mut twice = sign(syn.clone(), KEY);
    twice.options.truncate(20);
    let again = twice.options.clone();
    twice.options.extend(again);
    for broken in [short, twice] {
        assert!(net.inject(&broken).is_empty());
    }
    assert_eq!(net.drops(DropReason::TcpAuthHeader), 2);
    assert_eq!(net.host.stack_ref().census().requests, 0);
    // Who has no key must not sign.
    let mut stranger = sign(net.syn(peer, PLAIN), KEY);
    stranger.src.set_ip(Ipv4Addr::new(10, 0, 0, 77));
    let stranger = Seg {
        options: Vec::new(),
        ..stranger
    };
    assert!(net.inject(&sign(stranger, KEY)).is_empty());
    assert_eq!(net.count("TcpExtTCPMD5Unexpected"), 1);
    let (_, with_both) = open(&mut net, l, FULL);
    assert!(with_both.options.sack_permitted && with_both.options.timestamps.is_none());
    let (_, with_time) = open(
        &mut net,
        l,
        Offer {
            sack: false,
            ..FULL
        },
    );
    assert!(with_time.options.timestamps.is_some());
}

/// Every kind of segment is signed: data cut from a burst, retransmissions, ACKs with SACK (two blocks fit), FIN, the ACK
/// from TIME_WAIT, RSTs; and segments are 20 octets shorter.
#[test]
fn everything_is_signed() {
    let (mut net, l) = keyed();
    let (mut conn, _) = open(
        &mut net,
        l,
        Offer {
            ts: false,
            wscale: None,
            ..FULL
        },
    );
    let sent = net.write(&conn, &[7; 4000]);
    assert_signed(&net, &sent, KEY);
    assert_eq!(sent.iter().map(|p| p.data.len()).max(), Some(1440));
    let again = net.wait(Duration::from_secs(2));
    assert_signed(&net, &again, KEY);
    assert!(net.count("TcpRetransSegs") > 0);
    conn.ack = conn.ack.wrapping_add(4000);
    let _ = net.inject(&sign(conn.seg(TcpFlags::ACK, &[]), KEY));
    let mut last = Vec::new();
    for hole in 1..4 {
        last = net.inject(&sign(
            conn.off(TcpFlags::ACK, hole * 500, 0, &[1; 100]),
            KEY,
        ));
        assert_signed(&net, &last, KEY);
    }
    assert_eq!(last[0].options.sack.as_slice().len(), 2);
    // A number that is not right on a handshake in progress.
    let peer = net.stranger();
    let syn = sign(net.syn(peer, PLAIN), KEY);
    let syn_ack = net.inject(&syn).remove(0);
    let wrong = Conn {
        peer,
        seq: syn.seq + 1,
        ack: syn_ack.seq.wrapping_add(9),
        ..conn.clone()
    };
    let reset = net.inject(&sign(wrong.seg(TcpFlags::ACK, &[]), KEY));
    assert!(reset[0].is(TcpFlags::RST));
    assert_signed(&net, &reset, KEY);
    // To the listener, by someone with the key; to nobody.
    let stray = Conn {
        peer: net.stranger(),
        ..wrong.clone()
    };
    let reset = net.inject(&sign(stray.seg(TcpFlags::ACK, &[]), KEY));
    assert_signed(&net, &reset, KEY);
    let mut nobody = stray.seg(TcpFlags::ACK, &[]);
    nobody.dst.set_port(9);
    assert!(net.inject(&sign(nobody, KEY)).is_empty());
    // The end.
    let (mut done, _) = open(&mut net, l, PLAIN);
    let fin = net.close(&done);
    assert_signed(&net, &fin, KEY);
    done.ack = done.ack.wrapping_add(1);
    let last = sign(done.seg(TcpFlags::FIN | TcpFlags::ACK, &[]), KEY);
    assert_signed_or_panic(&mut net, &last);
    net.wait(Duration::from_secs(1));
    assert_eq!(net.host.stack_ref().census().time_wait, 1);
    assert_signed_or_panic(&mut net, &last);
    let reset = net.close(&conn);
    assert!(
        reset
            .iter()
            .all(|p| p.flags.contains(TcpFlags::FIN) || p.flags.contains(TcpFlags::RST))
    );
    assert_signed(&net, &reset, KEY);
}

fn assert_signed_or_panic(net: &mut Net, seg: &Seg) {
    let answer = net.inject(seg);
    assert_signed(net, &answer, KEY);
}

/// On a signed connection an unsigned segment is as if it had never come: RST, SYN, data and FIN, with the right numbers.
/// With the key taken away it is the signed ones.
#[test]
fn unsigned_segments_do_not_exist() {
    let (mut net, l) = keyed();
    let (mut conn, _) = open(&mut net, l, PLAIN);
    let before = net.count("TcpExtTCPMD5NotFound");
    for flags in [
        TcpFlags::RST,
        TcpFlags::SYN,
        TcpFlags::ACK,
        TcpFlags::FIN | TcpFlags::ACK,
    ] {
        for data in [&b""[..], b"forged"] {
            assert!(net.inject(&conn.seg(flags, data)).is_empty());
            assert!(
                net.inject(&sign(conn.seg(flags, data), b"guess"))
                    .is_empty()
            );
        }
    }
    assert_eq!(net.count("TcpExtTCPMD5NotFound"), before + 8);
    assert_eq!(net.count("TcpExtTCPMD5Failure"), 8);
    assert_eq!(net.state(&conn), TcpState::Established);
    assert_eq!(net.stack().recv_len(conn.sock), Ok(0));
    // One bit of the data wrong, with a TCP checksum that is right.
    let mut bent = sign(conn.seg(TcpFlags::ACK, b"honest"), KEY);
    bent.data[0] ^= 1;
    assert!(net.inject(&bent).is_empty());
    let _ = net.inject(&sign(conn.seg(TcpFlags::ACK, b"honest"), KEY));
    assert_eq!(net.read(&conn), b"honest");
    conn.seq = conn.seq.wrapping_add(6);
    assert_eq!(net.count("TcpExtTCPHPHits"), 0, "never the fast path");
    let now = net.now();
    let stack = net.stack();
    stack
        .set_md5_key(now, conn.sock, (PEER, 32), b"")
        .expect("removed");
    let gone = stack.set_md5_key(now, conn.sock, (PEER, 32), b"");
    assert_eq!(gone, Err(SockError::NoEntry));
    assert!(
        net.inject(&sign(conn.seg(TcpFlags::ACK, b"signed"), KEY))
            .is_empty()
    );
    assert_eq!(net.count("TcpExtTCPMD5Unexpected"), 1);
    net.assert_alive(&mut conn);
}

/// Our own SYN is signed and offers no timestamps; the SYN-ACK must be signed.
#[test]
fn connecting_with_a_key() {
    let mut net = Net::new();
    let now = net.now();
    let stack = net.stack();
    let s = stack.tcp_socket().expect("a socket");
    stack
        .set_md5_key(now, s, (Ipv4Addr::new(10, 0, 0, 0), 8), KEY)
        .expect("a key");
    let to = std::net::SocketAddrV4::new(PEER, 179);
    let _ = stack.connect(now, s, to);
    let syn = net.sent();
    assert_signed(&net, &syn, KEY);
    assert!(syn[0].options.timestamps.is_none() && syn[0].options.sack_permitted);
    let mut conn = Conn {
        sock: s,
        peer: to,
        local: std::net::SocketAddrV4::new(crate::net::OURS, syn[0].sport),
        seq: 100,
        ack: syn[0].seq.wrapping_add(1),
        win: 65_535,
        ts: None,
    };
    let answer = conn.seg(TcpFlags::SYN | TcpFlags::ACK, &[]);
    assert!(net.inject(&answer).is_empty());
    assert_eq!(net.state(&conn), TcpState::SynSent);
    let third = net.inject(&sign(answer, KEY));
    assert_signed(&net, &third, KEY);
    conn.seq += 1;
    assert_eq!(net.state(&conn), TcpState::Established);
    let sent = net.write(&conn, b"open");
    assert_signed(&net, &sent, KEY);
}
