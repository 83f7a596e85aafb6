//! Shell commands that a script runs, as far as they mean something to a stack in a process: `sysctl`.

use millrace_net::SysctlError;

use super::verdict::Stop;

/// Carries out a command with `set`, which changes one setting. Several may be joined by `;`, `&&` or
/// line ends; names may be written with dots or slashes.
pub(super) fn apply(
    line: u32,
    text: &str,
    set: &mut dyn FnMut(&str, &str) -> Result<(), SysctlError>,
) -> Result<(), Stop> {
    let unsupported = || Stop::unsupported(line, format!("`{text}`"));
    for command in text
        .split([';', '\n'])
        .flat_map(|part| part.split("&&"))
        .map(str::trim)
    {
        if command.is_empty() || command == "true" {
            continue;
        }
        let assignments = command.strip_prefix("sysctl ").ok_or_else(unsupported)?;
        for (name, value) in split_assignments(assignments).ok_or_else(unsupported)? {
            set(&name, &value).map_err(|_| unsupported())?;
        }
    }
    Ok(())
}

/// `-q -w a.b=1 c/d="1 2"` → name and value pairs, names with dots.
fn split_assignments(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(flag) = ["-q", "-w", "-e"]
            .iter()
            .find_map(|flag| rest.strip_prefix(flag))
        {
            rest = flag.trim_start();
            continue;
        }
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix(['"', '\'']) {
            Some(quoted) => quoted.split_once(['"', '\''])?,
            None => behind
                .split_once(char::is_whitespace)
                .unwrap_or((behind, "")),
        };
        if name.contains(char::is_whitespace) {
            return None;
        }
        pairs.push((name.replace('/', "."), value.trim().to_owned()));
        rest = behind.trim_start();
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_net::Sysctl;

    #[test]
    fn assignments_in_all_spellings() {
        let pairs = split_assignments(
            "-q net.ipv4.tcp_sack=0 net/ipv4/tcp_rmem=\"4096 8192 16384\" -w a=b",
        )
        .unwrap();
        let expected = [
            ("net.ipv4.tcp_sack", "0"),
            ("net.ipv4.tcp_rmem", "4096 8192 16384"),
            ("a", "b"),
        ];
        assert!(
            pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .eq(expected)
        );
        assert_eq!(split_assignments("net.ipv4.tcp_sack"), None);
    }

    #[test]
    fn other_commands_are_refused() {
        let mut sysctl = Sysctl::default();
        let mut set = |name: &str, value: &str| sysctl.set(name, value);
        assert!(apply(3, "sysctl -q net.ipv4.tcp_sack=0; true", &mut set).is_ok());
        let stop = apply(3, "ip route flush cache", &mut set).unwrap_err();
        assert_eq!(stop, Stop::unsupported(3, "`ip route flush cache`"));
        assert_eq!(sysctl.get("net.ipv4.tcp_sack").as_deref(), Some("0"));
    }
}
