//! `compare flood`: a SYN flood, what answering it costs, and what becomes of those who mean it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Seen, Spin, Times, load};
use crate::counted::{Count, Job, Stack, count, nanos};
use crate::epoll::Idle;
use crate::lab::{Lab, PORT, SERVER, Side, checked, core_nanos, sibling};
use crate::plan::{Client, Contender, Work};
use crate::report::median;
use crate::server::Server;
use crate::veth::{some_seconds, write};

/// SYNs per run over the pair: under valgrind, and by itself.
const COUNTED: u64 = 20_000;
const TIMED: u64 = 1_000_000;
/// A connect that takes longer has failed.
const PATIENCE: &str = "3";

/// `compare flood`.
#[derive(Args)]
pub struct Flood {
    /// SYNs a second, several in turn; 0 is the same without a flood.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 20_000, 100_000])]
    rates: Vec<u32>,
    /// Connects a second of those who mean it: each sends 64 B, reads them back and closes.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connects: u32,
    /// Rounds; each measures both servers at each rate once, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3.0, value_parser = some_seconds)]
    seconds: f64,
    /// One round of a second each.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Writes every sample to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// SYNs a second that were really sent.
    syns_per_s: f64,
    /// Cookies by SYN.
    cookies: f64,
    /// Connects that were due, and those that had their answer.
    offered: f64,
    answered: f64,
    /// Latency of connect, request and reply, nanoseconds.
    p50: f64,
    p99: f64,
    /// What both cores did a second, nanoseconds; of our worker only what it was busy.
    busy: f64,
}

/// A server at a rate.
struct Row {
    server: Contender,
    rate: u32,
    samples: Vec<Sample>,
}

/// Runs the command.
///
/// # Errors
/// A sentence, when something cannot be measured.
pub fn run(args: &Flood) -> Result<(), String> {
    let (rounds, seconds) = if args.quick {
        (1, 1.0)
    } else {
        (args.rounds, args.seconds)
    };
    let cost = cookie(rounds)?;
    println!(
        "a SYN answered with a cookie, over the in-memory pair: {:.0} ns, {:.0} instructions (making and moving the SYN aside)\n",
        cost.nanos, cost.instructions
    );
    let lab = Lab::new()?;
    let mut rows: Vec<Row> = Vec::new();
    for &rate in &args.rates {
        for server in [Contender::Millrace, Contender::Epoll] {
            rows.push(Row {
                server,
                rate,
                samples: Vec::new(),
            });
        }
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for row in &mut rows {
            let sample = measure(&lab, row.server, row.rate, args.connects, seconds)
                .map_err(|e| format!("{} at {} SYN/s: {e}", row.server.name(), row.rate))?;
            row.samples.push(sample);
        }
    }
    drop(lab);
    print!("{}", table(&rows));
    println!(
        "Medians of {rounds} rounds of {seconds} s over one veth, {} connects a second that are meant. Flood and client on core 0, server on\n\
         core 1; a SYN is received by the kernel in the flood's own time, whoever serves. CPU: both cores together (of our spinning\n\
         worker what it was busy), flood and client included, less the same without a flood, by SYN.",
        args.connects
    );
    let json = json!({
        "schema": "millrace-bench-flood",
        "version": 1,
        "rounds": rounds,
        "seconds": seconds,
        "connects_per_s": args.connects,
        "pair": { "ns_per_cookie": cost.nanos, "instructions_per_cookie": cost.instructions },
        "rows": rows.iter().map(|row| as_json(&rows, row)).collect::<Vec<_>>(),
    });
    write(args.json.as_ref(), &format!("{json:#}\n"))
}

/// What a cookie costs.
struct Cost {
    nanos: f64,
    instructions: f64,
}

fn cookie(rounds: u32) -> Result<Cost, String> {
    let counted = |job| count(Count::Instructions, Stack::Millrace, job, COUNTED);
    let contenders = [Job::Cookies, Job::NoCookies].map(|job| (Stack::Millrace, job));
    let nanos = nanos(&contenders, TIMED, rounds)?;
    Ok(Cost {
        nanos: nanos[0] - nanos[1],
        instructions: counted(Job::Cookies)? - counted(Job::NoCookies)?,
    })
}

/// Both in one: a flood, and who means it.
fn measure(
    lab: &Lab,
    contender: Contender,
    rate: u32,
    connects: u32,
    seconds: f64,
) -> Result<Sample, String> {
    let work = Work::Connect;
    let server = Server::start(lab, contender, work, Idle::Sleep)?;
    // Gives the client's end to the kernel before the flood goes out by it.
    lab.kernel_takes_over(Side::Client)?;
    let warm_up = 0.5;
    let before = Counted::now(lab, &server, contender)?;
    let flood = Flooding::start(lab, rate, seconds + warm_up)?;
    let seen = legitimate(lab, connects, warm_up, seconds)?;
    let (syns, lasted) = flood.end()?;
    let after = Counted::now(lab, &server, contender)?;
    let cookies = after.cookies - before.cookies;
    Ok(Sample {
        syns_per_s: syns / lasted.max(1e-9),
        cookies: if syns > 0.0 {
            cookies as f64 / syns
        } else {
            0.0
        },
        offered: seen.offered,
        answered: seen.answered,
        p50: seen.p50,
        p99: seen.p99,
        busy: (after.busy - before.busy) as f64 / (seconds + warm_up),
    })
}

fn legitimate(lab: &Lab, connects: u32, warm_up: f64, seconds: f64) -> Result<Seen, String> {
    let rate = connects.to_string();
    let flags = [
        "--work",
        "connect",
        "-c",
        "1024",
        "--timeout",
        PATIENCE,
        "--rate",
        &rate,
    ];
    let flags = flags.map(String::from);
    let times = Times {
        warm_up: Duration::from_secs_f64(warm_up),
        time: Duration::from_secs_f64(seconds),
    };
    load(lab, Client::Kernel, Work::Connect, &flags, times, Spin::No)
}

/// What is counted from outside.
struct Counted {
    cookies: u64,
    busy: u64,
}

impl Counted {
    fn now(lab: &Lab, server: &Server, contender: Contender) -> Result<Counted, String> {
        let name = "TcpExtSyncookiesSent";
        let cookies = match contender {
            Contender::Millrace => server.counter(name)?,
            Contender::Epoll | Contender::Nginx => {
                let said = checked(lab.pinned(Side::Server, "nstat").args(["-asz", name]))?;
                let line = said.lines().find_map(|line| line.strip_prefix(name));
                let count =
                    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
                count.ok_or_else(|| format!("no {name} in what nstat says: {said}"))?
            }
        };
        let serving = server.cpu_nanos()?.unwrap_or(0);
        Ok(Counted {
            cookies,
            busy: core_nanos(Side::Client.core())? + serving,
        })
    }
}

/// A flood under way; none for rate 0.
struct Flooding(Option<Child>);

impl Flooding {
    fn start(lab: &Lab, rate: u32, seconds: f64) -> Result<Flooding, String> {
        if rate == 0 {
            return Ok(Flooding(None));
        }
        let mut command: Command = lab.pinned(Side::Client, sibling("kernel_peer"));
        command.args([
            "flood",
            &format!("{SERVER}:{PORT}"),
            "--rate",
            &rate.to_string(),
        ]);
        command.args(["--seconds", &seconds.to_string()]);
        let child = command.stdout(Stdio::piped()).spawn();
        child
            .map(|child| Flooding(Some(child)))
            .map_err(|e| format!("{command:?}: {e}"))
    }

    /// SYNs that the kernel took, and for how long.
    fn end(mut self) -> Result<(f64, f64), String> {
        let Some(child) = self.0.take() else {
            return Ok((0.0, 1.0));
        };
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        let said: Value = serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("kernel_peer flood: {e}"))?;
        let number = |name: &str| {
            said[name]
                .as_f64()
                .ok_or_else(|| format!("kernel_peer flood: no {name} in {said}"))
        };
        Ok((number("syns")? - number("refused")?, number("seconds")?))
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail harmlessly when it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Row {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of))
    }

    /// Of all rounds together.
    fn succeeded(&self) -> f64 {
        let sum = |of: fn(&Sample) -> f64| self.samples.iter().map(of).sum::<f64>();
        sum(|sample| sample.answered) / sum(|sample| sample.offered).max(1.0)
    }
}

/// CPU time of a SYN in microseconds: more than without a flood, if that was measured.
fn cpu(rows: &[Row], row: &Row) -> Option<f64> {
    let quiet = rows
        .iter()
        .find(|other| other.server == row.server && other.rate == 0)?;
    let syns = row.median(|sample| sample.syns_per_s);
    let more = row.median(|sample| sample.busy) - quiet.median(|sample| sample.busy);
    (row.rate > 0 && syns > 0.0).then(|| more / syns / 1e3)
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:>9}  {:<9} {:>9} {:>8} {:>10} {:>9} {:>9} {:>11}\n",
        "SYN/s", "server", "sent/s", "cookies", "succeeded", "p50 us", "p99 us", "CPU us/SYN"
    );
    for row in rows {
        let cpu = cpu(rows, row).map_or(String::new(), |cpu| format!("{cpu:.2}"));
        text += &format!(
            "{:>9}  {:<9} {:>9.0} {:>7.1}% {:>9.2}% {:>9.0} {:>9.0} {cpu:>11}\n",
            row.rate,
            row.server.name(),
            row.median(|sample| sample.syns_per_s),
            row.median(|sample| sample.cookies) * 100.0,
            row.succeeded() * 100.0,
            row.median(|sample| sample.p50) / 1e3,
            row.median(|sample| sample.p99) / 1e3,
        );
    }
    text
}

fn as_json(rows: &[Row], row: &Row) -> Value {
    let all = |of: fn(&Sample) -> f64| row.samples.iter().map(of).collect::<Vec<_>>();
    json!({
        "syns_per_s_asked": row.rate,
        "server": row.server.name(),
        "syns_per_s": all(|sample| sample.syns_per_s),
        "cookies_per_syn": all(|sample| sample.cookies),
        "offered": all(|sample| sample.offered),
        "answered": all(|sample| sample.answered),
        "succeeded": row.succeeded(),
        "p50_us": all(|sample| sample.p50 / 1e3),
        "p99_us": all(|sample| sample.p99 / 1e3),
        "cpu_us_per_syn": cpu(rows, row),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rate: u32, busy: f64, answered: f64) -> Row {
        let sample = Sample {
            syns_per_s: rate.into(),
            cookies: 1.0,
            offered: 1000.0,
            answered,
            p50: 1e5,
            p99: 1e6,
            busy,
        };
        Row {
            server: Contender::Epoll,
            rate,
            samples: vec![sample],
        }
    }

    #[test]
    fn a_syn_costs_what_was_not_spent_without_it() {
        let rows = [row(0, 1e8, 1000.0), row(10_000, 2e8, 999.0)];
        assert_eq!(cpu(&rows, &rows[0]), None);
        assert_eq!(cpu(&rows, &rows[1]), Some(10.0));
        assert_eq!(rows[1].succeeded(), 0.999);
        let text = table(&rows);
        assert!(text.contains("99.90%") && text.contains("10.00"), "{text}");
        assert_eq!(as_json(&rows, &rows[1])["cpu_us_per_syn"], 10.0);
    }
}
