//! This machine's kernel as judge.
//!
//! [`KernelMachine`] answers the lab's [`Machine`](millrace_lab::machine::Machine) trait with real sockets and a TUN
//! device in a network namespace of its own, in real time. The same scripts and the same comparisons run against the
//! kernel and against the stack; where they differ, the kernel is right.
//!
//! Needs Linux, root, `/dev/net/tun` and iproute2. A machine leaves nothing behind: its threads end with it, and the
//! namespace goes with the last descriptor.
#![cfg(target_os = "linux")]

mod callers;
pub mod compare;
mod counters;
mod fds;
mod link;
mod machine;
mod profile;
mod scripts;
mod space;
mod sys;

pub use machine::KernelMachine;
pub use profile::settings;
pub use scripts::{ATTEMPTS, ScriptFile, in_real_time, kernel_on, run_script, scripts};
pub use space::{Setup, SetupError};
