//! Medians, ratios and the printed table.

use serde_json::{Value, json};

/// One measurement of one server.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Requests per second.
    pub rate: f64,
    /// Median latency in nanoseconds.
    pub p50: f64,
    /// CPU time of the server per request in nanoseconds: busy time of our worker, user and system time of the others.
    /// `None` for a server that spins.
    pub cpu: Option<f64>,
}

/// All rounds of one kind of work with one server.
#[derive(Clone, Debug)]
pub struct Row {
    /// The work: "64 B echo", "HTTP".
    pub work: &'static str,
    /// Connections.
    pub connections: usize,
    /// The server: "millrace", "epoll", "nginx".
    pub server: &'static str,
    /// One entry per round.
    pub samples: Vec<Sample>,
}

/// The middle value; the upper one of two. 0 for none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

impl Row {
    /// Median of the rates.
    pub fn rate(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.rate))
    }

    /// Median of the median latencies in microseconds.
    pub fn p50_micros(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.p50)) / 1e3
    }

    /// Median CPU time per request in microseconds, where it means something.
    pub fn cpu_micros(&self) -> Option<f64> {
        let known: Vec<f64> = self
            .samples
            .iter()
            .filter_map(|sample| sample.cpu)
            .collect();
        (!known.is_empty()).then(|| median(known.into_iter()) / 1e3)
    }
}

/// The rate of our row of the same work divided by this one's; `None` for our own.
pub fn ratio(rows: &[Row], row: &Row) -> Option<f64> {
    let same = |other: &&Row| other.work == row.work && other.connections == row.connections;
    let ours = rows
        .iter()
        .filter(same)
        .find(|other| other.server == "millrace")?;
    (row.server != "millrace" && row.rate() > 0.0).then(|| ours.rate() / row.rate())
}

/// The table for a terminal.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<10} {:>5}  {:<14} {:>12} {:>10} {:>12} {:>15}\n",
        "work", "conns", "server", "requests/s", "p50 us", "CPU us/req", "millrace/this"
    );
    for row in rows {
        let cpu = row
            .cpu_micros()
            .map_or(String::from("spins"), |micros| format!("{micros:.2}"));
        let ratio = ratio(rows, row).map_or(String::new(), |ratio| format!("{ratio:.2}"));
        text += &format!(
            "{:<10} {:>5}  {:<14} {:>12.0} {:>10.1} {:>12} {:>15}\n",
            row.work,
            row.connections,
            row.server,
            row.rate(),
            row.p50_micros(),
            cpu,
            ratio
        );
    }
    text
}

/// The same, and every sample, for machines.
pub fn as_json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "work": row.work,
            "connections": row.connections,
            "server": row.server,
            "rate": row.rate(),
            "p50_us": row.p50_micros(),
            "cpu_us": row.cpu_micros(),
            "millrace_to_this": ratio(rows, row),
            "rates": row.samples.iter().map(|sample| sample.rate).collect::<Vec<_>>(),
        })
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: &'static str, rates: &[f64]) -> Row {
        let sample = |rate: &f64| Sample {
            rate: *rate,
            p50: 1e4,
            cpu: None,
        };
        Row {
            work: "echo",
            connections: 1,
            server,
            samples: rates.iter().map(sample).collect(),
        }
    }

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 3.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn ratio_is_of_medians_and_only_against_others() {
        let rows = [
            row("millrace", &[10.0, 90.0, 80.0]),
            row("epoll", &[40.0, 1.0, 50.0]),
        ];
        assert_eq!(ratio(&rows, &rows[1]), Some(2.0));
        assert_eq!(ratio(&rows, &rows[0]), None);
        assert!(table(&rows).contains("2.00"));
        assert_eq!(as_json(&rows)[1]["millrace_to_this"], 2.0);
    }
}
