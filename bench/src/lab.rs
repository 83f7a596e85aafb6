//! The namespaces of a run, made by `scripts/lab`, and commands inside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Address of the server under test, whichever it is.
pub const SERVER: &str = "10.77.0.2";
/// Address of the end that the load comes from.
pub const CLIENT: &str = "10.77.0.1";
/// Port of the server under test.
pub const PORT: u16 = 7007;
/// Settings of both namespaces: connections may follow just closed ones, and a flood may come from anywhere.
const SETTINGS: [&str; 3] = [
    "net.ipv4.ip_local_port_range=1024 65535",
    "net.ipv4.tcp_tw_reuse=1",
    "net.ipv4.conf.all.rp_filter=0",
];

/// Two namespaces joined by a veth: load from `-k`, servers in `-s`. Removed on drop.
pub struct Lab {
    name: String,
}

/// Which end of the veth a command belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Where the load comes from.
    Client,
    /// Where the server under test runs.
    Server,
}

/// What the kernel leaves to the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offloads {
    /// Nothing: each packet is as long as the MTU and has its checksum.
    Off,
    /// Segmentation and checksums.
    On,
}

impl Lab {
    /// Makes the namespaces; checksum and segmentation offload are off at the client's end.
    ///
    /// # Errors
    /// A sentence, when there is no permission or a tool is missing.
    pub fn new() -> Result<Lab, String> {
        let lab = Lab {
            name: format!("mr-{}-bench", std::process::id()),
        };
        checked(Command::new(script()).arg("sweep"))?;
        checked(Command::new(script()).args(["up", &lab.name]))?;
        for side in [Side::Client, Side::Server] {
            let anywhere = format!("net.ipv4.conf.{}.rp_filter=0", side.dev());
            let mut sysctl = lab.pinned(side, "sysctl");
            checked(sysctl.arg("-qw").args(SETTINGS).arg(anywhere))?;
        }
        Ok(lab)
    }

    /// `program` inside a namespace, pinned to that side's core (client 0, server 1).
    pub fn pinned(&self, side: Side, program: impl AsRef<Path>) -> Command {
        let suffix = match side {
            Side::Client => "k",
            Side::Server => "s",
        };
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            &format!("{}-{suffix}", self.name),
            "taskset",
            "-c",
            &side.core().to_string(),
        ]);
        command.arg(program.as_ref());
        command
    }

    /// Gives an end to the kernel: its address, a way back for all, and offloads off as at the other end.
    ///
    /// # Errors
    /// A sentence of the tool that failed.
    pub fn kernel_takes_over(&self, side: Side) -> Result<(), String> {
        let (dev, addr, gateway) = (side.dev(), side.addr(), side.other().addr());
        let line = format!(
            "ip addr replace {addr}/24 dev {dev}; ip route replace default via {gateway}; \
             ethtool -K {dev} tx off tso off gso off >/dev/null"
        );
        checked(self.pinned(side, "sh").args(["-ec", &line]))?;
        self.forget_neighbour(side.other())
    }

    /// Switches checksum and segmentation offload at both ends.
    ///
    /// # Errors
    /// A sentence of the tool that failed.
    pub fn set_offloads(&self, offloads: Offloads) -> Result<(), String> {
        let state = match offloads {
            Offloads::Off => "off",
            Offloads::On => "on",
        };
        for side in [Side::Client, Side::Server] {
            let mut ethtool = self.pinned(side, "ethtool");
            ethtool.args(["-K", side.dev()]);
            checked(ethtool.args(["tx", state, "tso", state, "gso", state]))?;
        }
        Ok(())
    }

    /// Takes the address of an end away from the kernel again, for Millrace to have it.
    ///
    /// # Errors
    /// A sentence of the tool that failed.
    pub fn kernel_steps_back(&self, side: Side) -> Result<(), String> {
        checked(
            self.pinned(side, "ip")
                .args(["addr", "flush", "dev", side.dev()]),
        )?;
        self.forget_neighbour(side.other())
    }

    fn forget_neighbour(&self, side: Side) -> Result<(), String> {
        checked(
            self.pinned(side, "ip")
                .args(["neigh", "flush", "dev", side.dev()]),
        )
        .map(drop)
    }
}

impl Side {
    /// The core that everything of this side is pinned to.
    pub fn core(self) -> usize {
        match self {
            Side::Client => 0,
            Side::Server => 1,
        }
    }

    fn dev(self) -> &'static str {
        match self {
            Side::Client => "peer0",
            Side::Server => "mill0",
        }
    }

    fn addr(self) -> &'static str {
        match self {
            Side::Client => CLIENT,
            Side::Server => SERVER,
        }
    }

    fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(e) = checked(Command::new(script()).args(["down", &self.name])) {
            eprintln!("{e}");
        }
    }
}

/// Runs a command to its end; its standard output, or a sentence.
///
/// # Errors
/// When it cannot be started, or ends with another code than 0.
pub fn checked(command: &mut Command) -> Result<String, String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(format!(
            "{command:?} ended with {status}: {}",
            String::from_utf8_lossy(&stderr).trim()
        ))
    }
}

/// What a core has done so far in nanoseconds, idle time apart, from /proc/stat; resolution 10 ms.
///
/// # Errors
/// A sentence, when there is no such core.
pub fn core_nanos(core: usize) -> Result<u64, String> {
    let stat = fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    let ticks = core_ticks(&stat, core).ok_or_else(|| format!("/proc/stat has no core {core}"))?;
    Ok(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second())
}

/// user, nice, system, irq, softirq and steal of `cpuN user nice system idle iowait irq softirq steal …`.
fn core_ticks(stat: &str, core: usize) -> Option<u64> {
    let name = format!("cpu{core}");
    let fields = stat.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name.as_str())).then_some(words)
    })?;
    let ticks: Vec<u64> = fields.take(8).map_while(|word| word.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(ticks.iter().sum::<u64>() - idle)
}

/// A program of the same build as this one.
pub fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(name)
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lab")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_no_work() {
        let stat = "cpu 9 9\ncpu0 1 2 3 1000 1000 4 5 6 7 8\ncpu1 10 0 0 5 5 0 0 0 0 0\n";
        assert_eq!(core_ticks(stat, 0), Some(21));
        assert_eq!(core_ticks(stat, 1), Some(10));
        assert_eq!(core_ticks(stat, 2), None);
    }
}
