//! `nstat` and the `grep` behind it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Done, Outcome, Unsuccessful};
use crate::machine::Machine;

/// What `nstat` has shown already: it prints what has come since.
#[derive(Debug, Default)]
pub(super) struct History {
    seen: BTreeMap<String, u64>,
}

impl History {
    /// `nstat [-n] [-a] [-z] [-s] [-r] [NAME…]`.
    pub(super) fn show<M: Machine + ?Sized>(
        &mut self,
        machine: &mut M,
        args: &[&str],
    ) -> Done<Outcome> {
        let mut flags = String::new();
        let mut wanted = Vec::new();
        for arg in args {
            match arg.strip_prefix('-') {
                Some(letters) if letters.chars().all(|c| "nazsr".contains(c)) => {
                    flags.push_str(letters);
                }
                Some(_) => return Err(Unsuccessful::unsupported(format!("`nstat {arg}`"))),
                None => wanted.push(*arg),
            }
        }
        let has = |flag: char| flags.contains(flag);
        let counters = machine.counters();
        if counters.is_empty() {
            return Err(Unsuccessful::unsupported("`nstat`: there are no counters"));
        }
        let mut output = String::from("#kernel\n");
        for (name, now) in counters {
            let before = self.seen.get(&name).copied().unwrap_or(0);
            let shown = if has('a') || has('r') {
                now
            } else {
                now.saturating_sub(before)
            };
            let asked = wanted.is_empty() || wanted.iter().any(|pattern| matches(pattern, &name));
            if asked && (shown > 0 || has('z')) {
                // Writing to a string cannot fail.
                let _ = writeln!(output, "{name:<32}{shown:<16}0.0");
            }
            if !has('s') {
                self.seen.insert(name, now);
            }
        }
        Ok(match has('n') {
            true => Outcome::status(0),
            false => Outcome { status: 0, output },
        })
    }
}

/// A name with `*` for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| matches(after, rest)))
        }),
    }
}

/// `grep [-q] [-v] [-i…] PATTERN`: plain words, with `^` and `$` at the ends.
pub(super) fn grep(args: &[&str], input: &str) -> Done<Outcome> {
    let (flags, patterns): (Vec<&str>, Vec<&str>) =
        args.iter().partition(|arg| arg.starts_with('-'));
    let unknown = || Unsuccessful::unsupported(format!("`grep {}`", args.join(" ")));
    let known = flags
        .iter()
        .all(|flag| matches!(*flag, "-q" | "-v" | "-qv" | "-vq" | "-F" | "-w"));
    let [pattern] = patterns.as_slice() else {
        return Err(unknown());
    };
    let text = pattern.strip_prefix('^').unwrap_or(pattern);
    let text = text.strip_suffix('$').unwrap_or(text);
    if !known || text.contains(['*', '[', ']', '\\', '^', '$']) {
        return Err(unknown());
    }
    let has = |flag: char| flags.iter().any(|flags| flags.contains(flag));
    let found = |line: &&str| {
        let at_start = !pattern.starts_with('^') || line.starts_with(text);
        let at_end = !pattern.ends_with('$') || line.ends_with(text);
        let as_words = !has('w') || line.split_whitespace().any(|word| word == text);
        line.contains(text) && at_start && at_end && as_words
    };
    let lines: Vec<&str> = input
        .lines()
        .filter(|line| found(line) != has('v'))
        .collect();
    let output = match has('q') {
        true => String::new(),
        false => lines.iter().map(|line| format!("{line}\n")).collect(),
    };
    Ok(Outcome {
        status: i32::from(lines.is_empty()),
        output,
    })
}
