//! The lab: the stack in virtual time.
//!
//! * [`drill`] runs conformance scripts (the packetdrill language) against one stack.
//! * [`sim`] lets two stacks talk over an impaired wire, from a seed, and checks what must hold; a reference
//!   model judges every segment.
//! * [`fuzz`] holds the bodies of the fuzz targets; their corpora are replayed as tests.
//!
//! Nothing here reads a clock or a source of randomness: the same input gives the same run, to the byte.
#![forbid(unsafe_code)]

pub mod clock;
pub mod drill;
pub mod fuzz;
pub mod host;
pub mod machine;
mod model;
pub mod sim;
