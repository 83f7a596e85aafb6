//! Conformance scripts in the packetdrill language, over [`Stack`](millrace_net::Stack) directly, in virtual time.
//!
//! [`parse()`] makes an [`ast::Script`] of a text, [`run()`] runs it and gives a [`Verdict`]. What the interpreter or the
//! stack cannot do ends a script as *unsupported*, never as passed. [`mutants`] makes wrong scripts of a right one: they
//! test that the interpreter notices.
//!
//! Stations: `parse` → `settings` → `run` (events in order) → `call` | `inject` | `run/expect` → `live` → `compare`;
//! `conn` translates numbers both ways.

pub mod ast;
mod call;
mod command;
mod compare;
mod conn;
mod inject;
mod live;
mod mutate;
pub mod parse;
mod run;
mod settings;
mod sockopt;
mod symbols;
#[cfg(test)]
mod tests;
mod verdict;

pub use compare::Checks;
pub use mutate::{Mutant, mutants};
pub use parse::{ParseError, parse};
pub use run::{Delivery, run};
pub use verdict::{Failure, Verdict};

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunConfig {
    /// How injected packets reach the stack.
    pub delivery: Delivery,
    /// How much is compared.
    pub checks: Checks,
}

/// Reads and runs a script; a text that is no script is unsupported.
pub fn run_text(source: &str, config: RunConfig) -> Verdict {
    match parse(source) {
        Ok(script) => run(&script, config),
        Err(ParseError { line, why }) => Verdict::Unsupported { line, what: why },
    }
}
