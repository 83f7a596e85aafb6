//! See `millrace_lab::fuzz::established`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace_lab::fuzz::established(data));
