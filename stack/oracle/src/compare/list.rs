//! The reviewed list of differences: what it explains, and what it does not.

use serde::Deserialize;

use super::cell::Cell;
use super::judge::Difference;

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Its entries.
    #[serde(default)]
    pub difference: Vec<Entry>,
}

/// Cells that may differ, how, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    state: Option<String>,
    probe: Option<String>,
    seq: Option<String>,
    ack: Option<String>,
    ts: Option<String>,
    /// Part of the kernel's first line that differs.
    #[serde(default)]
    kernel: String,
    /// Part of the stack's.
    #[serde(default)]
    stack: String,
    /// Why the stack does not do as the kernel does.
    pub reason: String,
}

/// A list held against what was found.
#[derive(Debug)]
pub struct Verdict<'d> {
    /// Nothing explains these.
    pub unexplained: Vec<&'d Difference>,
    /// These entries explain nothing: their place in the list, counted from 1, and the reason.
    pub idle: Vec<(usize, String)>,
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// It is not TOML, has other fields, a name that no axis has, or an entry without a reason.
    pub fn read(text: &str) -> Result<Self, String> {
        let list: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (at, entry) in list.difference.iter().enumerate() {
            entry
                .check()
                .map_err(|wrong| format!("entry {}: {wrong}", at + 1))?;
        }
        Ok(list)
    }

    /// Holds the list against the differences.
    pub fn judge<'d>(&self, found: &'d [Difference]) -> Verdict<'d> {
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
    fn explains(&self, difference: &Difference) -> bool {
        let (kernel, stack) = difference.first();
        let Cell {
            state,
            probe,
            seq,
            ack,
            ts,
        } = difference.cell;
        names(&self.state, state.name())
            && names(&self.probe, probe.name())
            && names(&self.seq, seq.name())
            && names(&self.ack, ack.name())
            && names(&self.ts, ts.name())
            && kernel.contains(&self.kernel)
            && stack.contains(&self.stack)
    }

    fn check(&self) -> Result<(), String> {
        use super::cell::{AckNo, Probe, Seq, State, Ts};
        if self.reason.trim().is_empty() {
            return Err("no reason".to_owned());
        }
        known(&self.state, State::ALL.iter().map(|one| one.name()))?;
        known(&self.probe, Probe::ALL.iter().map(|one| one.name()))?;
        known(&self.seq, Seq::ALL.iter().map(|one| one.name()))?;
        known(&self.ack, AckNo::ALL.iter().map(|one| one.name()))?;
        known(&self.ts, Ts::ALL.iter().map(|one| one.name()))
    }
}

/// The field is absent or names this.
fn names(field: &Option<String>, name: &str) -> bool {
    field
        .as_ref()
        .is_none_or(|list| list.split('|').any(|one| one.trim() == name))
}

fn known<'a>(
    field: &Option<String>,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), String> {
    let mut listed = field.iter().flat_map(|list| list.split('|'));
    match listed.find(|one| !names.clone().any(|name| name == one.trim())) {
        None => Ok(()),
        Some(wrong) => Err(format!("no axis has the name {wrong:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cell;

    fn difference(state: &str) -> Difference {
        let cell = cell::all()
            .into_iter()
            .find(|cell| cell.state.name() == state)
            .expect("a cell");
        Difference {
            cell,
            kernel: vec!["same".into(), "answer: R".into()],
            stack: vec!["same".into()],
        }
    }

    #[test]
    fn what_is_listed_what_is_not_and_what_is_idle() {
        let text = "[[difference]]\nstate='LISTEN|CLOSED'\nkernel='R'\nreason='a'\n\
                    [[difference]]\nstate='LISTEN'\nkernel='S'\nreason='b'\n";
        let list = List::read(text).expect("a list");
        let found = [difference("LISTEN"), difference("TIME_WAIT")];
        let verdict = list.judge(&found);
        assert_eq!(verdict.unexplained.len(), 1);
        assert_eq!(verdict.unexplained[0].cell.state.name(), "TIME_WAIT");
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
            assert!(List::read(text).is_err(), "{text}");
        }
    }
}
