//! Two stacks in one thread, joined by the in-memory pair, in virtual time: the quietest place to count instructions.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use ipnet::Ipv4Net;
use millrace_net::link::{LinkConfig, LinkKind};
use millrace_net::{
    Config, IfaceConfig, IfaceId, Instant, MsgFlags, Readiness, Service, SockError, SockId, Stack,
};
use millrace_pmd::{MAX_BURST, Pair, PairConfig, Queue, pair};
use millrace_wire::mac::MacAddr;

/// Bytes of a request and of its answer.
pub(crate) const SIZE: usize = 64;
/// What one turn of the loop takes in virtual time.
pub(crate) const TURN: Duration = Duration::from_micros(2);
pub(crate) const PORT: u16 = 7;
/// Connections from one address: fewer than half of its ports, beyond which a free one is searched for long.
const PER_ADDRESS: usize = 10_000;
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// One stack and its end of the wire.
pub(crate) struct Host {
    pub stack: Stack,
    pub iface: IfaceId,
    queue: Pair,
}

impl Host {
    pub fn new(queue: Pair, last: u8, addr: Ipv4Addr) -> Result<Host, String> {
        let mut stack = Stack::new(Config::new([last; 32]));
        let link = LinkConfig {
            kind: LinkKind::Ethernet,
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            vlan: None,
            mtu: 1500,
        };
        let iface = IfaceConfig {
            name: String::from("pair"),
            link,
            accept_partial_csum: false,
        };
        let iface = stack.add_iface(iface).map_err(|e| format!("{e:?}"))?;
        let mut host = Host {
            stack,
            iface,
            queue,
        };
        host.add_addr(addr)?;
        Ok(host)
    }

    fn add_addr(&mut self, addr: Ipv4Addr) -> Result<(), String> {
        let net = Ipv4Net::new(addr, 16).map_err(|e| e.to_string())?;
        self.stack
            .add_addr(self.iface, net)
            .map_err(|e| format!("{e:?}"))
    }

    /// Throws away what has come.
    pub fn drop_all(&mut self) {
        while self.queue.rx(MAX_BURST, &mut |_| {}) > 0 {}
    }

    /// One turn of the worker's loop.
    #[inline]
    pub fn turn(&mut self, now: Instant, service: &mut impl Service) {
        let Host {
            stack,
            iface,
            queue,
        } = self;
        queue.rx(MAX_BURST, &mut |frames| {
            stack.rx(now, *iface, frames);
            stack.deliver(now, frames, service);
        });
        stack.tick(now);
        stack.dispatch(now, service);
        if stack.has_output(*iface) {
            queue.tx(&mut |batch| stack.tx(now, *iface, batch));
        }
    }
}

/// Sends back what it is lent.
pub(crate) struct Echo;

impl Service for Echo {
    fn data(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        _user: u64,
        bytes: &[u8],
    ) -> usize {
        stack.send(now, sock, bytes, MsgFlags::NONE).unwrap_or(0)
    }

    fn ready(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        _user: u64,
        _ready: Readiness,
    ) {
        accept(stack, now, sock);
    }
}

/// Keeps one request in flight on each connection until enough have been answered.
#[derive(Default)]
pub(crate) struct Requests {
    /// Round trips still to be begun.
    to_send: u64,
    /// Round trips finished.
    answered: u64,
    /// Bytes of the current answer, by socket index.
    received: Vec<usize>,
    /// What went wrong, if anything.
    broken: Option<String>,
}

impl Requests {
    /// Makes `round_trips` round trips over all connections.
    pub fn run(&mut self, wired: &mut Wired, round_trips: u64) -> Result<(), String> {
        (self.to_send, self.answered) = (round_trips, 0);
        for sock in wired.socks.clone() {
            self.send(&mut wired.client.stack, wired.now, sock);
        }
        // Each turn finishes at least one round trip, or something is wrong; delayed ACKs get some slack.
        for _ in 0..round_trips.saturating_mul(4) + 100_000 {
            if self.answered == round_trips || self.broken.is_some() {
                break;
            }
            wired.turn(self, &mut Echo);
        }
        match self.broken.take() {
            Some(what) => Err(what),
            None if self.answered < round_trips => {
                Err(format!("stuck after {} round trips", self.answered))
            }
            None => Ok(()),
        }
    }

    fn send(&mut self, stack: &mut Stack, now: Instant, sock: SockId) {
        if self.to_send == 0 {
            return;
        }
        self.to_send -= 1;
        match stack.send(now, sock, &[0x5a; SIZE], MsgFlags::NONE) {
            Ok(SIZE) => {}
            other => self.broken = Some(format!("send: {other:?}")),
        }
    }
}

impl Service for Requests {
    fn data(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
        _user: u64,
        bytes: &[u8],
    ) -> usize {
        let index = sock.index() as usize;
        if self.received.len() <= index {
            self.received.resize(index + 1, 0);
        }
        self.received[index] += bytes.len();
        if self.received[index] >= SIZE {
            self.received[index] -= SIZE;
            self.answered += 1;
            self.send(stack, now, sock);
        }
        bytes.len()
    }

    fn ready(
        &mut self,
        _stack: &mut Stack,
        _now: Instant,
        _sock: SockId,
        _user: u64,
        ready: Readiness,
    ) {
        if ready.contains(Readiness::ERR) || ready.contains(Readiness::HUP) {
            self.broken = Some(format!("a connection broke: {ready:?}"));
        }
    }
}

/// Two hosts with connections between them.
pub(crate) struct Wired {
    pub client: Host,
    pub server: Host,
    pub now: Instant,
    /// The client's sockets.
    pub socks: Vec<SockId>,
}

pub(crate) fn said(what: &str, e: SockError) -> String {
    format!("{what}: {}", e.name())
}

impl Wired {
    /// Opens `connections` connections to a listener at the server; `near` and `far` are the applications.
    pub fn connect(
        connections: usize,
        near: &mut impl Service,
        far: &mut impl Service,
    ) -> Result<Wired, String> {
        let (left, right) = pair(PairConfig::default());
        let mut wired = Wired {
            client: Host::new(left, 1, CLIENT)?,
            server: Host::new(right, 2, SERVER)?,
            now: Instant::from_nanos(1_000_000_000),
            socks: Vec::with_capacity(connections),
        };
        listen(&mut wired.server.stack)?;
        for number in 0..connections {
            let sock = wired.open(number)?;
            wired.socks.push(sock);
            // A handshake takes a few turns; one at a time keeps the listener's queue short.
            for _ in 0..64 {
                wired.turn(near, far);
                let ready = wired.client.stack.readiness(sock);
                if ready.is_ok_and(|ready| ready.contains(Readiness::OUT)) {
                    break;
                }
            }
        }
        Ok(wired)
    }

    /// Begins to connect.
    fn open(&mut self, number: usize) -> Result<SockId, String> {
        let stack = &mut self.client.stack;
        let sock = stack.tcp_socket().map_err(|e| said("socket", e))?;
        stack.attach(sock, 0).map_err(|e| said("attach", e))?;
        // The first address needs no name; each further one serves as many connections.
        if let Some(further) = (number / PER_ADDRESS).checked_sub(1) {
            let [high, low] = (further as u16 + 256).to_be_bytes();
            let addr = Ipv4Addr::new(10, 0, high, low);
            if number.is_multiple_of(PER_ADDRESS) {
                self.client.add_addr(addr)?;
            }
            let bound = self.client.stack.bind(sock, SocketAddrV4::new(addr, 0));
            bound.map_err(|e| said("bind", e))?;
        }
        let to = SocketAddrV4::new(SERVER, PORT);
        match self.client.stack.connect(self.now, sock, to) {
            Ok(()) | Err(SockError::InProgress) => Ok(sock),
            Err(e) => Err(said("connect", e)),
        }
    }

    /// One turn of each.
    pub fn turn(&mut self, near: &mut impl Service, far: &mut impl Service) {
        self.now = self.now + TURN;
        self.client.turn(self.now, near);
        self.server.turn(self.now, far);
    }
}

/// A listener whose connections the service accepts.
pub(crate) fn listen(stack: &mut Stack) -> Result<(), String> {
    let listener = stack.tcp_socket().map_err(|e| said("socket", e))?;
    let at = SocketAddrV4::new(SERVER, PORT);
    stack.bind(listener, at).map_err(|e| said("bind", e))?;
    stack
        .listen(listener, 4096)
        .map_err(|e| said("listen", e))?;
    stack.attach(listener, 0).map_err(|e| said("attach", e))
}

/// Takes in what has connected.
pub(crate) fn accept(stack: &mut Stack, now: Instant, sock: SockId) {
    while let Ok((child, _)) = stack.accept(now, sock) {
        // Fails for a connection that is gone already, which is then no loss.
        let _ = stack.attach(child, 0);
    }
}

/// Makes `connections` connections, then `round_trips` round trips of 64 B each way, spread over them. How long the
/// round trips took in all.
///
/// # Errors
/// A sentence, when the stacks do not get there.
pub fn round_trips(connections: usize, round_trips: u64) -> Result<Duration, String> {
    let mut requests = Requests::default();
    let mut wired = Wired::connect(connections, &mut requests, &mut Echo)?;
    let begin = std::time::Instant::now();
    requests.run(&mut wired, round_trips)?;
    Ok(begin.elapsed())
}

/// Bytes of memory that an established connection holds while nothing happens, on one side: what the process has grown by
/// `connections` connections, each of which was used once, by twice their number.
///
/// # Errors
/// A sentence, when the stacks do not get there.
pub fn idle_bytes(connections: usize) -> Result<f64, String> {
    let mut requests = Requests::default();
    // What is needed once is there before it is measured.
    drop(Wired::connect(1, &mut requests, &mut Echo)?);
    let mut requests = Requests::default();
    let before = resident()?;
    let mut wired = Wired::connect(connections, &mut requests, &mut Echo)?;
    // One after another: memory that all need at once would stay in the pool.
    let mut socks = core::mem::take(&mut wired.socks);
    for sock in socks.drain(..) {
        wired.socks.push(sock);
        requests.run(&mut wired, 1)?;
        wired.socks.clear();
    }
    // Delayed ACKs leave, what was sent is acknowledged.
    for _ in 0..1000 {
        wired.now = wired.now + Duration::from_millis(1);
        wired.turn(&mut requests, &mut Echo);
    }
    for host in [&wired.client, &wired.server] {
        let census = host.stack.census();
        if census.established != connections as u64 || census.ring_chunks > 0 {
            return Err(format!("not idle: {census:?}"));
        }
    }
    let grown = resident()?.saturating_sub(before);
    Ok(grown as f64 / (2 * connections) as f64)
}

/// Bytes of this process in memory.
fn resident() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/self/statm")
        .map_err(|e| format!("/proc/self/statm: {e}"))?;
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| format!("/proc/self/statm: {text}"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_answered() {
        assert!(round_trips(1, 100).is_ok());
        assert!(round_trips(40, 1_000).is_ok());
    }

    #[test]
    fn more_connections_than_an_address_has_ports() {
        let (mut requests, mut echo) = (Requests::default(), Echo);
        let mut wired =
            Wired::connect(PER_ADDRESS + 10, &mut requests, &mut echo).expect("connected");
        assert_eq!(
            wired.server.stack.census().established,
            PER_ADDRESS as u64 + 10
        );
        requests
            .run(&mut wired, PER_ADDRESS as u64 + 10)
            .expect("answered");
    }

    #[test]
    fn idle_connections_hold_memory_but_no_rings() {
        let bytes = idle_bytes(500).expect("idle");
        assert!((100.0..100_000.0).contains(&bytes), "{bytes}");
    }
}
