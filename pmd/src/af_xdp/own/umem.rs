//! The frames' memory of a port (UMEM), divided into chunks. All slices of it are made here.
//!
//! Every queue has a region of chunks to receive into and one to send from. A chunk belongs at any time to exactly one of: the
//! kernel (it lies in a ring or in the device), or the half of the queue whose region it is in. A half makes a slice only of
//! chunks that it owns, and notes for each chunk whose it is: a descriptor that names another is not believed.

use std::io;

use rustix::net::xdp::{XdpUmemReg, XdpUmemRegFlags};

use super::mapping::Mapping;
use crate::af_xdp::Pages;
use crate::af_xdp::sizes::Sizes;

/// The memory of all queues of a port.
pub(super) struct Umem {
    memory: Mapping,
    len: usize,
    /// Binary logarithm of a chunk's size.
    shift: u32,
    pages: Pages,
}

impl Umem {
    /// Memory for `queues` queues.
    pub(super) fn new(sizes: Sizes, queues: u32) -> io::Result<Self> {
        let len = sizes.bytes() * queues as usize;
        let (memory, pages) = Mapping::of_frames(len)?;
        Ok(Self {
            memory,
            len,
            shift: sizes.chunk.trailing_zeros(),
            pages,
        })
    }

    pub(super) fn pages(&self) -> Pages {
        self.pages
    }

    /// Bytes of a chunk.
    #[inline]
    pub(super) fn chunk(&self) -> usize {
        1 << self.shift
    }

    /// Where chunk `number` begins.
    #[inline]
    pub(super) fn addr(&self, number: u32) -> u64 {
        u64::from(number) << self.shift
    }

    /// The chunk that `addr` lies in, and how far from its beginning.
    #[inline]
    pub(super) fn locate(&self, addr: u64) -> (u64, usize) {
        (addr >> self.shift, addr as usize & (self.chunk() - 1))
    }

    /// What `XDP_UMEM_REG` wants to know.
    pub(super) fn registration(&self) -> XdpUmemReg {
        XdpUmemReg {
            addr: self.memory.start().as_ptr() as u64,
            len: self.len as u64,
            chunk_size: 1 << self.shift,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        }
    }

    /// `len` bytes from `addr`.
    ///
    /// # Safety
    ///
    /// The chunks in which they lie must be the caller's, and stay it as long as the slice; meanwhile nobody else makes
    /// a slice of them.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is outside Rust's; the caller vouches for the chunks"
    )]
    pub(super) unsafe fn bytes(&self, addr: u64, len: usize) -> &mut [u8] {
        let start = usize::try_from(addr).unwrap_or(usize::MAX);
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "{len} bytes at {addr} are not in the frames' memory"
        );
        // SAFETY: within the mapping, which lives as long as `self`; initialised (zeroes at first); the caller's alone.
        unsafe { core::slice::from_raw_parts_mut(self.memory.start().add(start).as_ptr(), len) }
    }
}

/// Consecutive chunks of one half of one queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Region {
    /// The first chunk's number.
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Region {
    /// What queue `queue` receives into and sends from.
    pub(super) fn of_queue(sizes: Sizes, queue: u32) -> (Self, Self) {
        let first = queue * sizes.chunks();
        let rx = Self {
            first,
            count: sizes.rx,
        };
        let tx = Self {
            first: first + sizes.rx,
            count: sizes.tx,
        };
        (rx, tx)
    }

    /// The place of chunk `number` in this region, if it is in it.
    #[inline]
    pub(super) fn place(&self, number: u64) -> Option<usize> {
        let place = number.wrapping_sub(u64::from(self.first));
        (place < u64::from(self.count)).then_some(place as usize)
    }
}
