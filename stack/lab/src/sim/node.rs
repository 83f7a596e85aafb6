//! One stack behind its device queue, worked as a worker would.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use millrace_net::link::{LinkConfig, LinkKind};
use millrace_net::{
    Config, IfaceConfig, IfaceId, MsgFlags, Readiness, Service, SockError, SockId, Stack,
};
use millrace_pmd::{MAX_BURST, Pair, Queue};
use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use super::Violation;
use super::app::{App, Identity, Step};
use super::dice::{Dice, Purpose};
use super::pattern::Pattern;
use super::plan::{ConnectionPlan, Plan};
use crate::clock::START;
use crate::model::{Calls, Monitor};

/// The port both nodes listen on.
pub(super) const PORT: u16 = 7;

/// The address of a node.
pub(super) fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, node as u8 + 1)
}

/// Its hardware address.
pub(super) fn mac_of(node: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, node as u8 + 1])
}

/// Which connection a client's address belongs to.
pub(super) type Callers = BTreeMap<SocketAddrV4, usize>;

/// A stack with its device, its listener, and the applications that use it.
pub(super) struct Node {
    number: usize,
    seed: u64,
    stack: Stack,
    iface: IfaceId,
    device: Pair,
    listener: Option<SockId>,
    /// The clients first, then the servers in the order in which they were accepted.
    apps: Vec<App>,
    clients: usize,
    /// Which connection each application belongs to.
    connections: Vec<usize>,
    /// The addresses of each application's connection, its own first, and its calls as the monitor knows them.
    calls: Vec<Option<(Flow, Option<Calls>)>>,
    monitor: Monitor,
}

/// A connection's addresses, the own one first.
type Flow = (SocketAddrV4, SocketAddrV4);

impl Node {
    pub(super) fn new(plan: &Plan, number: usize, device: Pair) -> Result<Self, Violation> {
        let mut config = Config::new(Dice::new(plan.seed, Purpose::Stack(number as u64)).key());
        // Cookies forget, as Linux's do, what the model remembers: an MSS below 536, and who has given up.
        config.sysctl.tcp_syncookies = 0;
        let of = &plan.nodes[number];
        let limits = &mut config.limits;
        limits.ring_chunks = of.memory.unwrap_or(limits.ring_chunks);
        limits.max_requests = of.max_requests.unwrap_or(limits.max_requests);
        limits.max_time_wait = of.max_time_wait.unwrap_or(limits.max_time_wait);
        for (name, value) in &plan.nodes[number].sysctls {
            config
                .sysctl
                .set(name, value)
                .map_err(|error| Violation::new(format!("{name}={value}: {error:?}")))?;
        }
        let mut stack = Stack::new(config);
        let mac = mac_of(number);
        let link = LinkConfig {
            kind: LinkKind::Ethernet,
            mac,
            vlan: None,
            mtu: plan.nodes[number].mtu,
        };
        let setup = |error: &dyn std::fmt::Display| Violation::new(format!("set-up: {error}"));
        let iface = stack
            .add_iface(IfaceConfig {
                name: format!("veth{number}"),
                link,
                accept_partial_csum: false,
            })
            .map_err(|error| setup(&error))?;
        let net = Ipv4Net::new(address(number), 24).map_err(|error| setup(&error))?;
        stack.add_addr(iface, net).map_err(|error| setup(&error))?;
        let listener = open_listener(&mut stack, number, plan.nodes[number].backlog)
            .map_err(|error| Violation::new(format!("listener: {}", error.name())))?;
        let mut node = Self {
            number,
            seed: plan.seed,
            stack,
            iface,
            device,
            listener: Some(listener),
            apps: Vec::new(),
            clients: 0,
            connections: Vec::new(),
            calls: Vec::new(),
            monitor: Monitor::new(mac, of.memory.is_some()),
        };
        for (index, connection) in plan
            .connections
            .iter()
            .enumerate()
            .filter(|(_, c)| c.client == number)
        {
            let identity = node.identity(index, 0);
            let dice = Dice::new(plan.seed, Purpose::App(index as u64 * 2));
            let opens = START + connection.opens_after;
            node.apps.push(App::client(
                identity,
                connection.ends[0].clone(),
                dice,
                opens,
            ));
            node.connections.push(index);
            node.calls.push(None);
            node.clients += 1;
        }
        Ok(node)
    }

    /// End 0 of a connection is the client's, end 1 the server's.
    fn identity(&self, connection: usize, end: usize) -> Identity {
        Identity {
            name: format!("connection {connection}, {}", ["client", "server"][end]),
            user: self.apps.len() as u64,
            writes: Pattern::new(self.seed, connection, end),
            reads: Pattern::new(self.seed, connection, 1 - end),
        }
    }

    pub(super) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The applications with the connections they belong to.
    pub(super) fn apps(&self) -> impl Iterator<Item = (usize, &App)> {
        self.connections.iter().copied().zip(&self.apps)
    }

    /// Connections that its clients have opened, and those that it has accepted.
    pub(super) fn handshakes(&self) -> (u64, u64) {
        let servers = self.apps.len() - self.clients;
        (self.clients as u64, servers as u64)
    }

    /// What each unfinished socket's state is, for reports.
    pub(super) fn open_sockets(&self) -> Vec<String> {
        let open = self.apps.iter().filter_map(|app| Some((app, app.sock()?)));
        open.map(|(app, sock)| {
            format!(
                "{} {:?} {:?}",
                app.name(),
                self.stack.state(sock),
                app.progress()
            )
        })
        .collect()
    }

    /// The earliest of timers and applications.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let apps = self.apps.iter().filter_map(|app| app.wakes_at(now));
        apps.chain(self.stack.next_deadline()).min()
    }

    /// One turn of a worker's loop.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        plans: &[ConnectionPlan],
        callers: &mut Callers,
    ) -> Result<Step, Violation> {
        let mut step = self.receive(now)?;
        self.stack.tick(now);
        let mut desk = Desk {
            apps: &mut self.apps,
            violation: None,
        };
        self.stack.dispatch(now, &mut desk);
        if let Some(violation) = desk.violation {
            return Err(violation);
        }
        if self.accept(now, plans, callers)? == Step::Moved {
            step = Step::Moved;
        }
        let known = self.calls.iter_mut().zip(&self.connections);
        for (app, (known, connection)) in self.apps.iter_mut().zip(known) {
            let to = SocketAddrV4::new(address(plans[*connection].server), PORT);
            let mut opened = |from| {
                callers.insert(from, *connection);
                *known = Some(((from, to), None));
            };
            if app.step(&mut self.stack, now, to, &mut opened)? == Step::Moved {
                step = Step::Moved;
            }
            if let Some((flow, calls)) = known
                && *calls != Some(app.calls())
            {
                *calls = Some(app.calls());
                self.monitor.called(*flow, app.calls());
            }
        }
        self.transmit(now);
        self.stack
            .audit()
            .map_err(|what| Violation::new(format!("node {}: {what}", self.number)))?;
        Ok(step)
    }

    fn receive(&mut self, now: Instant) -> Result<Step, Violation> {
        let Self {
            stack,
            device,
            apps,
            iface,
            monitor,
            ..
        } = self;
        let mut desk = Desk {
            apps,
            violation: None,
        };
        let received = device.rx(MAX_BURST, &mut |frames| {
            let taken = frames.iter().map(|frame| frame.data());
            taken.for_each(|frame| monitor.heard(now, frame));
            stack.rx(now, *iface, frames);
            stack.deliver(now, frames, &mut desk);
        });
        match desk.violation {
            Some(violation) => Err(violation),
            None => Ok(if received > 0 {
                Step::Moved
            } else {
                Step::Idle
            }),
        }
    }

    fn transmit(&mut self, now: Instant) {
        let Self {
            stack,
            device,
            iface,
            ..
        } = self;
        if stack.has_output(*iface) {
            device.tx(&mut |batch| stack.tx(now, *iface, batch));
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        plans: &[ConnectionPlan],
        callers: &mut Callers,
    ) -> Result<Step, Violation> {
        let Some(listener) = self.listener else {
            return Ok(Step::Idle);
        };
        let mut step = Step::Idle;
        loop {
            let (sock, peer) = match self.stack.accept(now, listener) {
                Ok(accepted) => accepted,
                Err(SockError::WouldBlock) => return Ok(step),
                Err(error) => return Err(Violation::new(format!("accept: {}", error.name()))),
            };
            step = Step::Moved;
            let Some(connection) = callers.remove(&peer) else {
                return Err(Violation::new(format!(
                    "accept: nobody connected from {peer}"
                )));
            };
            let identity = self.identity(connection, 1);
            let dice = Dice::new(self.seed, Purpose::App(connection as u64 * 2 + 1));
            let plan = plans[connection].ends[1].clone();
            self.apps.push(App::server(
                identity,
                plan,
                dice,
                (&mut self.stack, now, sock),
            )?);
            self.connections.push(connection);
            let ours = SocketAddrV4::new(address(self.number), PORT);
            self.calls.push(Some(((ours, peer), None)));
        }
    }

    /// Its device has sent `frame`: the monitor judges it.
    pub(super) fn sent(&mut self, now: Instant, frame: &[u8]) -> Result<(), Violation> {
        let Self {
            monitor, number, ..
        } = self;
        monitor
            .sent(now, frame)
            .map_err(|what| Violation::new(format!("node {number} sent {what}")))
    }

    /// Nothing is left to do at this time: the monitor judges what is missing.
    pub(super) fn quiet(&mut self, now: Instant) -> Result<(), Violation> {
        let Self {
            monitor, number, ..
        } = self;
        monitor
            .quiet(now)
            .map_err(|what| Violation::new(format!("node {number}: {what}")))
    }

    /// No more connections are taken.
    pub(super) fn stop_listening(&mut self, now: Instant) -> Result<(), Violation> {
        match self
            .listener
            .take()
            .map(|listener| self.stack.close(now, listener))
        {
            Some(Err(error)) => Err(Violation::new(format!(
                "closing the listener: {}",
                error.name()
            ))),
            _ => Ok(()),
        }
    }
}

fn open_listener(stack: &mut Stack, node: usize, backlog: u32) -> Result<SockId, SockError> {
    let listener = stack.tcp_socket()?;
    stack.bind(listener, SocketAddrV4::new(address(node), PORT))?;
    stack.listen(listener, backlog)?;
    // A listener has nothing to read; asking must not disturb it.
    let asked = stack.recv(START, listener, &mut [0; 4], MsgFlags::NONE);
    if asked.is_ok() {
        Err(SockError::Invalid)
    } else {
        Ok(listener)
    }
}

/// Hands what the stack lends to the applications.
struct Desk<'a> {
    apps: &'a mut [App],
    violation: Option<Violation>,
}

impl Service for Desk<'_> {
    fn data(&mut self, _: &mut Stack, now: Instant, _: SockId, user: u64, bytes: &[u8]) -> usize {
        match self
            .apps
            .get_mut(user as usize)
            .map(|app| app.lent(now, bytes))
        {
            Some(Ok(taken)) => taken,
            Some(Err(violation)) => {
                self.violation.get_or_insert(violation);
                0
            }
            None => {
                self.violation
                    .get_or_insert(Violation::new("data for nobody"));
                0
            }
        }
    }

    fn ready(&mut self, _: &mut Stack, _: Instant, _: SockId, user: u64, ready: Readiness) {
        match self.apps.get_mut(user as usize) {
            Some(app) => app.ready(ready),
            None => drop(
                self.violation
                    .get_or_insert(Violation::new("an event for nobody")),
            ),
        }
    }
}
