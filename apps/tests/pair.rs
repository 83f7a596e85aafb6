//! The services and the client over the in-memory pair, in virtual time: no privileges, no waiting, the same every time.

#[path = "pair/client.rs"]
mod client;
#[path = "pair/demo.rs"]
mod demo;
#[path = "pair/files.rs"]
mod files;
#[path = "pair/http.rs"]
mod http;
#[path = "pair/iperf3.rs"]
mod iperf3;
#[path = "pair/plain.rs"]
mod plain;
#[path = "pair/wire.rs"]
mod wire;
