//! The system calls of one socket: made, given its rings, bound, woken, asked.
//!
//! The memory is registered with the socket of the first queue; the others share it (`XDP_SHARED_UMEM`) and have fill and
//! completion rings of their own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_xdp_rx_ring_size, set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size,
    set_xdp_umem_fill_ring_size, set_xdp_umem_reg, xdp_mmap_offsets, xdp_statistics,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING,
    XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpRingOffset,
    XdpStatistics,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use super::mapping::Mapping;
use super::ring::{Consumer, Desc, Producer};
use super::umem::Umem;
use crate::af_xdp::AfXdpConfig;
use crate::af_xdp::open::{busy_poll, not_bound, patiently, set_option};
use crate::af_xdp::program::Attached;
use crate::af_xdp::sizes::{Pieces, Sizes};
use crate::error::PortError;
use crate::netdev::system;
use crate::queue::Mode;

/// `XDP_MAX_TX_SKB_BUDGET` (Linux 6.17): frames that one `sendto` takes in copy mode.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Descriptors that one `sendto` takes without that option (the kernel's `TX_BATCH_SIZE`).
const TX_BATCH_SIZE: u32 = 32;
/// What we ask for: a burst of answers to a burst of frames.
const TX_BUDGET: u32 = 64;

/// An open socket, shared by the halves of its queue.
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Makes the kernel look at the transmit ring.
    ///
    /// # Errors
    ///
    /// That it has more to do (EAGAIN), or cannot now (EBUSY, ENOBUFS, ENETDOWN).
    #[inline]
    pub(super) fn kick(&self) -> Result<(), Errno> {
        send(&self.0, &[], SendFlags::DONTWAIT).map(drop)
    }

    /// Makes the kernel look at the fill ring. It says EAGAIN when there is nothing to do.
    pub(super) fn wake_rx(&self) {
        let _ = recv(&self.0, &mut [0_u8; 0], RecvFlags::DONTWAIT);
    }

    /// A descriptor that is no socket of AF_XDP: every call fails.
    #[cfg(test)]
    pub(super) fn of_nothing() -> Self {
        let flags = rustix::event::EventfdFlags::empty();
        Self(rustix::event::eventfd(0, flags).expect("eventfd"))
    }

    pub(super) fn statistics(&self) -> Option<XdpStatistics> {
        xdp_statistics(&self.0).ok()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A bound socket with its rings, all of them empty.
pub(super) struct Bound {
    pub(super) socket: Socket,
    pub(super) fill: Producer<u64>,
    pub(super) comp: Consumer<u64>,
    pub(super) rx: Consumer<Desc>,
    pub(super) tx: Producer<Desc>,
    pub(super) mode: Mode,
    /// Descriptors that one kick moves.
    pub(super) budget: u32,
}

/// What the sockets of a port have in common.
pub(super) struct Opener<'a> {
    pub(super) config: &'a AfXdpConfig,
    pub(super) sizes: Sizes,
    pub(super) umem: &'a Arc<Umem>,
    /// The interface's number.
    pub(super) index: u32,
    pub(super) attached: Attached,
}

impl Opener<'_> {
    /// Opens and binds a socket to `queue`, with the memory of `first` if there is one: zero-copy if the device can, copying
    /// otherwise.
    pub(super) fn open(&self, queue: u32, first: Option<&Bound>) -> Result<Bound, PortError> {
        let native = [
            (SocketAddrXdpFlags::XDP_ZEROCOPY, Mode::ZeroCopyNative),
            (SocketAddrXdpFlags::XDP_COPY, Mode::CopyNative),
        ];
        let generic = [(SocketAddrXdpFlags::XDP_COPY, Mode::CopyGeneric)];
        let tries = match (first, self.attached) {
            // Those that share memory do as the first did.
            (Some(first), _) => &[(SocketAddrXdpFlags::empty(), first.mode)],
            (None, Attached::Native) => &native[..],
            (None, Attached::Generic) => &generic[..],
        };
        let mut last = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        for &(flags, mode) in tries {
            match patiently(|| self.try_open(queue, first, flags, mode))? {
                Ok(bound) => {
                    busy_poll(self.config, &bound.socket.0)?;
                    return Ok(bound);
                }
                Err(err) => last = err,
            }
        }
        if self.sizes.pieces() == Pieces::Several && last.raw_os_error() == Some(libc::EINVAL) {
            return Err(PortError::NoMultiBuffer {
                interface: self.config.interface.clone(),
            });
        }
        Err(not_bound(&self.config.interface, queue, last))
    }

    /// One try. The inner error is of the binding, which another mode may cure.
    fn try_open(
        &self,
        queue: u32,
        first: Option<&Bound>,
        flags: SocketAddrXdpFlags,
        mode: Mode,
    ) -> Result<io::Result<Bound>, PortError> {
        let interface = &self.config.interface;
        let failed = |call| move |errno: Errno| self.failed(call, queue, errno);
        let socket = socket_with(
            AddressFamily::XDP,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| match errno {
            Errno::AFNOSUPPORT => PortError::NoAfXdpInKernel,
            errno => self.failed("socket(AF_XDP)", queue, errno),
        })?;
        if first.is_none() {
            set_xdp_umem_reg(&socket, self.umem.registration())
                .map_err(failed("setsockopt(XDP_UMEM_REG)"))?;
        }
        let (fill, rx, tx) = (self.sizes.fill_ring(), self.sizes.rx, self.sizes.tx);
        set_xdp_umem_fill_ring_size(&socket, fill)
            .and_then(|()| set_xdp_umem_completion_ring_size(&socket, tx))
            .and_then(|()| set_xdp_rx_ring_size(&socket, rx))
            .and_then(|()| set_xdp_tx_ring_size(&socket, tx))
            .map_err(failed("setsockopt(XDP_*_RING)"))?;
        let at = xdp_mmap_offsets(&socket).map_err(failed("getsockopt(XDP_MMAP_OFFSETS)"))?;
        let unmapped = |err| system(interface, "mmap(AF_XDP)", err);
        let map_u64 =
            |at: &XdpRingOffset, size, offset| map(&socket, at, size_of::<u64>(), size, offset);
        let map_desc =
            |at: &XdpRingOffset, size, offset| map(&socket, at, size_of::<Desc>(), size, offset);
        let rings = || -> io::Result<_> {
            Ok((
                Producer::new(
                    map_u64(&at.fr, fill, XDP_UMEM_PGOFF_FILL_RING)?,
                    &at.fr,
                    fill,
                )?,
                Consumer::new(
                    map_u64(&at.cr, tx, XDP_UMEM_PGOFF_COMPLETION_RING)?,
                    &at.cr,
                    tx,
                )?,
                Consumer::new(map_desc(&at.rx, rx, XDP_PGOFF_RX_RING)?, &at.rx, rx)?,
                Producer::new(map_desc(&at.tx, tx, XDP_PGOFF_TX_RING)?, &at.tx, tx)?,
            ))
        };
        let (fill, comp, rx, tx) = rings().map_err(unmapped)?;
        if let Err(errno) = self.bind(&socket, queue, first, flags) {
            return Ok(Err(errno.into()));
        }
        let budget = self.raise_budget(&socket);
        Ok(Ok(Bound {
            socket: Socket(socket),
            fill,
            comp,
            rx,
            tx,
            mode,
            budget,
        }))
    }

    fn bind(
        &self,
        socket: &OwnedFd,
        queue: u32,
        first: Option<&Bound>,
        flags: SocketAddrXdpFlags,
    ) -> Result<(), Errno> {
        if let Some(first) = first {
            let shared = SocketAddrXdpFlags::XDP_SHARED_UMEM;
            let addr = SocketAddrXdpWithSharedUmem {
                addr: SocketAddrXdp::new(shared, self.index, queue),
                shared_umem_fd: first.socket.fd(),
            };
            return bind(socket, &addr);
        }
        let mut flags = flags | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
        if self.sizes.pieces() == Pieces::Several {
            flags |= SocketAddrXdpFlags::XDP_USE_SG;
        }
        bind(socket, &SocketAddrXdp::new(flags, self.index, queue))
    }

    /// Asks for more descriptors per kick; returns what was granted.
    fn raise_budget(&self, socket: &OwnedFd) -> u32 {
        let budget = TX_BUDGET.min(self.sizes.tx);
        // Kernels before 6.17 do not know the option.
        match set_option(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            budget,
        ) {
            Ok(()) => budget,
            Err(_) => TX_BATCH_SIZE,
        }
    }

    fn failed(&self, call: &'static str, queue: u32, errno: Errno) -> PortError {
        let interface = self.config.interface.clone();
        match errno {
            Errno::PERM | Errno::ACCESS => PortError::NoXdpPermission { interface },
            Errno::NOMEM | Errno::NOBUFS => PortError::NoMemory {
                interface,
                queue,
                bytes: self.sizes.bytes(),
                source: errno.into(),
            },
            errno => system(&interface, call, errno.into()),
        }
    }
}

/// Maps a ring of `size` entries of `entry` bytes.
fn map(
    socket: &OwnedFd,
    at: &XdpRingOffset,
    entry: usize,
    size: u32,
    offset: u64,
) -> io::Result<Mapping> {
    let len = usize::try_from(at.desc).unwrap_or(usize::MAX);
    let len = len
        .checked_add(entry * size as usize)
        .ok_or(io::ErrorKind::OutOfMemory)?;
    Mapping::of_ring(socket.as_fd(), len, offset)
}
