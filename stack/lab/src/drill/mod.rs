//! Conformance scripts in the packetdrill language, on any [`Machine`](crate::machine::Machine): the stack in virtual
//! time, or a kernel.
//!
//! [`parse()`] makes an [`ast::Script`] of a text; [`run()`] runs it on a stack of its own, [`run_on()`] on a machine
//! that the caller made for it (see [`Ground`]), and both give a [`Report`] with a [`Verdict`]. What the interpreter or
//! the machine cannot do ends a script as *unsupported*, never as passed. [`mutants`] makes wrong scripts of a right
//! one: they test that the interpreter notices.
//!
//! Stations: `parse` → `settings` → `run` (events in order) → `call` | `inject` | `command` | `code` | `run/expect` →
//! `live` → `compare`; `conn` translates numbers both ways.

pub mod ast;
mod call;
mod code;
mod command;
mod compare;
mod conn;
mod inject;
mod live;
mod mutate;
pub mod parse;
mod pcap;
mod report;
mod run;
mod settings;
mod symbols;
#[cfg(test)]
mod tests;
mod verdict;

use self::ast::{Action, Micros, OptionLine, Syscall, When};

pub use code::tcp_info_names;
pub use compare::Checks;
pub use mutate::{Mutant, mutants};
pub use parse::{ParseError, parse, parse_with};
pub use pcap::write_pcapng;
pub use report::{LogEntry, Record, Report, TracedPacket, Way};
pub use run::{Delivery, Ground, run, run_on};
pub use verdict::{Failure, Verdict};

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunConfig {
    /// How injected packets reach the machine.
    pub delivery: Delivery,
    /// How much is compared.
    pub checks: Checks,
    /// What is kept besides the verdict.
    pub record: Record,
    /// The absolute tolerance of times is at least this, whatever the script says.
    pub min_tolerance: Micros,
    /// How late the script's own actions may be on a machine in real time; none: the tolerance.
    pub lateness: Option<Micros>,
}

impl RunConfig {
    /// Keeps the verdict only, and takes the script's own tolerance.
    pub const fn new(delivery: Delivery, checks: Checks) -> Self {
        Self {
            delivery,
            checks,
            record: Record::Verdict,
            min_tolerance: 0,
            lateness: None,
        }
    }
}

impl ast::Script {
    /// Adds an option as if it were the last one in the script's head: it wins over those that are written there.
    pub fn set_option(&mut self, name: &str, value: Option<&str>) {
        self.options.push(OptionLine {
            line: 1,
            name: name.to_owned(),
            value: value.map(str::to_owned),
        });
    }
}

/// Reads and runs a script; a text that is no script is unsupported.
pub fn run_text(source: &str, config: RunConfig) -> Verdict {
    match parse(source) {
        Ok(script) => run(&script, config).verdict,
        Err(error) => Verdict::from(error),
    }
}

impl ast::Script {
    /// How long a run of the script takes at least, microseconds: what its events' times add up to, with the latest end
    /// of every range. What a shell command takes comes on top of it.
    pub fn duration(&self) -> Micros {
        let mut at: Micros = 0;
        let mut end: Micros = 0;
        for event in &self.events {
            let base = at;
            at = match event.when {
                When::At(time) | When::AtRange(_, time) => at.max(time),
                When::After(time) | When::AfterRange(_, time) => at.saturating_add(time),
                When::Any => at,
            };
            if let Action::Syscall(Syscall {
                end: Some(over), ..
            }) = event.action
            {
                let over = match event.when {
                    When::After(_) | When::AfterRange(..) => base.saturating_add(over),
                    _ => over,
                };
                end = end.max(over);
            }
        }
        at.max(end)
    }
}

impl From<ParseError> for Verdict {
    fn from(error: ParseError) -> Self {
        Self::Unsupported {
            line: error.line,
            what: error.why,
        }
    }
}
