//! Medians, spread, ratios, the printed table and its JSON.

use serde_json::{Value, json};

use crate::plan::{Case, Client, Contender, Group};

/// From which share of its time on a side counts as saturated.
const SATURATED: f64 = 0.95;

/// One measurement of one server.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// Requests per second.
    pub rate: f64,
    /// Median latency in nanoseconds.
    pub p50: f64,
    /// 99th percentile in nanoseconds.
    pub p99: f64,
    /// CPU time of serving per request in nanoseconds. `None` for a server that spins.
    pub cpu: Option<f64>,
    /// Share of the time in which the client did something.
    pub client_busy: f64,
}

/// All rounds of a case.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub case: Case,
    /// One entry per round that counts.
    pub samples: Vec<Sample>,
    /// Why other rounds do not.
    pub refusals: Vec<String>,
}

/// The middle value; the upper one of two. 0 for none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

impl Row {
    /// A row without samples.
    pub fn new(case: Case) -> Row {
        Row {
            case,
            samples: Vec::new(),
            refusals: Vec::new(),
        }
    }

    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of))
    }

    /// Median of the rates.
    pub fn rate(&self) -> f64 {
        self.median(|sample| sample.rate)
    }

    /// Lowest and highest rate.
    pub fn range(&self) -> (f64, f64) {
        let rates = || self.samples.iter().map(|sample| sample.rate);
        (
            rates().fold(f64::INFINITY, f64::min),
            rates().fold(0.0, f64::max),
        )
    }

    /// How far apart lowest and highest rate are, as a share of the median.
    pub fn spread(&self) -> f64 {
        let (low, high) = self.range();
        (high - low).max(0.0) / self.rate().max(1e-9)
    }

    /// Median CPU time per request in microseconds, where it means something.
    pub fn cpu_micros(&self) -> Option<f64> {
        let known = || self.samples.iter().filter_map(|sample| sample.cpu);
        known().next()?;
        Some(median(known()) / 1e3)
    }

    /// Share of its core that the server needed.
    pub fn server_busy(&self) -> Option<f64> {
        self.cpu_micros().map(|micros| micros * self.rate() / 1e6)
    }

    /// Which side has no time left: what limits the rate.
    pub fn saturated(&self) -> &'static str {
        let client = self.median(|sample| sample.client_busy) >= SATURATED;
        match (client, self.server_busy().map(|busy| busy >= SATURATED)) {
            (true, Some(true)) => "both",
            (true, Some(false) | None) => "client",
            (false, Some(true)) => "server",
            (false, Some(false)) => "neither",
            (false, None) => "unknown",
        }
    }
}

/// The rate of a row by that of the row of the same work and connections whose server is `server` behind a kernel's client.
pub fn ratio_to(rows: &[Row], row: &Row, server: Contender) -> Option<f64> {
    let found = rows.iter().find(|other| {
        other.case.work == row.case.work
            && other.case.connections == row.case.connections
            && other.case.server == server
            && other.case.client != Client::Millrace
    })?;
    let other = found.case != row.case && found.rate() > 0.0 && row.rate() > 0.0;
    other.then(|| row.rate() / found.rate())
}

/// The table for a terminal.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<12} {:>5}  {:<8} {:<8} {:>10} {:>7} {:>9} {:>10} {:>7} {:>7} {:>9}\n",
        "work",
        "conns",
        "client",
        "server",
        "requests/s",
        "spread",
        "p50 us",
        "CPU us/req",
        "x epoll",
        "x nginx",
        "saturated"
    );
    for row in rows {
        text += &line(rows, row);
    }
    for row in rows {
        for why in &row.refusals {
            let Case {
                work,
                connections,
                server,
                ..
            } = row.case;
            text += &format!(
                "not counted: {} {connections} {}: {why}\n",
                work.name(),
                server.name()
            );
        }
    }
    text
}

fn line(rows: &[Row], row: &Row) -> String {
    let Case {
        work,
        connections,
        client,
        server,
        ..
    } = row.case;
    let head = format!(
        "{:<12} {connections:>5}  {:<8} {:<8}",
        work.name(),
        client.name(),
        server.name()
    );
    if row.samples.is_empty() {
        return format!("{head} {:>10}\n", "none");
    }
    let ratio = |server| {
        let ratio = ratio_to(rows, row, server);
        ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"))
    };
    let cpu = row
        .cpu_micros()
        .map_or(String::from("spins"), |micros| format!("{micros:.2}"));
    let nginx = if row.case.group == Group::Http {
        ratio(Contender::Nginx)
    } else {
        String::new()
    };
    format!(
        "{head} {:>10.0} {:>6.0}% {:>9.1} {cpu:>10} {:>7} {nginx:>7} {:>9}\n",
        row.rate(),
        row.spread() * 100.0,
        row.median(|sample| sample.p50) / 1e3,
        ratio(Contender::Epoll),
        row.saturated()
    )
}

/// The same, and every sample, for machines.
pub fn as_json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let all = |of: fn(&Sample) -> f64| row.samples.iter().map(of).collect::<Vec<_>>();
        json!({
            "work": row.case.work.name(),
            "connections": row.case.connections,
            "client": row.case.client.name(),
            "server": row.case.server.name(),
            "rate_per_s": row.rate(),
            "spread": row.spread(),
            "p50_us": row.median(|sample| sample.p50) / 1e3,
            "p99_us": row.median(|sample| sample.p99) / 1e3,
            "cpu_us": row.cpu_micros(),
            "client_busy": row.median(|sample| sample.client_busy),
            "server_busy": row.server_busy(),
            "saturated": row.saturated(),
            "to_epoll": ratio_to(rows, row, Contender::Epoll),
            "to_nginx": ratio_to(rows, row, Contender::Nginx),
            "rates_per_s": all(|sample| sample.rate),
            "p50s_us": all(|sample| sample.p50 / 1e3),
            "refusals": row.refusals,
        })
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::Work;

    /// A row of echoes over one connection.
    pub(crate) fn row(client: Client, server: Contender, rates: &[f64]) -> Row {
        let case = Case {
            group: Group::Echo,
            work: Work::Echo { bytes: 64 },
            connections: 1,
            client,
            server,
        };
        let sample = |rate: &f64| Sample {
            rate: *rate,
            p50: 1e4,
            p99: 2e4,
            cpu: (server == Contender::Millrace).then_some(1e9 / rate),
            client_busy: 0.5,
        };
        Row {
            samples: rates.iter().map(sample).collect(),
            ..Row::new(case)
        }
    }

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 3.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn ratios_are_of_medians_and_to_a_kernels_row_only() {
        let rows = [
            row(Client::Kernel, Contender::Millrace, &[10.0, 90.0, 80.0]),
            row(Client::Kernel, Contender::Epoll, &[40.0, 1.0, 50.0]),
            row(Client::Millrace, Contender::Millrace, &[160.0]),
        ];
        assert_eq!(ratio_to(&rows, &rows[0], Contender::Epoll), Some(2.0));
        assert_eq!(ratio_to(&rows, &rows[1], Contender::Epoll), None);
        assert_eq!(ratio_to(&rows, &rows[2], Contender::Epoll), Some(4.0));
        assert_eq!(ratio_to(&rows, &rows[2], Contender::Nginx), None);
        assert_eq!(rows[0].spread(), 1.0);
        assert_eq!(as_json(&rows)[0]["to_epoll"], 2.0);
        let text = table(&rows);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.contains("spins") && text.contains("100%") && text.contains("4.00"),
            "{text}"
        );
    }

    #[test]
    fn who_is_saturated_is_told() {
        let mut one = row(Client::Kernel, Contender::Millrace, &[100.0]);
        assert_eq!(one.saturated(), "server");
        one.samples[0].client_busy = 1.0;
        assert_eq!(one.saturated(), "both");
        one.samples[0].cpu = Some(1e6);
        assert_eq!(one.saturated(), "client");
        one.samples[0].client_busy = 0.1;
        assert_eq!(one.saturated(), "neither");
        one.samples[0].cpu = None;
        assert_eq!(one.saturated(), "unknown");
    }

    #[test]
    fn a_row_whose_rounds_were_all_refused_says_why() {
        let mut refused = row(Client::Kernel, Contender::Millrace, &[]);
        refused.refusals.push("the driver lost 3 frames".to_owned());
        let text = table(&[refused]);
        assert!(
            text.contains("none")
                && text.contains("not counted: 64 B echo 1 millrace: the driver lost"),
            "{text}"
        );
    }
}
