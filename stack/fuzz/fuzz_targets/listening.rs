//! See `millrace_lab::fuzz::listening`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_lab::fuzz::listening(data));
