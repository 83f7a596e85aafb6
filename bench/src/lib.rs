//! Millrace and others, measured side by side in one run: `scripts/bench veth`, `scripts/bench pair`, `scripts/bench flood`.
//!
//! | program | what |
//! |---|---|
//! | `compare` | the three commands: tables, JSON, pages |
//! | `kernel_peer` | plain epoll echo and HTTP servers, and a SYN flood from a raw socket |
//! | `pair_work` | stacks in one thread over the in-memory pair: what is counted and timed; ours or smoltcp's |
//!
//! | module | what |
//! |---|---|
//! | [`veth`], [`alone`], [`flood`] | the commands |
//! | [`plan`] | the rows of `veth`: a new kind of row is a [`plan::Work`], its load stands in [`client`] |
//! | [`server`], [`client`], [`lab`], [`epoll`], [`flooder`], [`syn`] | servers, clients, and where they run |
//! | [`iperf3`] | bulk transfer by iperf3's protocol over one veth |
//! | [`report`], [`page`] | rows as table, JSON and page |
//! | [`counted`], [`budget`] | callgrind, dhat, and what may be spent |
//! | [`pair`], [`bulk`], [`cookie`], [`smol`] | the work of `pair_work` |
//!
//! The same client loads all servers from core 0, the server under test has core 1. Ratios count, not figures.
#![forbid(unsafe_code)]

pub mod alone;
pub mod budget;
pub mod bulk;
pub mod client;
pub mod cookie;
pub mod counted;
pub mod epoll;
pub mod flood;
pub mod flooder;
pub mod iperf3;
pub mod lab;
pub mod page;
pub mod pair;
pub mod plan;
pub mod report;
pub mod server;
pub mod smol;
pub mod syn;
pub mod veth;
