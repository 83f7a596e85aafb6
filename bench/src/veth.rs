//! `compare veth`: every case once a round, in turn, so that what else happens on the machine meets all of them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Seen, Times, closed_loop};
use crate::lab::Lab;
use crate::page::{page, picture};
use crate::plan::{Case, Group, cases};
use crate::report::{Row, Sample, as_json, table};
use crate::server::Server;

/// Connections, request sizes, rounds and seconds when nothing is said.
const CONNECTIONS: [usize; 4] = [1, 32, 256, 1024];
const SIZES: [u32; 3] = [64, 1024, 16 * 1024];
/// The warm-up is this part of the measurement.
const WARM_UP: u32 = 4;

/// `compare veth`.
#[derive(Args)]
pub struct Veth {
    /// Rounds; each measures every server once, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement (wrk: rounded up); a quarter more is warm-up.
    #[arg(long, default_value_t = 2.0, value_parser = some_seconds)]
    seconds: f64,
    /// Connection counts.
    #[arg(long, value_delimiter = ',', default_values_t = CONNECTIONS)]
    connections: Vec<usize>,
    /// Bytes of a request and of its reply.
    #[arg(long, value_delimiter = ',', default_values_t = SIZES)]
    sizes: Vec<u32>,
    /// Only these groups of rows.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// One round of half a second each: all rows within two minutes, to see that everything works.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Writes every sample to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page with table and picture.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes the picture alone.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Keeps each record of `millrace load` in this folder, for `millrace report`.
    #[arg(long, value_name = "DIR")]
    records: Option<PathBuf>,
}

/// Seconds of a measurement.
pub(crate) fn some_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give between 0.1 and 3600 seconds".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// A sentence, when something cannot be measured at all; what was measured before is printed and written all the same.
pub fn run(args: &Veth) -> Result<(), String> {
    let (rounds, seconds) = if args.quick {
        (1, 0.5)
    } else {
        (args.rounds, args.seconds)
    };
    if let Some(folder) = &args.records {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let lab = Lab::new()?;
    let time = Duration::from_secs_f64(seconds);
    let times = Times {
        warm_up: time / WARM_UP,
        time,
    };
    let plan = cases(&args.only, &args.connections, &args.sizes);
    let mut rows: Vec<Row> = plan.into_iter().map(Row::new).collect();
    let (begin, mut machine) = (Instant::now(), Value::Null);
    let mut broken = None;
    'rounds: for round in 1..=rounds {
        eprintln!(
            "round {round} of {rounds}, {:.0} s so far",
            begin.elapsed().as_secs_f64()
        );
        for row in &mut rows {
            match measure(&lab, &row.case, times) {
                Ok((seen, cpu)) => {
                    if let Some(record) = &seen.record {
                        machine = json!({ "machine": record["machine"], "build": record["build"] });
                        keep(args.records.as_ref(), &row.case, round, record)?;
                    }
                    count(row, &seen, cpu);
                }
                Err(why) => {
                    let Case {
                        work,
                        connections,
                        server,
                        ..
                    } = row.case;
                    broken = Some(format!(
                        "{} {connections} {}: {why}",
                        work.name(),
                        server.name()
                    ));
                    break 'rounds;
                }
            }
        }
    }
    drop(lab);
    let about = about(rounds, seconds);
    print!("{}", table(&rows));
    println!("{}", about.join("\n"));
    let figures = json!({
        "schema": "millrace-bench-veth",
        "version": 1,
        "rounds": rounds,
        "seconds": seconds,
        "broken": broken,
        "facts": machine,
        "rows": as_json(&rows),
    });
    write(args.json.as_ref(), &format!("{figures:#}\n"))?;
    write(args.html.as_ref(), &page(&rows, &about, &machine))?;
    write(args.svg.as_ref(), &picture(&rows))?;
    broken.map_or(Ok(()), Err)
}

fn about(rounds: u32, seconds: f64) -> Vec<String> {
    let rounds = match rounds {
        1 => "One round".to_owned(),
        n => format!("Medians of {n} interleaved rounds"),
    };
    vec![
        format!("{rounds} of {seconds} s, one veth, MTU 1500, offloads off at both ends, client on core 0, server on core 1."),
        "Spread: highest less lowest rate, by the median. CPU: busy time of our worker, which includes what the kernel does for the \
         client inside our system calls; for the others all that their core did, soft interrupts included."
            .to_owned(),
        "Saturated: a side that was busy 95 % of the time. With one connection both ends spin, and nobody knows what a spinning \
         kernel server needs."
            .to_owned(),
    ]
}

/// Starts the server, loads it, stops it: what the client saw, and the CPU time of serving.
fn measure(lab: &Lab, case: &Case, times: Times) -> Result<(Seen, Option<u64>), String> {
    let server = Server::start(lab, case.server, case.work, case.server_idle())?;
    let before = server.cpu_nanos()?;
    let seen = closed_loop(lab, case.client, case.work, case.connections, times)?;
    let after = server.cpu_nanos()?;
    Ok((
        seen,
        after.zip(before).map(|(after, before)| after - before),
    ))
}

fn count(row: &mut Row, seen: &Seen, cpu: Option<u64>) {
    match &seen.refusal {
        Some(why) => row.refusals.push(why.clone()),
        None => row.samples.push(Sample {
            rate: seen.rate,
            p50: seen.p50,
            p99: seen.p99,
            cpu: cpu.map(|nanos| nanos as f64 / seen.requests.max(1.0)),
            client_busy: seen.busy,
        }),
    }
}

fn keep(folder: Option<&PathBuf>, case: &Case, round: u32, record: &Value) -> Result<(), String> {
    let Some(folder) = folder else { return Ok(()) };
    let Case {
        work,
        connections,
        client,
        server,
        ..
    } = *case;
    let name = format!(
        "{}-{connections}-{}-{}-{round}.json",
        work.name(),
        client.name(),
        server.name()
    );
    write(
        Some(&folder.join(name.replace(' ', "-"))),
        &format!("{record:#}\n"),
    )
}

/// Writes a file, if one is wanted.
///
/// # Errors
/// A sentence with its name.
pub fn write(file: Option<&PathBuf>, text: &str) -> Result<(), String> {
    match file {
        Some(file) => fs::write(file, text).map_err(|e| format!("{}: {e}", file.display())),
        None => Ok(()),
    }
}
