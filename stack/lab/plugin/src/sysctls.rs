//! The stack's settings follow the files of `/proc/sys/net`, which the commands of scripts write.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use millrace_lab::machine::{Broken, Machine};
use millrace_net::Sysctl;

/// Settings live in two folders.
const FOLDERS: [&str; 2] = ["ipv4", "core"];

/// What was read last.
pub(crate) struct Sysctls {
    root: PathBuf,
    seen: BTreeMap<&'static str, String>,
    /// Values that the stack does not take, which are told once.
    refused: BTreeMap<&'static str, String>,
}

impl Sysctls {
    /// `root` has the folders `ipv4` and `core`.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            seen: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Sets what has changed since the last time. What the stack refuses is said on standard error and tried again,
    /// since settings can depend on each other.
    pub(crate) fn refresh(&mut self, machine: &mut impl Machine) {
        for name in Sysctl::names().iter().copied() {
            let Some(value) = self.read(name) else {
                continue;
            };
            if self.seen.get(name) == Some(&value) {
                continue;
            }
            match machine.set_sysctl(name, &value) {
                Ok(()) => {
                    self.seen.insert(name, value);
                }
                Err(Broken(why)) => {
                    if self.refused.get(name) != Some(&value) {
                        eprintln!("millrace drill plug-in: {why}");
                        self.refused.insert(name, value);
                    }
                }
            }
        }
    }

    fn read(&self, name: &str) -> Option<String> {
        let paths = FOLDERS.map(|folder| self.root.join(folder).join(name));
        let text = paths
            .iter()
            .find_map(|path| fs::read_to_string(path).ok())?;
        Some(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use millrace_lab::machine::{StackConfig, StackMachine};

    use super::*;

    #[test]
    fn settings_follow_the_files() {
        let root = std::env::temp_dir().join(format!("millrace-sysctls-{}", std::process::id()));
        fs::create_dir_all(root.join("ipv4")).unwrap();
        let write = |value: &str| fs::write(root.join("ipv4/tcp_sack"), value).unwrap();
        let net = "192.168.0.1/16".parse().unwrap();
        let mut machine = StackMachine::new(StackConfig::new(net)).unwrap();
        let mut sysctls = Sysctls::new(root.clone());
        let mut after = |value: &str| {
            write(value);
            sysctls.refresh(&mut machine);
            machine.stack().sysctl().get("tcp_sack").unwrap()
        };
        assert_eq!(after("0\n"), "0");
        assert_eq!(after("1\n"), "1");
        // What is refused leaves the setting as it is.
        assert_eq!(after("seven\n"), "1");
        assert_eq!(after("0\n"), "0");
        fs::remove_dir_all(root).unwrap();
    }
}
