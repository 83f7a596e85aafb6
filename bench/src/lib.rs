//! Millrace and others, measured side by side in one run: `scripts/bench veth` and `scripts/bench pair`.
//!
//! | program | what |
//! |---|---|
//! | `compare` | the commands: tables, JSON, pages |
//! | `kernel_peer` | plain epoll echo and HTTP servers |
//! | `pair_rr` | two stacks, one thread, N round trips over the in-memory pair; ours or smoltcp's |
//!
//! | module | what |
//! |---|---|
//! | [`veth`] | the command |
//! | [`plan`] | the rows of `veth`: a new kind of row is a [`plan::Work`], its load stands in [`client`] |
//! | [`server`], [`client`], [`lab`], [`epoll`] | servers, clients, and where they run |
//! | [`report`], [`page`] | rows as table, JSON and page |
//! | [`budget`] | what may be spent |
//! | [`pair`], [`smol`] | the work of `pair_rr` |
//!
//! The same client loads all servers from core 0, the server under test has core 1. Ratios count, not figures.
#![forbid(unsafe_code)]

pub mod budget;
pub mod client;
pub mod epoll;
pub mod lab;
pub mod page;
pub mod pair;
pub mod plan;
pub mod report;
pub mod server;
pub mod smol;
pub mod veth;
