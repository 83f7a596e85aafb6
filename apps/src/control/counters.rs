//! A worker's counters as lines of a report.

use std::borrow::Cow;

use millrace::control::inquiry::{Counters, QueueCounters};
use millrace::net::Counter as MibCounter;

use super::protocol::Counter;

/// The one MIB counter that goes down as well.
const MIB_GAUGE: MibCounter = MibCounter::TcpCurrEstab;

/// All counters of a worker, in the order in which they are shown.
pub fn counters(form: &Counters) -> Vec<Counter> {
    let mut all = Vec::new();
    for (name, text, value) in form.worker.iter() {
        all.push(counter("worker", name, text, value));
    }
    let open = ("open", "Open connections of the services", form.open as u64);
    for (name, text, value) in form.census.iter().chain([open]) {
        all.push(gauge("census", name, text, value));
    }
    for (number, queue) in form.queues.iter().enumerate() {
        add_queue(&mut all, &format!("queue{number}"), queue);
    }
    for which in MibCounter::ALL {
        all.push(Counter {
            gauge: *which == MIB_GAUGE,
            ..counter(
                "mib",
                which.name(),
                which.text().trim_ascii(),
                form.mib.value(*which),
            )
        });
    }
    for (reason, value) in form.drops.iter() {
        all.push(counter("drop", reason.name(), reason.text(), value));
    }
    all
}

fn add_queue(all: &mut Vec<Counter>, group: &str, queue: &QueueCounters) {
    let QueueCounters { caps, stats } = queue;
    let group = Cow::<'static, str>::Owned(group.to_owned());
    for (name, text, value) in [
        (
            "rx_ring",
            "Frames that can be held for reception",
            caps.rx_ring,
        ),
        (
            "tx_ring",
            "Frames that can wait for the device",
            caps.tx_ring,
        ),
        ("max_frame", "Bytes of the longest frame", caps.max_frame),
    ] {
        all.push(gauge(group.clone(), name, text, value as u64));
    }
    for (name, text, value) in stats.iter() {
        all.push(counter(group.clone(), name, text, value));
    }
}

/// Something that only grows.
pub fn counter(
    group: impl Into<Cow<'static, str>>,
    name: &'static str,
    text: &'static str,
    value: u64,
) -> Counter {
    Counter {
        group: group.into(),
        name: Cow::Borrowed(name),
        text: Cow::Borrowed(text),
        value,
        gauge: false,
    }
}

fn gauge(
    group: impl Into<Cow<'static, str>>,
    name: &'static str,
    text: &'static str,
    value: u64,
) -> Counter {
    Counter {
        gauge: true,
        ..counter(group, name, text, value)
    }
}
