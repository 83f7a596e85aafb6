//! The data path of one AF_XDP socket.
//!
//! Receive: frames come out of the receive ring, are lent, and go back to the fill ring before the call returns, so the
//! fill ring is as full as can be between polls. Transmit: frames that the kernel is done with come back by the
//! completion ring first; slots are taken from the free ones, the last used (cache-warm) first; every 32 filled slots
//! are submitted and kicked, because one `sendto` in copy mode moves no more than that.
//!
//! Each direction has as many frames as its rings are long (the fill ring is longer), so a ring can never be too full for
//! a frame, and no slot can be lost.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use ::xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue as RxRing, TxQueue as TxRing};
use arrayvec::ArrayVec;
use millrace_wire::frame::{RxFrame, TxBatch};
use rustix::net::{RecvFlags, recv};

use super::frames::Frames;
use super::socket::Bound;
use crate::af_xdp::open::Polling;
use crate::af_xdp::sizes::Sizes;
use crate::queue::{Armed, Caps, MAX_BURST, Mode, Queue, QueueStats, RxQueue, TxQueue};

/// Frames that one `sendto` moves in copy mode (the kernel's `TX_BATCH_SIZE`).
const KICK_BATCH: usize = 32;
/// Kicks without progress before the rest is left for later.
const FRUITLESS_KICKS: u32 = 2;

/// One queue of an AF_XDP port.
pub(in crate::af_xdp) struct XdpQueue {
    mode: Mode,
    caps: Caps,
    rx: XdpRx,
    tx: XdpTx,
}

impl XdpQueue {
    /// Takes the socket over and fills its fill ring.
    pub(super) fn new(bound: Bound, sizes: Sizes, polling: Polling) -> Self {
        let Bound {
            frames,
            rx,
            tx,
            fill,
            comp,
            rx_frames,
            tx_frames,
            mode,
            pages: _,
        } = bound;
        let caps = Caps {
            max_frame: frames.max_frame(),
            rx_ring: sizes.rx as usize,
            tx_ring: sizes.tx as usize,
        };
        let mut rx = XdpRx {
            frames: frames.clone(),
            ring: rx,
            fill,
            lent: [FrameDesc::default(); MAX_BURST],
            polling,
            packets: 0,
            bytes: 0,
            kicks: 0,
        };
        refill(&mut rx.fill, &rx_frames);
        let in_ring = tx_frames.len();
        let tx = XdpTx {
            frames,
            ring: tx,
            comp,
            free: tx_frames,
            done: vec![FrameDesc::default(); in_ring].into_boxed_slice(),
            filled: ArrayVec::new(),
            size: caps.tx_ring as u32,
            mode,
            unsent: Unsent::No,
            packets: 0,
            bytes: 0,
            full: 0,
            kicks: 0,
        };
        Self { mode, caps, rx, tx }
    }

    pub(in crate::af_xdp) fn fd(&self) -> BorrowedFd<'_> {
        let fd: RawFd = self.rx.ring.fd().as_raw_fd();
        // SAFETY: the rings in `self` keep the socket open as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

impl Queue for XdpQueue {
    fn halves(&mut self) -> (&mut dyn RxQueue, &mut dyn TxQueue) {
        (&mut self.rx, &mut self.tx)
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn stats(&self) -> QueueStats {
        let kernel = self.rx.ring.fd().xdp_statistics().unwrap_or_default();
        QueueStats {
            rx_packets: self.rx.packets,
            rx_bytes: self.rx.bytes,
            tx_packets: self.tx.packets,
            tx_bytes: self.tx.bytes,
            tx_full: self.tx.full,
            tx_errors: 0,
            kicks: self.rx.kicks + self.tx.kicks,
            rx_dropped: kernel.rx_dropped(),
            rx_ring_full: kernel.rx_ring_full(),
            fill_empty: kernel.rx_fill_ring_empty_descs(),
            rx_invalid: kernel.rx_invalid_descs(),
            tx_invalid: kernel.tx_invalid_descs(),
        }
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn made_with(&self) -> Option<&'static str> {
        Some("xsk-rs")
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd())
    }

    fn arm(&mut self) -> Armed {
        // Frames that the kernel would not take must not wait for the next thing to be sent. Polling the descriptor wakes
        // the receiving side, and it is readable while the receive ring holds anything: nothing can be missed.
        self.tx.kick();
        if self.rx.ring.nb_avail(1) > 0 {
            Armed::Ready
        } else {
            Armed::Idle
        }
    }
}

/// Gives frames to the kernel to receive into.
#[inline]
fn refill(fill: &mut FillQueue, descs: &[FrameDesc]) {
    // SAFETY: the frames are this memory's, and the receive half's: they came from the receive ring or from creation, and
    // are not used again before they come out of the receive ring.
    let taken = unsafe { fill.produce(descs) };
    debug_assert_eq!(
        taken,
        descs.len(),
        "the fill ring has a place for each frame"
    );
}

/// The receiving half.
struct XdpRx {
    frames: Frames,
    ring: RxRing,
    fill: FillQueue,
    lent: [FrameDesc; MAX_BURST],
    polling: Polling,
    packets: u64,
    bytes: u64,
    kicks: u64,
}

impl XdpRx {
    /// Nothing has come: wake a device that sleeps.
    #[cold]
    fn wake(&mut self) {
        self.kicks += 1;
        // SAFETY: the ring keeps the socket open.
        let fd = unsafe { BorrowedFd::borrow_raw(self.ring.fd().as_raw_fd()) };
        // An empty, non-blocking receive is the kernel's wake-up call; it says EAGAIN when there is nothing to do.
        let _ = recv(fd, &mut [0_u8; 0], RecvFlags::DONTWAIT);
    }
}

impl RxQueue for XdpRx {
    #[inline]
    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize {
        let budget = budget.min(MAX_BURST);
        // SAFETY: the descriptors are filled in with frames of this socket's own memory.
        let count = unsafe { self.ring.consume(&mut self.lent[..budget]) };
        if count == 0 {
            if self.polling == Polling::Busy || self.fill.needs_wakeup() {
                self.wake();
            }
            return 0;
        }
        // Pushed one by one: a collected array would be moved, all 64 places of it.
        let mut frames = ArrayVec::<RxFrame<'_>, MAX_BURST>::new();
        for desc in &mut self.lent[..count] {
            self.bytes += desc.lengths().data() as u64;
            frames.push(self.frames.received(desc));
        }
        self.packets += count as u64;
        f(&mut frames);
        drop(frames);
        refill(&mut self.fill, &self.lent[..count]);
        count
    }
}

/// Whether submitted frames wait for another kick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unsent {
    No,
    Yes,
}

/// The transmitting half.
struct XdpTx {
    frames: Frames,
    ring: TxRing,
    comp: CompQueue,
    free: Vec<FrameDesc>,
    /// Where completions are read to.
    done: Box<[FrameDesc]>,
    /// Slots handed out and not submitted yet.
    filled: ArrayVec<FrameDesc, KICK_BATCH>,
    /// Length of the transmit ring.
    size: u32,
    mode: Mode,
    unsent: Unsent,
    packets: u64,
    bytes: u64,
    full: u64,
    kicks: u64,
}

impl XdpTx {
    /// Takes back the frames that the kernel is done with.
    fn reclaim(&mut self) {
        // SAFETY: the descriptors are filled in with frames of this socket's own memory.
        let count = unsafe { self.comp.consume(&mut self.done) };
        self.free.extend_from_slice(&self.done[..count]);
    }

    /// Submits what was filled and makes the kernel take it.
    fn flush(&mut self) {
        if self.filled.is_empty() {
            return;
        }
        // SAFETY: the frames are this memory's and came from the free ones; they are not used again before they come out
        // of the completion ring.
        let taken = unsafe { self.ring.produce(&self.filled) };
        debug_assert_eq!(
            taken,
            self.filled.len(),
            "the transmit ring is as long as there are frames"
        );
        self.packets += self.filled.len() as u64;
        self.filled.clear();
        self.unsent = Unsent::Yes;
        self.kick();
    }

    /// Kicks the kernel until it has taken all that was submitted, or stops taking.
    fn kick(&mut self) {
        if self.unsent == Unsent::No {
            return;
        }
        let mut fruitless = 0;
        let mut left = self.size - self.ring.nb_free_exact();
        while left > 0 && self.ring.needs_wakeup() && fruitless < FRUITLESS_KICKS {
            self.kicks += 1;
            // The errors that it reports are those of a broken socket: nothing to be done about them here.
            let _ = self.ring.wakeup();
            if self.mode == Mode::ZeroCopyNative {
                // The device takes them in its own time, now that it is awake.
                break;
            }
            let before = left;
            left = self.size - self.ring.nb_free_exact();
            fruitless = if left < before { 0 } else { fruitless + 1 };
        }
        self.unsent = if left == 0 || self.mode == Mode::ZeroCopyNative {
            Unsent::No
        } else {
            Unsent::Yes
        };
    }

    /// A free frame, even if it takes a kick.
    fn take_free(&mut self) -> Option<FrameDesc> {
        if self.free.is_empty() {
            self.flush();
            self.kick();
            self.reclaim();
        }
        let desc = self.free.pop();
        self.full += u64::from(desc.is_none());
        desc
    }
}

impl TxQueue for XdpTx {
    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch)) {
        self.reclaim();
        self.kick();
        f(self);
        self.flush();
    }
}

impl TxBatch for XdpTx {
    fn room(&self) -> usize {
        self.free.len()
    }

    fn next(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > self.frames.max_frame() {
            return None;
        }
        if self.filled.is_full() {
            self.flush();
        }
        let desc = self.take_free()?;
        self.bytes += len as u64;
        self.filled.push(desc);
        self.frames.slot(self.filled.last_mut()?, len)
    }
}
