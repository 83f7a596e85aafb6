//! Rows 1, 2, 23, 37, 38 and 40: handshakes that are begun in masses, forged, replayed, or turned round.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_net::{SockOpt, TcpState};
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{FastOpen, OptionsBuf};

use crate::net::{Conn, FULL, Net, OURS, PEER, PLAIN, PORT, Seg};

/// SYNs of as many senders as are wanted.
fn flood(net: &Net, count: u32) -> impl Iterator<Item = Seg> {
    let syn = net.syn(SocketAddrV4::new(PEER, 1), FULL);
    (0..count).map(move |i| {
        let sender = Ipv4Addr::from_bits(0x0a80_0000 + i);
        Seg {
            src: SocketAddrV4::new(sender, 1024),
            ..syn.clone()
        }
    })
}

/// Row 1 (RFC 4987): the queue fills, the rest gets cookies and leaves nothing behind; those who mean it get in.
#[test]
fn a_syn_flood_costs_no_memory() {
    let mut net = Net::new();
    let l = net.listen(64);
    let segs: Vec<_> = flood(&net, 10_000).collect();
    let _ = net.flood(segs.into_iter());
    let census = net.host.stack_ref().census();
    assert_eq!(
        (census.requests, census.hashed, census.timers),
        (65, 65, 65)
    );
    assert_eq!((census.sockets, census.ring_chunks), (1, 0));
    assert_eq!(net.count("TcpExtSyncookiesSent"), 10_000 - 65);
    assert_eq!(net.count("TcpExtTCPReqQFullDoCookies"), 10_000 - 65);
    assert_eq!(net.count("TcpExtListenDrops"), 0);
    for _ in 0..50 {
        let mut conn = net.open(l, FULL);
        net.assert_alive(&mut conn);
    }
    assert_eq!(net.count("TcpExtSyncookiesRecv"), 50);
    // When the flood ends so do its handshakes: the old ones sooner than usual.
    let _ = net.wait(Duration::from_secs(64));
    assert_eq!(net.host.stack_ref().census().requests, 0);
}

/// Row 2: after an overflow ACKs with guessed cookies draw a RST each and make no socket.
#[test]
fn forged_cookies_make_nothing() {
    let mut net = Net::with(|c| c.sysctl.tcp_syncookies = 2);
    let l = net.listen(64);
    let census = net.host.stack_ref().census();
    let ack = |i: u32| Seg {
        src: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 77), 1024 + (i % 60_000) as u16),
        dst: SocketAddrV4::new(OURS, PORT),
        seq: i,
        ack: i.wrapping_mul(0x9e37_79b9),
        flags: TcpFlags::ACK,
        win: 100,
        urgent: 0,
        options: Vec::new(),
        data: Vec::new(),
    };
    // Nobody asked for a cookie yet, so none is looked at.
    let _ = net.flood((0..1000).map(ack));
    assert_eq!(net.count("TcpExtSyncookiesFailed"), 0);
    let _ = net.open(l, FULL);
    let _ = net.flood((0..20_000).map(ack));
    assert_eq!(net.count("TcpExtSyncookiesFailed"), 20_000);
    assert_eq!(net.count("TcpExtSyncookiesRecv"), 1);
    assert_eq!(net.count("TcpOutRsts"), 21_000);
    let after = net.host.stack_ref().census();
    assert_eq!(after.sockets, census.sockets + 1, "the honest one");
}

/// Row 23 (RFC 7413 §5): off unless asked for; a stolen cookie opens no more than the queue allows, and answers never
/// amplify: one SYN-ACK for a SYN.
#[test]
fn stolen_fast_open_cookies_are_limited() {
    let mut net = Net::with(|c| c.sysctl.tcp_fastopen = 3);
    let l = net.listen(1000);
    let now = net.now();
    let stack = net.stack();
    stack.set_option(now, l, SockOpt::FastOpen(10)).expect("on");
    let with = |net: &Net, port: u16, option: &FastOpen, data: &[u8]| {
        let mut options = OptionsBuf::new();
        options.mss(1460).fast_open(option);
        Seg {
            options: options.as_bytes().to_vec(),
            data: data.to_vec(),
            ..net.syn(SocketAddrV4::new(PEER, port), PLAIN)
        }
    };
    // A cookie is only good for the address it was given to.
    let guess = FastOpen::cookie(&[1; 8], false).expect("a cookie");
    let answer = net.inject(&with(&net, 100, &guess, b"GET"));
    assert_eq!(net.count("TcpExtTCPFastOpenPassiveFail"), 1);
    let options = &answer[0].raw_options;
    let cookie = FastOpen::parse(options).expect("a good one comes back");
    for port in 0..50 {
        let answers = net.inject(&with(&net, 2000 + port, &cookie, b"GET"));
        assert_eq!(answers.len(), 1);
    }
    assert_eq!(net.count("TcpExtTCPFastOpenPassive"), 10);
    assert_eq!(net.count("TcpExtTCPFastOpenListenOverflow"), 40);
    // Replayed SYNs of the same connections deliver nothing twice.
    for _ in 0..3 {
        let _ = net.inject(&with(&net, 2000, &cookie, b"GET"));
    }
    let (child, from) = net.stack().accept(now, l).expect("a connection");
    assert_eq!(from.port(), 2000);
    assert_eq!(net.stack().recv_len(child), Ok(3));
    assert_eq!(net.count("TcpExtTCPFastOpenPassive"), 10);
}

/// A connection that we closed first, in TIME_WAIT.
fn time_wait(net: &mut Net) -> Conn {
    let l = net.listen(10);
    let mut conn = net.open(l, PLAIN);
    let _ = net.close(&conn);
    conn.ack = conn.ack.wrapping_add(1);
    let _ = net.inject(&conn.seg(TcpFlags::ACK | TcpFlags::FIN, &[]));
    conn.seq = conn.seq.wrapping_add(1);
    assert_eq!(net.host.stack_ref().census().time_wait, 1);
    conn
}

/// Row 37 (RFC 1337, RFC 6191): an old SYN or stray data only draw an ACK; a newer SYN begins a new connection; a RST
/// ends TIME_WAIT unless `tcp_rfc1337` forbids it.
#[test]
fn time_wait_gives_way_to_newer_syns_only() {
    for protected in [true, false] {
        let mut net = Net::with(|c| c.sysctl.tcp_rfc1337 = protected);
        let conn = time_wait(&mut net);
        let syn = |net: &Net, seq: u32| Seg {
            seq: conn.seq.wrapping_add(seq),
            ..net.syn(conn.peer, PLAIN)
        };
        let answer = net.inject(&syn(&net, 0u32.wrapping_sub(1000)));
        assert!(answer[0].is(TcpFlags::ACK), "{answer:?}");
        let _ = net.inject(&conn.seg(TcpFlags::RST, &[]));
        let left = net.host.stack_ref().census().time_wait;
        assert_eq!(left, usize::from(protected));
        let answer = net.inject(&syn(&net, 1000));
        assert!(answer[0].is(TcpFlags::SYN | TcpFlags::ACK), "{answer:?}");
        // What took over from TIME_WAIT begins beyond the old numbers; otherwise it is any new connection.
        let took_over = answer[0].seq == conn.ack.wrapping_add(65_535 + 2);
        assert_eq!(took_over, protected);
        assert_eq!(net.host.stack_ref().census().time_wait, 0);
    }
}

/// Row 38 (RFC 9293 MUST-10): the other side answers our SYN by an ACK and then a SYN of its own, as a server. It is a
/// simultaneous open: we say SYN-ACK with the number of our SYN, and the lone ACK counts for nothing.
#[test]
fn a_split_handshake_is_a_simultaneous_open() {
    let mut net = Net::new();
    let server = SocketAddrV4::new(PEER, 443);
    let (s, syn) = net.connect(server);
    let from_server = |flags, seq, ack| Seg {
        src: server,
        dst: SocketAddrV4::new(OURS, syn.sport),
        flags,
        seq,
        ack,
        ..bare(server)
    };
    let next = syn.seq.wrapping_add(1);
    assert!(
        net.inject(&from_server(TcpFlags::ACK, 5000, next))
            .is_empty()
    );
    assert_eq!(net.stack().state(s), Ok(TcpState::SynSent));
    let answer = net.inject(&from_server(TcpFlags::SYN, 5000, 0));
    assert!(answer[0].is(TcpFlags::SYN | TcpFlags::ACK));
    assert_eq!((answer[0].seq, answer[0].ack), (syn.seq, 5001));
    assert_eq!(net.stack().state(s), Ok(TcpState::SynRecv));
    let _ = net.inject(&from_server(TcpFlags::ACK, 5001, next));
    assert_eq!(net.stack().state(s), Ok(TcpState::Established));
}

/// A segment without options.
fn bare(src: SocketAddrV4) -> Seg {
    Seg {
        src,
        dst: src,
        seq: 0,
        ack: 0,
        flags: TcpFlags::SYN,
        win: 65_535,
        urgent: 0,
        options: Vec::new(),
        data: Vec::new(),
    }
}

/// Row 40: complete handshakes that nobody accepts. The queue is bounded, further ACKs are held back, and there is room
/// for another application's listener.
#[test]
fn a_full_accept_queue_holds_third_acks_back() {
    let mut net = Net::new();
    let l = net.listen(8);
    let mut answers = 0;
    for port in 0..1000 {
        let syn = net.syn(SocketAddrV4::new(PEER, 20_000 + port), PLAIN);
        for syn_ack in net.inject(&syn) {
            answers += 1;
            let third = Seg {
                seq: syn.seq + 1,
                ack: syn_ack.seq.wrapping_add(1),
                flags: TcpFlags::ACK,
                options: Vec::new(),
                ..syn.clone()
            };
            let _ = net.inject(&third);
        }
    }
    assert_eq!(answers, 9, "one more than the backlog");
    assert_eq!(net.host.stack_ref().census().sockets, 1 + 9);
    assert_eq!(net.count("TcpExtListenOverflows"), 991);
    assert_eq!(net.count("TcpExtListenDrops"), 991);
    let now = net.now();
    for _ in 0..9 {
        net.stack().accept(now, l).expect("a connection");
    }
    let mut conn = net.open(l, FULL);
    net.assert_alive(&mut conn);
}
