//! Counters as a table for people.

use std::fmt::Write as _;

use super::sample::{Row, Sample};

/// The table. Without `all` only what is not zero, or, against a look before, what has changed.
pub fn text(sample: &Sample, all: bool) -> String {
    let about = &sample.about;
    let mut text = format!(
        "millrace {}, process {}: {} over {} ({})\n",
        about.version, about.pid, about.command, about.device, about.mode
    );
    if let Some(seconds) = sample.seconds {
        // Writing to a string does not fail; so below.
        let _ = writeln!(text, "in the last {seconds:.1} s:");
    }
    let shown: Vec<(&Row, Vec<String>)> = sample
        .rows
        .iter()
        .filter(|row| all || is_interesting(row, sample))
        .map(|row| (row, cells(row, sample)))
        .collect();
    let heads = heads(sample);
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let cells = shown.iter().map(|(_, cells)| cells[column].len());
            cells.max().unwrap_or(0).max(head.len())
        })
        .collect();
    let names = shown.iter().map(|(row, _)| {
        row.name
            .len()
            .max(heading(&row.group).len().saturating_sub(2))
    });
    let name_width = names.max().unwrap_or(0);
    let mut group = "";
    for (row, cells) in &shown {
        if row.group != group {
            group = &row.group;
            let mut title = format!("{:<1$}", heading(group), name_width + 2);
            add_cells(&mut title, &heads, &widths);
            let _ = writeln!(text, "\n{}", title.trim_end());
        }
        let _ = write!(text, "  {:<name_width$}", row.name);
        add_cells(&mut text, cells, &widths);
        let _ = writeln!(text, "  {}", row.text);
    }
    text.push('\n');
    text
}

fn is_interesting(row: &Row, sample: &Sample) -> bool {
    match sample.seconds {
        None => row.total != 0,
        Some(_) => row.change != Some(0),
    }
}

/// What stands above the columns. A single worker's values are the totals.
fn heads(sample: &Sample) -> Vec<String> {
    let mut heads = Vec::new();
    if sample.seconds.is_some() {
        heads.extend(["change", "per second"].map(str::to_owned));
    }
    match workers(sample) {
        0 | 1 => {}
        several => heads.extend((0..several).map(|number| format!("worker {number}"))),
    }
    heads.push("total".to_owned());
    heads
}

fn workers(sample: &Sample) -> usize {
    sample
        .rows
        .iter()
        .map(|row| row.workers.len())
        .max()
        .unwrap_or(0)
}

fn cells(row: &Row, sample: &Sample) -> Vec<String> {
    let mut cells = Vec::new();
    if let Some(seconds) = sample.seconds {
        cells.push(
            row.change
                .map_or_else(String::new, |change| format!("{change:+}")),
        );
        let rate = row.change.filter(|_| !row.gauge);
        cells.push(rate.map_or_else(String::new, |rate| format!("{:.0}", rate as f64 / seconds)));
    }
    let several = workers(sample);
    if several > 1 {
        let value = |number| {
            row.workers
                .get(number)
                .map_or_else(String::new, u64::to_string)
        };
        cells.extend((0..several).map(value));
    }
    cells.push(row.total.to_string());
    cells
}

fn add_cells(text: &mut String, cells: &[String], widths: &[usize]) {
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(text, "  {cell:>width$}");
    }
}

/// What a group is called.
fn heading(group: &str) -> String {
    match group {
        "worker" => "worker".to_owned(),
        "census" => "now there".to_owned(),
        "mib" => "protocols (nstat)".to_owned(),
        "drop" => "drops by reason".to_owned(),
        "control" => "control socket".to_owned(),
        other => match other.strip_prefix("queue") {
            Some(number) => format!("driver queue {number}"),
            None => other.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::sample;
    use super::*;

    #[test]
    fn what_is_not_zero_by_worker_and_in_all() {
        let table = text(&sample([[10, 1, 0], [2000, 2, 0]], 7), false);
        let lines: Vec<&str> = table.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "",
                "worker          worker 0  worker 1  total",
                "  turns               10      2000   2010  What it counts",
                "",
                "now there       worker 0  worker 1  total",
                "  sockets              1         2      3  What it counts",
                "",
                "control socket  worker 0  worker 1  total",
                "  calls                                 7  What it counts",
                "",
            ]
        );
        assert!(text(&sample([[1, 1, 0], [1, 1, 0]], 0), true).contains("LinkRunt"));
    }

    #[test]
    fn what_changed() {
        let before = sample([[10, 5, 3], [20, 2, 0]], 7);
        let mut now = sample([[12, 1, 3], [20, 2, 0]], 7);
        now.compare(&before);
        let table = text(&now, false);
        assert!(table.contains("turns") && table.contains("+2"), "{table}");
        assert!(table.contains("sockets") && table.contains("-4"), "{table}");
        assert!(
            !table.contains("LinkRunt") && !table.contains("calls"),
            "{table}"
        );
    }
}
