//! Rows 15, 17, 20, 36, 39 and 47: attacks on memory. Everything has a bound, what is beyond it is refused and counted,
//! and what an attacker leaves behind goes away in bounded time.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_net::{DropReason, MsgFlags, SockError, TcpState};
use millrace_wire::tcp::TcpFlags;

use crate::net::{Conn, FULL, Got, Net, PLAIN, Seg};

/// Octets of a chunk of ring memory.
const CHUNK: usize = 4096;

fn pool(chunks: usize) -> Net {
    Net::with(|c| c.limits.ring_chunks = chunks)
}

/// Row 15 (CVE-2018-5390): single octets with gaps between them, all over the window. Memory stays below twice the
/// buffer, the ranges below their bound, and every segment beyond it is counted.
#[test]
fn gaps_between_octets_are_bounded() {
    let mut net = Net::new();
    let l = net.listen(1);
    let mut conn = net.open(l, FULL);
    let base = conn.clone();
    let window = 64_000u32;
    let sent = net.flood((1..window / 2).map(|i| base.off(TcpFlags::ACK, 2 * i, 0, b"x")));
    assert!(sent.len() <= 32_000, "at most one ACK for each");
    let chunks = net.host.stack_ref().census().ring_chunks;
    assert!(chunks * CHUNK <= 2 * 65_536, "{chunks} chunks");
    assert_eq!(net.count("TcpExtTCPOFOQueue"), 256);
    assert_eq!(
        net.count("TcpExtTCPOFODrop"),
        u64::from(window / 2 - 1 - 256)
    );
    assert_eq!(
        net.drops(DropReason::TcpOfoLimit),
        net.count("TcpExtTCPOFODrop")
    );
    // The stream itself goes on.
    let _ = net.inject(&base.seg(TcpFlags::ACK, &[b'y'; 512]));
    assert_eq!(net.read(&base).len(), 513, "the octet behind comes along");
    conn.seq = conn.seq.wrapping_add(513);
    net.assert_alive(&mut conn);
}

/// Row 17: a thousand connections, each with data behind a hole. The pool's bound holds at every moment, and when data
/// in order comes it gets the memory.
#[test]
fn out_of_order_data_of_many_connections_is_bounded() {
    let chunks = 200;
    let mut net = pool(chunks);
    let l = net.listen(1);
    let conns: Vec<Conn> = (0..1000).map(|_| net.open(l, PLAIN)).collect();
    for conn in &conns {
        let base = conn.clone();
        let _ = net.flood((1..8).map(|i| base.off(TcpFlags::ACK, i * 5000, 0, &[1; 1000])));
        assert!(net.host.stack_ref().census().ring_chunks <= chunks);
    }
    assert!(net.count("TcpExtTCPOFODrop") > 5000);
    assert!(net.drops(DropReason::NoMemory) > 5000);
    // One that waits out of order makes room for its own next octets.
    let _ = net.inject(&conns[0].seg(TcpFlags::ACK, &[2; 1000]));
    assert_eq!(net.read(&conns[0]).len(), 1000);
    for conn in &conns {
        let _ = net.inject(&conn.seg(TcpFlags::RST, &[]));
        let now = net.now();
        let _ = net.stack().close(now, conn.sock);
    }
    for conn in &conns[..1] {
        // The one whose sequence number moved.
        let _ = net.inject(&conn.off(TcpFlags::RST, 1000, 0, &[]));
    }
    net.wait(Duration::from_secs(200));
    let census = net.host.stack_ref().census();
    assert_eq!((census.sockets, census.ring_chunks), (1, 0));
}

/// Row 20 (CVE-2008-4609): peers that ask for much and never open their window. Each costs its send buffer and one probe
/// per back-off; others are not affected.
#[test]
fn closed_windows_cost_little() {
    let mut net = Net::new();
    let l = net.listen(1);
    let peers = 300u64;
    let conns: Vec<Conn> = (0..peers)
        .map(|_| {
            let mut conn = net.open(l, PLAIN);
            conn.win = 0;
            let _ = net.inject(&conn.seg(TcpFlags::ACK, &[]));
            assert!(net.write(&conn, &[1; 100_000]).is_empty());
            conn
        })
        .collect();
    let chunks = net.host.stack_ref().census().ring_chunks;
    // The send buffer of two initial windows, in whole chunks.
    let buffer = (2 * 10 * 1460usize).div_ceil(CHUNK);
    assert!(chunks <= peers as usize * buffer, "{chunks}");
    let mut victim = net.open(l, FULL);
    let mut probes = 0;
    let end = net.now() + Duration::from_secs(600);
    while net.now() < end {
        // The peers answer every probe: they are alive, and so the connections live (RFC 9293 MUST-37).
        for probe in net.wait(Duration::from_secs(1)) {
            probes += 1;
            let conn = conns.iter().find(|c| c.peer == probe.dst).expect("a peer");
            let _ = net.inject(&conn.seg(TcpFlags::ACK, &[]));
        }
    }
    assert_eq!(probes, net.count("TcpExtTCPWinProbe"));
    // 0.2, 0.4, … 102.4, 120, 120, … seconds.
    assert!((10..=14).contains(&(probes / peers)), "{probes} probes");
    net.assert_alive(&mut victim);
    // Their owners give up: without an owner they end within minutes.
    for conn in &conns {
        let _ = net.close(conn);
    }
    for _ in 0..1200 {
        for probe in net.wait(Duration::from_secs(1)) {
            let Some(conn) = conns.iter().find(|c| c.peer == probe.dst) else {
                continue;
            };
            let _ = net.inject(&conn.seg(TcpFlags::ACK, &[]));
        }
    }
    let census = net.host.stack_ref().census();
    assert_eq!((census.orphans, census.sockets), (0, 2));
    assert_eq!(net.count("TcpExtTCPAbortOnTimeout"), peers);
    net.assert_alive(&mut victim);
}

/// Row 20: `tcp_max_orphans` bounds what is left when owners go; the next one is reset.
#[test]
fn orphans_are_limited() {
    let mut net = Net::with(|c| c.sysctl.tcp_max_orphans = 10);
    let l = net.listen(1);
    for i in 0..20 {
        let mut conn = net.open(l, PLAIN);
        conn.win = 0;
        let _ = net.inject(&conn.seg(TcpFlags::ACK, &[]));
        let _ = net.write(&conn, b"nobody reads this");
        let answer = net.close(&conn);
        let reset = answer.iter().any(|p| p.flags.contains(TcpFlags::RST));
        assert_eq!(reset, i >= 10, "the {i}th");
    }
    assert_eq!(net.host.stack_ref().census().orphans, 10);
    assert_eq!(net.count("TcpExtTCPAbortOnMemory"), 10);
}

/// Row 36: every table to its bound and beyond. Nothing panics, the bound holds, something counts it.
#[test]
fn every_table_has_a_bound() {
    let mut net = Net::with(|c| {
        c.limits.max_sockets = 20;
        c.limits.max_requests = 50;
        c.sysctl.tcp_syncookies = 0;
        c.sysctl.tcp_max_tw_buckets = 30;
    });
    let l = net.listen(4096);
    // Requests.
    for _ in 0..60 {
        let peer = net.stranger();
        let syn = net.syn(peer, PLAIN);
        let _ = net.inject(&syn);
        assert!(net.host.stack_ref().census().requests <= 50);
    }
    assert_eq!(net.host.stack_ref().census().requests, 50);
    assert_eq!(net.drops(DropReason::TcpRequestTableFull), 10);
    assert_eq!(net.count("TcpExtTCPReqQFullDrop"), 10);
    net.wait(Duration::from_secs(200));
    assert_eq!(net.host.stack_ref().census().requests, 0);
    // TIME_WAIT, by closing first.
    for i in 0..40 {
        let mut conn = net.open(l, PLAIN);
        let _ = net.close(&conn);
        conn.ack = conn.ack.wrapping_add(1);
        let _ = net.inject(&conn.seg(TcpFlags::ACK | TcpFlags::FIN, &[]));
        assert!(net.host.stack_ref().census().time_wait <= 30, "the {i}th");
    }
    assert_eq!(net.host.stack_ref().census().time_wait, 30);
    assert_eq!(net.count("MillraceTimeWaitOverflow"), 10);
    // Sockets: connections that the application accepts, and its own.
    let mut conns: Vec<Conn> = (0..19).map(|_| net.open(l, PLAIN)).collect();
    assert_eq!(net.host.stack_ref().census().sockets, 20);
    assert_eq!(net.stack().tcp_socket(), Err(SockError::TooManyFiles));
    let peer = net.stranger();
    let syn = net.syn(peer, PLAIN);
    let answer = net.inject(&syn);
    let third = Seg {
        seq: syn.seq + 1,
        ack: answer[0].seq.wrapping_add(1),
        flags: TcpFlags::ACK,
        options: Vec::new(),
        ..syn
    };
    assert!(net.inject(&third).is_empty(), "the last ACK is not heard");
    assert_eq!(net.count("TcpExtListenOverflows"), 1);
    net.assert_alive(&mut conns[0]);
    // When there is room again the handshake completes.
    let _ = net.inject(&conns[1].seg(TcpFlags::RST, &[]));
    let _ = net.close(&conns[1].clone());
    let _ = net.inject(&third);
    let now = net.now();
    assert!(net.stack().accept(now, l).is_ok());
}

/// Row 39: connections in every state, and a peer that says nothing more. All end in bounded time, and nothing is left.
#[test]
fn every_state_drains_with_a_mute_peer() {
    let mut net = Net::new();
    let l = net.listen(64);
    let fin = TcpFlags::FIN | TcpFlags::ACK;
    // SYN_RECV, SYN_SENT.
    let peer = net.stranger();
    let syn = net.syn(peer, FULL);
    let _ = net.inject(&syn);
    let (opening, _) = net.connect(SocketAddrV4::new(Ipv4Addr::new(10, 7, 7, 7), 1));
    // FIN_WAIT1 with data, FIN_WAIT1 without, FIN_WAIT2, CLOSING, LAST_ACK, TIME_WAIT.
    let loaded = net.open(l, FULL);
    let _ = net.write(&loaded, &[1; 5000]);
    let _ = net.close(&loaded);
    let empty = net.open(l, PLAIN);
    let _ = net.close(&empty);
    let half = net.open(l, PLAIN);
    let _ = net.close(&half);
    let _ = net.inject(&half.off(TcpFlags::ACK, 0, 1, &[]));
    let closing = net.open(l, PLAIN);
    let _ = net.close(&closing);
    let _ = net.inject(&closing.off(fin, 0, 0, &[]));
    let last = net.open(l, PLAIN);
    let _ = net.inject(&last.off(fin, 0, 0, &[]));
    let _ = net.close(&last);
    let done = net.open(l, PLAIN);
    let _ = net.close(&done);
    let _ = net.inject(&done.off(fin, 0, 1, &[]));
    let census = net.host.stack_ref().census();
    assert_eq!(
        (census.requests, census.time_wait, census.orphans),
        (1, 2, 4),
        "FIN_WAIT2 and TIME_WAIT are small ones"
    );
    // Nobody owns these; `tcp_orphan_retries` and the time-outs of handshakes end them.
    net.wait(Duration::from_secs(300));
    let census = net.host.stack_ref().census();
    assert_eq!(
        (census.requests, census.time_wait, census.orphans),
        (0, 0, 0)
    );
    assert_eq!(net.stack().take_error(opening), Some(SockError::TimedOut));
    let now = net.now();
    let _ = net.stack().close(now, opening);
    // One with an owner ends by R2.
    let owned = net.open(l, FULL);
    let _ = net.write(&owned, b"anybody there?");
    net.wait(Duration::from_secs(1100));
    assert_eq!(net.state(&owned), TcpState::Close);
    assert_eq!(
        net.stack().take_error(owned.sock),
        Some(SockError::TimedOut)
    );
    let _ = net.close(&owned);
    let census = net.host.stack_ref().census();
    assert_eq!(
        (
            census.sockets,
            census.hashed,
            census.timers,
            census.ring_chunks
        ),
        (1, 0, 0, 0),
        "only the listener"
    );
}

/// What arrives of a stream whose receiver takes everything that comes next.
fn take(conn: &mut Conn, sent: &[Got]) -> usize {
    let before = conn.ack;
    for p in sent.iter().filter(|p| p.dst == conn.peer) {
        if p.seq == conn.ack {
            conn.ack = conn.ack.wrapping_add(p.data.len() as u32);
        }
    }
    conn.ack.wrapping_sub(before) as usize
}

/// Row 47: unread data fills all ring memory. New data is refused and counted, sends find no room, and still there are
/// ACKs, FINs and RSTs, new connections and ends of old ones. When the readers read, everything goes on.
#[test]
fn a_full_pool_heals() {
    let mut net = pool(40);
    let l = net.listen(8);
    let mut hogs: Vec<Conn> = (0..8).map(|_| net.open(l, PLAIN)).collect();
    let mut writer = net.open(l, PLAIN);
    for hog in &mut hogs {
        for _ in 0..40 {
            let answer = net.inject(&hog.seg(TcpFlags::ACK, &[1; 1400]));
            if let Some(ack) = answer.last() {
                hog.seq = ack.ack;
            }
        }
    }
    assert!(net.host.stack_ref().census().ring_chunks <= 40);
    assert!(net.count("TcpExtTCPRcvQDrop") > 0);
    // Control segments need no memory of the pool.
    let mut late = net.open(l, PLAIN);
    let refused = net.inject(&late.seg(TcpFlags::ACK, &[9; 1400]));
    assert_eq!(refused.len(), 1, "an ACK of what there is");
    assert_eq!(refused[0].ack, late.seq);
    let stuck = net.queue(&writer, &[7; 10_000]).unwrap_or(0);
    let gone = net.open(l, PLAIN);
    let fin = net.close(&gone);
    assert!(fin.iter().any(|p| p.flags.contains(TcpFlags::FIN)));
    // The readers wake up.
    let read: usize = hogs.iter().map(|hog| net.read(hog).len()).sum();
    assert!(read > 100_000, "{read}");
    // The refusal closed its window: the first attempt only learns that it is open again.
    let again = net.inject(&late.seg(TcpFlags::ACK, &[9; 1400]));
    let told = again.iter().rfind(|p| p.dst == late.peer);
    assert_eq!(told.map(|p| p.ack), Some(late.seq));
    let _ = net.inject(&late.seg(TcpFlags::ACK, &[9; 1400]));
    late.seq = late.seq.wrapping_add(1400);
    assert_eq!(net.read(&late).len(), 1400);
    for hog in &mut hogs {
        net.wait(Duration::from_millis(100));
        net.assert_alive(hog);
    }
    let mut queued = stuck;
    let mut got = 0;
    for _ in 0..200 {
        let sent = net.sent();
        got += take(&mut writer, &sent);
        if got == 10_000 {
            break;
        }
        let now = net.now();
        let rest = vec![7; 10_000 - queued];
        queued += net
            .stack()
            .send(now, writer.sock, &rest, MsgFlags::NONE)
            .unwrap_or(0);
        let sent = net.inject(&writer.seg(TcpFlags::ACK, &[]));
        got += take(&mut writer, &sent);
        let sent = net.wait(Duration::from_millis(100));
        got += take(&mut writer, &sent);
    }
    assert_eq!(got, 10_000);
    let _ = net.inject(&writer.seg(TcpFlags::ACK, &[]));
    net.assert_alive(&mut writer);
}

/// Row 47: the three marks of `tcp_mem`. Above the second windows close towards four segments and buffers stop growing;
/// above the third what is new is refused, but for the least buffer of each (`tcp_rmem`, `tcp_wmem`); below the first all
/// is as before.
#[test]
fn three_marks_of_memory() {
    let mut net = pool(64);
    net.stack()
        .set_sysctl("tcp_mem", "10 20 30")
        .expect("marks");
    let l = net.listen(16);
    let mut hogs: Vec<Conn> = (0..4).map(|_| net.open(l, PLAIN)).collect();
    let mut last = Vec::new();
    for hog in &mut hogs {
        for _ in 0..40 {
            let answer = net.inject(&hog.seg(TcpFlags::ACK, &[1; 1400]));
            if let Some(ack) = answer.last() {
                hog.seq = ack.ack;
                last.push(ack.win);
            }
        }
    }
    let used = net.host.stack_ref().census().ring_chunks;
    assert!(
        (30..=34).contains(&used),
        "{used}: the third mark, and what is promised"
    );
    assert!(net.host.stack_ref().under_memory_pressure());
    assert_eq!(net.count("TcpExtTCPMemoryPressures"), 1);
    assert!(net.count("TcpExtPruneCalled") > 0 && net.count("TcpExtRcvPruned") > 0);
    assert!(net.count("TcpExtTCPRcvQDrop") > 0);
    // Someone who holds nothing still gets his first 4,096 octets, each way.
    let mut small = net.open(l, PLAIN);
    let mut taken = 0;
    for _ in 0..10 {
        let answer = net.inject(&small.seg(TcpFlags::ACK, &[5; 1400]));
        let next = answer.last().map_or(small.seq + 1400, |ack| ack.ack);
        taken += next.wrapping_sub(small.seq);
        small.seq = next;
    }
    assert!(
        (4096..=2 * 4096).contains(&taken),
        "{taken}: two chunks at most"
    );
    assert_eq!(net.queue(&small, &[6; 9000]), Ok(4096));
    assert_eq!(net.queue(&small, &[6; 9000]), Err(SockError::NoBuffers));
    let sent = net.sent();
    assert_eq!(take(&mut small, &sent), 4096);
    // Pressure ends below the first mark.
    net.wait(Duration::from_secs(3));
    let read: usize = hogs.iter().map(|hog| net.read(hog).len()).sum();
    assert!(read > 100_000);
    let _ = net.read(&small);
    let _ = net.inject(&small.seg(TcpFlags::ACK, &[]));
    assert!(!net.host.stack_ref().under_memory_pressure());
    assert!(net.count("TcpExtTCPMemoryPressuresChrono") >= 3000);
    for conn in hogs.iter_mut().chain([&mut small]) {
        net.assert_alive(conn);
    }
}

/// Row 47: under pressure a window does not grow as its peer fills it; without, it does.
#[test]
fn windows_do_not_grow_under_pressure() {
    let window = |marks: &str| {
        let mut net = pool(4096);
        net.stack().set_sysctl("tcp_mem", marks).expect("marks");
        net.stack()
            .set_sysctl("tcp_rmem", "4096 1000000 6291456")
            .expect("buffers");
        let l = net.listen(16);
        let hog = net.open(l, PLAIN);
        let _ = net.inject(&hog.seg(TcpFlags::ACK, &[1; 30_000]));
        let mut conn = net.open(l, FULL);
        conn.win = 512;
        let mut widest = 0;
        for _ in 0..200 {
            for ack in net.inject(&conn.seg(TcpFlags::ACK, &[2; 1400])) {
                widest = widest.max(u32::from(ack.win) << 7);
                conn.seq = ack.ack;
            }
            let _ = net.read(&conn);
        }
        widest
    };
    assert!(window("1000 2000 3000") > 200_000);
    assert!(window("1 2 3000") <= 65_535);
}
