//! Millrace against an unmodified Linux: ping, arping, nc, curl, wrk, nginx and plain kernel sockets on the other end of a
//! veth (AF_XDP, native mode) or of a TAP interface. Each test makes its own network namespaces with `scripts/lab`, starts
//! the `millrace` binary in one of them and takes everything down again, also when it fails.
//!
//! They need root: `scripts/test` runs them, one at a time. By hand:
//! `cargo test -p millrace-apps --release --test veth -- --ignored --test-threads=1 [FILTER]`.

/// One `#[ignore]`d test for each driver that the function makes sense over.
macro_rules! real_peer_tests {
    ($($name:ident: $($driver:ident)|+;)+) => {
        $(mod $name {
            $(real_peer_tests!(@one $name $driver);)+
        })+
    };
    (@one $name:ident af_xdp) => {
        #[test]
        #[ignore = "needs root and network namespaces: run scripts/test"]
        fn af_xdp() {
            super::$name(crate::lab::Driver::AfXdp);
        }
    };
    (@one $name:ident xsk_rs) => {
        #[test]
        #[ignore = "needs root and network namespaces: run scripts/test"]
        fn xsk_rs() {
            super::$name(crate::lab::Driver::XskRs);
        }
    };
    (@one $name:ident tap) => {
        #[test]
        #[ignore = "needs root and network namespaces: run scripts/test"]
        fn tap() {
            super::$name(crate::lab::Driver::Tap);
        }
    };
}

#[path = "veth/command.rs"]
mod command;
#[path = "veth/faults.rs"]
mod faults;
#[path = "veth/fetch.rs"]
mod fetch;
#[path = "veth/floor.rs"]
mod floor;
#[path = "veth/generate.rs"]
mod generate;
#[path = "veth/generate_trouble.rs"]
mod generate_trouble;
#[path = "veth/http.rs"]
mod http;
#[path = "veth/iperf3.rs"]
mod iperf3;
#[path = "veth/jumbo.rs"]
mod jumbo;
#[path = "veth/lab.rs"]
mod lab;
#[path = "veth/lifecycle.rs"]
mod lifecycle;
#[path = "veth/link.rs"]
mod link;
#[path = "veth/load.rs"]
mod load;
#[path = "veth/look.rs"]
mod look;
#[path = "veth/options.rs"]
mod options;
#[path = "veth/refusals.rs"]
mod refusals;
#[path = "veth/scratch.rs"]
mod scratch;
#[path = "veth/server.rs"]
mod server;
#[path = "veth/socket.rs"]
mod socket;
#[path = "veth/sockets.rs"]
mod sockets;
#[path = "veth/stages.rs"]
mod stages;
#[path = "veth/stats.rs"]
mod stats;
#[path = "veth/stream.rs"]
mod stream;
