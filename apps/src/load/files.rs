//! The files of a run. They are opened before it, so that a path that cannot be written is told at once; one that fails
//! at the end (a full disk) does not take the others with it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::html;
use super::record::{Curve, Record};
use crate::Failure;
use crate::output::Output;

/// Where results go besides standard output.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// Write the whole record, for programs and for `millrace report`; replaces the file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the corrected latencies as HdrHistogram's percentile distribution, in microseconds.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write the raw latencies likewise.
    #[arg(long, value_name = "FILE")]
    pub hgrm_raw: Option<PathBuf>,
    /// Write the time series.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write a page with curves, counters and facts; it needs no other file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Makes what a file holds.
pub type Make<R> = Box<dyn Fn(&R) -> String>;

/// Files that are open.
pub struct Files<R>(Vec<(PathBuf, Output, Make<R>)>);

impl FileArgs {
    /// Opens all.
    ///
    /// # Errors
    ///
    /// [`Failure`] that names the first that cannot be written.
    pub fn open(&self) -> Result<Files<Record>, Failure> {
        let Self {
            json: as_json,
            hgrm,
            hgrm_raw,
            csv: as_csv,
            html,
        } = self;
        let wanted: [(&Option<PathBuf>, Make<Record>); 5] = [
            (as_json, Box::new(json)),
            (hgrm, Box::new(|record| distribution(&record.corrected))),
            (hgrm_raw, Box::new(|record| distribution(&record.raw))),
            (as_csv, Box::new(csv)),
            (
                html,
                Box::new(|record| html::page(core::slice::from_ref(record))),
            ),
        ];
        Files::open(wanted.into_iter().map(|(path, make)| (path.as_ref(), make)))
    }
}

impl<R> Files<R> {
    /// Opens those of `wanted` that have a path.
    ///
    /// # Errors
    ///
    /// [`Failure`] that names the first that cannot be written.
    pub fn open<'a>(
        wanted: impl IntoIterator<Item = (Option<&'a PathBuf>, Make<R>)>,
    ) -> Result<Self, Failure> {
        let mut files: Vec<(PathBuf, Output, Make<R>)> = Vec::new();
        for (path, make) in wanted {
            let Some(path) = path else { continue };
            if files.iter().any(|(other, ..)| other == path) {
                return Err(Failure::Usage(format!(
                    "{} is given for two results",
                    path.display()
                )));
            }
            let output = Output::open(Some(path)).map_err(Failure::from_error)?;
            files.push((path.clone(), output, make));
        }
        Ok(Self(files))
    }

    /// Writes them: what went wrong, in sentences.
    pub fn write(self, record: &R) -> Vec<String> {
        let mut complaints = Vec::new();
        for (path, output, make) in self.0 {
            if let Err(error) = output.fill(&path, make(record).as_bytes()) {
                complaints.push(error.to_string());
            }
        }
        complaints
    }
}

/// A record as one JSON object.
pub fn json(record: &impl Serialize) -> String {
    // Only maps with keys that are no strings fail.
    let mut text = serde_json::to_string_pretty(record).unwrap_or_default();
    text.push('\n');
    text
}

/// As HdrHistogram's `outputPercentileDistribution` writes it.
pub fn distribution(curve: &Curve) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>16}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let micros = |ns: f64| ns / 1e3;
    // Writing to a string cannot fail.
    for point in &curve.points {
        let (value, quantile) = (micros(point.ns as f64), point.percentile / 100.0);
        let _ = write!(text, "{value:>12.3} {quantile:>14.12} {:>10}", point.count);
        let _ = match quantile < 1.0 {
            true => writeln!(text, " {:>16.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text),
        };
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]",
        micros(curve.mean_ns),
        micros(curve.stdev_ns),
        micros(curve.max_ns as f64),
        curve.count
    );
    text
}

/// The time series.
fn csv(record: &Record) -> String {
    let mut text = "at_s,length_s,sent,replies,bytes,p50_ns,p99_ns,max_ns".to_owned();
    for core in &record.cpu.cores {
        let _ = write!(text, ",core{}_busy", core.core);
    }
    text.push('\n');
    for (place, s) in record.series.iter().enumerate() {
        let _ = write!(
            text,
            "{:.6},{:.6},{},{},{},{},{},{}",
            s.at_s, s.length_s, s.sent, s.replies, s.bytes, s.p50_ns, s.p99_ns, s.max_ns
        );
        for core in 0..record.cpu.cores.len() {
            let busy = record
                .cpu
                .series
                .get(place)
                .and_then(|stretch| stretch.busy.get(core));
            let _ = write!(text, ",{:.4}", busy.copied().unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::compare::parse;
    use crate::load::record::tests::sample;

    fn none() -> FileArgs {
        FileArgs {
            json: None,
            hgrm: None,
            hgrm_raw: None,
            csv: None,
            html: None,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = sample(1000);
        let read = parse(&json(&record)).expect("a record");
        assert_eq!(
            (read.work, read.counts, read.headline),
            (record.work, record.counts, record.headline)
        );
        assert_eq!(
            (read.series, read.cpu, read.tcp),
            (record.series, record.cpu, record.tcp)
        );
        let values = |curve: &Curve| {
            curve
                .points
                .iter()
                .map(|point| (point.ns, point.count))
                .collect::<Vec<_>>()
        };
        assert_eq!(values(&read.corrected), values(&record.corrected));
    }

    #[test]
    fn a_distribution_ends_with_its_maximum_and_count() {
        let text = distribution(&sample(1000).corrected);
        let last = text
            .lines()
            .rfind(|line| !line.starts_with('#'))
            .expect("lines");
        let words: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(words[1..], ["1.000000000000", "1000"], "{text}");
        let nines = text
            .lines()
            .find(|line| line.contains(" 0.990000000000 "))
            .expect("p99");
        let words: Vec<&str> = nines.split_whitespace().collect();
        assert!(
            (990..1000).contains(&words[2].parse().expect("a count")),
            "{text}"
        );
        assert_eq!(words[3], "100.00");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }

    #[test]
    fn the_time_series_has_a_line_for_each_stretch() {
        let text = csv(&sample(1000));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1],
            "0.500000,0.500000,500,500,64,10500,20000,30000,0.2500,1.0000"
        );
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
    }

    #[test]
    fn a_full_disk_spares_the_other_files() {
        let path = std::env::temp_dir().join(format!("millrace-files-{}", std::process::id()));
        let files = FileArgs {
            json: Some("/dev/full".into()),
            csv: Some(path.clone()),
            ..none()
        };
        let complaints = files.open().expect("both can be opened").write(&sample(10));
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(
            complaints[0].contains("/dev/full: No space left"),
            "{complaints:?}"
        );
        assert!(
            std::fs::read_to_string(&path)
                .expect("the other")
                .starts_with("at_s")
        );
        std::fs::remove_file(path).expect("remove");
    }

    #[test]
    fn what_cannot_be_written_is_told_at_once() {
        let nowhere = FileArgs {
            html: Some("/nowhere/page".into()),
            ..none()
        };
        assert!(
            matches!(nowhere.open(), Err(Failure::Failed(why)) if why.contains("/nowhere/page"))
        );
        let null = || Some(PathBuf::from("/dev/null"));
        let twice = FileArgs {
            json: null(),
            csv: null(),
            ..none()
        };
        assert!(matches!(twice.open(), Err(Failure::Usage(_))));
    }
}
