//! Tables of sockets: dense indices, generations, a limit, and growth that never moves what is in them.

use crate::ids::{Place, SockId, SockKind};

/// Entries per block. A block is allocated at once and never moves.
const BLOCK: usize = 64;

/// Why nothing was inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// A table of sockets of one kind.
pub(crate) struct Slab<T> {
    kind: SockKind,
    blocks: Vec<Box<[Option<T>]>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    limit: usize,
}

impl<T> Slab<T> {
    pub(crate) fn new(kind: SockKind, limit: usize) -> Self {
        Self {
            kind,
            blocks: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            limit,
        }
    }

    /// Entries in use.
    pub(crate) fn len(&self) -> usize {
        self.generations.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Inserts what `make` builds from its own id.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(SockId) -> T) -> Result<SockId, Full> {
        if self.is_full() {
            return Err(Full);
        }
        if self.free.is_empty() {
            self.grow();
        }
        let Some(index) = self.free.pop() else {
            return Err(Full);
        };
        let id = self.id_of(index);
        self.blocks[index as usize / BLOCK][index as usize % BLOCK] = Some(make(id));
        Ok(id)
    }

    fn grow(&mut self) {
        let base = self.generations.len() as u32;
        self.blocks.push((0..BLOCK).map(|_| None).collect());
        self.generations.resize(base as usize + BLOCK, 1);
        self.free.extend((base..base + BLOCK as u32).rev());
    }

    /// The id of the entry at an index that a table of ours holds.
    pub(crate) fn id_at(&self, index: u32) -> SockId {
        self.id_of(index)
    }

    fn id_of(&self, index: u32) -> SockId {
        SockId::new(
            Place::new(self.kind, index),
            self.generations[index as usize],
        )
    }

    /// The entry with this id, unless the id is stale.
    #[inline]
    pub(crate) fn get(&self, id: SockId) -> Option<&T> {
        (self.generations.get(id.index() as usize) == Some(&id.generation())
            && id.place().is(self.kind))
        .then(|| self.at(id.index()))
        .flatten()
    }

    /// The entry with this id, unless the id is stale.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: SockId) -> Option<&mut T> {
        if self.generations.get(id.index() as usize) != Some(&id.generation())
            || !id.place().is(self.kind)
        {
            return None;
        }
        self.at_mut(id.index())
    }

    /// The entry at an index that a table of ours holds (the ehash).
    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.blocks.get(index as usize / BLOCK)?[index as usize % BLOCK].as_ref()
    }

    /// The entry at an index that a table of ours holds (the ehash).
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.blocks.get_mut(index as usize / BLOCK)?[index as usize % BLOCK].as_mut()
    }

    /// Takes the entry out; its id is stale from now on.
    pub(crate) fn remove(&mut self, id: SockId) -> Option<T> {
        self.get(id)?;
        let index = id.index() as usize;
        let value = self.blocks[index / BLOCK][index % BLOCK].take();
        self.generations[index] = self.generations[index].wrapping_add(1).max(1);
        self.free.push(id.index());
        value
    }

    /// Places, used and free: every index is below.
    pub(crate) fn places(&self) -> u32 {
        self.generations.len() as u32
    }

    /// Ids in use, in order of index.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SockId> + '_ {
        (0..self.generations.len() as u32)
            .filter(|i| self.at(*i).is_some())
            .map(|i| self.id_of(i))
    }
}
