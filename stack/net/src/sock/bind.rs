//! Ports and their owners (Linux `bhash`, `inet_csk_get_port`): who may bind where.

use crate::ids::SockId;
use core::net::Ipv4Addr;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// A socket that named its port.
#[derive(Clone, Copy)]
struct Owner {
    sock: SockId,
    addr: Ipv4Addr,
    reuse_addr: bool,
    reuse_port: bool,
    listening: bool,
}

#[derive(Default)]
struct Bucket {
    owners: Vec<Owner>,
    /// Connections and mini-sockets on this port that did not name it.
    children: u32,
}

/// What a socket asks for.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    pub sock: SockId,
    pub addr: Ipv4Addr,
    pub reuse_addr: bool,
    pub reuse_port: bool,
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Bound {
    /// The port is the socket's.
    Granted,
    /// Somebody else has it.
    InUse,
}

/// Keyed by port and never iterated, so its order never shows.
#[derive(Default)]
pub(crate) struct Bhash {
    ports: HashMap<u16, Bucket, crate::keys::FixedState>,
}

fn overlap(a: Ipv4Addr, b: Ipv4Addr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

impl Bhash {
    /// Ports with an owner or a connection.
    pub(crate) fn len(&self) -> usize {
        self.ports.len()
    }

    /// Binds a socket to a port it names.
    pub(crate) fn bind(&mut self, port: u16, claim: Claim) -> Bound {
        let bucket = self.ports.entry(port).or_default();
        let conflict = bucket.owners.iter().any(|o| {
            let both_reuse = claim.reuse_addr && o.reuse_addr && !o.listening;
            let both_port = claim.reuse_port && o.reuse_port;
            o.sock != claim.sock && overlap(o.addr, claim.addr) && !both_reuse && !both_port
        });
        // Connections left over from a listener that is gone: only SO_REUSEADDR passes them by.
        let left_over = bucket.owners.is_empty()
            && bucket.children > 0
            && !claim.reuse_addr
            && !claim.reuse_port;
        if conflict || left_over {
            if bucket.owners.is_empty() && bucket.children == 0 {
                self.ports.remove(&port);
            }
            return Bound::InUse;
        }
        let Claim {
            sock,
            addr,
            reuse_addr,
            reuse_port,
        } = claim;
        bucket.owners.push(Owner {
            sock,
            addr,
            reuse_addr,
            reuse_port,
            listening: false,
        });
        Bound::Granted
    }

    /// The socket wants to listen: SO_REUSEADDR does not share a port with another listener.
    pub(crate) fn listen(&mut self, port: u16, sock: SockId) -> Bound {
        let Some(bucket) = self.ports.get_mut(&port) else {
            return Bound::InUse;
        };
        let Some(me) = bucket.owners.iter().find(|o| o.sock == sock).copied() else {
            return Bound::InUse;
        };
        let conflict = bucket.owners.iter().any(|o| {
            o.sock != sock
                && o.listening
                && overlap(o.addr, me.addr)
                && !(o.reuse_port && me.reuse_port)
        });
        if conflict {
            return Bound::InUse;
        }
        for owner in bucket.owners.iter_mut().filter(|o| o.sock == sock) {
            owner.listening = true;
        }
        Bound::Granted
    }

    /// The socket listens no more, and keeps its port.
    pub(crate) fn unlisten(&mut self, port: u16, sock: SockId) {
        if let Some(bucket) = self.ports.get_mut(&port) {
            for owner in bucket.owners.iter_mut().filter(|o| o.sock == sock) {
                owner.listening = false;
            }
        }
    }

    /// The socket that named the port lets go of it.
    pub(crate) fn release(&mut self, port: u16, sock: SockId) {
        let Entry::Occupied(mut entry) = self.ports.entry(port) else {
            return;
        };
        entry.get_mut().owners.retain(|o| o.sock != sock);
        if entry.get().owners.is_empty() && entry.get().children == 0 {
            entry.remove();
        }
    }

    /// A connection lives on a port that it did not name.
    pub(crate) fn add_child(&mut self, port: u16) {
        self.ports.entry(port).or_default().children += 1;
    }

    /// It ended.
    pub(crate) fn release_child(&mut self, port: u16) {
        let Entry::Occupied(mut entry) = self.ports.entry(port) else {
            return;
        };
        let bucket = entry.get_mut();
        bucket.children = bucket.children.saturating_sub(1);
        if bucket.owners.is_empty() && bucket.children == 0 {
            entry.remove();
        }
    }

    /// No socket has named this port: connect may choose it.
    pub(crate) fn is_unowned(&self, port: u16) -> bool {
        self.ports.get(&port).is_none_or(|b| b.owners.is_empty())
    }

    /// Nothing at all is on this port: bind may choose it.
    pub(crate) fn is_free(&self, port: u16) -> bool {
        !self.ports.contains_key(&port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Place, SockKind};

    const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn claim(i: u32, addr: Ipv4Addr, reuse_addr: bool, reuse_port: bool) -> Claim {
        Claim {
            sock: SockId::new(Place::new(SockKind::Tcp, i), 1),
            addr,
            reuse_addr,
            reuse_port,
        }
    }

    /// First and second bind: address, SO_REUSEADDR, SO_REUSEPORT; does the second succeed? (Linux 6.)
    #[test]
    fn pairs() {
        let cases = [
            ((A, false, false), (A, false, false), Bound::InUse),
            ((A, false, false), (B, false, false), Bound::Granted),
            ((ANY, false, false), (A, false, false), Bound::InUse),
            ((A, false, false), (ANY, true, false), Bound::InUse),
            ((A, true, false), (A, true, false), Bound::Granted),
            ((ANY, true, false), (A, true, false), Bound::Granted),
            ((A, false, true), (A, false, true), Bound::Granted),
            ((A, false, true), (A, true, false), Bound::InUse),
        ];
        for (first, second, expected) in cases {
            let mut hash = Bhash::default();
            assert_eq!(
                hash.bind(80, claim(1, first.0, first.1, first.2)),
                Bound::Granted
            );
            assert_eq!(
                hash.bind(80, claim(2, second.0, second.1, second.2)),
                expected,
                "{first:?} {second:?}"
            );
        }
    }

    #[test]
    fn listener_excludes_reuseaddr() {
        let mut hash = Bhash::default();
        let (one, two) = (claim(1, A, true, false), claim(2, A, true, false));
        assert_eq!(hash.bind(80, one), Bound::Granted);
        assert_eq!(hash.bind(80, two), Bound::Granted);
        assert_eq!(hash.listen(80, one.sock), Bound::Granted);
        assert_eq!(hash.listen(80, two.sock), Bound::InUse);
        hash.release(80, two.sock);
        assert_eq!(hash.bind(80, two), Bound::InUse);
    }

    #[test]
    fn left_over_connections_need_reuseaddr() {
        let mut hash = Bhash::default();
        hash.add_child(80);
        assert_eq!(hash.bind(80, claim(1, ANY, false, false)), Bound::InUse);
        assert_eq!(hash.bind(80, claim(1, ANY, true, false)), Bound::Granted);
        hash.release(80, claim(1, ANY, true, false).sock);
        hash.release_child(80);
        assert!(hash.is_free(80));
    }
}
