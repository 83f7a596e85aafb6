//! What must hold at any moment, whatever the peers do; for the lab and for tests. Slow: it looks at everything.

mod ports;
mod sock;

use crate::core::Stack;
use crate::ids::{SockId, SockKind};
use crate::tcp::sock::hot::Features;
use crate::tcp::state::{StateSet, TcpState};
use std::collections::{BTreeMap, BTreeSet};

/// An invariant that does not hold, in words.
type Broken = Result<(), String>;

fn equal(what: &str, noted: usize, counted: usize) -> Broken {
    if noted == counted {
        Ok(())
    } else {
        Err(format!("{what}: {noted} noted, {counted} counted"))
    }
}

impl Stack {
    /// Checks the invariants of all sockets and tables between two calls. The text says which one is broken.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn audit(&self) -> Result<(), String> {
        self.audit_socks()?;
        self.audit_ehash()?;
        self.audit_ports()?;
        self.audit_handshakes()?;
        self.audit_accounts()?;
        self.audit_queues()
    }

    fn audit_socks(&self) -> Broken {
        for id in self.socks.tcp.ids() {
            let Some(sk) = self.socks.tcp.get(id) else {
                continue;
            };
            let name = |what: &str| {
                let (tuple, state) = (sk.tuple(), sk.rx.state.name());
                format!("{id:?} {tuple:?} in {state}: {what}")
            };
            sock::audit(sk, &self.ctx).map_err(|what| name(&what))?;
            if sk.rx.state != TcpState::Close && sk.warm.hashed {
                let found = self.socks.ehash.lookup(sk.warm.hash, |p| p == id.place());
                if found.is_none_or(|p| p.kind() != SockKind::Tcp) {
                    return Err(name("not in the ehash"));
                }
            }
            if !self.holds_its_port(sk) {
                return Err(name("its claim on its port is not in the bind table"));
            }
        }
        Ok(())
    }

    fn audit_ehash(&self) -> Broken {
        let hashed = self.socks.tcp.ids().filter(|id| self.is_hashed(*id));
        let all = hashed.count() + self.socks.requests.len() + self.socks.tw.len();
        equal("entries of the ehash", self.socks.ehash.len(), all)
    }

    fn is_hashed(&self, id: SockId) -> bool {
        self.socks.tcp.get(id).is_some_and(|sk| sk.warm.hashed)
    }

    /// Mini-sockets come up in time, and listeners know how many handshakes are theirs.
    fn audit_handshakes(&self) -> Broken {
        let mut of: BTreeMap<SockId, usize> = BTreeMap::new();
        for id in self.socks.requests.ids() {
            if let Some(request) = self.socks.requests.get(id) {
                *of.entry(request.listener).or_default() += 1;
                if !self.ctx.wheel.fires_by(&request.wheel, request.deadline) {
                    return Err(format!("{id:?}: a handshake that no timer ends"));
                }
            }
        }
        for id in self.socks.tw.ids() {
            let mini = self.socks.tw.get(id);
            let at = mini.map(|mini| (mini.wheel, mini.ends_at()));
            if at.is_some_and(|(entry, at)| !self.ctx.wheel.fires_by(&entry, at)) {
                return Err(format!("{id:?}: a TIME_WAIT that no timer ends"));
            }
        }
        for id in self.socks.tcp.ids() {
            let listen = self
                .socks
                .tcp
                .get(id)
                .and_then(|sk| sk.cold.listen.as_ref());
            let Some(listen) = listen else { continue };
            let counted = of.remove(&id).unwrap_or_default();
            equal(
                "handshakes of a listener",
                listen.requests as usize,
                counted,
            )?;
            let lost = |child: &&SockId| {
                let child = self.socks.tcp.get(**child);
                child.is_none_or(|child| child.cold.parent != Some(id))
            };
            if let Some(child) = listen.accept.iter().find(lost) {
                return Err(format!("{child:?} waits for accept and is not a child"));
            }
        }
        match of.keys().next() {
            Some(gone) => Err(format!("a handshake for {gone:?}, which does not listen")),
            None => Ok(()),
        }
    }

    /// Memory, orphans and the gauge of established connections.
    fn audit_accounts(&self) -> Broken {
        let socks = || self.socks.tcp.ids().filter_map(|id| self.socks.tcp.get(id));
        let held = socks().filter_map(|sk| sk.rings.as_ref());
        let bytes: usize = held
            .map(|rings| rings.rcv_in.memory() + rings.snd_in.memory())
            .sum();
        let chunks = bytes / millrace_ring::bytes::CHUNK;
        equal("chunks in use", self.ctx.chunks.in_use(), chunks)?;
        let orphans = socks().filter(|sk| sk.warm.counted_orphan).count();
        equal("orphans", self.ctx.orphans as usize, orphans)?;
        let counted = StateSet::of(&[TcpState::Established, TcpState::CloseWait]);
        let open = socks().filter(|sk| sk.rx.state.is_in(counted)).count();
        let gauge = self.ctx.mib.value(crate::Counter::TcpCurrEstab);
        equal("established connections", gauge as usize, open)
    }

    /// Who believes to stand in a queue stands in one, once.
    fn audit_queues(&self) -> Broken {
        let queued = |id: &SockId| self.socks.tcp.get(*id).is_some_and(|sk| sk.tx.queued);
        let flows = self.ctx.ifaces.iter().flat_map(|i| &i.qdisc.flows);
        let mut standing = BTreeSet::new();
        for id in flows.chain(self.ctx.neigh.parked_flows()) {
            if queued(id) && !standing.insert(*id) {
                return Err(format!("{id:?} stands in queues twice"));
            }
        }
        let believe = self.socks.tcp.ids().filter(queued).count();
        equal("flows in queues", believe, standing.len())?;
        let told = |id: &SockId| {
            let sk = self.socks.tcp.get(*id);
            sk.is_some_and(|sk| sk.warm.event_queued)
        };
        let events: BTreeSet<_> = self.ctx.events.iter().filter(|id| told(id)).collect();
        let believe = self.socks.tcp.ids().filter(told).count();
        equal("sockets with an event", believe, events.len())?;
        let unheard = |id: &SockId| {
            self.socks.tcp.get(*id).is_some_and(|sk| {
                let owned = sk.rx.features.contains(Features::ATTACHED) && sk.cold.parent.is_none();
                owned && !sk.warm.pending.is_empty() && !sk.warm.event_queued
            })
        };
        match self.socks.tcp.ids().find(unheard) {
            Some(id) => Err(format!("{id:?} has something to say and is not asked")),
            None => Ok(()),
        }
    }
}
