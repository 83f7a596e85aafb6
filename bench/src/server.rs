//! The servers that are compared, each started, loaded and stopped in turn on the same end of the same veth.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::epoll::Idle;
use crate::lab::{CLIENT, Lab, PORT, SERVER, Side, checked, core_nanos, sibling};
use crate::plan::{Contender, Work};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs; killed on drop.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts it, and waits until it prints `ready`, if that is anything.
    pub(crate) fn start(mut command: Command, ready: &str) -> Result<Running, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{command:?}: {e}"))?;
        let (send, lines) = channel();
        let streams: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let send = send.clone();
            thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                // Ends when nobody listens any more.
                lines
                    .map(|line| send.send(line))
                    .take_while(Result::is_ok)
                    .for_each(drop);
            });
        }
        let running = Running { child, lines };
        if !ready.is_empty() {
            running.line(|line| line.contains(ready).then_some(()))?;
        }
        Ok(running)
    }

    /// The first line that `wanted` takes.
    fn line<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match wanted(&line) {
                    Some(found) => return Ok(found),
                    None => said = line,
                },
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("a server is silent; its last words: {said}"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("a server ended: {said}"));
                }
            }
        }
    }

    /// What our worker says it was busy so far, in nanoseconds.
    fn busy_nanos(&self) -> Result<u64, String> {
        kill_process(Pid::from_child(&self.child), Signal::USR1).map_err(|e| e.to_string())?;
        self.line(|line| {
            let stats: Value = serde_json::from_str(line).ok()?;
            stats["worker"]["busy_ns"].as_u64()
        })
    }

    /// Statistics of `millrace serve`: a counter with a Linux name.
    pub fn counter(&self, name: &str) -> Result<u64, String> {
        kill_process(Pid::from_child(&self.child), Signal::USR1).map_err(|e| e.to_string())?;
        self.line(|line| {
            let stats: Value = serde_json::from_str(line).ok()?;
            stats["mib"][name].as_u64()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail harmlessly on a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server under test, ready to be loaded.
pub struct Server {
    running: Running,
    contender: Contender,
    idle: Idle,
    _scratch: Scratch,
}

impl Server {
    /// Gives the server's end of the veth to `contender` and starts it there.
    ///
    /// # Errors
    /// A sentence, when it does not come to serve.
    pub fn start(
        lab: &Lab,
        contender: Contender,
        work: Work,
        idle: Idle,
    ) -> Result<Server, String> {
        let scratch = Scratch::new()?;
        let running = match contender {
            Contender::Millrace => {
                lab.kernel_steps_back(Side::Server)?;
                Running::start(millrace(lab, work), "serving")?
            }
            Contender::Epoll => {
                lab.kernel_takes_over(Side::Server)?;
                Running::start(epoll(lab, work, idle), "serving")?
            }
            Contender::Nginx => {
                lab.kernel_takes_over(Side::Server)?;
                let nginx = Running::start(scratch.nginx(lab)?, "")?;
                wait_for_port(lab)?;
                nginx
            }
        };
        Ok(Server {
            running,
            contender,
            idle,
            _scratch: scratch,
        })
    }

    /// CPU time that serving has taken so far, in nanoseconds: what our worker says it was busy, or what the server's core
    /// did at all, soft interrupts included. `None` for a kernel server that spins.
    ///
    /// # Errors
    /// A sentence, when the server is gone.
    pub fn cpu_nanos(&self) -> Result<Option<u64>, String> {
        match (self.contender, self.idle) {
            (Contender::Millrace, _) => self.running.busy_nanos().map(Some),
            (_, Idle::Spin) => Ok(None),
            (_, Idle::Sleep) => core_nanos(Side::Server.core()).map(Some),
        }
    }

    /// A counter of our stack by its Linux name.
    ///
    /// # Errors
    /// A sentence, when the server is gone.
    pub fn counter(&self, name: &str) -> Result<u64, String> {
        self.running.counter(name)
    }
}

fn millrace(lab: &Lab, work: Work) -> Command {
    let mut command = lab.pinned(Side::Server, sibling("millrace"));
    command.args(match work {
        Work::Echo { .. } | Work::Connect => &["serve", "echo", "--backlog", "4096"][..],
        Work::Http => &["serve", "http", "--body-size", "128"],
    });
    command.args([
        "--driver",
        "af-xdp:mill0",
        "--addr",
        &format!("{SERVER}/24"),
    ]);
    command.args(["--gateway", CLIENT, "--port", &PORT.to_string()]);
    command.args(["--core", "1", "--busy-poll", "--json", "--no-control"]);
    command
}

fn epoll(lab: &Lab, work: Work, idle: Idle) -> Command {
    let mut command = lab.pinned(Side::Server, sibling("kernel_peer"));
    let what = match work {
        Work::Echo { .. } | Work::Connect => "echo",
        Work::Http => "http",
    };
    command.args([what, &format!("{SERVER}:{PORT}")]);
    if idle == Idle::Spin {
        command.arg("--spin");
    }
    command
}

fn wait_for_port(lab: &Lab) -> Result<(), String> {
    let at: SocketAddrV4 = format!("{SERVER}:{PORT}")
        .parse()
        .map_err(|e| format!("{e}"))?;
    let mut command = lab.pinned(Side::Client, "curl");
    command.args([
        "-sS",
        "-o",
        "/dev/null",
        "--retry",
        "50",
        "--retry-connrefused",
        "--retry-delay",
        "1",
    ]);
    checked(command.arg(format!("http://{at}/"))).map(drop)
}

/// nginx's files.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        let path = std::env::temp_dir().join(format!("millrace-bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Scratch(path))
    }

    fn nginx(&self, lab: &Lab) -> Result<Command, String> {
        let at = self.0.display();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/log;\nevents {{ worker_connections 4096; }}\n\
             http {{ access_log off; client_body_temp_path {at}/body; keepalive_requests 1000000000;\n\
             server {{ listen {SERVER}:{PORT}; location / {{ return 200 \"{}\"; }} }} }}\n",
            "x".repeat(128)
        );
        let file = self.0.join("nginx.conf");
        fs::write(&file, config).map_err(|e| e.to_string())?;
        let mut command = lab.pinned(Side::Server, "nginx");
        command.args(["-e", &format!("{at}/log"), "-c"]).arg(file);
        Ok(command)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: it lies in a temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
