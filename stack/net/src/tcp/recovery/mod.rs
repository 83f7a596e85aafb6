//! Loss recovery. Everything here reads the transmission records; there is no other account of what is in the
//! network.

pub(crate) mod machine;
pub(crate) mod rack;
pub(crate) mod records;
pub(crate) mod scoreboard;
