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

use crate::lab::{Lab, SERVER, Side, checked, cpu_micros, sibling};
use crate::report::Sample;

const PORT: u16 = 7007;
const PATIENCE: Duration = Duration::from_secs(30);

/// Who serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// `millrace serve` over AF_XDP.
    Millrace,
    /// Kernel sockets under the plainest epoll loop.
    Epoll,
    /// Kernel sockets under nginx (HTTP only).
    Nginx,
}

/// What is asked of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// 64 B there and back, one in flight per connection.
    Echo,
    /// GET of 128 B with keep-alive, by wrk.
    Http,
}

impl Contender {
    /// As printed in the table.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Millrace => "millrace",
            Contender::Epoll => "epoll",
            Contender::Nginx => "nginx",
        }
    }
}

impl Work {
    /// As printed in the table.
    pub fn name(self) -> &'static str {
        match self {
            Work::Echo => "64 B echo",
            Work::Http => "HTTP",
        }
    }
}

/// A server that runs; killed on drop.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command, ready: &str) -> Result<Running, String> {
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

    /// CPU time so far in nanoseconds: what the worker says it was busy, or what the kernel has charged to the process.
    fn cpu_nanos(&self, contender: Contender) -> Result<u64, String> {
        match contender {
            Contender::Millrace => {
                kill_process(Pid::from_child(&self.child), Signal::USR1)
                    .map_err(|e| e.to_string())?;
                self.line(|line| busy_nanos(&serde_json::from_str(line).ok()?))
            }
            Contender::Epoll | Contender::Nginx => {
                Ok(cpu_micros(self.child.id()).map_err(|e| format!("/proc: {e}"))? * 1_000)
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail harmlessly on a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `busy_ns` of the worker in a statistics object.
fn busy_nanos(stats: &Value) -> Option<u64> {
    stats["worker"]["busy_ns"].as_u64()
}

/// Starts `contender`, loads it with `connections` for `time`, stops it.
///
/// # Errors
/// A sentence, when a server or the load fails.
pub fn measure(
    lab: &Lab,
    contender: Contender,
    work: Work,
    connections: usize,
    time: Duration,
) -> Result<Sample, String> {
    let spin = work == Work::Echo && connections == 1;
    let scratch = Scratch::new()?;
    let server = match contender {
        Contender::Millrace => {
            lab.kernel_steps_back()?;
            Running::start(millrace(lab, work), "serving")?
        }
        Contender::Epoll => {
            lab.kernel_takes_over()?;
            Running::start(epoll(lab, work, spin), "serving")?
        }
        Contender::Nginx => {
            lab.kernel_takes_over()?;
            let nginx = Running::start(scratch.nginx(lab)?, "")?;
            wait_for_port(lab)?;
            nginx
        }
    };
    let before = server.cpu_nanos(contender)?;
    let (rate, p50, requests) = match work {
        Work::Echo => echo_load(lab, connections, time)?,
        Work::Http => wrk_load(lab, connections, time)?,
    };
    let used = server.cpu_nanos(contender)? - before;
    let meaningful = contender == Contender::Millrace || !spin;
    Ok(Sample {
        rate,
        p50,
        cpu: (meaningful && requests > 0.0).then(|| used as f64 / requests),
    })
}

fn millrace(lab: &Lab, work: Work) -> Command {
    let mut command = lab.pinned(Side::Server, sibling("millrace"));
    command.args(match work {
        Work::Echo => &["serve", "echo"][..],
        Work::Http => &["serve", "http", "--body-size", "128"],
    });
    command.args([
        "--driver",
        "af-xdp:mill0",
        "--addr",
        &format!("{SERVER}/24"),
        "--port",
        &PORT.to_string(),
    ]);
    command.args(["--core", "1", "--busy-poll", "--json"]);
    command
}

fn epoll(lab: &Lab, work: Work, spin: bool) -> Command {
    let mut command = lab.pinned(Side::Server, sibling("kernel_peer"));
    let what = match work {
        Work::Echo => "echo",
        Work::Http => "http",
    };
    command.args([what, &format!("{SERVER}:{PORT}")]);
    if spin {
        command.arg("--spin");
    }
    command
}

fn echo_load(lab: &Lab, connections: usize, time: Duration) -> Result<(f64, f64, f64), String> {
    let mut command = lab.pinned(Side::Client, sibling("kernel_peer"));
    command.args([
        "load",
        &format!("{SERVER}:{PORT}"),
        "--connections",
        &connections.to_string(),
    ]);
    command.args(["--seconds", &time.as_secs_f64().to_string()]);
    let said = checked(&mut command)?;
    let load: Value = serde_json::from_str(&said).map_err(|e| format!("{said}: {e}"))?;
    let number = |name: &str| {
        load[name]
            .as_f64()
            .ok_or_else(|| format!("no {name} in {said}"))
    };
    // CPU time is charged over the warm-up of a tenth as well.
    Ok((number("rate")?, number("p50")?, number("requests")? * 1.1))
}

fn wrk_load(lab: &Lab, connections: usize, time: Duration) -> Result<(f64, f64, f64), String> {
    let seconds = time.as_secs_f64().ceil();
    let mut command = lab.pinned(Side::Client, "wrk");
    command.args([
        "-t1",
        "--latency",
        &format!("-c{connections}"),
        &format!("-d{seconds}s"),
    ]);
    let said = checked(command.arg(format!("http://{SERVER}:{PORT}/")))?;
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return Err(said);
    }
    let field = |name: &str| {
        said.lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
    };
    let rate = field("Requests/sec:")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("no rate in {said}"))?;
    let p50 = field("50%")
        .and_then(nanos_of)
        .ok_or_else(|| format!("no median in {said}"))?;
    let count = said
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "));
    let requests = count
        .and_then(|(count, _)| count.parse().ok())
        .ok_or_else(|| format!("no count in {said}"))?;
    Ok((rate, p50, requests))
}

/// wrk's "381.00us", "1.25ms", "2.00s" in nanoseconds.
fn nanos_of(text: &str) -> Option<f64> {
    let units = [("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    units
        .iter()
        .find_map(|(unit, nanos)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * nanos))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_units() {
        assert_eq!(nanos_of("381.00us"), Some(381_000.0));
        assert_eq!(nanos_of("1.25ms"), Some(1_250_000.0));
        assert_eq!(nanos_of("2.00s"), Some(2e9));
        assert_eq!(nanos_of("n/a"), None);
    }
}
