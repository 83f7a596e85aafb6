//! The stack in virtual time as a machine: one program, one raw IP interface.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ipnet::Ipv4Net;
use millrace_net::link::{LinkConfig, LinkKind};
use millrace_net::{Config, IfaceConfig, RouteSpec, SetupError, Stack};
use millrace_posix::call::{Call, Return};
use millrace_posix::{Pending, Process, Started};
use millrace_wire::mac::MacAddr;
use millrace_wire::time::Instant;

use super::{Broken, LinkChange, Machine, Offload, Passed, Progress, Qdisc, SentPacket, Ticket};
use crate::clock::START;
use crate::host::{Host, Stalled};

/// Rounds of waiting calls that wake each other without time passing, before the machine counts as stuck.
const MAX_ROUNDS: u32 = 10_000;

/// What a machine is made from.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Settings, bounds and seed.
    pub net: Config,
    /// Name of the interface.
    pub iface: String,
    /// Its addresses; everything else is reached through it.
    pub addrs: Vec<Ipv4Net>,
    /// Its MTU, octets.
    pub mtu: u16,
    /// Descriptors of the program (`RLIMIT_NOFILE`).
    pub fd_limit: usize,
}

impl StackConfig {
    /// Linux's defaults on "tun0" with MTU 1500 and this address.
    pub fn new(addr: Ipv4Net) -> Self {
        Self {
            net: Config::new([7; 32]),
            iface: "tun0".to_owned(),
            addrs: vec![addr],
            mtu: 1500,
            fd_limit: 1024,
        }
    }
}

/// See the module.
pub struct StackMachine {
    host: Host,
    process: Process,
    /// Calls that wait, oldest first.
    waiting: Vec<(Ticket, Pending)>,
    /// What calls returned that waited, until it is asked for.
    returned: BTreeMap<Ticket, (Return, Duration)>,
    tickets: u64,
    sent: VecDeque<SentPacket>,
}

impl StackMachine {
    /// A machine at its time 0.
    ///
    /// # Errors
    /// What the stack finds wrong with the interface, its addresses or its route.
    pub fn new(config: StackConfig) -> Result<Self, SetupError> {
        let link = LinkConfig {
            kind: LinkKind::Ip,
            mac: MacAddr::ZERO,
            vlan: None,
            mtu: config.mtu,
        };
        let iface = IfaceConfig {
            name: config.iface,
            link,
            accept_partial_csum: false,
        };
        let mut host = Host::new(config.net, iface)?;
        let iface = host.iface();
        for addr in config.addrs {
            host.stack().add_addr(iface, addr)?;
        }
        host.stack().add_route(RouteSpec {
            dest: Ipv4Net::default(),
            gateway: None,
            iface,
            prefsrc: None,
            metric: 0,
            mtu: None,
        })?;
        Ok(Self {
            host,
            process: Process::new(config.fd_limit),
            waiting: Vec::new(),
            returned: BTreeMap::new(),
            tickets: 0,
            sent: VecDeque::new(),
        })
    }

    /// The stack, to look at.
    pub fn stack(&self) -> &Stack {
        self.host.stack_ref()
    }

    /// The program's descriptors.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A signal comes for a call that waits: it returns now, with EINTR or what it has done. `None` when it does
    /// not wait.
    ///
    /// # Errors
    /// The machine is stuck.
    pub fn interrupt(&mut self, ticket: Ticket) -> Result<Option<Return>, Broken> {
        let Some(at) = self.waiting.iter().position(|(t, _)| *t == ticket) else {
            return Ok(None);
        };
        let (_, pending) = self.waiting.remove(at);
        let now = self.host.now();
        let returned = pending.cancel(&mut self.process, self.host.stack(), now);
        self.settle()?;
        Ok(Some(returned))
    }

    /// Lets the stack answer and steps the calls that wait, oldest first, until nothing changes.
    fn settle(&mut self) -> Result<(), Broken> {
        for _ in 0..MAX_ROUNDS {
            self.flush();
            let before = (self.waiting.len(), self.process.changes());
            self.step_waiting();
            self.flush();
            if (self.waiting.len(), self.process.changes()) == before {
                return Ok(());
            }
        }
        Err(Broken(
            "calls that wait wake each other for ever".to_owned(),
        ))
    }

    fn step_waiting(&mut self) {
        let now = self.host.now();
        let mut still = Vec::with_capacity(self.waiting.len());
        for (ticket, mut pending) in self.waiting.drain(..) {
            match pending.step(&mut self.process, self.host.stack(), now) {
                Some(returned) => {
                    let at = now.since(START);
                    self.returned.insert(ticket, (returned, at));
                }
                None => still.push((ticket, pending)),
            }
        }
        self.waiting = still;
    }

    /// What the stack has to send now goes to the queue of sent packets.
    fn flush(&mut self) {
        self.host.flush();
        for (user, ready) in self.host.take_wakes() {
            self.process.wake(user, ready);
        }
        let frames = self.host.sent().drain(..);
        self.sent.extend(frames.map(|frame| SentPacket {
            at: frame.at.since(START),
            bytes: frame.bytes,
        }));
    }

    fn deadline(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .filter_map(|(_, pending)| pending.deadline())
            .min()
    }

    /// What has happened so far, to see whether something did.
    fn mark(&self) -> (usize, usize) {
        (self.sent.len(), self.returned.len())
    }
}

impl Machine for StackMachine {
    fn now(&self) -> Duration {
        self.host.now().since(START)
    }

    fn realtime_start(&self) -> Duration {
        START.since(Instant::ZERO)
    }

    fn pass_time(&mut self, until: Duration) -> Result<Passed, Broken> {
        let until = (START + until).max(self.host.now());
        let before = self.mark();
        let mut stall = 0;
        loop {
            let now = self.host.now();
            let own = self.deadline().map(|due| due.max(now));
            let stack = self.host.next_deadline().map(|due| due.max(now));
            let Some(due) = own
                .into_iter()
                .chain(stack)
                .min()
                .filter(|due| *due <= until)
            else {
                self.host.advance_to(until).map_err(stalled)?;
                return Ok(Passed::Due);
            };
            stall = if due > now { 0 } else { stall + 1 };
            if stall > MAX_ROUNDS {
                return Err(stalled(Stalled));
            }
            self.host.tick_at(due);
            self.settle()?;
            if self.mark() != before {
                return Ok(Passed::Something);
            }
        }
    }

    fn inject(&mut self, packets: &[Vec<u8>]) -> Result<(), Broken> {
        let mut frames = packets.to_vec();
        self.host.inject(&mut frames);
        self.settle()
    }

    fn sent(&mut self) -> &mut VecDeque<SentPacket> {
        &mut self.sent
    }

    fn start(&mut self, call: Call) -> Result<Progress, Broken> {
        let now = self.host.now();
        let progress = match self.process.start(self.host.stack(), now, call) {
            Started::Done(returned) => Progress::Done(returned),
            Started::Parked(pending) => {
                self.tickets += 1;
                let ticket = Ticket(self.tickets);
                self.waiting.push((ticket, pending));
                Progress::Waits(ticket)
            }
        };
        self.settle()?;
        Ok(progress)
    }

    fn returned(&mut self, ticket: Ticket) -> Option<(Return, Duration)> {
        self.returned.remove(&ticket)
    }

    fn set_sysctl(&mut self, name: &str, value: &str) -> Result<(), Broken> {
        let set = self.host.stack().set_sysctl(name, value);
        set.map_err(|error| Broken(error.to_string()))
    }

    fn counter(&mut self, name: &str) -> Option<u64> {
        self.host.stack_ref().mib().get(name)
    }

    fn counters(&mut self) -> Vec<(String, u64)> {
        let mib = self.host.stack_ref().mib();
        mib.iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn change_link(&mut self, change: &LinkChange) -> Result<(), Broken> {
        match change {
            // Flows wait for the device in order and nothing is paced, without any other bound than the flow's own.
            LinkChange::Qdisc(Qdisc::Pfifo(None)) => Ok(()),
            // The link takes no work off the stack: segments leave as they are on the wire.
            LinkChange::Offload {
                offload: Offload::Tso | Offload::Gso,
                on: false,
            } => Ok(()),
            // The stack remembers nothing of its peers.
            LinkChange::FlushTcpMetrics => Ok(()),
            other => Err(Broken(format!("the stack cannot do {other:?}"))),
        }
    }
}

fn stalled(stalled: Stalled) -> Broken {
    Broken(stalled.to_string())
}

#[cfg(test)]
mod tests;
