//! What `cargo test` printed: which test of which binary ended how.

use std::collections::BTreeMap;

/// Results by `binary::test`.
#[derive(Debug, Default)]
pub struct Results {
    passed: BTreeMap<String, bool>,
}

impl Results {
    /// Reads a log: a line `Running … (…/deps/NAME-HASH)` names the binary, `test NAME ... ok` a result.
    pub fn add(&mut self, text: &str) {
        let mut binary = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("Running ") {
                binary = rest
                    .rsplit_once('/')
                    .and_then(|(_, file)| file.rsplit_once('-'))
                    .map_or_else(String::new, |(name, _)| name.to_owned());
            } else if let Some(rest) = line.strip_prefix("test ")
                && let Some((name, how)) = rest.rsplit_once(" ... ")
                && how != "ignored"
                && !how.starts_with("ignored,")
            {
                self.passed
                    .insert(format!("{binary}::{}", name.trim()), how == "ok");
            }
        }
    }

    /// Number of tests that ran.
    pub fn len(&self) -> usize {
        self.passed.len()
    }

    /// Whether `name`, or all tests below it, ran and passed; the error says what is wrong.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self, name: &str) -> Result<(), String> {
        let below = format!("{name}::");
        let mut found = false;
        for (test, passed) in self.passed.range(name.to_owned()..) {
            if !test.starts_with(name) {
                break;
            }
            if test != name && !test.starts_with(&below) {
                continue;
            }
            found = true;
            if !passed {
                return Err(format!("{test} failed"));
            }
        }
        if found {
            Ok(())
        } else {
            Err(format!("no test {name} ran"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
     Running unittests src/lib.rs (target/debug/deps/millrace_net-5dba34fa6ab35a5f)
test tcp::a ... ok
test tcp::ab ... FAILED
test tcp::slow ... ignored, needs root
     Running tests/scripts.rs (target/debug/deps/scripts-f436f27611399240)
test close/active.pkt::as_written ... ok
test close/active.pkt::batched    ... ok
";

    #[test]
    fn names_stand_for_themselves_and_for_what_is_below() {
        let mut results = Results::default();
        results.add(LOG);
        assert_eq!(results.len(), 4);
        assert_eq!(results.check("millrace_net::tcp::a"), Ok(()));
        assert_eq!(results.check("scripts::close/active.pkt"), Ok(()));
        assert!(results.check("millrace_net::tcp::ab").is_err());
        assert!(
            results.check("millrace_net::tcp").is_err(),
            "ab is below it"
        );
        assert!(results.check("millrace_net::tcp::slow").is_err());
        assert!(results.check("scripts::close/act").is_err());
    }
}
