//! Two namespaces and what joins them. `scripts/lab` makes and removes them; this is the handle that a test holds.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command::run;

/// The kernel's address in every lab.
pub const LINUX: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Millrace's address in every lab.
pub const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// An address of the same network that nobody has.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
/// The port of `serve` that every test uses.
pub const PORT: u16 = 8080;

/// Where our server listens.
pub const SERVER: SocketAddrV4 = SocketAddrV4::new(OURS, PORT);

const STEP: Duration = Duration::from_secs(20);

/// What carries the frames between Linux and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// AF_XDP on one end of a veth, the kernel on the other.
    AfXdp,
    /// The same with the sockets of xsk-rs.
    XskRs,
    /// A TAP interface, whose kernel end is the peer.
    Tap,
}

/// A lab of two namespaces (one for TAP); removed on drop.
pub struct Lab {
    name: String,
    driver: Driver,
}

impl Lab {
    /// A lab for `driver` with MTU 1500.
    pub fn new(driver: Driver) -> Lab {
        Lab::with_mtu(driver, 1500)
    }

    /// A lab whose link has an MTU of `mtu` bytes.
    pub fn with_mtu(driver: Driver, mtu: u16) -> Lab {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            run(Command::new(script()).arg("sweep"), STEP).success();
        }
        let lab = Lab {
            name: format!("mr-{}-t{number}", std::process::id()),
            driver,
        };
        let verb = match driver {
            Driver::AfXdp | Driver::XskRs => "up",
            Driver::Tap => "up-tap",
        };
        let mtu = mtu.to_string();
        run(
            Command::new(script()).args([verb, &lab.name, "--mtu", &mtu]),
            STEP,
        )
        .success();
        lab
    }

    /// The value of `--driver` that opens our end.
    pub fn spec(&self) -> &'static str {
        match self.driver {
            Driver::AfXdp | Driver::XskRs => "af-xdp:mill0",
            Driver::Tap => "tap:tap0",
        }
    }

    /// What else must be said to open it.
    pub fn flags(&self) -> &'static [&'static str] {
        match self.driver {
            Driver::XskRs => &["--xsk", "xsk-rs"],
            Driver::AfXdp | Driver::Tap => &[],
        }
    }

    /// The kernel end's interface.
    pub fn linux_dev(&self) -> &'static str {
        match self.driver {
            Driver::AfXdp | Driver::XskRs => "peer0",
            Driver::Tap => "tap0",
        }
    }

    /// Our end's interface, as the kernel sees it.
    pub fn our_dev(&self) -> &'static str {
        match self.driver {
            Driver::AfXdp | Driver::XskRs => "mill0",
            Driver::Tap => "tap0",
        }
    }

    /// Namespace of the Linux peer.
    pub fn linux_ns(&self) -> String {
        format!("{}-k", self.name)
    }

    /// Namespace in which millrace runs: with TAP the same, because the interface is the kernel's end as well.
    pub fn our_ns(&self) -> String {
        match self.driver {
            Driver::AfXdp | Driver::XskRs => format!("{}-s", self.name),
            Driver::Tap => self.linux_ns(),
        }
    }

    /// `program`, to be run by the Linux peer.
    pub fn linux(&self, program: &str) -> Command {
        in_namespace(&self.linux_ns(), program)
    }

    /// `program`, to be run in the namespace of our end.
    pub fn ours(&self, program: impl AsRef<Path>) -> Command {
        in_namespace(&self.our_ns(), program)
    }

    /// Runs a shell line as the Linux peer; it must succeed. Returns its output.
    #[track_caller]
    pub fn linux_sh(&self, line: &str) -> String {
        run(self.linux("sh").args(["-c", line]), STEP).success()
    }

    /// Runs a shell line in the namespace of our end; it must succeed.
    #[track_caller]
    pub fn ours_sh(&self, line: &str) -> String {
        run(self.ours("sh").args(["-c", line]), STEP).success()
    }

    /// Drops every packet in both directions, at the kernel's end; the link stays up.
    pub fn cut(&self) {
        let dev = self.linux_dev();
        let chain = |hook: &str| {
            format!(
                "chain {hook} {{ type filter hook {hook} device \"{dev}\" priority 0; policy drop; }}\n"
            )
        };
        let table = format!(
            "table netdev cut {{\n{}{}}}\n",
            chain("ingress"),
            chain("egress")
        );
        run(self.linux("nft").arg(&table), STEP).success();
    }

    /// Undoes [`cut`](Lab::cut).
    #[track_caller]
    pub fn mend(&self) {
        self.linux_sh("nft delete table netdev cut");
    }

    /// Runs `body` on a thread inside the peer's namespace: its sockets, and those of threads it starts, are kernel sockets
    /// of the Linux peer.
    pub fn as_linux<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let namespace =
            File::open(format!("/run/netns/{}", self.linux_ns())).expect("the lab's namespace");
        let result = thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                        .expect("setns");
                    body()
                })
                .join()
        });
        result.unwrap_or_else(|cause| panic::resume_unwind(cause))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let done = run(Command::new(script()).args(["down", &self.name]), STEP);
        // A panic here would hide the one that made the test fail.
        if done.code != Some(0) {
            eprintln!("scripts/lab down {}: {}", self.name, done.err);
        }
    }
}

fn in_namespace(namespace: &str, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", namespace])
        .arg(program.as_ref());
    command
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lab")
}
