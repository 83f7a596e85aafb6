//! Millrace and the kernel, measured side by side in one run: `scripts/bench veth` and `scripts/bench pair`.
//!
//! | program | what |
//! |---|---|
//! | `compare` | interleaved rounds over one veth (medians, ratio, CPU per request), and callgrind counts over the pair |
//! | `kernel_peer` | plain epoll echo and HTTP servers, and the request-response client that loads either side |
//! | `pair_rr` | two stacks, one thread, N round trips over the in-memory pair; ours or smoltcp's |
//!
//! The same client loads both servers from core 0, the server under test has core 1. Ratios count, not figures.
#![forbid(unsafe_code)]

pub mod budget;
pub mod contender;
pub mod epoll;
pub mod lab;
pub mod pair;
pub mod report;
pub mod smol;
