//! A side table of connections, indexed by the small numbers of their sockets.

use millrace::SockId;

/// Places kept when no connection is open.
const KEPT: usize = 1024;

/// Entries by socket; a stale id finds nothing.
pub(super) struct Conns<T> {
    slots: Vec<Option<(SockId, T)>>,
    open: usize,
}

impl<T> Conns<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            open: 0,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Enters a new connection; one that had the same place is gone.
    pub(super) fn insert(&mut self, sock: SockId, entry: T) {
        let place = sock.index() as usize;
        if place >= self.slots.len() {
            self.slots.resize_with(place + 1, || None);
        }
        if self.slots[place].replace((sock, entry)).is_none() {
            self.open += 1;
        }
    }

    pub(super) fn get_mut(&mut self, sock: SockId) -> Option<&mut T> {
        match self.slots.get_mut(sock.index() as usize) {
            Some(Some((id, entry))) if *id == sock => Some(entry),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, sock: SockId) -> Option<T> {
        let slot = self.slots.get_mut(sock.index() as usize)?;
        let (_, entry) = slot.take_if(|(id, _)| *id == sock)?;
        self.open -= 1;
        if self.open == 0 && self.slots.len() > KEPT {
            // A burst of connections leaves no memory behind.
            self.slots = Vec::new();
        }
        Some(entry)
    }

    /// The sockets at the places from `start` on, at most `count` places: they, and where to go on (0 at the end).
    pub(super) fn stretch(
        &self,
        start: usize,
        count: usize,
    ) -> (impl Iterator<Item = SockId>, usize) {
        let end = start.saturating_add(count).min(self.slots.len());
        let stretch = self.slots.get(start..end).unwrap_or_default();
        let next = if end == self.slots.len() { 0 } else { end };
        (stretch.iter().flatten().map(|(sock, _)| *sock), next)
    }

    /// All sockets, in the order of their places.
    pub(super) fn socks(&self) -> Vec<SockId> {
        self.slots.iter().flatten().map(|(sock, _)| *sock).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of place `index`, `generation` sockets later.
    fn sock(index: u64, generation: u64) -> SockId {
        SockId::from_u64(generation << 32 | index)
    }

    #[test]
    fn stale_ids_find_nothing() {
        let mut conns = Conns::new();
        conns.insert(sock(3, 1), "old");
        assert_eq!(conns.remove(sock(3, 2)), None);
        assert_eq!(conns.remove(sock(3, 1)), Some("old"));
        conns.insert(sock(3, 2), "new");
        assert_eq!(conns.get_mut(sock(3, 1)), None);
        assert_eq!(conns.get_mut(sock(3, 2)), Some(&mut "new"));
        assert_eq!(conns.open(), 1);
    }

    #[test]
    fn a_walk_in_stretches_sees_all() {
        let mut conns = Conns::new();
        for index in [0, 2, 5, 6] {
            conns.insert(sock(index, 0), ());
        }
        let (mut seen, mut at) = (Vec::new(), 0);
        loop {
            let (some, next) = conns.stretch(at, 3);
            seen.extend(some);
            at = next;
            if at == 0 {
                break;
            }
        }
        assert_eq!(seen, conns.socks());
        assert_eq!(seen.len(), conns.open());
    }
}
