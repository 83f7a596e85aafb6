//! Packet formats without state: typed views over received bytes, builders into empty slots, the Internet
//! checksum, sequence numbers, and the frames that drivers and the stack lend each other.
//!
//! A view is made by `parse`, which checks every length once; after that no accessor can panic, whatever the
//! bytes are. Nothing is copied: what a view returns borrows from the frame. A builder writes into the front of
//! a slot and returns the number of bytes it wrote; a slot that is too short is the caller's mistake and panics.
#![deny(unsafe_code)]

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod frame;
pub mod icmpv4;
pub mod ipv4;
pub mod mac;
pub mod malformed;
pub mod seq;
pub mod tcp;
pub mod time;
pub mod udp;
pub mod vlan;
