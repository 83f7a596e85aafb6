//! The counters of a process at one time, summed over its workers, and what changed since another time.

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::control::protocol::{About, Counter, Report, VERSION};

/// A counter of all workers.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// What it belongs to.
    pub group: String,
    /// Its name.
    pub name: String,
    /// What it counts.
    pub text: String,
    /// It goes down as well.
    pub gauge: bool,
    /// Its value in each worker; empty for what no worker counts.
    pub workers: Vec<u64>,
    /// Its value in all.
    pub total: u64,
    /// How much it changed since the look before.
    pub change: Option<i128>,
}

/// All counters at one time.
pub struct Sample {
    /// Whose they are.
    pub about: About,
    /// In the order in which the process tells them.
    pub rows: Vec<Row>,
    /// Since the look before.
    pub seconds: Option<f64>,
    at: Instant,
}

impl Sample {
    /// What a process reports, now.
    pub fn new(about: About, report: &Report) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for (number, worker) in report.workers.iter().enumerate() {
            for counter in worker {
                let place = rows
                    .iter()
                    .position(|row| row.is(counter))
                    .unwrap_or_else(|| {
                        rows.push(Row::of(counter, report.workers.len()));
                        rows.len() - 1
                    });
                rows[place].workers[number] = counter.value;
                rows[place].total += counter.value;
            }
        }
        rows.extend(report.control.iter().map(|counter| Row {
            total: counter.value,
            ..Row::of(counter, 0)
        }));
        Self {
            about,
            rows,
            seconds: None,
            at: Instant::now(),
        }
    }

    /// Notes what changed since `before`; nothing if that was another process.
    pub fn compare(&mut self, before: &Self) {
        if before.about != self.about {
            return;
        }
        self.seconds = Some((self.at - before.at).as_secs_f64());
        for row in &mut self.rows {
            let old = before
                .rows
                .iter()
                .find(|old| old.group == row.group && old.name == row.name);
            row.change = old.map(|old| i128::from(row.total) - i128::from(old.total));
        }
    }

    /// For programs: groups of names and values, for each worker and in all.
    pub fn json(&self) -> Value {
        let workers = self.rows.iter().map(|row| row.workers.len()).max();
        let workers: Vec<Value> = (0..workers.unwrap_or(0))
            .map(|number| self.grouped(|row| row.workers.get(number).map(|value| json!(value))))
            .collect();
        let mut object = json!({
            "millrace": VERSION,
            "process": self.about,
            "workers": workers,
            "total": self.grouped(|row| Some(json!(row.total))),
        });
        if let Some(seconds) = self.seconds {
            object["seconds"] = json!(seconds);
            object["change"] = self.grouped(|row| row.change.map(|change| json!(change as i64)));
            object["per_second"] = self.grouped(|row| {
                let change = row.change.filter(|_| !row.gauge)?;
                Some(json!(change as f64 / seconds))
            });
        }
        object
    }

    fn grouped(&self, value: impl Fn(&Row) -> Option<Value>) -> Value {
        let mut groups = Map::new();
        for row in &self.rows {
            if let Some(value) = value(row) {
                let group = groups.entry(row.group.clone()).or_insert_with(|| json!({}));
                group[&row.name] = value;
            }
        }
        Value::Object(groups)
    }
}

impl Row {
    fn of(counter: &Counter, workers: usize) -> Self {
        Self {
            group: counter.group.clone().into_owned(),
            name: counter.name.clone().into_owned(),
            text: counter.text.clone().into_owned(),
            gauge: counter.gauge,
            workers: vec![0; workers],
            total: 0,
            change: None,
        }
    }

    fn is(&self, counter: &Counter) -> bool {
        self.group == counter.group && self.name == counter.name
    }
}

#[cfg(test)]
pub mod tests {
    use std::borrow::Cow;

    use super::*;

    fn counter(group: &'static str, name: &'static str, value: u64) -> Counter {
        Counter {
            group: Cow::Borrowed(group),
            name: Cow::Borrowed(name),
            text: Cow::Borrowed("What it counts"),
            value,
            gauge: group == "census",
        }
    }

    /// Two workers with three counters each, and one of the control socket.
    pub fn sample(values: [[u64; 3]; 2], calls: u64) -> Sample {
        let about = About::me("serve echo".to_owned(), "tap:tap0", "tap, 1 queue");
        let worker = |[turns, sockets, runts]: [u64; 3]| {
            vec![
                counter("worker", "turns", turns),
                counter("census", "sockets", sockets),
                counter("drop", "LinkRunt", runts),
            ]
        };
        let report = Report {
            workers: values.map(worker).into(),
            control: vec![counter("control", "calls", calls)],
        };
        Sample::new(about, &report)
    }

    #[test]
    fn workers_are_summed() {
        let json = sample([[10, 1, 0], [20, 2, 0]], 7).json();
        assert_eq!(json["total"]["worker"]["turns"], 30);
        assert_eq!(json["total"]["census"]["sockets"], 3);
        assert_eq!(json["total"]["control"]["calls"], 7);
        assert_eq!(json["workers"][1]["worker"]["turns"], 20);
        assert_eq!(json["workers"][0].get("control"), None);
        assert_eq!(json.get("change"), None);
    }

    #[test]
    fn changes_and_rates() {
        let before = sample([[10, 5, 0], [20, 2, 0]], 7);
        let mut now = sample([[12, 1, 0], [23, 2, 1]], 8);
        now.at = before.at + std::time::Duration::from_secs(2);
        now.compare(&before);
        let json = now.json();
        assert_eq!(json["seconds"], 2.0);
        assert_eq!(json["change"]["worker"]["turns"], 5);
        assert_eq!(json["per_second"]["worker"]["turns"], 2.5);
        assert_eq!(json["change"]["census"]["sockets"], -4);
        assert_eq!(json["per_second"].get("census"), None);

        // Another process at the same place begins anew.
        let mut other = sample([[1, 1, 0], [1, 1, 0]], 1);
        other.about.pid += 1;
        other.compare(&now);
        assert_eq!(other.json().get("change"), None);
    }
}
