//! `millrace stat`: the counters of a process that runs.

mod sample;
mod table;

use std::io::{self, IsTerminal, Write};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use clap::Args;

use crate::Failure;
use crate::control::protocol::{Ask, Line};
use crate::control::{AskArgs, Call};

use sample::Sample;

/// Home, and clear to the end: each sample replaces the one before.
const CLEAR: &str = "\x1b[H\x1b[J";

/// `millrace stat`.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// The process.
    #[command(flatten)]
    pub process: AskArgs,
    /// Counters that are zero as well; with --watch, those that did not change.
    #[arg(short, long, conflicts_with = "json")]
    pub all: bool,
    /// Look again every so many seconds [default: 1], and print changes and rates.
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = interval)]
    pub watch: Option<Duration>,
    /// Stop after so many looks.
    #[arg(long, value_name = "N", requires = "watch")]
    pub count: Option<NonZeroU64>,
    /// Print all counters as JSON, one object per look.
    #[arg(long)]
    pub json: bool,
}

/// The time between two looks.
fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give between 0.1 and 86400 seconds".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] when there is no process, or it has no answer.
pub fn run(args: &StatArgs) -> Result<(), Failure> {
    let mut before: Option<Sample> = None;
    let mut due = Instant::now();
    let mut left = match args.watch {
        None => Some(1),
        Some(_) => args.count.map(NonZeroU64::get),
    };
    loop {
        let mut now = look(&args.process)?;
        if let Some(before) = &before {
            now.compare(before);
        }
        let text = match args.json {
            true => format!("{}\n", now.json()),
            false => table::text(&now, args.all),
        };
        if print(&text, args.watch.is_some() && !args.json)? == Reader::Gone {
            return Ok(());
        }
        left = left.map(|left| left - 1);
        let (Some(every), true) = (args.watch, left != Some(0)) else {
            return Ok(());
        };
        before = Some(now);
        due += every;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn look(process: &AskArgs) -> Result<Sample, Failure> {
    let mut call = Call::open(process)?;
    call.ask(Ask::Counters)?;
    match call.line()? {
        Line::Counters(report) => Ok(Sample::new(call.about.clone(), &report)),
        _ => Err(Failure::Failed(format!(
            "the process at {} answers something else than counters",
            call.path().display()
        ))),
    }
}

/// Whether anybody still reads what is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// Somebody may.
    There,
    /// The pipe is closed.
    Gone,
}

/// Prints to standard output; `replace` clears a terminal before.
fn print(text: &str, replace: bool) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    let clear = if replace && out.is_terminal() {
        CLEAR
    } else {
        ""
    };
    let done = out
        .write_all(clear.as_bytes())
        .and_then(|()| out.write_all(text.as_bytes()))
        .and_then(|()| out.flush());
    reader(done)
}

/// What a failed write means: nobody wants more, or the output cannot be had.
///
/// # Errors
///
/// [`Failure`] for all but a closed pipe.
pub fn reader(written: io::Result<()>) -> Result<Reader, Failure> {
    match written {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::Failed(format!(
            "cannot write to standard output: {error}; look with `df`"
        ))),
    }
}
