//! Linux's socket system calls over [`Stack`](millrace_net::Stack): descriptors, the kernel's numbers and byte layouts,
//! poll and epoll. Sans-I/O like the stack: a call that must wait is a value that is stepped.
//!
//! [`call::Call`] says what a program asks and [`call::Return`] what it gets, so that the same call can be given to the
//! stack, to the kernel, or to anything else that answers as Linux does. [`Process`] answers with a stack.
#![forbid(unsafe_code)]

mod addr;
pub mod call;
mod epoll;
mod fcntl;
mod file;
mod md5sig;
mod msg;
mod pending;
mod pipe;
mod poll;
mod process;
mod socket;
mod sockopt;
mod splice;

pub use pending::Pending;
pub use process::{Process, Started};
