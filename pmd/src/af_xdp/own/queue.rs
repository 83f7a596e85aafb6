//! A queue made of the two halves.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::rx::Rx;
use super::socket::{Bound, Socket};
use super::tx::Tx;
use super::umem::{Region, Umem};
use crate::af_xdp::open::Polling;
use crate::af_xdp::sizes::Sizes;
use crate::queue::{Armed, Caps, Mode, Queue, QueueStats, RxQueue, TxQueue};

/// One queue of an AF_XDP port.
pub(in crate::af_xdp) struct OwnQueue {
    socket: Arc<Socket>,
    mode: Mode,
    caps: Caps,
    rx: Rx,
    tx: Tx,
}

impl OwnQueue {
    /// Takes the socket of queue `number` over and fills its fill ring.
    pub(super) fn new(
        bound: Bound,
        umem: &Arc<Umem>,
        sizes: Sizes,
        number: u32,
        polling: Polling,
    ) -> Self {
        let Bound {
            socket,
            fill,
            comp,
            rx,
            tx,
            mode,
            budget,
        } = bound;
        let socket = Arc::new(socket);
        let (receive, send) = Region::of_queue(sizes, number);
        let rx = Rx::new(
            Arc::clone(umem),
            receive,
            sizes,
            (rx, fill),
            Arc::clone(&socket),
            polling,
        );
        let tx = Tx::new(
            Arc::clone(umem),
            send,
            sizes,
            (tx, comp),
            Arc::clone(&socket),
            mode,
            budget,
        );
        let caps = Caps {
            max_frame: sizes.max_frame,
            rx_ring: sizes.rx as usize,
            tx_ring: tx.capacity(),
        };
        Self {
            socket,
            mode,
            caps,
            rx,
            tx,
        }
    }

    pub(in crate::af_xdp) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }
}

impl Queue for OwnQueue {
    fn halves(&mut self) -> (&mut dyn RxQueue, &mut dyn TxQueue) {
        (&mut self.rx, &mut self.tx)
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn stats(&self) -> QueueStats {
        let stats = QueueStats {
            rx_packets: self.rx.packets,
            rx_bytes: self.rx.bytes,
            tx_packets: self.tx.packets,
            tx_bytes: self.tx.bytes,
            tx_full: self.tx.full,
            kicks: self.rx.kicks + self.tx.kicks,
            rx_invalid: self.rx.invalid(),
            tx_invalid: self.tx.invalid(),
            ..QueueStats::default()
        };
        let Some(kernel) = self.socket.statistics() else {
            return stats;
        };
        QueueStats {
            rx_dropped: kernel.rx_dropped,
            rx_ring_full: kernel.rx_ring_full.unwrap_or(0),
            fill_empty: kernel.rx_fill_ring_empty_descs.unwrap_or(0),
            rx_invalid: stats.rx_invalid + kernel.rx_invalid_descs,
            tx_invalid: stats.tx_invalid + kernel.tx_invalid_descs,
            ..stats
        }
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn made_with(&self) -> Option<&'static str> {
        Some("own sockets")
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd())
    }

    fn arm(&mut self) -> Armed {
        // Frames that the kernel would not take must not wait for the next thing to be sent. Polling the descriptor wakes
        // the receiving side, and it is readable while the receive ring holds anything: nothing can be missed.
        self.tx.kick();
        if self.rx.is_ready() {
            Armed::Ready
        } else {
            Armed::Idle
        }
    }
}
