//! The three lock-free pieces that everything crossing a thread is made of.
//!
//! | piece | for | module |
//! |---|---|---|
//! | message ring | commands, events, packets handed to their owner | [`mod@spsc`] |
//! | byte ring | the payload of one connection in one direction | [`bytes`] |
//! | doorbell | waking a side that sleeps, and only then | [`doorbell`] |
//!
//! All are single producer, single consumer, and use no atomic read-modify-write on the data path: each index has one
//! writer, is published with a release store and read with an acquire load. Each side keeps a private copy of
//! the index it writes and of the last one it read, so the peer's cache line is touched only when the copy does not suffice.
//!
//! Everything lives on the heap today. Indices that come from the peer pass through one check (`position`), so that
//! memory shared with another process can take the same form later.
//!
//! `unsafe` is confined to `spsc`, `bytes::{chunk,table,shared}` and the calls of those from the two halves of the byte
//! ring. The protocols are model-checked: `RUSTFLAGS="--cfg loom" cargo test -p millrace-ring --release --test loom`.

pub mod bytes;
pub mod doorbell;
mod position;
pub mod spsc;
mod sync;

pub use bytes::{ByteConsumer, ByteProducer, CHUNK, ChunkPool, NoMemory, byte_ring};
pub use doorbell::{Bell, Doorbell};
pub use spsc::{Consumer, Producer, spsc};
