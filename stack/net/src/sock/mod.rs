//! What all sockets share: addresses, options, readiness, errno, and the calls. None of them blocks; `ops` makes
//! blocking out of them.

pub(crate) mod bhash;
pub(crate) mod bind;
mod calls;
mod connect;
mod create;
pub mod diag;
pub mod error;
pub mod errqueue;
pub mod flags;
mod io;
pub mod msg;
pub mod ops;
pub mod options;
mod owner;
pub(crate) mod readable;
pub mod readiness;
pub(crate) mod space;
