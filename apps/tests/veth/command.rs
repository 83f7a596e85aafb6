//! Running a program to its end with a deadline, so that a hung peer fails a test instead of hanging the suite.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` if it died of a signal, ours at the deadline included.
    pub code: Option<i32>,
    /// Standard output, lossily decoded.
    pub out: String,
    /// Standard error, lossily decoded.
    pub err: String,
}

impl Finished {
    /// The standard output of a program that must have succeeded.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "out: {}\nerr: {}", self.out, self.err);
        self.out
    }
}

/// Runs `command` to its end, or kills it after `limit`.
#[track_caller]
pub fn run(command: &mut Command, limit: Duration) -> Finished {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let out = slurp(child.stdout.take());
    let err = slurp(child.stderr.take());
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("wait for a child") {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().expect("kill a child");
                break child.wait().expect("wait for a killed child");
            }
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    Finished {
        code: status.code(),
        out: out.join().expect("reader"),
        err: err.join().expect("reader"),
    }
}

fn slurp(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // A broken pipe only cuts the text short.
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Calls `probe` until it gives a value; fails with `what` after `limit`. For readiness and for things that must come to
/// rest, never for speed.
#[track_caller]
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => {
                panic!("{what}: not within {limit:?}: {last}")
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
