//! One queue's memory and socket, with all the fall-backs: huge pages, zero-copy, a predecessor that is still bound.

use core::num::NonZeroU32;
use std::error::Error;
use std::io;

use ::xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig, XdpFlags,
};
use ::xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

use super::frames::Frames;
use crate::af_xdp::open::{busy_poll, not_bound, patiently};
use crate::af_xdp::program::{Attached, os_error};
use crate::af_xdp::sizes::Sizes;
use crate::af_xdp::{AfXdpConfig, Pages};
use crate::error::PortError;
use crate::queue::Mode;

const HUGE_PAGE: usize = 2 << 20;

fn ring(size: u32) -> Result<QueueSize, PortError> {
    QueueSize::new(size).map_err(|_| bad("ring size", size))
}

/// The crate's own objection; [`Sizes`] leaves it none.
fn bad(setting: &'static str, value: u32) -> PortError {
    PortError::BadSetting {
        setting,
        value: value as usize,
        why: "xsk-rs does not take it",
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
        match patiently(|| bind_once(config, sizes, queue, flags, mode))? {
            Ok(bound) => {
                busy_poll(config, bound.rx.fd())?;
                return Ok(bound);
            }
            Err(err) => last = err,
        }
    }
    Err(not_bound(&config.interface, queue, last))
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
        .rx_queue_size(ring(sizes.rx)?)
        .tx_queue_size(ring(sizes.tx)?)
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
    let tx_frames = rx_frames.split_off(sizes.rx as usize);
    // SAFETY: all descriptors come from this memory; the two lists are disjoint and go to one half each. A frame has
    // `max_frame` bytes behind its headroom.
    let frames = unsafe { Frames::new(umem, sizes.max_frame) };
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
        bytes: sizes.bytes(),
        source: io::Error::from_raw_os_error(os_error(err).unwrap_or(libc::ENOMEM)),
    };
    let config = UmemConfig::builder()
        .frame_size(FrameSize::new(sizes.chunk).map_err(|_| bad("frame size", sizes.chunk))?)
        .fill_queue_size(ring(sizes.fill_ring())?)
        .comp_queue_size(ring(sizes.tx)?)
        .frame_headroom(0)
        .build()
        .map_err(|err| no_memory(&err))?;
    let count = NonZeroU32::new(sizes.chunks()).ok_or_else(|| bad("rx_ring", 0))?;
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
