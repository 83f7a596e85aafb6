//! A running `millrace`, in our namespace of a lab.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::command::eventually;
use crate::lab::{Lab, OURS, PORT};
use crate::stats::Stats;

/// How long set-up and a drain may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test: `$MILLRACE_BIN`, or else the one that was built with this test.
pub static MILLRACE: LazyLock<String> = LazyLock::new(|| {
    env::var("MILLRACE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_millrace").into())
});

/// Everything that the program has printed, line by line, both streams.
#[derive(Default)]
struct Lines {
    seen: Mutex<Vec<String>>,
    more: Condvar,
}

/// A `millrace serve …` process; killed on drop if the test has not ended it.
pub struct Server {
    child: Child,
    lines: Arc<Lines>,
    /// How many statistics objects were read already.
    stats_read: usize,
}

/// `millrace WHAT --driver … --addr …` in our namespace of `lab`, for the caller to finish.
pub fn millrace(lab: &Lab, what: &[&str]) -> Command {
    let mut command = lab.ours(MILLRACE.as_str());
    command
        .args(what)
        .args(["--driver", lab.spec(), "--addr", &format!("{OURS}/24")])
        .args(lab.flags());
    command
}

impl Server {
    /// Starts `millrace serve KIND EXTRA…` on [`PORT`] and waits until it says that it serves.
    #[track_caller]
    pub fn start(lab: &Lab, kind: &str, extra: &[&str]) -> Server {
        let mut command = millrace(lab, &["serve", kind]);
        command
            .args(["--port", &PORT.to_string(), "--json", "--stats-on-exit"])
            .args(extra);
        Server::run(command)
    }

    /// Starts a command that serves, and waits until it says so.
    #[track_caller]
    pub fn run(mut command: Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start millrace");
        let lines = Arc::new(Lines::default());
        collect(child.stdout.take(), &lines);
        collect(child.stderr.take(), &lines);
        let mut server = Server {
            child,
            lines,
            stats_read: 0,
        };
        server.wait_ready();
        server
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.printed(|line| line.contains("serving")) {
            if let Some(status) = self.child.try_wait().expect("wait for millrace") {
                panic!(
                    "millrace ended with {status} before it served:\n{}",
                    self.transcript()
                );
            }
            assert!(
                Instant::now() < deadline,
                "no ready line within {PATIENCE:?}:\n{}",
                self.transcript()
            );
            self.wait_for_output();
        }
    }

    fn printed(&self, mut wanted: impl FnMut(&str) -> bool) -> bool {
        self.lines
            .seen
            .lock()
            .expect("lines")
            .iter()
            .any(|line| wanted(line))
    }

    /// All that was printed so far.
    pub fn transcript(&self) -> String {
        self.lines.seen.lock().expect("lines").join("\n")
    }

    fn wait_for_output(&self) {
        let seen = self.lines.seen.lock().expect("lines");
        drop(
            self.lines
                .more
                .wait_timeout(seen, Duration::from_millis(100))
                .expect("lines"),
        );
    }

    fn all_stats(&self) -> Vec<Stats> {
        let seen = self.lines.seen.lock().expect("lines");
        let objects = seen
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        objects.filter_map(Stats::recognise).collect()
    }

    /// Asks for statistics with SIGUSR1 and returns them.
    #[track_caller]
    pub fn stats(&mut self) -> Stats {
        self.signal(Signal::USR1);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(stats) = self.all_stats().get(self.stats_read) {
                self.stats_read += 1;
                return stats.clone();
            }
            assert!(
                Instant::now() < deadline,
                "no statistics after SIGUSR1:\n{}",
                self.transcript()
            );
            self.wait_for_output();
        }
    }

    /// Waits until nothing of any connection is left compared with `before`.
    #[track_caller]
    pub fn settles(&mut self, before: &Stats) -> Stats {
        eventually("counters back to baseline", PATIENCE, || {
            let now = self.stats();
            match now.left_since(before).as_slice() {
                [] => Ok(now),
                left => Err(left.join("; ")),
            }
        })
    }

    /// Ends it with SIGTERM, checks that it drains and exits 0, and returns its last statistics.
    #[track_caller]
    pub fn stop(self) -> Stats {
        self.stop_with(Signal::TERM)
    }

    /// The same by another signal.
    #[track_caller]
    pub fn stop_with(mut self, signal: Signal) -> Stats {
        self.signal(signal);
        let status = self.wait_end();
        assert_eq!(
            status.code(),
            Some(0),
            "after {signal:?}:\n{}",
            self.transcript()
        );
        eventually("statistics at exit", PATIENCE, || {
            let mut printed = self.all_stats();
            match printed.pop() {
                Some(last) if printed.len() >= self.stats_read => Ok(last),
                _ => Err(self.transcript()),
            }
        })
    }

    /// Ends with SIGTERM a command that prints no statistics; it must exit 0.
    #[track_caller]
    pub fn end(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_end();
        assert_eq!(status.code(), Some(0), "{}", self.transcript());
    }

    /// Ends it with SIGKILL: no clean-up of its own.
    pub fn kill(mut self) {
        self.child.kill().expect("kill millrace");
        self.child.wait().expect("wait for millrace");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signal millrace");
    }

    #[track_caller]
    fn wait_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for millrace") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "did not end within {PATIENCE:?}:\n{}",
                self.transcript()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- millrace printed:\n{}", self.transcript());
        }
        // Both fail harmlessly on a process that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: Option<impl Read + Send + 'static>, lines: &Arc<Lines>) {
    let lines = Arc::clone(lines);
    let from = from.expect("a piped stream");
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.seen.lock().expect("lines").push(line);
            lines.more.notify_all();
        }
    });
}
