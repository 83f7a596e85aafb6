//! What both machines count in the same script, and the reviewed list of differences.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a script adds to each counter, by the counter's `nstat` name.
pub type Counts = BTreeMap<String, i64>;

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterList {
    /// Counters that compare in no script.
    #[serde(default)]
    unlike: Vec<Unlike>,
    /// Counters of single scripts.
    #[serde(default)]
    script: Vec<InScript>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unlike {
    /// How the names begin.
    counter: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InScript {
    script: String,
    counters: Vec<String>,
    reason: String,
}

/// A counter that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// Its name.
    pub counter: String,
    /// What the kernel counted.
    pub kernel: i64,
    /// What the stack counted; nothing if it does not keep the counter.
    pub stack: Option<i64>,
}

/// The counters that differ, of those that the kernel has.
pub fn differences(kernel: &Counts, stack: &Counts) -> Vec<Differs> {
    kernel
        .iter()
        .map(|(counter, theirs)| Differs {
            counter: counter.clone(),
            kernel: *theirs,
            stack: stack.get(counter).copied(),
        })
        .filter(|one| one.stack.unwrap_or(0) != one.kernel)
        .collect()
}

impl CounterList {
    /// Reads a list.
    ///
    /// # Errors
    /// It is not TOML, has other fields, or an entry without a reason.
    pub fn read(text: &str) -> Result<Self, String> {
        let list: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut reasons = list
            .unlike
            .iter()
            .map(|entry| (&entry.counter, &entry.reason))
            .chain(
                list.script
                    .iter()
                    .map(|entry| (&entry.script, &entry.reason)),
            );
        match reasons.find(|(_, reason)| reason.trim().is_empty()) {
            Some((name, _)) => Err(format!("{name}: no reason")),
            None => Ok(list),
        }
    }

    /// The entry that explains a difference, as it is printed.
    pub fn explains(&self, script: &str, counter: &str) -> Option<String> {
        let unlike = self
            .unlike
            .iter()
            .find(|entry| counter.starts_with(&entry.counter))
            .map(|entry| entry.counter.clone());
        unlike.or_else(|| {
            self.script
                .iter()
                .filter(|entry| entry.script == script)
                .any(|entry| entry.counters.iter().any(|one| one == counter))
                .then(|| format!("{script} {counter}"))
        })
    }

    /// All entries, as `explains` prints them.
    pub fn entries(&self) -> Vec<String> {
        let single = self.script.iter().flat_map(|entry| {
            let name = |counter| format!("{} {counter}", entry.script);
            entry.counters.iter().map(name)
        });
        let unlike = self.unlike.iter().map(|entry| entry.counter.clone());
        unlike.chain(single).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[unlike]]\ncounter='IpOut'\nreason='a'\n\
                        [[script]]\nscript='a.pkt'\ncounters=['X', 'Y']\nreason='b'\n";

    #[test]
    fn what_differs_is_what_the_kernel_has_and_the_stack_counts_otherwise() {
        let counts = |of: &[(&str, i64)]| -> Counts {
            of.iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect()
        };
        let kernel = counts(&[("A", 1), ("B", 2), ("C", 0), ("D", 1)]);
        let stack = counts(&[("A", 1), ("B", 3), ("E", 7)]);
        let found = differences(&kernel, &stack);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.counter.as_str(), one.kernel, one.stack))
            .collect();
        assert_eq!(found, [("B", 2, Some(3)), ("D", 1, None)]);
    }

    #[test]
    fn entries_explain_what_they_name() {
        let list = CounterList::read(TEXT).expect("a list");
        assert_eq!(list.entries(), ["IpOut", "a.pkt X", "a.pkt Y"]);
        assert_eq!(
            list.explains("b.pkt", "IpOutRequests").as_deref(),
            Some("IpOut")
        );
        assert_eq!(list.explains("a.pkt", "Y").as_deref(), Some("a.pkt Y"));
        assert_eq!(list.explains("b.pkt", "Y"), None);
    }

    #[test]
    fn lists_that_are_refused() {
        for text in [
            "[[unlike]]\ncounter='A'\nreason=' '",
            "[[unlike]]\ncounter='A'",
            "[[script]]\nscript='a'\ncounters='A'\nreason='b'",
            "[[other]]\nreason='b'",
        ] {
            assert!(CounterList::read(text).is_err(), "{text}");
        }
    }
}
