//! A process with a control socket: a worker without devices, in a thread of the test.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use millrace::net::{Config, Limits};
use millrace::{Adaptive, Command, Controller, Stack, TscClock, Worker};
use millrace_apps::control::protocol::{About, Ask, Counter, Line, Report};
use millrace_apps::control::{AskArgs, Call, Clerk, place};
use serde_json::Value;

/// A folder of its own for a socket, removed on drop.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("millrace-control-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("a.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A worker that runs and answers.
pub struct Process {
    folder: Folder,
    controller: Controller,
    clerk: Option<Clerk>,
    worker: Option<JoinHandle<()>>,
}

impl Process {
    /// With so many listeners, from port 1 on.
    pub fn start(listeners: u16) -> Self {
        let (mut worker, controller) = worker(listeners);
        let (folder, clerk) = open(&mut worker);
        let worker = std::thread::spawn(move || {
            worker
                .serve(Duration::ZERO, &mut |_| {})
                .map(drop)
                .expect("serves");
        });
        Self {
            folder,
            controller,
            clerk: Some(clerk),
            worker: Some(worker),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.socket()
    }

    /// All counters, by a call of its own.
    #[track_caller]
    pub fn report(&self) -> Report {
        let mut call = call(&self.path());
        call.ask(Ask::Counters).expect("asked");
        match call.line().expect("an answer") {
            Line::Counters(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// A counter of the control socket.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        value(&self.report().control, name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.clerk.take());
        let _ = self.controller.send(Command::Abort);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

/// A worker that sleeps when it has nothing to do, with so many listeners.
pub fn worker(listeners: u16) -> (Worker, Controller) {
    let mut config = Config::new([7; 32]);
    config.limits = Limits {
        max_sockets: usize::from(listeners) + 1,
        ..config.limits
    };
    let mut stack = Stack::new(config);
    for port in 1..=listeners {
        let sock = stack.tcp_socket().expect("a socket");
        let at = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        stack.bind(sock, at).expect("bind");
        stack.listen(sock, 1).expect("listen");
    }
    Worker::new(stack, TscClock::new(), Adaptive::new(Duration::ZERO)).expect("a worker")
}

/// A control socket for `worker`.
pub fn open(worker: &mut Worker) -> (Folder, Clerk) {
    let folder = Folder::new();
    let seat = place::claim(&folder.socket()).expect("a place");
    let inquirer = worker.inquirer().expect("an inquirer");
    let about = About::me("serve nothing".to_owned(), "none", "no queues");
    let clerk = Clerk::start(seat, inquirer, about, None).expect("a thread");
    (folder, clerk)
}

/// The counter with this name.
#[track_caller]
pub fn value(counters: &[Counter], name: &str) -> u64 {
    let found = counters.iter().find(|counter| counter.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).value
}

/// A call to the process at `path`.
#[track_caller]
pub fn call(path: &Path) -> Call {
    try_call(path).unwrap_or_else(|error| panic!("{error}"))
}

/// The same, the sentence being of interest.
pub fn try_call(path: &Path) -> Result<Call, String> {
    let args = AskArgs {
        control: Some(path.to_owned()),
    };
    Call::open(&args).map_err(|error| error.to_string())
}

/// A raw connection, and the first line that it gets.
#[track_caller]
pub fn raw(path: &Path) -> (BufReader<UnixStream>, Value) {
    let mut lines = BufReader::new(UnixStream::connect(path).expect("it listens"));
    let hello = read(&mut lines);
    (lines, hello)
}

/// The next line of JSON.
#[track_caller]
pub fn read(lines: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Sends bytes.
#[track_caller]
pub fn send(lines: &BufReader<UnixStream>, bytes: &[u8]) {
    lines.get_ref().write_all(bytes).expect("sent");
}
