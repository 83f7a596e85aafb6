//! Sockets of the crate `xsk-rs`, which wraps libxdp.
//!
//! | module | what |
//! |---|---|
//! | `socket` | one queue's frames and socket, with the fall-backs of binding |
//! | `frames` | views of the frames in a socket's memory (the only place that makes slices of it) |
//! | `queue` | the data path: fill, receive, transmit and completion rings |

mod frames;
mod queue;
mod socket;

pub(super) use self::queue::XdpQueue;
use super::open::Polling;
use super::program::Attached;
use super::sizes::Sizes;
use super::{AfXdpConfig, Pages};
use crate::error::PortError;

/// Opens and binds a socket to queue `number`.
pub(super) fn open(
    config: &AfXdpConfig,
    sizes: Sizes,
    number: u32,
    attached: Attached,
) -> Result<(XdpQueue, Pages), PortError> {
    let bound = socket::bind(config, sizes, number, attached)?;
    let pages = bound.pages;
    let queue = XdpQueue::new(bound, sizes, Polling::of(config));
    Ok((queue, pages))
}
