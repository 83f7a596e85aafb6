//! Running `pair_work`: by itself for times, under valgrind for instructions (callgrind) and copied bytes (dhat). What is
//! counted is the difference of a run and one twice as long, so that setting up does not count.

use std::process::Command;

use serde_json::Value;

use crate::lab::{checked, sibling};
use crate::report::median;

/// Whose stacks work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    /// Ours.
    Millrace,
    /// smoltcp.
    Smoltcp,
}

/// What `pair_work` does.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    /// Round trips of 64 B over so many connections.
    RoundTrips(usize),
    /// Bytes of one connection.
    Bulk,
    /// SYNs that are answered with cookies.
    Cookies,
    /// SYNs that nobody answers.
    NoCookies,
}

impl Job {
    fn args(self, stack: Stack, amount: u64) -> Vec<String> {
        let mut args = match self {
            Job::RoundTrips(connections) => vec!["round-trips".into(), connections.to_string()],
            Job::Bulk => vec!["bulk".into()],
            Job::Cookies | Job::NoCookies => vec!["cookies".into()],
        };
        args.push(amount.to_string());
        match (self, stack) {
            (Job::NoCookies, _) => args.push("--nobody".into()),
            (Job::RoundTrips(_) | Job::Bulk, Stack::Smoltcp) => args.push("--smoltcp".into()),
            _ => {}
        }
        args
    }
}

/// What of a run is counted.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    /// Instructions of the processor.
    Instructions,
    /// Bytes that memcpy and its kin moved.
    Copied,
}

/// What one more of `amount` costs.
///
/// # Errors
/// A sentence, when valgrind is missing or the work fails.
pub fn count(what: Count, stack: Stack, job: Job, amount: u64) -> Result<f64, String> {
    let short = under_valgrind(what, stack, job, amount)?;
    let long = under_valgrind(what, stack, job, amount * 2)?;
    Ok((long as f64 - short as f64) / amount as f64)
}

fn under_valgrind(what: Count, stack: Stack, job: Job, amount: u64) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    match what {
        Count::Instructions => command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]),
        Count::Copied => command.args(["--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"]),
    };
    let output = command
        .arg(sibling("pair_work"))
        .args(job.args(stack, amount))
        .output()
        .map_err(|e| format!("valgrind: {e}; run scripts/install bench"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match figure(what, &said) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!(
            "pair_work under valgrind ended with {}: {said}",
            output.status
        )),
    }
}

/// What valgrind says at the end: `Collected : 123`, or `Total:     1,234 bytes in 5 blocks`.
fn figure(what: Count, said: &str) -> Option<u64> {
    match what {
        Count::Instructions => {
            let (_, count) = said
                .lines()
                .find_map(|line| line.split_once("Collected : "))?;
            count.trim().parse().ok()
        }
        Count::Copied => {
            let (_, total) = said.lines().find_map(|line| line.split_once("Total:"))?;
            total
                .split_ascii_whitespace()
                .next()?
                .replace(',', "")
                .parse()
                .ok()
        }
    }
}

/// Nanoseconds for each of `amount`, medians of interleaved rounds, for each of `contenders`.
///
/// # Errors
/// A sentence, when the work fails.
pub fn nanos(contenders: &[(Stack, Job)], amount: u64, rounds: u32) -> Result<Vec<f64>, String> {
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (times, &(stack, job)) in times.iter_mut().zip(contenders) {
            times.push(alone(&job.args(stack, amount))? / amount as f64);
        }
    }
    Ok(times
        .into_iter()
        .map(|times| median(times.into_iter()))
        .collect())
}

/// Bytes of an idle connection on one side, with so many of them.
///
/// # Errors
/// A sentence, when they cannot be opened.
pub fn idle_bytes(connections: usize) -> Result<f64, String> {
    alone(&["idle".into(), connections.to_string()])
}

/// The one figure that `pair_work` prints.
fn alone(args: &[String]) -> Result<f64, String> {
    let said = checked(Command::new(sibling("pair_work")).args(args))?;
    let value: Value =
        serde_json::from_str(&said).map_err(|e| format!("pair_work: {said}: {e}"))?;
    value["figure"]
        .as_f64()
        .ok_or_else(|| format!("pair_work: no figure in {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_valgrind_says() {
        let callgrind = "==1== Events    : Ir\n==1== Collected : 123456\n";
        assert_eq!(figure(Count::Instructions, callgrind), Some(123_456));
        let dhat = "==1== Total:     1,234,567 bytes in 890 blocks\n==1== \n";
        assert_eq!(figure(Count::Copied, dhat), Some(1_234_567));
        assert_eq!(figure(Count::Copied, callgrind), None);
    }
}
