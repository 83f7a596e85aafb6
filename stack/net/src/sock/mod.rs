//! What all sockets share: addresses, options, readiness, errno, and the calls. None of them blocks; `ops` makes
//! blocking out of them.

pub(crate) mod bind;
mod calls;
mod connect;
pub mod error;
pub mod flags;
mod io;
pub mod ops;
pub mod options;
pub mod readiness;
