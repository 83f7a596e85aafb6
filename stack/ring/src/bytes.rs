//! SPSC byte ring: the payload of one connection in one direction.
//!
//! Used twice per connection. As *receive ring* the stack is the producer: out-of-order data goes straight to its final
//! place ahead of `tail` and becomes visible when the hole fills. As *send ring* the application is the producer, and
//! the stack reads any position of `[head, tail)` as often as it likes: the ring is the retransmission buffer.
//!
//! ```text
//!   low           head                tail              high
//!    |   free-able  |  the consumer's   | the producer's  |
//!    |..............|###################|..####....####...|      64-bit stream positions
//!    [chunk][chunk][chunk][chunk][chunk][chunk]  --  [chunk]     4 KiB each, absent where nothing was written
//! ```
//!
//! Positions are 64 bits and never wrap. Memory comes in chunks of [`CHUNK`] bytes from the worker's [`ChunkPool`]; a
//! table maps chunk numbers to chunks. Only the producer allocates, frees and changes the table.
//!
//! # Protocol
//! * `tail` is stored (release) by the producer, `head` by the consumer; each loads the other's (acquire).
//! * The consumer touches bytes, chunks and table entries of `[head, tail)` only, the producer writes only to those at
//!   or after `tail`, and frees a chunk only when `head` has passed it.
//! * **Table growth.** The producer stores the larger table, then (with later data) a larger `tail`. The consumer takes
//!   up the table each time it takes up a new `tail`. Let `since` be `tail` at the time of the change: a consumer
//!   that still uses the old table has read no `tail` beyond `since`. So once `head >= since` it can read nothing more
//!   through the old table, and the producer frees it.
//! * **Idle.** When `head == tail` the same holds of every table and chunk: the consumer must first see a larger `tail`.
//!   So a ring with nothing in it gives everything back, and what is left is one control block of 128 bytes.
//!
//! Linux counterpart: `sk_receive_queue`, `out_of_order_queue` and the payload of `tcp_rtx_queue`.

mod chunk;
mod consumer;
mod producer;
mod shared;
mod table;
#[cfg(all(test, not(loom)))]
mod tests;

pub use chunk::{CHUNK, ChunkPool, NoMemory};
pub use consumer::ByteConsumer;
pub use producer::{ByteProducer, Released, Skipped};

/// The largest [`limit`](ByteProducer::limit) of a ring, in bytes: the largest window TCP can offer (RFC 7323 §2.3).
pub const MAX_LIMIT: u64 = 1 << 30;

/// How many chunks a ring may span: `MAX_LIMIT` at any alignment, on either side of a `limit` that shrank.
const MAX_SPAN: u64 = 2 * (MAX_LIMIT / CHUNK as u64);

/// A byte ring with both positions 0 that accepts up to `limit` bytes (clamped to [`MAX_LIMIT`]).
///
/// Allocates the control block only; chunks come with the first data.
pub fn byte_ring(limit: u64) -> (ByteProducer, ByteConsumer) {
    let (ours, theirs) = shared::Owner::pair();
    (ByteProducer::new(ours, limit), ByteConsumer::new(theirs))
}

/// The number of the chunk that holds the byte at `pos`.
#[inline]
const fn chunk_of(pos: u64) -> u64 {
    pos / CHUNK as u64
}

/// The offset of the byte at `pos` within its chunk.
#[inline]
const fn offset_of(pos: u64) -> usize {
    (pos % CHUNK as u64) as usize
}
