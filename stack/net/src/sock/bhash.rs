//! Ports and who uses them (Linux `bhash`, `bhash2`, `inet_csk_bind_conflict`).
//!
//! A port's users are kept as counts of equal claims, not one by one: a thousand clients on one port and address are
//! one entry, so that bind costs the number of *different* claims on the port, which is small.

use bitflags::bitflags;
use core::net::Ipv4Addr;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

bitflags! {
    /// What decides whether two claims on a port go together.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct Traits: u8 {
        /// SO_REUSEADDR.
        const REUSE_ADDR = 1;
        /// SO_REUSEPORT.
        const REUSE_PORT = 2;
        /// The socket listens.
        const LISTENING = 4;
        /// connect chose the port (Linux `SOCK_CONNECT_BIND`): it may choose it again for another destination.
        const CONNECT = 8;
    }
}

/// One socket's use of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    /// Local address; unspecified is all of them.
    pub addr: Ipv4Addr,
    pub traits: Traits,
}

impl Claim {
    /// The two cannot both have the port (Linux `inet_bind_conflict`, `relax` set). All sockets of a stack have one
    /// owner, so SO_REUSEPORT needs no comparison of users.
    fn excludes(&self, new: &Self) -> bool {
        let both = |flag| self.traits.contains(flag) && new.traits.contains(flag);
        let reuse_addr = both(Traits::REUSE_ADDR) && !self.traits.contains(Traits::LISTENING);
        overlap(self.addr, new.addr) && !reuse_addr && !both(Traits::REUSE_PORT)
    }
}

fn overlap(a: Ipv4Addr, b: Ipv4Addr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

/// Equal claims on one port, and how many; never 0.
struct Group {
    claim: Claim,
    count: u32,
}

/// Keyed by port and never iterated, so its order never shows.
#[derive(Default)]
pub(crate) struct Bhash {
    ports: HashMap<u16, Vec<Group>, crate::keys::FixedState>,
}

impl Bhash {
    /// Ports that somebody uses.
    pub(crate) fn len(&self) -> usize {
        self.ports.len()
    }

    /// Claims on all ports.
    pub(crate) fn claims(&self) -> usize {
        let on_port = |groups: &Vec<Group>| groups.iter().map(|g| g.count as usize).sum::<usize>();
        self.ports.values().map(on_port).sum()
    }

    /// The port is claimed so, by this many sockets.
    pub(crate) fn count(&self, port: u16, claim: &Claim) -> u32 {
        let same = |group: &&Group| group.claim == *claim;
        self.groups(port).iter().find(same).map_or(0, |g| g.count)
    }

    fn groups(&self, port: u16) -> &[Group] {
        self.ports.get(&port).map_or(&[], Vec::as_slice)
    }

    /// Somebody else's claim on the port excludes `new`; `own` is the asking socket's present claim.
    pub(crate) fn is_taken(&self, port: u16, new: &Claim, own: Option<&Claim>) -> bool {
        self.groups(port).iter().any(|group| {
            let others = group.count - u32::from(own == Some(&group.claim));
            others > 0 && group.claim.excludes(new)
        })
    }

    /// Nobody uses the port with this address: bind may choose it (`relax` not set: options do not help).
    pub(crate) fn is_free(&self, port: u16, addr: Ipv4Addr) -> bool {
        !self
            .groups(port)
            .iter()
            .any(|group| overlap(group.claim.addr, addr))
    }

    /// connect may choose the port: only connect has chosen it so far, each time for another tuple.
    pub(crate) fn is_open_to_connect(&self, port: u16) -> bool {
        let chosen = |group: &Group| group.claim.traits.contains(Traits::CONNECT);
        self.groups(port).iter().all(chosen)
    }

    /// A socket uses the port from now on.
    pub(crate) fn add(&mut self, port: u16, claim: Claim) {
        let groups = self.ports.entry(port).or_default();
        match groups.iter_mut().find(|group| group.claim == claim) {
            Some(group) => group.count += 1,
            None => groups.push(Group { claim, count: 1 }),
        }
    }

    /// It no longer does.
    pub(crate) fn remove(&mut self, port: u16, claim: &Claim) {
        let Entry::Occupied(mut entry) = self.ports.entry(port) else {
            return;
        };
        let groups = entry.get_mut();
        if let Some(at) = groups.iter().position(|group| group.claim == *claim) {
            groups[at].count -= 1;
            if groups[at].count == 0 {
                groups.swap_remove(at);
            }
        }
        if groups.is_empty() {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    const PORT: u16 = 80;

    fn claim(addr: Ipv4Addr, options: &str) -> Claim {
        let mut traits = Traits::default();
        traits.set(Traits::REUSE_ADDR, options.contains('a'));
        traits.set(Traits::REUSE_PORT, options.contains('p'));
        Claim { addr, traits }
    }

    fn listening(claim: Claim) -> Claim {
        Claim {
            traits: claim.traits | Traits::LISTENING,
            ..claim
        }
    }

    /// What the first socket claims once it is in the state that the table names.
    fn first(state: &str, options: &str, addr: &str) -> Claim {
        let bound = claim(
            if addr == "*" {
                Ipv4Addr::UNSPECIFIED
            } else {
                A
            },
            options,
        );
        match state {
            "bound" | "late" => bound,
            "listen" => listening(bound),
            // A connection has an address, even if its socket was bound to the wildcard.
            "conn" | "child" | "tw" => claim(A, options),
            "auto" => Claim {
                addr: A,
                traits: bound.traits | Traits::CONNECT,
            },
            other => panic!("no such state: {other}"),
        }
    }

    /// bind and listen of a second socket, in the table's letters.
    fn second(hash: &mut Bhash, late: Option<Claim>, new: Claim) -> String {
        if hash.is_taken(PORT, &new, None) {
            return "U".into();
        }
        hash.add(PORT, new);
        if let Some(first) = late {
            hash.remove(PORT, &first);
            hash.add(PORT, listening(first));
        }
        let refused = hash.is_taken(PORT, &listening(new), Some(&new));
        if refused { "gU".into() } else { "gg".into() }
    }

    #[test]
    fn ports_are_shared_as_in_linux() {
        let rows = include_str!("bind_linux_6_18.txt").lines();
        let mut cases = 0;
        for row in rows.filter(|row| !row.starts_with('#')) {
            let words: Vec<&str> = row.split(' ').collect();
            let [state, o1, a1, o2, answers @ ..] = words.as_slice() else {
                panic!("{row}");
            };
            for (addr, expected) in [A, B, Ipv4Addr::UNSPECIFIED].into_iter().zip(answers) {
                let mut hash = Bhash::default();
                let one = first(state, o1, a1);
                hash.add(PORT, one);
                let late = (*state == "late").then_some(one);
                let got = second(&mut hash, late, claim(addr, o2));
                assert_eq!(got, **expected, "{row}: {addr}");
                cases += 1;
            }
        }
        assert_eq!(cases, 624);
    }

    #[test]
    fn equal_claims_are_counted() {
        let mut hash = Bhash::default();
        let mine = claim(A, "a");
        for _ in 0..3 {
            hash.add(PORT, mine);
        }
        assert_eq!(hash.groups(PORT).len(), 1);
        hash.remove(PORT, &mine);
        hash.remove(PORT, &mine);
        assert!(hash.is_taken(PORT, &claim(A, ""), None));
        assert!(!hash.is_taken(PORT, &claim(A, ""), Some(&mine)));
        hash.remove(PORT, &claim(B, "a"));
        assert_eq!(hash.len(), 1);
        hash.remove(PORT, &mine);
        assert_eq!(hash.len(), 0);
    }

    #[test]
    fn what_may_be_chosen() {
        let mut hash = Bhash::default();
        hash.add(PORT, first("auto", "", "A"));
        assert!(hash.is_open_to_connect(PORT) && !hash.is_free(PORT, A) && hash.is_free(PORT, B));
        hash.add(PORT, claim(B, "a"));
        assert!(!hash.is_open_to_connect(PORT));
        // Options share a port that was named, not one that is to be chosen.
        assert!(!hash.is_free(PORT, B));
    }
}
