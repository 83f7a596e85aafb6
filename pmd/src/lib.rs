//! Poll-mode drivers: how frames get into and out of the stack.
//!
//! A driver is a [`Port`] (control: opens queues, undoes on drop what it changed) and a number of [`Queue`]s (data:
//! one per worker and device queue). A queue has a receive and a transmit half that can be borrowed apart:
//! [`RxQueue::rx`] lends a burst of received frames and takes them back on return, [`TxQueue::tx`] lends empty slots
//! and kicks the device for what was filled. Nothing here knows the stack, and the stack knows no driver.
//!
//! | module | device | needs |
//! |---|---|---|
//! | [`pair`] | two queues wired to each other in memory | nothing |
//! | [`impair`] | any other queue, with seeded loss, delay, reordering … | nothing |
//! | [`tap`] | a TAP interface (`/dev/net/tun`) | root or `CAP_NET_ADMIN` |
//! | `af_xdp` | any Linux interface, by AF_XDP sockets and a steering program | feature `af-xdp`, root |
//!
//! Linux counterpart: `struct net_device_ops` and NAPI's `poll` with its budget.

#![deny(unsafe_code)]

#[cfg(feature = "af-xdp")]
#[allow(unsafe_code)] // rings and frames shared with the kernel
pub mod af_xdp;
pub mod error;
pub mod impair;
#[allow(unsafe_code)] // ioctl
mod netdev;
pub mod pair;
pub mod port;
pub mod queue;
pub mod tap;
pub mod wait;

pub use error::PortError;
pub use impair::{Impair, ImpairConfig};
pub use pair::{Pair, PairConfig, pair};
pub use port::{FixedPort, MacAddr, Port};
pub use queue::{Armed, Caps, MAX_BURST, Mode, Queue, QueueStats, RxQueue, TxQueue};
pub use tap::{Tap, TapConfig};
pub use wait::{Woken, wait};
