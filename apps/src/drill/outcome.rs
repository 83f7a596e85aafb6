//! What became of one script, for people and for programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use millrace_lab::drill::{ParseError, Report, Verdict};
use serde_json::{Value, json};

/// What became of one script.
#[derive(Debug)]
pub(super) struct Outcome {
    file: PathBuf,
    end: End,
}

#[derive(Debug)]
enum End {
    /// It ran; the line of the script that the verdict is about.
    Ran {
        report: Report,
        excerpt: Option<String>,
    },
    /// It cannot be read.
    Unreadable(String),
}

impl Outcome {
    pub(super) fn unreadable(file: &Path, why: String) -> Self {
        Self {
            file: file.to_owned(),
            end: End::Unreadable(why),
        }
    }

    /// A text that is no script counts as unsupported.
    pub(super) fn unparsed(file: &Path, error: &ParseError, source: &str) -> Self {
        let excerpt = Some(error.excerpt(source));
        let report = Report::from(Verdict::from(error.clone()));
        Self {
            file: file.to_owned(),
            end: End::Ran { report, excerpt },
        }
    }

    pub(super) fn ran(file: &Path, report: Report, source: &str) -> Self {
        let line = report.verdict.line();
        let excerpt = line
            .and_then(|line| source.lines().nth(line.saturating_sub(1) as usize))
            .map(|text| text.trim().to_owned());
        Self {
            file: file.to_owned(),
            end: End::Ran { report, excerpt },
        }
    }

    /// The verdict; none of a file that cannot be read.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        match &self.end {
            End::Ran { report, .. } => Some(&report.verdict),
            End::Unreadable(_) => None,
        }
    }

    pub(super) fn text(&self, verbose: bool) -> String {
        let file = self.file.display();
        let (report, excerpt) = match &self.end {
            End::Unreadable(why) => return format!("unreadable   {file}: {why}"),
            End::Ran { report, excerpt } => (report, excerpt),
        };
        let verdict = &report.verdict;
        let mut text = format!("{:<12} {file}", verdict.name());
        if let Some(line) = verdict.line() {
            let detail = verdict.to_string();
            // The place and the kind of verdict stand in front already.
            let detail = detail
                .split_once(": ")
                .map_or(detail.as_str(), |(_, rest)| rest);
            let detail = detail.strip_prefix("unsupported: ").unwrap_or(detail);
            // Writing to a string cannot fail.
            let _ = write!(text, ":{line}: {detail}");
        }
        for line in excerpt.iter().flat_map(|excerpt| excerpt.lines()) {
            let _ = write!(text, "\n  | {line}");
        }
        if verbose {
            for entry in &report.log {
                let at = entry.at.as_secs_f64();
                let _ = write!(text, "\n  {at:>12.6} line {:<4} {}", entry.line, entry.what);
            }
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let file = self.file.display().to_string();
        let report = match &self.end {
            End::Unreadable(why) => {
                return json!({ "event": "script", "file": file, "verdict": "unreadable", "what": why });
            }
            End::Ran { report, .. } => report,
        };
        let mut object =
            json!({ "event": "script", "file": file, "verdict": report.verdict.name() });
        if let Some(line) = report.verdict.line() {
            object["line"] = line.into();
        }
        match &report.verdict {
            Verdict::Pass => {}
            Verdict::Fail(failure) => {
                object["what"] = failure.what.as_str().into();
                object["expected"] = failure.expected.as_str().into();
                object["got"] = failure.got.as_str().into();
            }
            Verdict::Unsupported { what, .. } => object["what"] = what.as_str().into(),
            Verdict::Late { by, .. } => object["late_us"] = (*by).into(),
            Verdict::Broken { why, .. } => object["what"] = why.as_str().into(),
        }
        if !report.log.is_empty() {
            let log = report.log.iter().map(|entry| {
                json!({ "at": entry.at.as_secs_f64(), "line": entry.line, "what": entry.what })
            });
            object["log"] = log.collect();
        }
        object
    }
}
