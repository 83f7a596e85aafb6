//! The stack's answers held against the kernel's.

use std::fmt;

use ipnet::Ipv4Net;
use millrace_lab::machine::{Broken, Machine, StackConfig, StackMachine};

use super::crowd;
use super::packet::LOCAL;
use super::question::Question;
use crate::{KernelMachine, Setup};

/// Machines at once.
const KERNELS: usize = 12;

/// How often the kernel is asked again where the stack differs: what it answers only sometimes is no difference.
const AGAIN: u32 = 2;

/// A question whose answers differ.
#[derive(Debug, Clone)]
pub struct Difference<Q> {
    /// What was asked.
    pub asked: Q,
    /// What the kernel did.
    pub kernel: Vec<String>,
    /// What the stack did.
    pub stack: Vec<String>,
}

impl<Q> Difference<Q> {
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

impl<Q: fmt::Display> fmt::Display for Difference<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.asked)?;
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

/// Asks both, and gives the questions whose answers differ.
///
/// # Errors
/// A machine failed.
pub fn compare<Q: Question>(questions: &[Q]) -> Result<Vec<Difference<Q>>, Broken> {
    let ours = crowd::ask(&stack, questions, 1)?;
    let theirs = crowd::ask(&kernel, questions, KERNELS)?;
    let mut open: Vec<Difference<Q>> = questions
        .iter()
        .zip(ours.into_iter().zip(theirs))
        .map(|(asked, (stack, kernel))| Difference {
            asked: *asked,
            kernel: kernel.lines,
            stack: stack.lines,
        })
        .filter(|found| found.kernel != found.stack)
        .collect();
    for _ in 0..AGAIN {
        let asked: Vec<Q> = open.iter().map(|found| found.asked).collect();
        let mut again = crowd::ask(&kernel, &asked, KERNELS)?.into_iter();
        open.retain(|found| {
            again
                .next()
                .is_none_or(|kernel| kernel.lines != found.stack)
        });
    }
    Ok(open)
}
