//! The statistics that `millrace --json` prints on SIGUSR1 and at its end.

use serde_json::Value;

/// One statistics object.
#[derive(Clone, Debug)]
pub struct Stats(pub Value);

impl Stats {
    /// Whether a printed JSON object is statistics and not the ready line.
    pub fn recognise(value: Value) -> Option<Stats> {
        value.get("census").is_some().then_some(Stats(value))
    }

    /// A counter with a Linux name such as `TcpInCsumErrors`.
    #[track_caller]
    pub fn mib(&self, name: &str) -> u64 {
        self.number("mib", name)
    }

    /// How many of something the stack holds now: `established`, `timers`, `ring_chunks` …
    #[track_caller]
    pub fn census(&self, name: &str) -> u64 {
        self.number("census", name)
    }

    /// The sum of all refused packets, whatever the reason.
    #[track_caller]
    pub fn dropped(&self) -> u64 {
        let drops = self.0["drops"]
            .as_object()
            .unwrap_or_else(|| panic!("no drops in {}", self.0));
        drops.values().filter_map(Value::as_u64).sum()
    }

    /// A counter of the device's queues, all together.
    #[track_caller]
    pub fn device(&self, name: &str) -> u64 {
        let queues = self.0["queues"].as_array();
        let of = |queue: &Value| {
            queue[name]
                .as_u64()
                .unwrap_or_else(|| panic!("no {name} in {queue}"))
        };
        queues.into_iter().flatten().map(of).sum()
    }

    #[track_caller]
    fn number(&self, group: &str, name: &str) -> u64 {
        self.0[group][name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {group}.{name} in {}", self.0))
    }

    /// What of a connection is still there compared with `before`; empty when nothing is left. TIME_WAIT entries are no
    /// leak: each may hold one timer until its minute is over, and so may each known neighbour.
    pub fn left_since(&self, before: &Stats) -> Vec<String> {
        let mut left = Vec::new();
        for name in [
            "established",
            "requests",
            "orphans",
            "ring_chunks",
            "queued_flows",
            "queued_packets",
            "sockets",
        ] {
            let (was, is) = (before.census(name), self.census(name));
            if is > was {
                left.push(format!("{name}: {was} before, {is} now"));
            }
        }
        let allowed =
            before.census("timers") + self.census("time_wait") + self.census("neighbours");
        if self.census("timers") > allowed {
            left.push(format!(
                "timers: {} now, {allowed} explained",
                self.census("timers")
            ));
        }
        left
    }
}
