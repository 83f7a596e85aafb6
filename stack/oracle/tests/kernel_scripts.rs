//! Every script of the lab, on the kernel: what the kernel refutes, Linux does not do. Needs root. Scripts that take
//! longer than 20 s are not run, as this is real time; the output counts and names them.

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use millrace_lab::drill::{Checks, Delivery, RunConfig, Verdict, parse};
use millrace_oracle::{run_script, scripts};

/// Scripts that the kernel refutes where the stack is still to follow, and what it does instead. One that the kernel
/// passes does not belong here, and fails.
const REFUTED: &[(&str, &str)] = &[
    (
        "ecn/loss.pkt",
        "sends a new segment on the first echo: its proportional rate reduction forces one, and the stack has none",
    ),
    (
        "ecn/offer_declined.pkt",
        "takes CWR and ECE on the SYN-ACK for an answer to an AccECN offer, though it made none, and goes on with AccECN",
    ),
];

/// Scripts at once: nearly all of their time is waiting.
const AT_ONCE: usize = 24;

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(AT_ONCE);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/scripts");
    let (files, long) = scripts(&root);
    let trials = files
        .into_iter()
        .map(|file| {
            let refuted = REFUTED.iter().find(|(known, _)| *known == file.name);
            Trial::test(file.name, move || {
                judge(&file.path, refuted.map(|(_, why)| *why))
            })
            .with_ignored_flag(true)
        })
        .collect();
    let conclusion = libtest_mimic::run(&args, trials);
    if !args.list {
        eprintln!(
            "{} scripts are too long for real time and were not run:",
            long.len()
        );
        for file in &long {
            eprintln!("  {} ({} s)", file.name, file.takes / 1_000_000);
        }
    }
    conclusion.exit_code()
}

fn judge(file: &Path, refuted: Option<&str>) -> Result<(), Failed> {
    let script = parse(&std::fs::read_to_string(file)?)?;
    let config = RunConfig::new(Delivery::OneByOne, Checks::Strict);
    match (run_script(&script, config).verdict, refuted) {
        (Verdict::Pass, None) | (Verdict::Fail(_), Some(_)) => Ok(()),
        (Verdict::Pass, Some(why)) => {
            Err(format!("{}: passes, but is listed: {why}", file.display()).into())
        }
        (verdict, _) => Err(format!("{}: {verdict}", file.display()).into()),
    }
}
