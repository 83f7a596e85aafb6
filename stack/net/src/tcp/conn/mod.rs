//! How connections begin and end.

pub(crate) mod accept;
pub(crate) mod active;
pub(crate) mod close;
pub(crate) mod mini;
pub(crate) mod passive;
pub(crate) mod synack;
pub(crate) mod timewait;

#[cfg(test)]
mod tests;
