//! The rows: one statement of an RFC each, and what it stands on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::log::Results;

/// How binding the RFC makes a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// MUST and MUST NOT.
    Must,
    /// SHOULD and SHOULD NOT.
    Should,
    /// MAY.
    May,
}

/// What a row stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Tests, which ran and passed.
    Test,
    /// A reason why we do otherwise, or not yet.
    Exception,
    /// A reason why it does not concern a stack like ours.
    #[serde(rename = "n/a")]
    NotApplicable,
}

/// A statement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name in the RFC, or a number within the file.
    pub id: String,
    /// How binding it is.
    pub level: Level,
    /// In our words.
    pub text: String,
    /// What it stands on.
    pub status: Status,
    /// Names of tests, `binary::path::test`; a script's name stands for all its runs.
    #[serde(default)]
    pub tests: Vec<String>,
    /// The reason of an exception.
    #[serde(default)]
    pub why: String,
}

/// One file: one RFC.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// `RFC 9293`.
    pub rfc: String,
    /// What it is about.
    pub title: String,
    /// Ids that must all be here, as `PREFIX-FROM..TO`.
    #[serde(default)]
    pub complete: Vec<String>,
    /// Its statements.
    #[serde(rename = "row")]
    pub rows: Vec<Row>,
}

/// Why the rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The folder or a file.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not a file of rows.
    #[error("{}: {error}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Box<toml::de::Error>,
    },
    /// Nothing there.
    #[error("{}: no file of rows (*.toml)", .0.display())]
    Empty(PathBuf),
}

/// All files of `folder`, by name.
///
/// # Errors
/// One of them cannot be read, or there is none.
pub fn read(folder: &Path) -> Result<Vec<File>, ReadError> {
    let io = |error| ReadError::Io {
        path: folder.to_owned(),
        error,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(ReadError::Empty(folder.to_owned()));
    }
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).map_err(|error| ReadError::Io {
                path: path.clone(),
                error,
            })?;
            toml::from_str(&text).map_err(|error| ReadError::Format {
                path,
                error: Box::new(error),
            })
        })
        .collect()
}

/// What is wrong with the rows, in words.
pub fn breaches(files: &[File], results: &Results) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for row in &file.rows {
            *seen.entry(&row.id).or_default() += 1;
            found.extend(
                row_breaches(row, results)
                    .into_iter()
                    .map(|what| format!("{} {}: {what}", file.rfc, row.id)),
            );
        }
        for (id, times) in &seen {
            if *times > 1 {
                found.push(format!("{} {id}: {times} rows", file.rfc));
            }
        }
        for series in &file.complete {
            match ids(series) {
                Some(ids) => found.extend(
                    ids.into_iter()
                        .filter(|id| !seen.contains_key(id.as_str()))
                        .map(|id| format!("{} {id}: no row", file.rfc)),
                ),
                None => found.push(format!("{}: {series:?} is no series of ids", file.rfc)),
            }
        }
    }
    found
}

fn row_breaches(row: &Row, results: &Results) -> Vec<String> {
    let mut found: Vec<String> = row
        .tests
        .iter()
        .filter_map(|test| results.check(test).err())
        .collect();
    match row.status {
        Status::Test if row.tests.is_empty() => found.push("no test is named".to_owned()),
        Status::Exception | Status::NotApplicable if row.why.trim().is_empty() => {
            found.push("no reason is given".to_owned());
        }
        _ => {}
    }
    if row.text.trim().is_empty() {
        found.push("it says nothing".to_owned());
    }
    found
}

/// `MUST-1..3` is MUST-1, MUST-2, MUST-3.
fn ids(series: &str) -> Option<Vec<String>> {
    let (prefix, range) = series.rsplit_once('-')?;
    let (from, to) = range.split_once("..")?;
    let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then(|| (from..=to).map(|n| format!("{prefix}-{n}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(rows: &str) -> Vec<String> {
        let mut results = Results::default();
        results.add("Running x (target/debug/deps/net-0)\ntest good ... ok\ntest bad ... FAILED\n");
        let head = "rfc = \"RFC 1\"\ntitle = \"t\"\ncomplete = [\"MUST-1..2\"]\n";
        let file: File = toml::from_str(&format!("{head}{rows}")).unwrap();
        breaches(&[file], &results)
    }

    fn row(id: &str, rest: &str) -> String {
        format!("[[row]]\nid = \"{id}\"\nlevel = \"must\"\ntext = \"x\"\n{rest}\n")
    }

    #[test]
    fn rows_stand_on_tests_or_reasons() {
        let good = row("MUST-1", "status = \"test\"\ntests = [\"net::good\"]");
        let excepted = row("MUST-2", "status = \"exception\"\nwhy = \"Linux does so\"");
        assert_eq!(breaches_of(&format!("{good}{excepted}")), [""; 0]);
        for (second, says) in [
            (row("MUST-2", "status = \"test\""), "no test is named"),
            (
                row("MUST-2", "status = \"exception\""),
                "no reason is given",
            ),
            (row("MUST-2", "status = \"n/a\""), "no reason is given"),
            (
                row("MUST-2", "status = \"test\"\ntests = [\"net::bad\"]"),
                "net::bad failed",
            ),
            (
                row("MUST-2", "status = \"test\"\ntests = [\"net::gone\"]"),
                "no test net::gone ran",
            ),
            (
                row("MUST-3", "status = \"n/a\"\nwhy = \"y\""),
                "MUST-2: no row",
            ),
            (format!("{good}{excepted}"), "MUST-1: 2 rows"),
        ] {
            let found = breaches_of(&format!("{good}{second}"));
            assert!(
                found.len() == 1 && found[0].contains(says),
                "{second}: {found:?}"
            );
        }
    }
}
