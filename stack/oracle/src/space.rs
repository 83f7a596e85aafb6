//! A network namespace with nothing in it but a loopback and a TUN device, and a thread that lives there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use thiserror::Error;

use crate::{profile, sys};

/// The name of the device, which scripts know.
pub const DEVICE: &str = "tun0";

/// What a machine is to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Address of the device.
    pub local: Ipv4Addr,
    /// Length of its network's prefix, bits.
    pub prefix: u8,
    /// Of the device, octets.
    pub mtu: u16,
    /// Settings beyond the profile ([`crate::settings`]): `net.ipv4.tcp_sack` and its value.
    pub sysctls: Vec<(String, String)>,
}

impl Default for Setup {
    /// The addresses that scripts are written for.
    fn default() -> Self {
        Self {
            local: Ipv4Addr::new(192, 168, 0, 1),
            prefix: 16,
            mtu: 1500,
            sysctls: Vec::new(),
        }
    }
}

/// Why there is no machine.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Namespaces and devices are root's.
    #[error("the kernel as a machine needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN): {0}")]
    NoRoot(io::Error),
    /// No TUN driver.
    #[error(
        "/dev/net/tun cannot be used: {0}; load the `tun` module, or give the container the device"
    )]
    NoTun(io::Error),
    /// iproute2 is missing, or it failed.
    #[error("`{0}` (iproute2) could not set up the namespace: {1}")]
    Tool(&'static str, String),
    /// A setting of the profile.
    #[error("sysctl {name}={value}: {error}")]
    Sysctl {
        /// Its name.
        name: String,
        /// What was to be written.
        value: String,
        /// Why not.
        error: io::Error,
    },
    /// Something else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

type Job = Box<dyn FnOnce() + Send>;

/// The namespace: it dies with this value and the sockets made in it.
pub struct Space {
    jobs: Option<Sender<Job>>,
    home: Option<JoinHandle<()>>,
    namespace: Arc<File>,
}

/// The descriptors that reach into the namespace.
pub struct Device {
    /// Packets written to it come in, packets that leave can be read.
    pub tun: OwnedFd,
    /// Sees what leaves, with times.
    pub watch: OwnedFd,
}

impl Space {
    /// Makes the namespace and what is in it.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(setup: &Setup) -> Result<(Self, Device), SetupError> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let setup = setup.clone();
        let home = thread::Builder::new()
            .name("namespace".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                let made = furnish(&setup);
                let failed = made.is_err();
                tell.send(made).ok();
                if failed {
                    return;
                }
                while let Ok(job) = work.recv() {
                    job();
                }
            })?;
        let (namespace, device) = told
            .recv()
            .map_err(|_| io::Error::other("the namespace's thread died"))??;
        let space = Self {
            jobs: Some(jobs),
            home: Some(home),
            namespace: Arc::new(namespace),
        };
        Ok((space, device))
    }

    /// The namespace, for other threads to enter.
    pub fn namespace(&self) -> Arc<File> {
        Arc::clone(&self.namespace)
    }

    /// Does something on the thread inside.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn inside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let gone = || io::Error::other("the namespace's thread is gone");
        let (tell, told) = mpsc::channel();
        let job: Job = Box::new(move || drop(tell.send(job())));
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())?;
        told.recv().map_err(|_| gone())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(home) = self.home.take() {
            home.join().ok();
        }
    }
}

/// Leaves for a new namespace and furnishes it.
fn furnish(setup: &Setup) -> Result<(File, Device), SetupError> {
    sys::threads::leave_network().map_err(SetupError::NoRoot)?;
    let namespace = File::open("/proc/thread-self/ns/net")?;
    let tun = sys::device::open_tun(DEVICE).map_err(SetupError::NoTun)?;
    for (name, value) in profile::settings().iter().chain(&setup.sysctls) {
        write_sysctl(name, value).map_err(|error| SetupError::Sysctl {
            name: name.clone(),
            value: value.clone(),
            error,
        })?;
    }
    batch(
        "ip",
        &format!(
            "link set lo up\n\
         link set {DEVICE} mtu {} up\n\
         address add {}/{} dev {DEVICE}\n\
         route add default dev {DEVICE}\n",
            setup.mtu, setup.local, setup.prefix
        ),
    )?;
    // Without a queue a packet has been sent when the call that sends it returns. With one, another processor that is
    // just sending may take it over.
    batch("tc", &format!("qdisc replace dev {DEVICE} root noqueue\n"))?;
    let index = sys::device::index_of(DEVICE)?;
    let watch = sys::device::watch(index)?;
    Ok((namespace, Device { tun, watch }))
}

/// Runs lines of `ip` or `tc`.
fn batch(tool: &'static str, lines: &str) -> Result<(), SetupError> {
    let failed = |error: io::Error| SetupError::Tool(tool, error.to_string());
    let mut running = Command::new(tool)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = running.stdin.take() {
        stdin.write_all(lines.as_bytes()).map_err(failed)?;
    }
    let output = running.wait_with_output().map_err(failed)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(SetupError::Tool(
            tool,
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}

/// Writes a setting of the calling thread's namespace: `net.ipv4.tcp_sack`, with dots or slashes.
///
/// # Errors
/// No such setting here, or not this value.
pub fn write_sysctl(name: &str, value: &str) -> io::Result<()> {
    fs::write(
        Path::new("/proc/sys").join(name.replace('.', "/")),
        value.as_bytes(),
    )
}

/// Runs a command of the shell; to be called inside.
///
/// # Errors
/// No shell.
pub fn shell(text: &str) -> io::Result<Output> {
    Command::new("sh")
        .args(["-c", text])
        .stdin(Stdio::null())
        .output()
}
