//! What stands in `--so_flags`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

/// What the tool's user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Injected super-segments are cut into trains of this payload size, octets.
    pub mss: Option<usize>,
    /// The stack's address and network.
    pub local: Ipv4Net,
    /// MTU of the interface, octets.
    pub mtu: u16,
    /// Where the settings are read from again and again (`/proc/sys/net/ipv4` of the tool's namespace).
    pub sysctl_dir: Option<PathBuf>,
    /// Settings at the start, with their full names.
    pub sysctls: Vec<(String, String)>,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            mss: None,
            local: Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 1), 16),
            mtu: 1500,
            sysctl_dir: None,
            sysctls: Vec::new(),
        }
    }
}

/// What is wrong with the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    #[error(
        "flag `{0}` is not known; there are mss=N, mtu=N, local_ip=A[/N], sysctl_dir=PATH and net.ipv4.NAME=VALUE"
    )]
    Unknown(String),
    #[error("flag `{0}`: the value `{1}` is not valid")]
    Value(String, String),
}

impl Flags {
    /// Reads `name=value,name=value…`. A piece without `=` belongs to the value before it: some have commas.
    ///
    /// # Errors
    /// The first flag that is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, FlagError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for piece in text.split(',').filter(|piece| !piece.trim().is_empty()) {
            match (piece.split_once('='), pairs.last_mut()) {
                (Some((name, value)), _) => {
                    pairs.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                (None, Some((_, value))) => {
                    value.push(',');
                    value.push_str(piece.trim());
                }
                (None, None) => return Err(FlagError::Unknown(piece.to_owned())),
            }
        }
        let mut flags = Self::default();
        for (name, value) in pairs {
            flags.apply(name, value)?;
        }
        Ok(flags)
    }

    fn apply(&mut self, name: String, value: String) -> Result<(), FlagError> {
        let wrong = || FlagError::Value(name.clone(), value.clone());
        match name.as_str() {
            "mss" => {
                let mss: u16 = value.parse().map_err(|_| wrong())?;
                self.mss = Some(usize::from(mss)).filter(|mss| *mss > 0);
            }
            "mtu" => self.mtu = value.parse().map_err(|_| wrong())?,
            "local_ip" => {
                let written = if value.contains('/') {
                    value.parse().ok()
                } else {
                    let addr = value.parse().ok();
                    addr.and_then(|addr| Ipv4Net::new(addr, 16).ok())
                };
                self.local = written.ok_or_else(wrong)?;
            }
            "sysctl_dir" => self.sysctl_dir = Some(PathBuf::from(value)),
            sysctl if sysctl.starts_with("net.ipv4.") => self.sysctls.push((name, value)),
            _ => return Err(FlagError::Unknown(name)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_flags() {
        let text =
            "mss=1000,mtu=9000,local_ip=10.0.0.1/8,sysctl_dir=/x,net.ipv4.tcp_fastopen_key=a-b,c-d";
        let wanted = Flags {
            mss: Some(1000),
            local: "10.0.0.1/8".parse().unwrap(),
            mtu: 9000,
            sysctl_dir: Some(PathBuf::from("/x")),
            sysctls: vec![("net.ipv4.tcp_fastopen_key".to_owned(), "a-b,c-d".to_owned())],
        };
        assert_eq!(Flags::parse(text), Ok(wanted));
        assert_eq!(Flags::parse(""), Ok(Flags::default()));
        assert_eq!(Flags::parse("mss=0").unwrap().mss, None);
    }

    #[test]
    fn mistakes_are_told() {
        let value = |name: &str, value: &str| FlagError::Value(name.to_owned(), value.to_owned());
        assert_eq!(Flags::parse("mss=x"), Err(value("mss", "x")));
        assert_eq!(Flags::parse("local_ip=1.2"), Err(value("local_ip", "1.2")));
        assert_eq!(
            Flags::parse("mss"),
            Err(FlagError::Unknown("mss".to_owned()))
        );
        assert_eq!(Flags::parse("a=1"), Err(FlagError::Unknown("a".to_owned())));
    }
}
