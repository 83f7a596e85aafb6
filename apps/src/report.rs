//! Statistics: as text for people, as JSON for programs.
//!
//! JSON objects go to standard output, one per line, except where that carries a body; text goes to standard error.

use std::fmt::Write as _;
use std::io::Write as _;

use millrace::Worker;
use serde_json::{Map, Value, json};

/// Everything that a worker and its stack count.
pub fn stats_json(worker: &Worker, mode: &str) -> Value {
    let stack = worker.stack_ref();
    let numbers = |iter: &mut dyn Iterator<Item = (&'static str, u64)>| -> Value {
        Value::Object(
            iter.map(|(name, value)| (name.to_owned(), Value::from(value)))
                .collect::<Map<_, _>>(),
        )
    };
    let queues: Vec<Value> = worker
        .queues()
        .iter()
        .map(|queue| numbers(&mut unexplained(queue.stats().iter())))
        .collect();
    json!({
        "event": "stats",
        "mode": mode,
        "open": worker.open(),
        "worker": numbers(&mut unexplained(worker.stats().iter())),
        "census": numbers(&mut unexplained(stack.census().iter())),
        "drops": numbers(&mut stack.drops().iter().filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.name(), n))),
        "mib": numbers(&mut stack.mib().iter()),
        "queues": queues,
    })
}

/// The same for people; counters that are zero are left out.
pub fn stats_text(worker: &Worker, mode: &str) -> String {
    let stack = worker.stack_ref();
    let mut text = format!("millrace: statistics ({mode})\n");
    let mut group = |title: &str, counters: &mut dyn Iterator<Item = (&'static str, u64)>| {
        for (name, value) in counters.filter(|(_, value)| *value > 0) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {title:<8} {name:<28} {value}");
        }
    };
    group("worker", &mut unexplained(worker.stats().iter()));
    for queue in worker.queues() {
        group("queue", &mut unexplained(queue.stats().iter()));
    }
    group("mib", &mut stack.mib().iter());
    group(
        "drop",
        &mut stack.drops().iter().map(|(reason, n)| (reason.name(), n)),
    );
    group("census", &mut unexplained(stack.census().iter()));
    text
}

/// Names and values without the descriptions.
fn unexplained(
    counters: impl Iterator<Item = (&'static str, &'static str, u64)>,
) -> impl Iterator<Item = (&'static str, u64)> {
    counters.map(|(name, _, value)| (name, value))
}

/// Where JSON goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonTo {
    /// Standard output.
    Stdout,
    /// Standard error: standard output carries something else.
    Stderr,
}

/// How a command tells what happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Sentences on standard error.
    Text,
    /// Objects, one per line, besides.
    Json(JsonTo),
}

impl Format {
    /// Tells something: `text` to people; `value` to programs if they listen.
    pub fn announce(self, text: &str, value: impl FnOnce() -> Value) {
        eprintln!("{}", text.trim_end());
        self.object(value);
    }

    /// The statistics, in one of the two forms.
    pub fn stats(self, worker: &Worker, mode: &str) {
        match self {
            Self::Text => eprint!("{}", stats_text(worker, mode)),
            Self::Json(_) => self.object(|| stats_json(worker, mode)),
        }
    }

    fn object(self, value: impl FnOnce() -> Value) {
        match self {
            Self::Text => {}
            Self::Json(JsonTo::Stderr) => eprintln!("{}", value()),
            Self::Json(JsonTo::Stdout) => {
                let mut out = std::io::stdout().lock();
                // Nobody reads any more: no reason to stop serving.
                let _ = writeln!(out, "{}", value()).and_then(|()| out.flush());
            }
        }
    }
}
