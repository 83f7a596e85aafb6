//! Names of things: interfaces and sockets.

use core::fmt;

/// An interface of this stack, in the order of `Stack::add_iface`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IfaceId(pub u8);

/// Which table a socket id points into.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum SockKind {
    /// A full TCP socket, listeners included.
    Tcp = 0,
    /// A request mini-socket: a handshake in progress (Linux `request_sock`).
    Request = 1,
    /// A TIME_WAIT mini-socket (Linux `inet_timewait_sock`).
    TimeWait = 2,
}

/// Bits of an index; the kind takes the two above.
const INDEX_BITS: u32 = 30;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

/// A socket: kind, index into its table, and the generation of that place, so that an id which outlives its
/// socket is recognised as stale instead of reaching a stranger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SockId {
    place: Place,
    generation: u32,
}

impl SockId {
    pub(crate) const fn new(place: Place, generation: u32) -> Self {
        Self { place, generation }
    }

    pub(crate) const fn place(self) -> Place {
        self.place
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }

    /// Which table the id points into.
    pub const fn kind(self) -> SockKind {
        self.place.kind()
    }

    /// Index into the socket table: dense and reused, good for side tables of an application.
    pub const fn index(self) -> u32 {
        self.place.index()
    }

    /// The id as one number, for handles that must pass through an integer (`from_u64` brings it back).
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.place.0 as u64
    }

    /// The inverse of [`SockId::to_u64`]. A number that never was an id gives an id that no socket has.
    pub const fn from_u64(raw: u64) -> Self {
        Self {
            place: Place(raw as u32),
            generation: (raw >> 32) as u32,
        }
    }
}

impl fmt::Debug for SockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}.{}", self.kind(), self.index(), self.generation)
    }
}

/// Kind and index packed into one word: what the ehash stores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Place(u32);

impl Place {
    pub(crate) const fn new(kind: SockKind, index: u32) -> Self {
        Self((kind as u32) << INDEX_BITS | (index & INDEX_MASK))
    }

    pub(crate) const fn kind(self) -> SockKind {
        match self.0 >> INDEX_BITS {
            0 => SockKind::Tcp,
            1 => SockKind::Request,
            _ => SockKind::TimeWait,
        }
    }

    /// Points into the table of this kind.
    #[inline]
    pub(crate) const fn is(self, kind: SockKind) -> bool {
        self.0 >> INDEX_BITS == kind as u32
    }

    pub(crate) const fn index(self) -> u32 {
        self.0 & INDEX_MASK
    }
}
