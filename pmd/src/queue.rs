//! The driver contract: one device queue with its two halves.
//!
//! A queue belongs to one worker; it may be sent to another thread but is never shared. Receive lends frames for the
//! length of a callback, transmit lends slots for the length of a callback, and neither allocates per packet.
//!
//! Invariants every driver keeps (the conformance suite checks them): frames arrive byte-exact and in order; a budget
//! is never exceeded; a slot that was handed out is sent or counted; no frame is lost for good, whatever the caller
//! does.

use core::fmt;
use std::os::fd::BorrowedFd;

use millrace_wire::frame::{RxFrame, TxBatch};
use millrace_wire::time::Instant;

/// The most frames a receive poll ever lends (Linux `NAPI_POLL_WEIGHT`).
pub const MAX_BURST: usize = 64;

/// The receiving half of a queue.
pub trait RxQueue {
    /// Lends at most `budget` frames (never more than [`MAX_BURST`]) to `f`, in the order in which they arrived, and
    /// takes them back when it returns. Returns how many there were; `f` is not called when there is none.
    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize;
}

/// The transmitting half of a queue.
pub trait TxQueue {
    /// Lends empty slots to `f`; then kicks the device until it has taken all that was filled, no more often than
    /// needed. What the device will not take now stays queued in the driver and goes out with a later call.
    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch));
}

/// One queue of a device.
pub trait Queue: Send {
    /// Both halves, separately borrowed (forwarding receives and transmits at once).
    fn halves(&mut self) -> (&mut dyn RxQueue, &mut dyn TxQueue);

    /// [`RxQueue::rx`] of the receiving half.
    fn rx(&mut self, budget: usize, f: &mut dyn FnMut(&mut [RxFrame<'_>])) -> usize {
        self.halves().0.rx(budget, f)
    }

    /// [`TxQueue::tx`] of the transmitting half.
    fn tx(&mut self, f: &mut dyn FnMut(&mut dyn TxBatch)) {
        self.halves().1.tx(f);
    }

    /// What the queue can do.
    fn caps(&self) -> Caps;

    /// Counters since the queue was opened. May ask the kernel: not for every batch.
    fn stats(&self) -> QueueStats;

    /// How frames travel between device and memory.
    fn mode(&self) -> Mode;

    /// Whose sockets these are, where there is a choice; announced with the mode.
    fn made_with(&self) -> Option<&'static str> {
        None
    }

    /// The descriptor that becomes readable when frames arrive, to be polled together with the worker's doorbell.
    /// `None` when the driver cannot wake a sleeper.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Prepares for sleeping on [`Queue::wait_fd`]: asks the device for wake-ups, gives it all free frames. Whoever
    /// arms must not sleep when the answer is [`Armed::Ready`], and calls [`Queue::disarm`] when it is awake.
    /// [`wait`](crate::wait()) does all of this.
    fn arm(&mut self) -> Armed;

    /// Back to polling after [`Queue::arm`].
    fn disarm(&mut self) {}

    /// When the queue itself needs the next `rx` and `tx` call although nothing arrives on its descriptor (a delayed
    /// frame falls due). `None`: never.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }
}

/// What arming a queue found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Armed {
    /// Nothing has arrived: the descriptor will wake a sleeper.
    Idle,
    /// Frames are waiting, or the driver cannot sleep now: poll again.
    Ready,
}

/// What a queue can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// The longest frame in bytes, link header included, without frame check sequence. Longer slots are refused.
    pub max_frame: usize,
    /// Frames that the device or the driver can hold for reception before it drops.
    pub rx_ring: usize,
    /// Frames that can wait for the device before `TxBatch::next` answers `None`.
    pub tx_ring: usize,
}

/// Counters of one queue, from the driver and, where it has them, from the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueStats {
    /// Frames lent to the receiver.
    pub rx_packets: u64,
    /// Bytes of those frames, link header included.
    pub rx_bytes: u64,
    /// Frames handed to the device.
    pub tx_packets: u64,
    /// Bytes of those frames, link header included.
    pub tx_bytes: u64,
    /// Times a slot was refused because the device was full.
    pub tx_full: u64,
    /// Frames that the device refused for good after they had been accepted (interface down).
    pub tx_errors: u64,
    /// System calls made to move frames to the device or to wake it.
    pub kicks: u64,
    /// Received frames dropped by the kernel or the driver for other reasons than the two below.
    pub rx_dropped: u64,
    /// Received frames dropped because the receive ring was full (`XDP_STATISTICS`).
    pub rx_ring_full: u64,
    /// Times the kernel found no empty frame to receive into (`XDP_STATISTICS`).
    pub fill_empty: u64,
    /// Descriptors that the kernel refused on reception (`XDP_STATISTICS`).
    pub rx_invalid: u64,
    /// Descriptors that the kernel refused on transmission (`XDP_STATISTICS`).
    pub tx_invalid: u64,
}

impl QueueStats {
    /// Name, description and value of each counter, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let Self {
            rx_packets,
            rx_bytes,
            tx_packets,
            tx_bytes,
            tx_full,
            tx_errors,
            kicks,
            rx_dropped,
            rx_ring_full,
            fill_empty,
            rx_invalid,
            tx_invalid,
        } = *self;
        [
            ("rx_packets", "Frames received", rx_packets),
            (
                "rx_bytes",
                "Bytes of those frames, link header included",
                rx_bytes,
            ),
            ("tx_packets", "Frames handed to the device", tx_packets),
            (
                "tx_bytes",
                "Bytes of those frames, link header included",
                tx_bytes,
            ),
            (
                "tx_full",
                "Times that the device had no room for a frame",
                tx_full,
            ),
            (
                "tx_errors",
                "Frames that the device refused after it had accepted them",
                tx_errors,
            ),
            (
                "kicks",
                "System calls to move frames or to wake the device",
                kicks,
            ),
            (
                "rx_dropped",
                "Received frames dropped by the kernel or the driver for other reasons",
                rx_dropped,
            ),
            (
                "rx_ring_full",
                "Received frames dropped because the receive ring was full",
                rx_ring_full,
            ),
            (
                "fill_empty",
                "Times that the kernel found no empty frame to receive into",
                fill_empty,
            ),
            (
                "rx_invalid",
                "Descriptors that the kernel refused on reception",
                rx_invalid,
            ),
            (
                "tx_invalid",
                "Descriptors that the kernel refused on transmission",
                tx_invalid,
            ),
        ]
        .into_iter()
    }
}

/// How frames travel between device and memory; always announced, because it decides the speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// AF_XDP, the device's own memory access reads and writes our frames.
    ZeroCopyNative,
    /// AF_XDP, the program runs in the device driver, the kernel copies frames.
    CopyNative,
    /// AF_XDP, the program runs behind the driver (SKB mode), the kernel copies frames.
    CopyGeneric,
    /// A TAP interface: one system call and one copy per frame.
    Tap,
    /// Two queues wired to each other in memory.
    Pair,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroCopyNative => "zero-copy native",
            Self::CopyNative => "copy native",
            Self::CopyGeneric => "copy generic",
            Self::Tap => "tap",
            Self::Pair => "in-memory pair",
        })
    }
}
