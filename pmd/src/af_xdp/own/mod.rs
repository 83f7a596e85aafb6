//! Sockets of our own making: system calls and rings, nothing in between.
//!
//! | module | what |
//! |---|---|
//! | `mapping` | memory that the kernel sees too |
//! | `ring` | the rings: indices, entries, wake-up flag |
//! | `umem` | the frames' memory, one for all queues of a port (the only place that makes slices of it) |
//! | `socket` | the system calls: made, bound, woken, asked |
//! | `rx`, `tx` | the two halves of the data path |
//! | `queue` | both together |
//!
//! Each layer is safe to use but for `Umem::bytes`, whose callers show that the chunk is theirs.

mod mapping;
mod queue;
mod ring;
mod rx;
mod socket;
mod tx;
mod umem;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(super) use self::queue::OwnQueue;
use self::socket::{Bound, Opener};
use self::umem::Umem;
use super::open::Polling;
use super::program::Attached;
use super::sizes::Sizes;
use super::{AfXdpConfig, Pages};
use crate::error::PortError;

/// Opens and binds a socket to each of the `queues` queues of interface number `index`.
pub(super) fn open(
    config: &AfXdpConfig,
    sizes: Sizes,
    (index, queues): (u32, u32),
    attached: Attached,
) -> Result<(Vec<OwnQueue>, Pages), PortError> {
    let umem = Umem::new(sizes, queues).map_err(|source| PortError::NoMemory {
        interface: config.interface.clone(),
        queue: 0,
        bytes: sizes.bytes() * queues as usize,
        source,
    })?;
    let umem = Arc::new(umem);
    let opener = Opener {
        config,
        sizes,
        umem: &umem,
        index,
        attached,
    };
    let mut bound: Vec<Bound> = Vec::with_capacity(queues as usize);
    for number in 0..queues {
        let next = opener.open(number, bound.first())?;
        bound.push(next);
    }
    let pages = umem.pages();
    let polling = Polling::of(config);
    let queues = (0..)
        .zip(bound)
        .map(|(number, bound)| OwnQueue::new(bound, &umem, sizes, number, polling))
        .collect();
    Ok((queues, pages))
}
