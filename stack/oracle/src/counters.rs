//! `/proc/net/snmp` and `netstat`: a line of names and a line of values for each group.

/// The counter with this `nstat` name: group and name run together.
pub fn find(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (group, names) = names.split_once(':')?;
        let (_, values) = values.split_once(':')?;
        let Some(rest) = name.strip_prefix(group) else {
            continue;
        };
        let found = names
            .split_whitespace()
            .zip(values.split_whitespace())
            .find(|(candidate, _)| *candidate == rest);
        if let Some((_, value)) = found {
            return value.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn groups_whose_names_begin_alike() {
        let text = "Tcp: InSegs MaxConn\nTcp: 7 -1\nTcpExt: SyncookiesSent InSegs\nTcpExt: 3 4\n";
        assert_eq!(find(text, "TcpInSegs"), Some(7));
        assert_eq!(find(text, "TcpExtInSegs"), Some(4));
        assert_eq!(find(text, "TcpExtSyncookiesSent"), Some(3));
        assert_eq!(find(text, "TcpMaxConn"), None);
        assert_eq!(find(text, "UdpInSegs"), None);
    }
}
