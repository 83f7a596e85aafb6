//! The namespaces of a run, made by `scripts/lab`, and commands inside them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Address of the server under test, whichever it is.
pub const SERVER: &str = "10.77.0.2";

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
        Ok(lab)
    }

    /// `program` inside a namespace, pinned to that side's core (client 0, server 1).
    pub fn pinned(&self, side: Side, program: impl AsRef<Path>) -> Command {
        let (suffix, core) = match side {
            Side::Client => ("k", "0"),
            Side::Server => ("s", "1"),
        };
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            &format!("{}-{suffix}", self.name),
            "taskset",
            "-c",
            core,
        ]);
        command.arg(program.as_ref());
        command
    }

    /// Gives the server's end to the kernel: its address, and offloads off as at the other end.
    ///
    /// # Errors
    /// A sentence of the tool that failed.
    pub fn kernel_takes_over(&self) -> Result<(), String> {
        let line = format!(
            "ip addr replace {SERVER}/24 dev mill0; ethtool -K mill0 tx off tso off gso off >/dev/null"
        );
        checked(self.pinned(Side::Server, "sh").args(["-ec", &line]))?;
        self.forget_neighbour()
    }

    /// Takes the address away from the kernel again, for Millrace to have it.
    ///
    /// # Errors
    /// A sentence of the tool that failed.
    pub fn kernel_steps_back(&self) -> Result<(), String> {
        checked(
            self.pinned(Side::Server, "ip")
                .args(["addr", "flush", "dev", "mill0"]),
        )?;
        self.forget_neighbour()
    }

    fn forget_neighbour(&self) -> Result<(), String> {
        checked(
            self.pinned(Side::Client, "ip")
                .args(["neigh", "flush", "dev", "peer0"]),
        )
        .map(drop)
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

/// CPU time of a process in microseconds, user and system, from /proc; resolution 10 ms.
///
/// # Errors
/// When the process is gone.
pub fn cpu_micros(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses that may hold blanks; utime and stime are the 12th and 13th after it.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// A program of the same build as this one.
pub fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(name)
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lab")
}
