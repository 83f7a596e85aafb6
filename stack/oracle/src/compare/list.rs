//! The reviewed list of differences: what it explains, and what it does not.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::judge::Difference;
use super::question::Question;

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Its entries.
    #[serde(default)]
    pub difference: Vec<Entry>,
}

/// Questions whose answers may differ, how, and why.
#[derive(Debug, Deserialize)]
pub struct Entry {
    /// Part of the kernel's first line that differs.
    #[serde(default)]
    kernel: String,
    /// Part of the stack's.
    #[serde(default)]
    stack: String,
    /// Why the stack does not do as the kernel does.
    pub reason: String,
    /// Axes and places: one, several with "|", all when the axis is left out; a "*" at the end of a name stands for any
    /// rest.
    #[serde(flatten)]
    axes: BTreeMap<String, String>,
}

/// Most unexplained differences that a report shows.
const SHOWN: usize = 20;

/// A list held against what was found.
#[derive(Debug)]
pub struct Verdict<'d, Q> {
    /// Nothing explains these.
    pub unexplained: Vec<&'d Difference<Q>>,
    /// These entries explain nothing: their place in the list, counted from 1, and the reason.
    pub idle: Vec<(usize, String)>,
}

impl<Q> Verdict<'_, Q> {
    /// All differences are explained, and every entry explains some.
    pub fn is_clean(&self) -> bool {
        self.unexplained.is_empty() && self.idle.is_empty()
    }
}

/// The first unexplained differences, how many there are, and the entries that explain nothing.
impl<Q> fmt::Display for Verdict<'_, Q>
where
    Q: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unexplained, idle } = self;
        writeln!(
            f,
            "{} without a reason, at most {SHOWN} shown:",
            unexplained.len()
        )?;
        for difference in unexplained.iter().take(SHOWN) {
            writeln!(f, "{difference}")?;
        }
        for (at, reason) in idle {
            writeln!(f, "entry {at} matches nothing: {reason}")?;
        }
        Ok(())
    }
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// It is not TOML, has an axis or a place that no question has, or an entry without a reason.
    pub fn read<Q: Question>(text: &str) -> Result<Self, String> {
        let list: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (at, entry) in list.difference.iter().enumerate() {
            entry
                .check::<Q>()
                .map_err(|wrong| format!("entry {}: {wrong}", at + 1))?;
        }
        Ok(list)
    }

    /// Holds the list against the differences.
    pub fn judge<'d, Q: Question>(&self, found: &'d [Difference<Q>]) -> Verdict<'d, Q> {
        let mut uses = vec![0u32; self.difference.len()];
        let unexplained = found
            .iter()
            .filter(|difference| {
                let by = self
                    .difference
                    .iter()
                    .position(|entry| entry.explains(difference));
                if let Some(at) = by {
                    uses[at] += 1;
                }
                by.is_none()
            })
            .collect();
        let idle = uses
            .iter()
            .zip(&self.difference)
            .enumerate()
            .filter(|(_, (uses, _))| **uses == 0)
            .map(|(at, (_, entry))| (at + 1, entry.reason.clone()))
            .collect();
        Verdict { unexplained, idle }
    }
}

impl Entry {
    fn explains<Q: Question>(&self, difference: &Difference<Q>) -> bool {
        let (kernel, stack) = difference.first();
        difference.asked.axes().iter().all(|(axis, place)| {
            let listed = self.axes.get(*axis);
            listed.is_none_or(|list| places(list).any(|one| fits(one, place)))
        }) && kernel.contains(&self.kernel)
            && stack.contains(&self.stack)
    }

    fn check<Q: Question>(&self) -> Result<(), String> {
        if self.reason.trim().is_empty() {
            return Err("no reason".to_owned());
        }
        for (axis, list) in &self.axes {
            if let Some(wrong) =
                places(list).find(|place| !Q::axis(axis).iter().any(|one| fits(place, one)))
            {
                return Err(format!("{wrong:?} is no place on an axis {axis:?}"));
            }
        }
        Ok(())
    }
}

/// `pattern` is the name of the place, or begins it and ends with "*".
pub(super) fn fits(pattern: &str, place: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => place.starts_with(begin),
        None => place == pattern,
    }
}

fn places(list: &str) -> impl Iterator<Item = &str> {
    list.split('|').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cell::{self, Cell};

    fn difference(state: &str) -> Difference<Cell> {
        let asked = cell::all()
            .into_iter()
            .find(|cell| cell.state.name() == state)
            .expect("a cell");
        Difference {
            asked,
            kernel: vec!["same".into(), "answer: R".into()],
            stack: vec!["same".into()],
        }
    }

    #[test]
    fn what_is_listed_what_is_not_and_what_is_idle() {
        let text = "[[difference]]\nstate='LISTEN|CLOSED'\nkernel='R'\nreason='a'\n\
                    [[difference]]\nstate='LISTEN'\nkernel='S'\nreason='b'\n";
        let list = List::read::<Cell>(text).expect("a list");
        let found = [difference("LISTEN"), difference("TIME_WAIT")];
        let verdict = list.judge(&found);
        assert_eq!(verdict.unexplained.len(), 1);
        assert_eq!(verdict.unexplained[0].asked.state.name(), "TIME_WAIT");
        assert_eq!(verdict.idle, [(2, "b".to_owned())]);
    }

    #[test]
    fn lists_that_are_refused() {
        for text in [
            "[[difference]]\nreason=''",
            "[[difference]]\nstate='LISTENING'\nreason='a'",
            "[[difference]]\ncell='LISTEN'\nreason='a'",
            "[[difference]]\nstate='LISTEN'",
        ] {
            assert!(List::read::<Cell>(text).is_err(), "{text}");
        }
    }
}
