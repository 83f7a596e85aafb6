//! One conformance suite for all drivers: in memory always, over the kernel's devices with root
//! (`cargo test -p millrace-pmd --test conformance -- --ignored --test-threads=1`).

#[cfg(feature = "af-xdp")]
mod af_xdp;
mod in_memory;
mod netns;
mod packet_socket;
mod suite;
mod tap;
