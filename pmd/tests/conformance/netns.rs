//! A network namespace of one test's own, removed when the test ends, however it ends.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace named after this process.
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes an empty namespace in which IPv6 is off, so that the kernel sends nothing by itself.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "millrace-pmd-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        run("ip", &["netns", "add", &name]);
        let netns = Self { name };
        netns.inside(|| {
            for scope in ["all", "default"] {
                // Absent when the kernel has no IPv6: as good.
                let _ =
                    std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
            run("ip", &["link", "set", "lo", "up"]);
        });
        netns
    }

    /// Runs `f` on a thread inside the namespace; threads and processes that it starts are inside too.
    pub fn inside<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let netns =
                    File::open(format!("/run/netns/{}", self.name)).expect("the namespace's file");
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("setns");
                f()
            });
            match inside.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// Makes a veth pair with `queues` queues at each end, both up, both in the calling thread's namespace.
#[cfg(feature = "af-xdp")]
pub fn veth(a: &str, b: &str, queues: u32, mtu: u32) {
    let (queues, mtu) = (queues.to_string(), mtu.to_string());
    run(
        "ip",
        &[
            "link",
            "add",
            "name",
            a,
            "mtu",
            &mtu,
            "numrxqueues",
            &queues,
            "numtxqueues",
            &queues,
            "type",
            "veth",
            "peer",
            "name",
            b,
            "mtu",
            &mtu,
            "numrxqueues",
            &queues,
            "numtxqueues",
            &queues,
        ],
    );
    for end in [a, b] {
        run("ip", &["link", "set", end, "up"]);
    }
}

/// Runs a command that must succeed; returns what it printed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|err| panic!("{program}: {err}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{program} {args:?}: {out}{err}");
    out.into_owned()
}
