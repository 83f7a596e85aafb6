//! Statistics: as text for people, as JSON for programs.
//!
//! JSON objects go to standard output, one per line, except where that carries a body; text goes to standard error.

use std::fmt::Write as _;
use std::io::Write as _;

use millrace::Worker;
use millrace::net::Census;
use millrace::pmd::QueueStats;
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
        .map(|queue| numbers(&mut queue_counters(&queue.stats()).into_iter()))
        .collect();
    json!({
        "event": "stats",
        "mode": mode,
        "open": worker.open(),
        "worker": numbers(&mut worker.stats().iter()),
        "census": numbers(&mut census_counters(&stack.census()).into_iter()),
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
    group("worker", &mut worker.stats().iter());
    for queue in worker.queues() {
        group("queue", &mut queue_counters(&queue.stats()).into_iter());
    }
    group("mib", &mut stack.mib().iter());
    group(
        "drop",
        &mut stack.drops().iter().map(|(reason, n)| (reason.name(), n)),
    );
    group("census", &mut census_counters(&stack.census()).into_iter());
    text
}

/// Names and values of a queue's counters.
fn queue_counters(stats: &QueueStats) -> [(&'static str, u64); 12] {
    let QueueStats {
        rx_packets,
        rx_bytes,
        tx_packets,
        tx_bytes,
        tx_full,
        tx_errors,
        kicks,
        rx_dropped,
        rx_ring_full,
        fill_empty,
        rx_invalid,
        tx_invalid,
    } = *stats;
    [
        ("rx_packets", rx_packets),
        ("rx_bytes", rx_bytes),
        ("tx_packets", tx_packets),
        ("tx_bytes", tx_bytes),
        ("tx_full", tx_full),
        ("tx_errors", tx_errors),
        ("kicks", kicks),
        ("rx_dropped", rx_dropped),
        ("rx_ring_full", rx_ring_full),
        ("fill_empty", fill_empty),
        ("rx_invalid", rx_invalid),
        ("tx_invalid", tx_invalid),
    ]
}

/// Names and values of what a stack holds now.
fn census_counters(census: &Census) -> [(&'static str, u64); 13] {
    let Census {
        sockets,
        listeners,
        established,
        requests,
        time_wait,
        orphans,
        hashed,
        bound_ports,
        timers,
        ring_chunks,
        queued_flows,
        queued_packets,
        neighbours,
    } = *census;
    [
        ("sockets", sockets as u64),
        ("listeners", listeners as u64),
        ("established", established),
        ("requests", requests as u64),
        ("time_wait", time_wait as u64),
        ("orphans", orphans.into()),
        ("hashed", hashed as u64),
        ("bound_ports", bound_ports as u64),
        ("timers", timers as u64),
        ("ring_chunks", ring_chunks as u64),
        ("queued_flows", queued_flows as u64),
        ("queued_packets", queued_packets as u64),
        ("neighbours", neighbours as u64),
    ]
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
