//! What became of a script.

use std::fmt;

use super::ast::Micros;

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
    /// The machine was too busy to be judged: in real time, an action of the script came too late.
    Late {
        /// The line, from 1.
        line: u32,
        /// How late, microseconds.
        by: Micros,
    },
    /// The machine failed or got stuck.
    Broken {
        /// The line, from 1.
        line: u32,
        /// What is wrong with it.
        why: String,
    },
}

impl Verdict {
    /// In one word: `pass`, `fail`, `unsupported`, `late` or `broken`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Unsupported { .. } => "unsupported",
            Self::Late { .. } => "late",
            Self::Broken { .. } => "broken",
        }
    }

    /// The line it is about, from 1; none of a pass.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Pass => None,
            Self::Fail(failure) => Some(failure.line),
            Self::Unsupported { line, .. }
            | Self::Late { line, .. }
            | Self::Broken { line, .. } => Some(*line),
        }
    }
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
            Self::Late { line, by } => write!(f, "line {line}: {by} us too late to be judged"),
            Self::Broken { line, why } => write!(f, "line {line}: the machine is broken: {why}"),
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
    /// See [`Verdict::Late`].
    Late {
        /// The line, from 1.
        line: u32,
        /// How late, microseconds.
        by: Micros,
    },
    /// See [`Verdict::Broken`].
    Broken {
        /// The line, from 1.
        line: u32,
        /// What is wrong.
        why: String,
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
            Stop::Late { line, by } => Self::Late { line, by },
            Stop::Broken { line, why } => Self::Broken { line, why },
        }
    }
}
