//! `/proc/net/snmp` and `netstat`: a line of names and a line of values for each group.

/// All counters by their `nstat` names: group and name run together. Values that are no counts (-1) are left out.
pub fn all(text: &str) -> Vec<(String, u64)> {
    let mut list = Vec::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((_, values))) =
            (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            if let Ok(value) = value.parse() {
                list.push((format!("{group}{name}"), value));
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn a_name_is_its_group_and_its_own() {
        let text = "Tcp: InSegs MaxConn\nTcp: 7 -1\nTcpExt: SyncookiesSent\nTcpExt: 3\n";
        let expected = [
            ("TcpInSegs".to_owned(), 7),
            ("TcpExtSyncookiesSent".to_owned(), 3),
        ];
        assert_eq!(all(text), expected);
    }
}
