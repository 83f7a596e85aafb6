//! One queue's memory and socket, with all the fall-backs: huge pages, zero-copy, a predecessor that is still bound.

use core::num::NonZeroU32;
use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread::sleep;

use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig, XdpFlags,
};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

use super::frames::Frames;
use super::program::{Attached, BUSY_PERIOD, BUSY_RETRIES, os_error};
use super::{AfXdpConfig, BusyPoll};
use crate::error::PortError;
use crate::netdev::system;
use crate::queue::Mode;

/// What the kernel keeps free at the head of each frame.
const XDP_PACKET_HEADROOM: u32 = 256;
/// Ethernet header and one VLAN tag.
const LINK_OVERHEAD: usize = 14 + 4;
/// The largest MTU with frames of 4096 bytes: what a veth takes for a native program without multi-buffer support.
const MAX_MTU: usize = 3498;
const HUGE_PAGE: u32 = 2 << 20;

/// The sizes of one queue, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    frame: FrameSize,
    max_frame: usize,
    rx: QueueSize,
    tx: QueueSize,
}

impl Sizes {
    /// Frame and ring sizes for an interface with this MTU.
    pub(super) fn new(config: &AfXdpConfig, mtu: usize) -> Result<Self, PortError> {
        if mtu > MAX_MTU {
            return Err(PortError::MtuTooLarge {
                interface: config.interface.clone(),
                mtu,
                limit: MAX_MTU,
            });
        }
        let small = 2048 - XDP_PACKET_HEADROOM as usize;
        let frame = if mtu + LINK_OVERHEAD <= small {
            2048
        } else {
            4096
        };
        let frame = FrameSize::new(frame).map_err(|_| bad("frame size", frame))?;
        let max_frame = mtu + LINK_OVERHEAD;
        Ok(Self {
            frame,
            max_frame,
            rx: ring("rx_ring", config.rx_ring)?,
            tx: ring("tx_ring", config.tx_ring)?,
        })
    }

    /// The longest packet: the device drops what exceeds its MTU, though the frame has more room.
    pub(super) fn max_frame(&self) -> usize {
        self.max_frame
    }

    pub(super) fn rx_ring(&self) -> usize {
        self.rx.get() as usize
    }

    pub(super) fn tx_ring(&self) -> usize {
        self.tx.get() as usize
    }

    /// The kernel shows a received frame before it gives back the place in the fill ring that the frame came from, so
    /// in between the ring is fuller than it will be. In one twice as long as there are frames, each always finds a place.
    fn fill_ring(&self) -> Result<QueueSize, PortError> {
        let size = self.rx.get() * 2;
        QueueSize::new(size).map_err(|_| bad("rx_ring", self.rx.get()))
    }

    /// Frames in all: each ring has its own, so that neither direction can starve the other.
    fn frames(&self) -> u32 {
        self.rx.get() + self.tx.get()
    }

    fn bytes(&self) -> u32 {
        self.frames() * self.frame.get()
    }
}

fn ring(setting: &'static str, size: u32) -> Result<QueueSize, PortError> {
    if !(64..=32768).contains(&size) {
        return Err(bad(setting, size));
    }
    QueueSize::new(size).map_err(|_| bad(setting, size))
}

fn bad(setting: &'static str, value: u32) -> PortError {
    PortError::BadSetting {
        setting,
        value: value as usize,
        why: "it must be a power of two from 64 to 32768",
    }
}

/// An open socket with its rings and frames, all frames in our hands.
pub(super) struct Bound {
    pub(super) frames: Frames,
    pub(super) rx: RxQueue,
    pub(super) tx: TxQueue,
    pub(super) fill: FillQueue,
    pub(super) comp: CompQueue,
    /// Frames for the fill ring, as many as it is long.
    pub(super) rx_frames: Vec<FrameDesc>,
    /// Frames for transmission, as many as that ring is long.
    pub(super) tx_frames: Vec<FrameDesc>,
    pub(super) mode: Mode,
    pub(super) pages: Pages,
}

/// What the frames' memory is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pages {
    /// 2 MiB pages.
    Huge,
    /// 4 KiB pages: there were no huge ones, or the rings' sizes do not fill whole ones.
    Small,
}

/// Opens and binds a socket to `queue`: zero-copy if the device can, copying otherwise.
pub(super) fn bind(
    config: &AfXdpConfig,
    sizes: Sizes,
    queue: u32,
    attached: Attached,
) -> Result<Bound, PortError> {
    let tries: &[(BindFlags, Mode)] = match attached {
        Attached::Native => &[
            (BindFlags::XDP_ZEROCOPY, Mode::ZeroCopyNative),
            (BindFlags::XDP_COPY, Mode::CopyNative),
        ],
        Attached::Generic => &[(BindFlags::XDP_COPY, Mode::CopyGeneric)],
    };
    let mut last = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
    for &(flags, mode) in tries {
        match bind_patiently(config, sizes, queue, flags, mode)? {
            Ok(bound) => {
                busy_poll(config, bound.rx.fd().as_raw_fd())?;
                return Ok(bound);
            }
            Err(err) => last = err,
        }
    }
    Err(not_bound(&config.interface, queue, last))
}

/// Binds, and while the kernel says EBUSY tries again: the queue of a process that has just died is released a little
/// later. The outer error is one that no other mode of binding will cure.
fn bind_patiently(
    config: &AfXdpConfig,
    sizes: Sizes,
    queue: u32,
    flags: BindFlags,
    mode: Mode,
) -> Result<io::Result<Bound>, PortError> {
    let mut tries = 0;
    loop {
        match bind_once(config, sizes, queue, flags, mode)? {
            Err(err) if err.raw_os_error() == Some(libc::EBUSY) && tries < BUSY_RETRIES => {
                tries += 1;
                sleep(BUSY_PERIOD);
            }
            result => return Ok(result),
        }
    }
}

fn bind_once(
    config: &AfXdpConfig,
    sizes: Sizes,
    queue: u32,
    flags: BindFlags,
    mode: Mode,
) -> Result<io::Result<Bound>, PortError> {
    let (umem, mut rx_frames, pages) = memory(&config.interface, sizes, queue)?;
    let interface: Interface = config.interface.parse().map_err(|_| PortError::BadName {
        interface: config.interface.clone(),
    })?;
    let settings = SocketConfig::builder()
        .rx_queue_size(sizes.rx)
        .tx_queue_size(sizes.tx)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .xdp_flags(XdpFlags::empty())
        .bind_flags(flags | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    // SAFETY: the memory is new and no other socket shares it, and libxdp is told to load no program.
    let (tx, rx, rings) = match unsafe { Socket::new(settings, &umem, &interface, queue) } {
        Ok(parts) => parts,
        Err(err) => {
            return Ok(Err(io::Error::from_raw_os_error(
                os_error(&err).unwrap_or(libc::EIO),
            )));
        }
    };
    let Some((fill, comp)) = rings else {
        return Ok(Err(io::Error::other(
            "the socket came without fill and completion rings",
        )));
    };
    let tx_frames = rx_frames.split_off(sizes.rx_ring());
    // SAFETY: all descriptors come from this memory; the two lists are disjoint and go to one half each. A frame has
    // `max_frame` bytes behind its headroom.
    let frames = unsafe { Frames::new(umem, sizes.max_frame()) };
    Ok(Ok(Bound {
        frames,
        rx,
        tx,
        fill,
        comp,
        rx_frames,
        tx_frames,
        mode,
        pages,
    }))
}

/// Memory for the frames: in huge pages if there are any.
fn memory(
    interface: &str,
    sizes: Sizes,
    queue: u32,
) -> Result<(Umem, Vec<FrameDesc>, Pages), PortError> {
    let no_memory = |err: &(dyn Error + 'static)| PortError::NoMemory {
        interface: interface.to_owned(),
        queue,
        bytes: sizes.bytes() as usize,
        source: io::Error::from_raw_os_error(os_error(err).unwrap_or(libc::ENOMEM)),
    };
    let config = UmemConfig::builder()
        .frame_size(sizes.frame)
        .fill_queue_size(sizes.fill_ring()?)
        .comp_queue_size(sizes.tx)
        .frame_headroom(0)
        .build()
        .map_err(|err| no_memory(&err))?;
    let count = NonZeroU32::new(sizes.frames()).ok_or_else(|| bad("rx_ring", 0))?;
    // A mapping of huge pages can only be undone in whole ones.
    if sizes.bytes().is_multiple_of(HUGE_PAGE)
        && let Ok((umem, frames)) = Umem::new(config, count, true)
    {
        return Ok((umem, frames, Pages::Huge));
    }
    let made = Umem::new(config, count, false).map_err(|err| match os_error(&err) {
        Some(libc::EPERM | libc::EACCES) => PortError::NoXdpPermission {
            interface: interface.to_owned(),
        },
        _ => no_memory(&err),
    });
    made.map(|(umem, frames)| (umem, frames, Pages::Small))
}

/// Why no way of binding worked.
fn not_bound(interface: &str, queue: u32, err: io::Error) -> PortError {
    let owned = interface.to_owned();
    match err.raw_os_error() {
        Some(libc::EBUSY) => PortError::QueueBusy {
            interface: owned,
            queue,
        },
        Some(libc::EPERM | libc::EACCES) => PortError::NoXdpPermission { interface: owned },
        _ => system(interface, "bind(AF_XDP)", err),
    }
}

/// Switches busy polling on, when it is asked for.
fn busy_poll(config: &AfXdpConfig, socket: RawFd) -> Result<(), PortError> {
    let Some(BusyPoll { usecs, budget }) = config.busy_poll else {
        return Ok(());
    };
    let options = [
        (libc::SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, usecs),
        (libc::SO_BUSY_POLL_BUDGET, budget),
    ];
    for (option, value) in options {
        let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
        // SAFETY: the socket is open (its queues are held by the caller) and the option takes an int.
        let result = unsafe {
            libc::setsockopt(
                socket,
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result < 0 {
            return Err(system(
                &config.interface,
                "setsockopt(SO_BUSY_POLL)",
                io::Error::last_os_error(),
            ));
        }
    }
    Ok(())
}
