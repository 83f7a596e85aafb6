//! What must hold at any moment, whatever the peers do; for the lab and for tests. Slow: it looks at everything.

use crate::core::Stack;
use crate::ids::SockKind;
use crate::sock::bind::claim_of;
use crate::tcp::sock::TcpSock;
use crate::tcp::state::{CAN_SEND, TcpState};

impl Stack {
    /// Checks the invariants of all sockets and tables. The text says which one is broken.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn audit(&self) -> Result<(), String> {
        for id in self.socks.tcp.ids() {
            let Some(sk) = self.socks.tcp.get(id) else {
                continue;
            };
            let tx = &sk.tx;
            let broken = |what: &str| {
                Err(format!(
                    "{id:?} {:?} in {}: {what}",
                    sk.tuple(),
                    sk.rx.state.name()
                ))
            };
            if !sk.records.is_consistent() {
                return broken("record counters differ from a recount, or the records have gaps");
            }
            if tx.snd_una.after(tx.snd_nxt)
                || tx.snd_nxt.after(sk.end_of_queue()) && sk.rx.state != TcpState::Close
            {
                return broken("snd_una <= snd_nxt <= end of queue does not hold");
            }
            if let Some(first) = sk.records.front()
                && first.seq != tx.snd_una
            {
                return broken("the first record does not begin at snd_una");
            }
            if tx.snd_cwnd == 0 {
                return broken("cwnd is zero");
            }
            if !sk.records.is_empty() && sk.warm.timers.rtx.is_none() && !tx.queued {
                return broken("segments are in the network and no timer runs");
            }
            let waits = sk.rx.state.is_in(CAN_SEND) && sk.has_unsent() && sk.records.is_empty();
            if waits && sk.warm.timers.rtx.is_none() && !tx.queued {
                return broken("data waits, nothing is in the network, and no timer runs");
            }
            if sk.rx.state != TcpState::Close && sk.warm.hashed {
                let found = self.socks.ehash.lookup(sk.warm.hash, |p| p == id.place());
                if found.is_none_or(|p| p.kind() != SockKind::Tcp) {
                    return broken("not in the ehash");
                }
            }
            if !self.holds_its_port(sk) {
                return broken("its claim on its port is not in the bind table");
            }
        }
        self.audit_ports()?;
        let hashed = self
            .socks
            .tcp
            .ids()
            .filter(|id| self.socks.tcp.get(*id).is_some_and(|sk| sk.warm.hashed))
            .count();
        let all = hashed + self.socks.requests.len() + self.socks.tw.len();
        if all != self.socks.ehash.len() {
            return Err(format!(
                "ehash has {} entries for {all} sockets",
                self.socks.ehash.len()
            ));
        }
        Ok(())
    }

    /// A socket with a port, or with a connection, has a claim that the bind table knows; any other has none.
    fn holds_its_port(&self, sk: &TcpSock) -> bool {
        match &sk.cold.claim {
            Some(claim) => {
                sk.cold.port != 0
                    && *claim == claim_of(sk)
                    && self.socks.bhash.count(sk.cold.port, claim) > 0
            }
            None => sk.cold.port == 0 && !sk.warm.hashed && sk.cold.listen.is_none(),
        }
    }

    /// Every claim in the bind table is somebody's.
    fn audit_ports(&self) -> Result<(), String> {
        let tcp = &self.socks.tcp;
        let claims = tcp
            .ids()
            .filter(|id| tcp.get(*id).is_some_and(|sk| sk.cold.claim.is_some()))
            .count();
        let tw = &self.socks.tw;
        let unknown = tw.ids().find(|id| {
            tw.get(*id)
                .is_some_and(|t| self.socks.bhash.count(t.tuple.lport, &t.claim()) == 0)
        });
        if let Some(id) = unknown {
            return Err(format!("{id:?} holds no claim on its port"));
        }
        let (held, owners) = (self.socks.bhash.claims(), claims + tw.len());
        if held != owners {
            return Err(format!(
                "the bind table has {held} claims for {owners} sockets"
            ));
        }
        Ok(())
    }
}
