//! HTTP/1.0 and 1.1 (RFC 9110, RFC 9112): what a static server and a small client need.
//!
//! | module | what |
//! |---|---|
//! | [`status`] | the status codes we use |
//! | [`request`] | request heads: parsing and what they ask of the connection |
//! | [`response`] | response heads: writing |
//! | [`reply`] | response heads and framing: parsing, for the client |
//! | [`chunked`] | the chunked transfer coding, for the client |
//! | [`root`] | finding files below a directory, and nothing outside it |
//! | [`fixed`] | a body of a given size, prebuilt |
//! | [`server`] | the service that answers requests |

pub mod chunked;
pub mod fixed;
pub mod reply;
pub mod request;
pub mod response;
pub mod root;
pub mod server;
pub mod status;

pub use server::Http;
pub use status::Status;
