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
const TURN: Duration = Duration::from_micros(2);
const PORT: u16 = 7;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// One stack and its end of the wire.
struct Host {
    stack: Stack,
    iface: IfaceId,
    queue: Pair,
}

impl Host {
    fn new(queue: Pair, last: u8, addr: Ipv4Addr) -> Result<Host, String> {
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
        let net = Ipv4Net::new(addr, 24).map_err(|e| e.to_string())?;
        stack.add_addr(iface, net).map_err(|e| format!("{e:?}"))?;
        Ok(Host {
            stack,
            iface,
            queue,
        })
    }

    /// One turn of the worker's loop.
    fn turn(&mut self, now: Instant, service: &mut dyn Service) {
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
struct Echo;

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
        while let Ok((child, _)) = stack.accept(now, sock) {
            // Fails for a connection that is gone already, which is then no loss.
            let _ = stack.attach(child, 0);
        }
    }
}

/// Keeps one request in flight on each connection until enough have been answered.
struct Requests {
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

/// Makes `connections` connections, then `round_trips` round trips of 64 B each way, spread over them.
///
/// # Errors
/// A sentence, when the stacks do not get there.
pub fn round_trips(connections: usize, round_trips: u64) -> Result<(), String> {
    let (near, far) = pair(PairConfig::default());
    let mut client = Host::new(near, 1, CLIENT)?;
    let mut server = Host::new(far, 2, SERVER)?;
    let mut now = Instant::from_nanos(1_000_000_000);
    let said = |what: &str, e: SockError| format!("{what}: {}", e.name());

    let to = SocketAddrV4::new(SERVER, PORT);
    let listener = server.stack.tcp_socket().map_err(|e| said("socket", e))?;
    server
        .stack
        .bind(listener, to)
        .map_err(|e| said("bind", e))?;
    server
        .stack
        .listen(listener, 4096)
        .map_err(|e| said("listen", e))?;
    server
        .stack
        .attach(listener, 0)
        .map_err(|e| said("attach", e))?;

    let mut echo = Echo;
    let mut requests = Requests {
        to_send: 0,
        answered: 0,
        received: Vec::new(),
        broken: None,
    };
    let mut socks = Vec::with_capacity(connections);
    for _ in 0..connections {
        let sock = client.stack.tcp_socket().map_err(|e| said("socket", e))?;
        client
            .stack
            .attach(sock, 0)
            .map_err(|e| said("attach", e))?;
        match client.stack.connect(now, sock, to) {
            Ok(()) | Err(SockError::InProgress) => socks.push(sock),
            Err(e) => return Err(said("connect", e)),
        }
        // A handshake takes a few turns; one at a time keeps the listener's queue short.
        for _ in 0..64 {
            now = now + TURN;
            client.turn(now, &mut requests);
            server.turn(now, &mut echo);
            if client
                .stack
                .readiness(sock)
                .is_ok_and(|ready| ready.contains(Readiness::OUT))
            {
                break;
            }
        }
    }

    requests.to_send = round_trips;
    for sock in socks {
        requests.send(&mut client.stack, now, sock);
    }
    // Each turn finishes at least one round trip, or something is wrong; handshakes and delayed ACKs get some slack.
    for _ in 0..round_trips.saturating_mul(4) + 100_000 {
        if requests.answered == round_trips || requests.broken.is_some() {
            break;
        }
        now = now + TURN;
        client.turn(now, &mut requests);
        server.turn(now, &mut echo);
    }
    match requests.broken {
        Some(what) => Err(what),
        None if requests.answered < round_trips => {
            Err(format!("stuck after {} round trips", requests.answered))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_answered() {
        assert_eq!(round_trips(1, 100), Ok(()));
        assert_eq!(round_trips(40, 1_000), Ok(()));
    }
}
