//! The Millrace stack: one shard of a TCP/IP stack with Linux's semantics, sans-I/O.
//!
//! A worker (or the simulator, a script, the fuzzer) owns a [`Stack`], hands it lent frames and the time, and takes
//! from it frames to send. `rx.rs`, `tx.rs`, `tick.rs` and `app.rs` list the stations of a segment in order; the
//! folders are named after them.
#![forbid(unsafe_code)]

// First, so that its macro is known to all.
#[macro_use]
pub mod mutants;

mod app;
mod audit;
mod census;
mod core;
pub mod drop;
mod dst;
mod gro;
mod gso;
pub mod icmp;
mod ids;
pub mod ip;
mod keys;
pub mod link;
pub mod neigh;
mod qdisc;
pub mod route;
mod rx;
mod setup;
mod slab;
pub mod sock;
pub mod stats;
pub mod sysctl;
mod tcp;
#[cfg(test)]
mod tests;
mod tick;
mod tx;
mod wheel;

pub use crate::core::{Config, Limits, Stack};
pub use app::Service;
pub use census::Census;
pub use drop::{DropCounters, DropReason};
pub use ids::{IfaceId, SockId, SockKind};
pub use millrace_wire::time::Instant;
pub use setup::{IfaceConfig, RouteSpec, SetupError};
pub use sock::diag::{DiagCursor, DiagMemory, DiagSock, DiagTimer};
pub use sock::error::SockError;
pub use sock::errqueue::ExtendedError;
pub use sock::flags::MsgFlags;
pub use sock::msg::{Received, SendMsg};
pub use sock::ops;
pub use sock::options::{CongestionName, Kept, OptName, SockOpt};
pub use sock::readiness::Readiness;
pub use stats::{Counter, Mib};
pub use sysctl::{Sysctl, SysctlError};
pub use tcp::fastopen::FastOpenKeys;
pub use tcp::info::TcpInfo;
pub use tcp::md5;
pub use tcp::stamps::Timestamping;
pub use tcp::state::TcpState;
pub use tcp::trace::StateChange;
