//! `millrace drill`: conformance scripts in the packetdrill language, on the stack in virtual time or on this machine's
//! kernel.

mod crowd;
mod files;
mod outcome;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use millrace_lab::drill::ast::Script;
use millrace_lab::drill::{
    Checks, Delivery, Record, Report, RunConfig, Verdict, parse_with, run, write_pcapng,
};
use serde_json::json;

use crate::Failure;
use crate::cli::DrillArgs;
use outcome::Outcome;

/// Runs all scripts, tells about each, and fails unless all pass.
///
/// # Errors
///
/// [`Failure`] when there is nothing to run, when a capture cannot be written, or when a script does not pass: one
/// that asks for something that we cannot do does not.
pub fn run_scripts(args: &DrillArgs, verbose: bool) -> Result<(), Failure> {
    let files = files::scripts(&args.paths)?;
    if let Some(folder) = &args.pcap {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::Failed(format!("{}: {error}", folder.display())))?;
    }
    let mut tally = Tally::default();
    crowd::in_order(
        &files,
        jobs(args),
        |file| one(file, args, verbose),
        |outcome| {
            let outcome = outcome?;
            tally.count(&outcome);
            let text = match args.json {
                true => outcome.json().to_string(),
                false => outcome.text(verbose),
            };
            say(&text)
        },
    )?;
    say(&match args.json {
        true => tally.json().to_string(),
        false => tally.text(),
    })?;
    match tally.passed == files.len() {
        true => Ok(()),
        false => Err(Failure::Failed(format!(
            "{} of {} scripts do not pass",
            files.len() - tally.passed,
            files.len()
        ))),
    }
}

/// Reads and runs one script.
fn one(file: &Path, args: &DrillArgs, verbose: bool) -> Result<Outcome, Failure> {
    let source = match fs::read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return Ok(Outcome::unreadable(file, error.to_string())),
    };
    let defines: Vec<(String, String)> = args
        .define
        .iter()
        .map(|define| (define.name.clone(), define.value.clone()))
        .collect();
    let mut script = match parse_with(&source, &defines) {
        Ok(script) => script,
        Err(error) => return Ok(Outcome::unparsed(file, &error, &source)),
    };
    for option in &args.option {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option.as_str(), None),
        };
        script.set_option(name, value);
    }
    let report = run_one(&script, args, verbose);
    if let Some(folder) = &args.pcap {
        let path = folder.join(files::capture_name(file));
        write_capture(&path, &report)
            .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    }
    Ok(Outcome::ran(file, report, &source))
}

/// On the stack, or on the kernel.
fn run_one(script: &Script, args: &DrillArgs, verbose: bool) -> Report {
    let config = config(args, verbose);
    #[cfg(feature = "oracle")]
    if args.kernel {
        return millrace_oracle::run_script(script, config);
    }
    run(script, config)
}

/// Scripts at once: the stack's take the processor, the kernel's wait.
#[cfg(feature = "oracle")]
fn jobs(args: &DrillArgs) -> usize {
    if args.kernel {
        usize::from(args.jobs)
    } else {
        1
    }
}

#[cfg(not(feature = "oracle"))]
fn jobs(_: &DrillArgs) -> usize {
    1
}

fn config(args: &DrillArgs, verbose: bool) -> RunConfig {
    let delivery = match args.batch {
        true => Delivery::Batched,
        false => Delivery::OneByOne,
    };
    let checks = match args.strict {
        true => Checks::Strict,
        false => Checks::Upstream,
    };
    let record = match verbose || args.pcap.is_some() {
        true => Record::Everything,
        false => Record::Verdict,
    };
    RunConfig {
        record,
        ..RunConfig::new(delivery, checks)
    }
}

fn write_capture(path: &PathBuf, report: &Report) -> io::Result<()> {
    write_pcapng(BufWriter::new(File::create(path)?), &report.packets)
}

/// Prints a paragraph on standard output.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Failed(format!("standard output: {error}")))
}

/// How many scripts ended how.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    unsupported: usize,
    other: usize,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        let counter = match outcome.verdict() {
            Some(Verdict::Pass) => &mut self.passed,
            Some(Verdict::Fail(_)) => &mut self.failed,
            Some(Verdict::Unsupported { .. }) => &mut self.unsupported,
            Some(Verdict::Late { .. } | Verdict::Broken { .. }) | None => &mut self.other,
        };
        *counter += 1;
    }

    fn text(&self) -> String {
        let Self {
            passed,
            failed,
            unsupported,
            other,
        } = self;
        let mut text = format!("{passed} passed, {failed} failed, {unsupported} unsupported");
        if *other > 0 {
            text.push_str(&format!(", {other} without a verdict"));
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "event": "summary",
            "passed": self.passed,
            "failed": self.failed,
            "unsupported": self.unsupported,
            "no_verdict": self.other,
        })
    }
}
