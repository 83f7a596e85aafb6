//! `millrace report`: records side by side.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::html;
use super::record::{Record, SCHEMA, VERSION};
use super::table::{SHOWN, title};
use super::units;
use crate::Failure;
use crate::output::Output;

/// `millrace report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Records that `millrace load --json` has written; the first is what the others are compared with.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write a page with the curves of all.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// [`Failure`] that names the file that is no record of ours, or cannot be written.
pub fn run(args: &ReportArgs) -> Result<(), Failure> {
    let page = args
        .html
        .as_deref()
        .map(|path| Output::open(Some(path)).map(|output| (path, output)));
    let page = page.transpose().map_err(Failure::from_error)?;
    let records = args
        .files
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = std::io::stdout().lock();
    out.write_all(text(&records).as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Failure::Failed(format!("cannot write to standard output: {e}")))?;
    if let Some((path, output)) = page {
        output
            .fill(path, html::page(&records).as_bytes())
            .map_err(Failure::from_error)?;
    }
    Ok(())
}

/// Reads a record.
fn read(path: &Path) -> Result<Record, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|e| Failure::Failed(format!("cannot read {name}: {e}")))?;
    parse(&text).map_err(|why| Failure::Failed(format!("{name} {why}")))
}

/// Understands a record, or says why not: the rest of a sentence that begins with the file's name.
pub(super) fn parse(text: &str) -> Result<Record, String> {
    let foreign = |why: String| format!("is no record of `millrace load --json`: {why}");
    let value: Value = serde_json::from_str(text).map_err(|e| foreign(e.to_string()))?;
    if value["schema"] != SCHEMA {
        return Err(foreign(format!("its schema is not {SCHEMA}")));
    }
    if value["version"] != VERSION {
        return Err(format!(
            "was written in version {} of the schema, and this program reads version {VERSION}: repeat the run, or read it with the millrace that wrote it",
            value["version"]
        ));
    }
    serde_json::from_value(value).map_err(|e| foreign(e.to_string()))
}

/// A row of a comparison.
pub struct Row {
    /// What is compared.
    pub name: String,
    /// In words, for each record.
    pub cells: Vec<String>,
}

/// All rows; those of numbers say by how much each record differs from the first.
pub fn rows(records: &[Record]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: &dyn Fn(&Record) -> f64, word: &dyn Fn(f64) -> String| {
        let first = records.first().map_or(0.0, value);
        let cells = records.iter().enumerate().map(|(place, record)| {
            let value = value(record);
            match place {
                0 => word(value),
                _ if first > 0.0 => format!("{} ({:.2}×)", word(value), value / first),
                _ => word(value),
            }
        });
        rows.push(Row {
            name: name.to_owned(),
            cells: cells.collect(),
        });
    };
    let (rate, time) = (&|v| units::rate(v), &|v: f64| units::time(v as u64));
    let (count, percent) = (&|v: f64| units::count(v as u64), &|v| units::percent(v));
    row("replies/s", &Record::replies_per_s, rate);
    row("bytes/s", &Record::bytes_per_s, rate);
    for p in SHOWN {
        let supported = |record: &Record| record.corrected.count as f64 * (1.0 - p / 100.0) >= 1.0;
        if records.iter().all(supported) {
            row(
                &format!("p{} corrected", units::percentile(p)),
                &|record| record.corrected.at(p) as f64,
                time,
            );
        }
    }
    row(
        "max corrected",
        &|record| record.corrected.max_ns as f64,
        time,
    );
    row("p99 raw", &|record| record.raw.at(99.0) as f64, time);
    row(
        "connect p50",
        &|record| record.connect.at(50.0) as f64,
        time,
    );
    row(
        "unanswered",
        &|record| record.counts.unanswered as f64,
        count,
    );
    row(
        "driver lost",
        &|record| record.counts.driver_lost as f64,
        count,
    );
    row("retransmitted", &retransmitted, count);
    row("generator busy", &|record| record.generator.busy, percent);
    rows
}

/// Segments sent again.
fn retransmitted(record: &Record) -> f64 {
    record
        .tcp
        .get("TcpRetransSegs")
        .copied()
        .unwrap_or_default() as f64
}

/// The comparison for people.
fn text(records: &[Record]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (place, record) in records.iter().enumerate() {
        lines.push(format!("{}  {}", letter(place), title(record)));
        let verdict = record.headline_text().unwrap_or_else(|| {
            let why = record
                .refusals
                .first()
                .map_or("", |refusal| refusal.why.as_str());
            format!("no headline: {why}")
        });
        lines.push(format!("   {verdict}"));
    }
    lines.push(String::new());
    let names = (0..records.len()).map(|place| format!("{:>22}", letter(place)));
    lines.push(format!("{:<16}{}", "", names.collect::<String>()));
    for row in rows(records) {
        let cells = row.cells.iter().map(|cell| format!("{cell:>22}"));
        lines.push(format!("{:<16}{}", row.name, cells.collect::<String>()));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What a record is called beside others.
pub fn letter(place: usize) -> String {
    match u8::try_from(place) {
        Ok(place @ 0..26) => char::from(b'A' + place).to_string(),
        _ => format!("#{}", place + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::tests::sample;

    #[test]
    fn numbers_stand_beside_the_first() {
        let text = text(&[sample(1000), sample(1500)]);
        let line = text
            .lines()
            .find(|line| line.starts_with("replies/s"))
            .expect("a row");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["replies/s", "1,000", "1,500", "(1.50×)"]);
        assert!(text.contains("p99 corrected") && text.contains("retransmitted"));
    }

    #[test]
    fn a_record_of_another_version_is_told() {
        let mut value = serde_json::to_value(sample(10)).expect("JSON");
        value["version"] = Value::from(VERSION + 1);
        let why = parse(&value.to_string()).expect_err("another version");
        assert!(
            why.contains(
                "was written in version 2 of the schema, and this program reads version 1"
            ),
            "{why}"
        );
    }

    #[test]
    fn what_is_no_record_is_told() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"schema\":\"other\",\"version\":1}",
            "{\"schema\":\"millrace-load\",\"version\":1}",
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.starts_with("is no record"), "{why}");
        }
    }
}
