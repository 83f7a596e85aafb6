//! What applications depend on: workers that run the stack on a core, services inside their loop, and a blocking
//! client.
//!
//! A [`Worker`] owns one shard of everything: a [`Stack`], the queues of its devices, the services that run in its
//! loop, its clock and its counters. Nothing here is global, so several workers may live in one process.
//!
//! | module | what | Linux counterpart |
//! |---|---|---|
//! | [`worker`] | the loop: commands, receive, timers, events, transmit | softirq and NAPI |
//! | [`idle`] | what a worker does when there is nothing to do | `napi_busy_loop`, idle |
//! | [`clock`] | the TSC clock and a virtual one | `ktime_get` |
//! | [`service`] | applications inside the loop | kernel sockets with `sk_data_ready` |
//! | [`client`] | blocking connections over the stack's resumable operations | `inet_stream_connect` … |
//! | [`control`] | commands to a worker; addresses and routes read by netlink | rtnetlink |
//! | [`driver`] | opening a device from its description | `register_netdevice` |
//! | [`signal`] | SIGINT, SIGTERM and SIGUSR1 as commands | |
#![forbid(unsafe_code)]

pub mod client;
pub mod clock;
pub mod control;
pub mod driver;
pub mod idle;
pub mod service;
pub mod signal;
pub mod worker;

pub use client::{Client, ClientError, Stream};
pub use clock::{Clock, TscClock, VirtualClock};
pub use control::{Command, Controller};
pub use idle::{Adaptive, BusyPoll, Idle};
pub use ipnet::Ipv4Net;
pub use millrace_net as net;
pub use millrace_net::{Instant, Service, SockError, SockId, Stack};
pub use millrace_pmd as pmd;
pub use millrace_wire as wire;
pub use service::{App, ServiceId};
pub use worker::{Worker, WorkerStats};
