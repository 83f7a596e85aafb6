//! Shell commands of scripts, for machines without a shell: the shapes that scripts use, and what they mean for one
//! interface and one stack. What is not known is unsupported, never done by halves.

mod ip;
mod nstat;
mod profile;
mod sysctl;
#[cfg(test)]
mod tests;
mod words;

use self::words::{Chain, Join};
use crate::machine::{Broken, Commanded, Machine};

/// Why a command is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unsuccessful {
    /// It ran and says so with its exit status.
    Status {
        /// Not 0.
        status: i32,
        /// What it printed.
        output: String,
    },
    /// It is not known here, or the machine cannot do it.
    Unsupported(String),
    /// The machine's own shell cannot be run.
    Broken(String),
}

impl Unsuccessful {
    fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }
}

impl From<Broken> for Unsuccessful {
    fn from(Broken(why): Broken) -> Self {
        Self::Unsupported(why)
    }
}

type Done<T> = Result<T, Unsuccessful>;

/// What a command left behind it: its exit status, and what goes to the next one of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Outcome {
    status: i32,
    output: String,
}

impl Outcome {
    const fn status(status: i32) -> Self {
        Self {
            status,
            output: String::new(),
        }
    }
}

/// The commands of one run: `nstat` remembers what it has shown.
#[derive(Debug, Default)]
pub(super) struct Shell {
    nstat: nstat::History,
}

impl Shell {
    /// Runs a command line of a script, on the machine's own shell if it has one.
    pub(super) fn run<M: Machine + ?Sized>(&mut self, machine: &mut M, text: &str) -> Done<()> {
        // Scripts that come with the language are not on anybody's disk.
        if !profile::names_one(text) {
            match machine.command(text) {
                Ok(Commanded::NoShell) => {}
                Ok(Commanded::Ran { status: 0, .. }) => return Ok(()),
                Ok(Commanded::Ran { status, output }) => {
                    return Err(Unsuccessful::Status { status, output });
                }
                Err(Broken(why)) => return Err(Unsuccessful::Broken(why)),
            }
        }
        let mut last = Outcome::default();
        for Chain { join, pipeline } in words::read(text).map_err(Unsuccessful::Unsupported)? {
            let skipped = match join {
                Join::Then => false,
                Join::And => last.status != 0,
                Join::Or => last.status == 0,
            };
            if skipped {
                continue;
            }
            last = Outcome::default();
            for command in pipeline {
                last = self.one(machine, &command, &last.output)?;
            }
        }
        match last {
            Outcome { status: 0, .. } => Ok(()),
            Outcome { status, output } => Err(Unsuccessful::Status { status, output }),
        }
    }

    /// One command of a pipeline.
    fn one<M: Machine + ?Sized>(
        &mut self,
        machine: &mut M,
        words: &[String],
        input: &str,
    ) -> Done<Outcome> {
        let list: Vec<&str> = words.iter().map(String::as_str).collect();
        let shown = || words.join(" ");
        let Some((name, args)) = list.split_first() else {
            return Ok(Outcome::default());
        };
        if *name == "!" {
            let outcome = self.one(machine, &words[1..], input)?;
            return Ok(Outcome {
                status: i32::from(outcome.status == 0),
                ..outcome
            });
        }
        match (name.rsplit('/').next().unwrap_or(name), args) {
            ("true" | ":" | "echo", _) => Ok(Outcome::status(0)),
            ("false", _) => Ok(Outcome::status(1)),
            ("sysctl", args) => sysctl::sysctl(machine, args),
            ("set_sysctls.py", args) => sysctl::set_sysctls(machine, args),
            ("defaults.sh", []) => profile::apply(machine),
            // Every run has a machine of its own: there is nothing to put back.
            (script, []) if profile::is_restore(script) => Ok(Outcome::status(0)),
            ("nstat", args) => self.nstat.show(machine, args),
            ("grep", args) => nstat::grep(args, input),
            ("ip", args) => ip::ip(machine, args),
            ("ethtool", args) => ip::ethtool(machine, args),
            ("tc", args) => ip::tc(machine, args),
            _ => Err(Unsuccessful::Unsupported(format!("`{}`", shown()))),
        }
    }
}
