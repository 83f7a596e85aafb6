//! Listeners by port (Linux `lhash2`): a specific address beats the wildcard, and a SO_REUSEPORT group shares
//! its connections by flow hash.

use crate::ids::SockId;
use core::net::Ipv4Addr;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

#[derive(Clone, Copy)]
struct Listener {
    addr: Ipv4Addr,
    sock: SockId,
}

/// Never iterated, so its order never shows.
#[derive(Default)]
pub(crate) struct Lhash {
    ports: HashMap<u16, Vec<Listener>, crate::keys::FixedState>,
    len: usize,
}

impl Lhash {
    /// Listeners in all.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, addr: Ipv4Addr, port: u16, sock: SockId) {
        self.ports
            .entry(port)
            .or_default()
            .push(Listener { addr, sock });
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, port: u16, sock: SockId) {
        let Entry::Occupied(mut entry) = self.ports.entry(port) else {
            return;
        };
        let before = entry.get().len();
        entry.get_mut().retain(|l| l.sock != sock);
        self.len -= before - entry.get().len();
        if entry.get().is_empty() {
            entry.remove();
        }
    }

    /// The listener for a SYN to `addr:port`; `hash` chooses within a SO_REUSEPORT group.
    pub(crate) fn lookup(&self, addr: Ipv4Addr, port: u16, hash: u32) -> Option<SockId> {
        let listeners = self.ports.get(&port)?;
        let wanted = if listeners.iter().any(|l| l.addr == addr) {
            addr
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        let group = listeners.iter().filter(|l| l.addr == wanted);
        let size = group.clone().count();
        group
            .map(|l| l.sock)
            .nth(((u64::from(hash) * size as u64) >> 32) as usize)
    }
}
