//! The stack's answers held against the kernel's.

use std::fmt;

use ipnet::Ipv4Net;
use millrace_lab::machine::{Broken, Machine, StackConfig, StackMachine};

use super::cell::Cell;
use super::crowd;
use super::matrix::{Observed, STATE};
use super::packet::LOCAL;
use crate::{KernelMachine, Setup};

/// Machines at once.
const KERNELS: usize = 12;

/// How often the kernel is asked again where the stack differs: what it answers only sometimes is no difference.
const AGAIN: u32 = 2;

/// A cell whose answers differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The question.
    pub cell: Cell,
    /// What the kernel did.
    pub kernel: Vec<String>,
    /// What the stack did.
    pub stack: Vec<String>,
}

impl Difference {
    /// The first thing that differs: the kernel's line and the stack's; an empty one means nothing more.
    pub fn first(&self) -> (&str, &str) {
        let n = (0..self.kernel.len())
            .find(|n| self.kernel.get(*n) != self.stack.get(*n))
            .unwrap_or(self.kernel.len());
        (
            self.kernel.get(n).map_or("", String::as_str),
            self.stack.get(n).map_or("", String::as_str),
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.cell)?;
        for n in 0..self.kernel.len().max(self.stack.len()) {
            match (self.kernel.get(n), self.stack.get(n)) {
                (Some(kernel), Some(stack)) if kernel == stack => {
                    writeln!(f, "      both: {kernel}")?
                }
                (kernel, stack) => {
                    if let Some(kernel) = kernel {
                        writeln!(f, "    kernel: {kernel}")?;
                    }
                    if let Some(stack) = stack {
                        writeln!(f, "     stack: {stack}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A kernel of its own.
///
/// # Errors
/// No root, no TUN: the text says.
pub fn kernel() -> Result<Box<dyn Machine>, Broken> {
    match KernelMachine::new(&Setup::default()) {
        Ok(machine) => Ok(Box::new(machine)),
        Err(error) => Err(Broken(error.to_string())),
    }
}

/// A stack of its own.
///
/// # Errors
/// The stack refuses its set-up.
pub fn stack() -> Result<Box<dyn Machine>, Broken> {
    let Ok(net) = Ipv4Net::new(LOCAL, 16) else {
        return Err(Broken("a prefix that cannot be".to_owned()));
    };
    match StackMachine::new(StackConfig::new(net)) {
        Ok(machine) => Ok(Box::new(machine)),
        Err(error) => Err(Broken(error.to_string())),
    }
}

/// Asks both, and gives the cells that differ.
///
/// # Errors
/// A machine failed.
pub fn compare(cells: &[Cell]) -> Result<Vec<Difference>, Broken> {
    let ours = crowd::ask(&stack, cells, 1)?;
    let theirs = crowd::ask(&kernel, cells, KERNELS)?;
    let told = |answers: &[Observed]| {
        answers
            .iter()
            .any(|answer| answer.lines.iter().any(|line| line.starts_with(STATE)))
    };
    let states = told(&ours);
    let lines = |answer: &Observed| -> Vec<String> {
        let mut lines = answer.lines.clone();
        lines.retain(|line| states || !line.starts_with(STATE));
        lines
    };
    let mut open: Vec<Difference> = cells
        .iter()
        .zip(ours.iter().zip(&theirs))
        .map(|(cell, (stack, kernel))| Difference {
            cell: *cell,
            kernel: lines(kernel),
            stack: lines(stack),
        })
        .filter(|found| found.kernel != found.stack)
        .collect();
    for _ in 0..AGAIN {
        let cells: Vec<Cell> = open.iter().map(|found| found.cell).collect();
        let again = crowd::ask(&kernel, &cells, KERNELS)?;
        let mut again = again.iter().map(lines);
        open.retain(|found| again.next().is_none_or(|kernel| kernel != found.stack));
    }
    Ok(open)
}
