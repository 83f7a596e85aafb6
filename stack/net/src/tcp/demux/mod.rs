//! From a segment to its socket: the established hash, then the listeners (Linux `inet_hashtables.c`).

pub(crate) mod ehash;
pub(crate) mod lhash;

use crate::keys::Keys;
use core::net::{Ipv4Addr, SocketAddrV4};

/// The four-tuple of a connection, seen from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Tuple {
    pub local: Ipv4Addr,
    pub remote: Ipv4Addr,
    pub lport: u16,
    pub rport: u16,
}

impl Tuple {
    pub(crate) fn local_addr(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.local, self.lport)
    }

    pub(crate) fn remote_addr(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.remote, self.rport)
    }

    /// Keyed hash, for the ehash (Linux `inet_ehashfn`).
    #[inline]
    pub(crate) fn hash(&self, keys: &Keys) -> u32 {
        keys.flow_hash(self)
    }
}
