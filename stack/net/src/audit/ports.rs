//! The bind table and its claims.

use super::{Broken, equal};
use crate::core::Stack;
use crate::sock::bind::claim_of;
use crate::tcp::sock::TcpSock;

impl Stack {
    /// A socket with a port, or with a connection, has a claim that the bind table knows; any other has none.
    pub(super) fn holds_its_port(&self, sk: &TcpSock) -> bool {
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
    pub(super) fn audit_ports(&self) -> Broken {
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
        let held = self.socks.bhash.claims();
        equal("claims in the bind table", held, claims + tw.len())
    }
}
