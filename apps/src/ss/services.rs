//! Names of services: `/etc/services`.

use std::collections::HashMap;
use std::fs;

/// Ports and their names.
#[derive(Default)]
pub struct Services {
    names: HashMap<u16, String>,
    ports: HashMap<String, u16>,
}

impl Services {
    /// Those of this machine; none if it has no list.
    pub fn read() -> Self {
        Self::parse(&fs::read_to_string("/etc/services").unwrap_or_default())
    }

    /// Those of a list: `name port/protocol aliases…`, with comments behind `#`.
    pub fn parse(list: &str) -> Self {
        let mut services = Self::default();
        for line in list.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(place)) = (words.next(), words.next()) else {
                continue;
            };
            let Some(port) = place
                .strip_suffix("/tcp")
                .and_then(|port| port.parse().ok())
            else {
                continue;
            };
            services
                .names
                .entry(port)
                .or_insert_with(|| name.to_owned());
            for name in core::iter::once(name).chain(words) {
                services.ports.entry(name.to_owned()).or_insert(port);
            }
        }
        services
    }

    /// The name of a port.
    pub fn name(&self, port: u16) -> Option<&str> {
        self.names.get(&port).map(String::as_str)
    }

    /// The port with a name.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.ports.get(name).copied()
    }
}
