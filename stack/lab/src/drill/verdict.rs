//! What became of a script.

use std::fmt;

/// The result of running one script once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything happened as written.
    Pass,
    /// Something did not.
    Fail(Failure),
    /// The script asks for something that the runner, or the stack, cannot do. Never counted as a pass.
    Unsupported {
        /// The line, from 1.
        line: u32,
        /// What was asked for.
        what: String,
    },
}

/// A difference between script and stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The script's line, from 1.
    pub line: u32,
    /// What differs.
    pub what: String,
    /// What the script expects.
    pub expected: String,
    /// What the stack did.
    pub got: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Fail(Failure {
                line,
                what,
                expected,
                got,
            }) => {
                write!(
                    f,
                    "line {line}: {what}\n  expected: {expected}\n  got:      {got}"
                )
            }
            Self::Unsupported { line, what } => write!(f, "line {line}: unsupported: {what}"),
        }
    }
}

/// Why a run ended before the end of its script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// See [`Verdict::Fail`].
    Fail(Failure),
    /// See [`Verdict::Unsupported`].
    Unsupported {
        /// The line, from 1.
        line: u32,
        /// What was asked for.
        what: String,
    },
}

impl Stop {
    pub(super) fn unsupported(line: u32, what: impl Into<String>) -> Self {
        Self::Unsupported {
            line,
            what: what.into(),
        }
    }

    pub(super) fn fail(
        line: u32,
        what: &str,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Self {
        let what = what.to_owned();
        Self::Fail(Failure {
            line,
            what,
            expected: expected.to_string(),
            got: got.to_string(),
        })
    }
}

impl From<Stop> for Verdict {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fail(failure) => Self::Fail(failure),
            Stop::Unsupported { line, what } => Self::Unsupported { line, what },
        }
    }
}
