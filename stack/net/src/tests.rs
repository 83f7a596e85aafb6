//! Two stacks joined by a link in memory, in virtual time.

mod data;
mod diag;
mod info;
mod stamps;
mod urgent;

use crate::link::{LinkConfig, LinkKind};
use crate::*;
use millrace_wire::frame::{RxFrame, RxMeta, TxBatch};
use millrace_wire::mac::MacAddr;
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::time::Duration;

mod isolation;
mod lent;
mod options;
mod ports;
mod random_calls;
mod states;
mod window;

/// Frames on their way to one side.
#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl TxBatch for Wire {
    fn room(&self) -> usize {
        64usize.saturating_sub(self.0.len())
    }
    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        (self.room() > 0).then(|| self.0.push(vec![0xee; len]))?;
        self.0.last_mut().map(Vec::as_mut_slice)
    }
}

struct Nobody;

impl Service for Nobody {
    fn data(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, _: &[u8]) -> usize {
        0
    }
    fn ready(&mut self, _: &mut Stack, _: Instant, _: SockId, _: u64, _: Readiness) {}
}

/// An in-loop service that answers every byte with itself.
#[derive(Default)]
struct Echo {
    eof: bool,
}

impl Service for Echo {
    fn data(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        _: u64,
        bytes: &[u8],
    ) -> usize {
        stack.send(now, sock, bytes, MsgFlags::NONE).unwrap_or(0)
    }
    fn ready(&mut self, stack: &mut Stack, now: Instant, sock: SockId, _: u64, ready: Readiness) {
        if stack.state(sock) == Ok(TcpState::Listen) {
            while stack.accept(now, sock).is_ok() {}
            return;
        }
        let mut buf = [0; 4096];
        loop {
            let room = stack.send_space(sock).unwrap_or(0).min(buf.len());
            match stack.recv(now, sock, &mut buf[..room], MsgFlags::NONE) {
                Ok(0) if room > 0 => {
                    self.eof = true;
                    let _ = stack.close(now, sock);
                    return;
                }
                Ok(n) if n > 0 => {
                    assert_eq!(stack.send(now, sock, &buf[..n], MsgFlags::NONE), Ok(n))
                }
                _ => break,
            }
        }
        if ready.intersects(Readiness::ERR | Readiness::HUP) {
            let _ = stack.close(now, sock);
        }
    }
}

struct Net<A, B> {
    now: Instant,
    a: Stack,
    b: Stack,
    apps: (A, B),
    /// Every how many-th frame towards b is lost; 0 is none.
    lose: usize,
    count: usize,
    /// Nothing gets through.
    cut: bool,
}

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn stack(kind: LinkKind, addr: Ipv4Addr, last: u8) -> Stack {
    let mut stack = Stack::new(Config::new([last; 32]));
    let link = LinkConfig {
        kind,
        mac: MacAddr([2, 0, 0, 0, 0, last]),
        vlan: None,
        mtu: 1500,
    };
    let iface = stack
        .add_iface(IfaceConfig {
            name: "t0".into(),
            link,
            accept_partial_csum: false,
        })
        .unwrap();
    stack
        .add_addr(iface, ipnet::Ipv4Net::new(addr, 24).unwrap())
        .unwrap();
    stack
}

impl<A1: Service, B1: Service> Net<A1, B1> {
    fn new(kind: LinkKind, apps: (A1, B1)) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            now,
            a: stack(kind, A, 1),
            b: stack(kind, B, 2),
            apps,
            lose: 0,
            count: 0,
            cut: false,
        }
    }

    /// Carries frames both ways until nothing moves.
    fn settle(&mut self) {
        let iface = IfaceId(0);
        for _ in 0..10_000 {
            let mut to_b = Wire::default();
            self.a.tx(self.now, iface, &mut to_b);
            let mut to_a = Wire::default();
            self.b.tx(self.now, iface, &mut to_a);
            if to_a.0.is_empty()
                && to_b.0.is_empty()
                && !self.a.has_output(iface)
                && !self.b.has_output(iface)
            {
                return;
            }
            if self.cut {
                continue;
            }
            if self.lose > 0 {
                to_b.0.retain(|_| {
                    self.count += 1;
                    !self.count.is_multiple_of(self.lose)
                });
            }
            feed(&mut self.a, self.now, &mut to_a, &mut self.apps.0);
            feed(&mut self.b, self.now, &mut to_b, &mut self.apps.1);
            self.a.audit().unwrap();
            self.b.audit().unwrap();
        }
        panic!("never quiet");
    }

    /// Lets time pass, timer by timer.
    fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        self.settle();
        loop {
            let next = [self.a.next_deadline(), self.b.next_deadline()]
                .into_iter()
                .flatten()
                .min();
            match next {
                Some(at) if at <= end => self.now = at.max(self.now),
                _ => break,
            }
            self.a.tick(self.now);
            self.b.tick(self.now);
            self.a.dispatch(self.now, &mut self.apps.0);
            self.b.dispatch(self.now, &mut self.apps.1);
            self.settle();
        }
        self.now = end;
    }
}

fn feed(stack: &mut Stack, now: Instant, wire: &mut Wire, app: &mut dyn Service) {
    let mut frames: Vec<_> = wire
        .0
        .iter_mut()
        .map(|f| RxFrame::new(f, RxMeta::default()))
        .collect();
    stack.rx(now, IfaceId(0), &mut frames);
    stack.deliver(now, &frames, app);
    stack.dispatch(now, app);
}

fn listener(stack: &mut Stack, attach: bool) -> SockId {
    let s = stack.tcp_socket().unwrap();
    stack.bind(s, SocketAddrV4::new(B, 80)).unwrap();
    stack.listen(s, 16).unwrap();
    if attach {
        stack.attach(s, 7).unwrap();
    }
    s
}

fn connected<A1: Service, B1: Service>(net: &mut Net<A1, B1>, l: SockId) -> (SockId, SockId) {
    let c = net.a.tcp_socket().unwrap();
    assert_eq!(
        net.a.connect(net.now, c, SocketAddrV4::new(B, 80)),
        Err(SockError::InProgress)
    );
    net.settle();
    assert_eq!(net.a.state(c), Ok(TcpState::Established));
    let (s, _) = net.b.accept(net.now, l).unwrap();
    assert_eq!(net.b.state(s), Ok(TcpState::Established));
    (c, s)
}

#[test]
fn handshake_data_close_over_ethernet() {
    let mut net = Net::new(LinkKind::Ethernet, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    assert_eq!(net.a.send(net.now, c, b"hello", MsgFlags::NONE), Ok(5));
    net.settle();
    let mut buf = [0; 16];
    assert_eq!(net.b.recv(net.now, s, &mut buf, MsgFlags::NONE), Ok(5));
    assert_eq!(&buf[..5], b"hello");
    net.a.shutdown(net.now, c, Shutdown::Write).unwrap();
    net.settle();
    assert_eq!(net.b.recv(net.now, s, &mut buf, MsgFlags::NONE), Ok(0));
    assert_eq!(net.b.send(net.now, s, b"bye", MsgFlags::NONE), Ok(3));
    net.b.close(net.now, s).unwrap();
    net.run(Duration::from_secs(1));
    assert_eq!(net.a.recv(net.now, c, &mut buf, MsgFlags::NONE), Ok(3));
    assert_eq!(net.a.recv(net.now, c, &mut buf, MsgFlags::NONE), Ok(0));
    net.a.close(net.now, c).unwrap();
    assert_eq!(net.a.census().time_wait, 1);
    assert_eq!(net.b.census().sockets, 1, "only the listener");
    net.run(Duration::from_secs(70));
    let census = net.a.census();
    assert_eq!(
        (
            census.time_wait,
            census.hashed,
            census.bound_ports,
            census.ring_chunks
        ),
        (0, 0, 0, 0)
    );
}

#[test]
fn echo_of_a_megabyte_with_loss() {
    for lose in [0, 50, 20] {
        let mut net = Net::new(LinkKind::Ip, (Nobody, Echo::default()));
        net.lose = lose;
        listener(&mut net.b, true);
        let c = net.a.tcp_socket().unwrap();
        let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
        net.run(Duration::from_secs(10));
        let data: Vec<u8> = (0..1_000_000u32)
            .map(|i| (i.wrapping_mul(i) >> 7) as u8)
            .collect();
        let (mut sent, mut got) = (0, Vec::new());
        let mut buf = vec![0; 65_536];
        for _ in 0..100_000 {
            if sent < data.len() {
                sent += net
                    .a
                    .send(net.now, c, &data[sent..], MsgFlags::NONE)
                    .unwrap_or(0);
            }
            net.run(Duration::from_millis(1));
            while let Ok(n) = net.a.recv(net.now, c, &mut buf, MsgFlags::NONE) {
                assert!(n > 0);
                got.extend_from_slice(&buf[..n]);
            }
            if got.len() == data.len() {
                break;
            }
        }
        assert!(
            got == data,
            "lose {lose}: {} of {} bytes",
            got.len(),
            data.len()
        );
        net.a.close(net.now, c).unwrap();
        net.run(Duration::from_secs(200));
        assert!(net.apps.1.eof);
        let census = net.b.census();
        assert_eq!(
            (census.sockets, census.ring_chunks, census.timers),
            (1, 0, 0)
        );
        assert_eq!(net.a.census().sockets + net.a.census().time_wait, 0);
    }
}

#[test]
fn refused_and_reset() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let c = net.a.tcp_socket().unwrap();
    let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 81));
    net.settle();
    assert_eq!(net.a.take_error(c), Some(SockError::Refused));
    net.a.close(net.now, c).unwrap();
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    let _ = net.a.send(net.now, c, b"unread", MsgFlags::NONE);
    net.settle();
    net.b.close(net.now, s).unwrap();
    net.settle();
    assert_eq!(
        net.a.recv(net.now, c, &mut [0; 4], MsgFlags::NONE),
        Err(SockError::Reset)
    );
    net.a.close(net.now, c).unwrap();
    assert_eq!((net.a.census().sockets, net.b.census().sockets), (0, 1));
}

/// The neighbour's entry is gone and nobody answers for a while: what was sent meanwhile goes out later.
#[test]
fn data_outlives_a_neighbour_that_does_not_answer() {
    let mut net = Net::new(LinkKind::Ethernet, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    net.a.ctx.neigh.flush_iface(IfaceId(0));
    net.cut = true;
    assert_eq!(net.a.send(net.now, c, b"late", MsgFlags::NONE), Ok(4));
    net.run(Duration::from_secs(10));
    assert_eq!(net.b.recv_len(s), Ok(0));
    net.cut = false;
    net.run(Duration::from_secs(30));
    assert_eq!(net.b.recv_len(s), Ok(4));
}

/// A peer that answers every probe and never opens its window does not keep an orphan for ever.
#[test]
fn an_orphan_with_a_closed_window_ends() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    for _ in 0..200 {
        let _ = net.a.send(net.now, c, &[7; 8192], MsgFlags::NONE);
        net.run(Duration::from_millis(10));
    }
    assert!(net.a.send_queued(c).unwrap() > 0);
    net.a.close(net.now, c).unwrap();
    net.run(Duration::from_secs(5));
    assert_eq!(net.a.census().orphans, 1);
    net.run(Duration::from_secs(1200));
    assert_eq!((net.a.census().orphans, net.a.census().sockets), (0, 0));
    assert!(net.b.recv_len(s).unwrap() > 0, "the peer never read");
}

/// A refused attempt leaves the socket ready for another (Linux).
#[test]
fn connect_again_after_a_refusal() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let to = SocketAddrV4::new(B, 80);
    let c = net.a.tcp_socket().unwrap();
    assert_eq!(net.a.connect(net.now, c, to), Err(SockError::InProgress));
    net.settle();
    assert_eq!(net.a.connect(net.now, c, to), Err(SockError::Refused));
    listener(&mut net.b, false);
    assert_eq!(net.a.connect(net.now, c, to), Err(SockError::InProgress));
    assert_eq!(net.a.connect(net.now, c, to), Err(SockError::Already));
    net.settle();
    assert_eq!(net.a.connect(net.now, c, to), Ok(()));
    assert_eq!(net.a.connect(net.now, c, to), Err(SockError::IsConnected));
    assert_eq!(net.a.state(c), Ok(TcpState::Established));
}

/// The last ACK of a handshake that met a full accept queue is asked for again.
#[test]
fn a_handshake_completes_when_the_accept_queue_has_room() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let c = net.a.tcp_socket().unwrap();
            let _ = net.a.connect(net.now, c, SocketAddrV4::new(B, 80));
            c
        })
        .collect();
    let mut syns = Wire::default();
    net.a.tx(net.now, IfaceId(0), &mut syns);
    feed(&mut net.b, net.now, &mut syns, &mut Nobody);
    // Three complete connections from now on: the fourth client's ACK finds no room.
    net.b.listen(l, 2).unwrap();
    net.run(Duration::from_secs(4));
    for c in &clients {
        assert_eq!(net.a.state(*c), Ok(TcpState::Established));
    }
    let mut accepted = 0;
    for _ in 0..60 {
        while net.b.accept(net.now, l).is_ok() {
            accepted += 1;
        }
        net.run(Duration::from_secs(1));
    }
    assert_eq!(accepted, 4);
    assert!(net.b.mib().value(Counter::TcpExtListenOverflows) > 0);
    assert_eq!(net.b.census().requests, 0);
}

/// After 4 GiB the sequence numbers come round to the initial one; that must not look like an open handshake.
#[test]
fn sequence_numbers_come_round_to_the_initial_one() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    let sk = net.a.socks.tcp.get_mut(c).unwrap();
    sk.warm.iss = sk.tx.snd_una;
    for word in [b"first.", b"second"] {
        assert_eq!(net.a.send(net.now, c, word, MsgFlags::NONE), Ok(6));
        net.run(Duration::from_secs(1));
        let mut buf = [0; 16];
        assert_eq!(net.b.recv(net.now, s, &mut buf, MsgFlags::NONE), Ok(6));
        assert_eq!(&buf[..6], word);
    }
    assert_eq!(net.a.send_queued(c), Ok(0));
}

/// A connection's life as its changes of state, on both sides; the record is bounded and off unless asked for.
#[test]
fn state_changes_are_recorded() {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck, SynSent};
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    net.a.trace_states(100);
    net.b.trace_states(2);
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    net.a.close(net.now, c).unwrap();
    net.settle();
    net.b.close(net.now, s).unwrap();
    net.settle();
    let moves =
        |changes: &[StateChange]| -> Vec<_> { changes.iter().map(|c| (c.old, c.new)).collect() };
    let (changes, lost) = net.a.drain_state_changes();
    let ours = [
        (Close, SynSent),
        (SynSent, Established),
        (Established, FinWait1),
        (FinWait1, FinWait2),
    ];
    assert!(moves(&changes).starts_with(&ours), "{changes:?}");
    assert_eq!(lost, 0);
    assert!(
        changes
            .iter()
            .all(|c| c.remote == SocketAddrV4::new(B, 80) && c.at <= net.now)
    );
    let (changes, lost) = net.b.drain_state_changes();
    assert_eq!(moves(&changes), [(CloseWait, LastAck), (LastAck, Close)]);
    // CLOSE to LISTEN, CLOSE to SYN_RECV, to ESTABLISHED, to CLOSE_WAIT.
    assert_eq!(lost, 4);
    net.b.trace_states(0);
    assert_eq!(net.b.drain_state_changes(), (Vec::new(), 0));
}

/// A window that is rounded up to its scale lets its edge creep on under small segments. What is unread is bounded all
/// the same (Linux: `sk_rcvbuf`).
#[test]
fn small_segments_do_not_fill_memory() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    net.a
        .set_option(net.now, c, SockOpt::NoDelay(true))
        .unwrap();
    net.b.set_option(net.now, s, SockOpt::QuickAck(1)).unwrap();
    let bound = 2 * 65_536;
    for _ in 0..bound + 10_000 {
        let _ = net.a.send(net.now, c, &[7], MsgFlags::NONE);
        // Each segment is acknowledged on its own: the delayed ACK has its time.
        net.run(Duration::from_millis(41));
    }
    assert_eq!(net.b.recv_len(s), Ok(bound));
    // Read, and what was refused comes again, when the backed-off timer of its sender fires.
    let mut buf = vec![0; bound];
    assert_eq!(net.b.recv(net.now, s, &mut buf, MsgFlags::NONE), Ok(bound));
    net.run(Duration::from_secs(150));
    assert_eq!(net.b.recv_len(s), Ok(10_000));
}

/// A round trip of minutes (the host slept) does not make the RTO longer than its limit.
#[test]
fn a_very_long_round_trip_keeps_the_rto_in_bounds() {
    let mut net = Net::new(LinkKind::Ip, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    assert_eq!(net.a.send(net.now, c, b"first", MsgFlags::NONE), Ok(5));
    let mut wire = Wire::default();
    net.a.tx(net.now, IfaceId(0), &mut wire);
    net.now = net.now + Duration::from_secs(250);
    feed(&mut net.b, net.now, &mut wire, &mut Nobody);
    net.b.set_option(net.now, s, SockOpt::QuickAck(1)).unwrap();
    net.settle();
    assert_eq!(net.a.send_queued(c), Ok(0));
    // The audit compares the deadline with the limit.
    net.cut = true;
    assert_eq!(net.a.send(net.now, c, b"second", MsgFlags::NONE), Ok(6));
    net.settle();
    net.a.audit().unwrap();
}

/// An ACK whose neighbour does not answer is lost like any packet: it is not owed for ever.
#[test]
fn an_ack_to_a_silent_neighbour_is_lost() {
    let mut net = Net::new(LinkKind::Ethernet, (Nobody, Nobody));
    let l = listener(&mut net.b, false);
    let (c, s) = connected(&mut net, l);
    assert_eq!(net.a.send(net.now, c, b"data", MsgFlags::NONE), Ok(4));
    let mut wire = Wire::default();
    net.a.tx(net.now, IfaceId(0), &mut wire);
    net.b.ctx.neigh.remove(IfaceId(0), A);
    feed(&mut net.b, net.now, &mut wire, &mut Nobody);
    assert_eq!(net.b.recv_len(s), Ok(4));
    for _ in 0..100 {
        net.b.tx(net.now, IfaceId(0), &mut Wire::default());
        net.now = net.now + Duration::from_millis(100);
        net.b.tick(net.now);
        net.b.audit().unwrap();
    }
}
