//! The established hash: cache-line buckets of (tag, place), open addressing by buckets, incremental resize.
//!
//! A bucket holds seven entries and the number of entries whose probe passed over it because it was full; a
//! lookup goes on to the next bucket only if that number is not zero, so there are no tombstones. Growing moves
//! two buckets per insertion, so that no packet pays for a million connections.

use crate::ids::Place;

const WAYS: usize = 7;
/// Old buckets moved per insertion while the table grows.
const MOVES: usize = 2;

#[derive(Clone)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u32; WAYS],
    passed: u32,
    places: [u32; WAYS],
    used: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Self = Self {
        tags: [0; WAYS],
        passed: 0,
        places: [0; WAYS],
        used: 0,
    };
}

/// An entry as the table stores it: kind and index in one word.
fn pack(place: Place) -> u32 {
    (place.kind() as u32) << 30 | place.index()
}

fn unpack(raw: u32) -> Place {
    use crate::ids::SockKind::{Request, Tcp, TimeWait};
    let kind = match raw >> 30 {
        0 => Tcp,
        1 => Request,
        _ => TimeWait,
    };
    Place::new(kind, raw)
}

struct Table {
    buckets: Box<[Bucket]>,
    len: usize,
}

impl Table {
    fn new(buckets: usize) -> Self {
        Self {
            buckets: vec![Bucket::EMPTY; buckets.next_power_of_two()].into_boxed_slice(),
            len: 0,
        }
    }

    fn mask(&self) -> usize {
        self.buckets.len() - 1
    }

    #[inline]
    fn find(&self, hash: u32, mut same: impl FnMut(Place) -> bool) -> Option<(usize, usize)> {
        let mut b = hash as usize & self.mask();
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[b];
            for way in 0..WAYS {
                if bucket.used & 1 << way != 0
                    && bucket.tags[way] == hash
                    && same(unpack(bucket.places[way]))
                {
                    return Some((b, way));
                }
            }
            if bucket.passed == 0 {
                return None;
            }
            b = (b + 1) & self.mask();
        }
        None
    }

    fn insert(&mut self, hash: u32, place: u32) {
        let mut b = hash as usize & self.mask();
        loop {
            let bucket = &mut self.buckets[b];
            let way = (!bucket.used).trailing_zeros() as usize;
            if way < WAYS {
                bucket.tags[way] = hash;
                bucket.places[way] = place;
                bucket.used |= 1 << way;
                self.len += 1;
                return;
            }
            bucket.passed += 1;
            b = (b + 1) & (self.buckets.len() - 1);
        }
    }

    fn remove_at(&mut self, hash: u32, at: (usize, usize)) {
        let mut b = hash as usize & self.mask();
        while b != at.0 {
            self.buckets[b].passed -= 1;
            b = (b + 1) & self.mask();
        }
        self.buckets[b].used &= !(1 << at.1);
        self.len -= 1;
    }
}

/// See the module. Tuples are compared by the caller, in the sockets themselves.
pub(crate) struct Ehash {
    table: Table,
    /// The smaller table that is being emptied, and how far.
    old: Option<(Table, usize)>,
}

impl Ehash {
    pub(crate) fn new() -> Self {
        Self {
            table: Table::new(64),
            old: None,
        }
    }

    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.table.len + self.old.as_ref().map_or(0, |(old, _)| old.len)
    }

    /// The place whose socket has the tuple that `same` tests for.
    #[inline]
    pub(crate) fn lookup(&self, hash: u32, mut same: impl FnMut(Place) -> bool) -> Option<Place> {
        if let Some((b, way)) = self.table.find(hash, &mut same) {
            return Some(unpack(self.table.buckets[b].places[way]));
        }
        let (old, _) = self.old.as_ref()?;
        let (b, way) = old.find(hash, same)?;
        Some(unpack(old.buckets[b].places[way]))
    }

    /// Adds an entry; the caller has seen to it that the tuple is not there yet.
    pub(crate) fn insert(&mut self, hash: u32, place: Place) {
        self.move_some();
        if self.old.is_none() && self.table.len >= self.table.buckets.len() * (WAYS - 2) {
            let bigger = Table::new(self.table.buckets.len() * 2);
            self.old = Some((core::mem::replace(&mut self.table, bigger), 0));
        }
        self.table.insert(hash, pack(place));
    }

    /// Removes the entry of `place`.
    pub(crate) fn remove(&mut self, hash: u32, place: Place) {
        if let Some(at) = self.table.find(hash, |p| p == place) {
            self.table.remove_at(hash, at);
        } else if let Some((old, _)) = &mut self.old
            && let Some(at) = old.find(hash, |p| p == place)
        {
            old.remove_at(hash, at);
        }
    }

    /// Replaces the entry of `from` by `to`, in place: a mini-socket becomes a full one, or the reverse.
    pub(crate) fn replace(&mut self, hash: u32, from: Place, to: Place) {
        if let Some((b, way)) = self.table.find(hash, |p| p == from) {
            self.table.buckets[b].places[way] = pack(to);
        } else if let Some((old, _)) = &mut self.old
            && let Some((b, way)) = old.find(hash, |p| p == from)
        {
            old.buckets[b].places[way] = pack(to);
        }
    }

    fn move_some(&mut self) {
        let Some((old, next)) = &mut self.old else {
            return;
        };
        for _ in 0..MOVES {
            let Some(bucket) = old.buckets.get(*next) else {
                break;
            };
            for way in (0..WAYS).filter(|w| bucket.used & 1 << w != 0) {
                self.table.insert(bucket.tags[way], bucket.places[way]);
            }
            // The probe counts stay: other entries' probes still pass over this bucket.
            old.len -= bucket.used.count_ones() as usize;
            old.buckets[*next].used = 0;
            *next += 1;
        }
        if *next == old.buckets.len() {
            self.old = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SockKind;
    use proptest::prelude::*;

    proptest! {
        /// The table is a map, through growth, collisions and removals.
        #[test]
        fn behaves_as_a_map(ops in prop::collection::vec((any::<bool>(), 0u32..600), 1..3000), squeeze in 0u32..3) {
            let mut hash = Ehash::new();
            let mut model = std::collections::BTreeMap::new();
            let h = |i: u32| match squeeze { 0 => i.wrapping_mul(0x9e37_79b9), 1 => i & 3, _ => i };
            for (add, i) in ops {
                let place = Place::new(SockKind::Tcp, i);
                if add && !model.contains_key(&i) {
                    hash.insert(h(i), place);
                    model.insert(i, place);
                } else if !add && model.remove(&i).is_some() {
                    hash.remove(h(i), place);
                }
                prop_assert_eq!(hash.len(), model.len());
            }
            for i in 0..600 {
                let found = hash.lookup(h(i), |p| p.index() == i);
                prop_assert_eq!(found, model.get(&i).copied());
            }
        }
    }

    /// Tuples that an attacker chooses without the keys (one network and all its ports, one port and many networks,
    /// both in step) spread like any others: at the table's highest load a lookup passes a quarter of a bucket on
    /// average, and never more than sixteen.
    #[test]
    fn probes_stay_short_for_chosen_tuples() {
        let keys = crate::keys::Keys::new(&[7; 32]);
        let tuple = |remote: u32, rport: u16| crate::tcp::demux::Tuple {
            local: core::net::Ipv4Addr::new(10, 0, 0, 1),
            remote: remote.into(),
            lport: 80,
            rport,
        };
        let families: [&dyn Fn(u32) -> crate::tcp::demux::Tuple; 3] = [
            &|i| tuple(0x0a00_0000 + (i >> 16), i as u16),
            &|i| tuple(i << 8, 443),
            &|i| tuple(0x0a00_0000 + i, (i * 257) as u16),
        ];
        for family in families {
            let mut hash = Ehash::new();
            let mut table = Table::new(1 << 14);
            let count = ((1 << 14) * (WAYS as u32 - 2)) - 1;
            for i in 0..count {
                let h = keys.flow_hash(&family(i));
                table.insert(h, i);
                hash.insert(h, Place::new(SockKind::Tcp, i));
            }
            let passed = |i| {
                let h = keys.flow_hash(&family(i));
                let (b, _) = table.find(h, |p| p.index() == i).unwrap();
                b.wrapping_sub(h as usize) & table.mask()
            };
            let (sum, longest) = (0..count).fold((0, 0), |(sum, longest), i| {
                (sum + passed(i), passed(i).max(longest))
            });
            assert!(longest <= 16, "{longest} buckets");
            assert!(sum * 4 <= count as usize, "{sum} buckets in all");
            assert_eq!(hash.len(), count as usize);
        }
    }
}
