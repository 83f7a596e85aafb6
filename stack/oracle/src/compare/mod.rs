//! The same question to the kernel and to the stack, and how their answers differ.

pub mod bench;
pub mod call;
pub mod cell;
pub mod counts;
pub mod crowd;
pub mod duel;
pub mod judge;
pub mod list;
pub mod matrix;
pub mod packet;
pub mod peer;
pub mod prepare;
pub mod question;
pub mod random;
