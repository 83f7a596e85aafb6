//! Memory that the kernel sees too: mapped on making, unmapped on drop.

use core::ptr::{NonNull, null_mut};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::af_xdp::Pages;

const HUGE_PAGE: usize = 2 << 20;

/// A mapping, zeroed or the kernel's. It makes no reference to its bytes by itself.
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is process-wide and only unmapped by its owner; what is done with its bytes is the users' to argue.
unsafe impl Send for Mapping {}
// SAFETY: as above; by itself it only gives out its address.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` bytes of a socket's ring, from `offset`, which names the ring.
    pub(super) fn of_ring(socket: BorrowedFd<'_>, len: usize, offset: u64) -> io::Result<Self> {
        let offset = offset.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
        Self::new(len, libc::MAP_SHARED, socket.as_raw_fd(), offset)
    }

    /// At least `len` bytes of zeroes: in huge pages if there are any.
    pub(super) fn of_frames(len: usize) -> io::Result<(Self, Pages)> {
        let whole = len.next_multiple_of(HUGE_PAGE);
        if let Ok(mapping) = Self::anonymous(whole, libc::MAP_HUGETLB) {
            return Ok((mapping, Pages::Huge));
        }
        Ok((Self::anonymous(len, 0)?, Pages::Small))
    }

    /// `len` bytes of zeroes.
    pub(super) fn anonymous(len: usize, flags: libc::c_int) -> io::Result<Self> {
        Self::new(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags, -1, 0)
    }

    fn new(len: usize, flags: libc::c_int, fd: RawFd, offset: libc::off_t) -> io::Result<Self> {
        // SAFETY: the kernel chooses a free place, and takes no memory that is in use; a wrong argument is an error.
        let start = unsafe {
            libc::mmap(
                null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags | libc::MAP_POPULATE,
                fd,
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// The first byte. Page-aligned.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and whoever used its bytes borrowed or owned it.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, 0, "{}", io::Error::last_os_error());
    }
}
