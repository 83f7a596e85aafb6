//! `millrace sim`: seeds of the simulator, in virtual time; a failure can be replayed, shrunk and captured.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use millrace_lab::drill::{TracedPacket, Way, write_pcapng};
use millrace_lab::sim::plan::Plan;
use millrace_lab::sim::shrink::shrink;
use millrace_lab::sim::{Passage, Report, run_observed, run_seed};
use serde_json::json;

use crate::Failure;
use crate::cli::SimArgs;

/// Runs that shrinking may take.
const SHRINK_RUNS: usize = 2_000;

/// Length of an Ethernet header; captures begin behind it.
const LINK_HEADER: usize = 14;

/// Plays the seeds and fails when one of them does.
///
/// # Errors
///
/// [`Failure`] when a seed breaks a promise, or the capture cannot be written.
pub fn run(args: &SimArgs) -> Result<(), Failure> {
    let mut failed: Option<Report> = None;
    let mut failures = 0;
    for seed in args.seed..args.seed.saturating_add(args.count) {
        let report = run_seed(seed);
        if report.result.is_err() || args.count == 1 {
            tell(args, &report);
        }
        if report.result.is_err() {
            failures += 1;
            failed.get_or_insert(report);
        }
    }
    let shown = match failed {
        Some(report) if args.shrink => {
            let small = shrink(report, SHRINK_RUNS);
            tell(args, &small);
            println!("{:#?}", small.plan);
            small.plan
        }
        Some(report) => report.plan,
        None => Plan::draw(args.seed),
    };
    if let Some(path) = &args.pcap {
        capture(shown, path)?;
    }
    match failures {
        0 => Ok(()),
        n => Err(Failure::Failed(format!("{n} of {} seeds fail", args.count))),
    }
}

fn tell(args: &SimArgs, report: &Report) {
    if !args.json {
        println!("{report}");
        return;
    }
    let what = report
        .result
        .as_ref()
        .err()
        .map(|violation| &violation.what);
    let line = json!({
        "seed": report.plan.seed,
        "violation": what,
        "elapsed_s": report.elapsed.as_secs_f64(),
        "frames": report.totals.frames,
        "lost": report.totals.lost,
        "bytes": report.totals.bytes,
        "trace_hash": format!("{:016x}", report.trace_hash),
    });
    println!("{line}");
}

/// Every IP packet that a node sends; those of node 0 count as outbound.
fn capture(plan: Plan, path: &Path) -> Result<(), Failure> {
    let mut packets = Vec::new();
    run_observed(plan, &mut |seen| {
        let is_ip = seen.frame.get(12..LINK_HEADER) == Some(&[0x08, 0x00]);
        if seen.passage == Passage::Sent && is_ip {
            let way = if seen.node == 0 { Way::Out } else { Way::In };
            let bytes = seen.frame[LINK_HEADER..].to_vec();
            let at = seen.at;
            packets.push(TracedPacket { at, way, bytes });
        }
    });
    let broken = |error| Failure::Failed(format!("{}: {error}", path.display()));
    let file = File::create(path).map_err(broken)?;
    write_pcapng(BufWriter::new(file), &packets).map_err(broken)
}
