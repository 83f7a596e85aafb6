//! The constants that scripts name, with their Linux values (x86-64).

mod calls;
mod errno;
mod options;

use super::ast::Expr;

const TABLES: [&[(&str, i64)]; 7] = [
    calls::FAMILIES,
    calls::FILES,
    calls::MESSAGES,
    calls::EVENTS,
    options::SOCKET,
    options::TCP,
    errno::ERRNO,
];

/// The value of a name.
pub(super) fn constant(name: &str) -> Option<i64> {
    TABLES
        .iter()
        .flat_map(|table| table.iter())
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

/// An errno's name, or its number.
pub(super) fn errno_name(number: i32) -> String {
    errno::ERRNO
        .iter()
        .find(|(_, value)| *value == i64::from(number))
        .map_or_else(|| format!("errno {number}"), |(name, _)| (*name).to_owned())
}

/// Bits by their names, those that begin with `prefix` (`POLL`, `EPOLL`, `MSG_`).
pub(super) fn bit_names(prefix: &str, bits: u32) -> String {
    let mut left = bits;
    let mut names = Vec::new();
    for (name, value) in calls::EVENTS.iter().chain(calls::MESSAGES) {
        let value = *value as u32;
        let fits =
            name.starts_with(prefix) && !name.contains("_CTL_") && !name.ends_with("CLOEXEC");
        if fits && value != 0 && left & value == value {
            left &= !value;
            names.push((*name).to_owned());
        }
    }
    if left != 0 || names.is_empty() {
        names.push(format!("{left:#x}"));
    }
    names.join("|")
}

/// The number that an expression stands for.
pub(super) fn value(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Int(n) => Some(*n),
        Expr::Symbol(name) => constant(name),
        Expr::Or(terms) => terms
            .iter()
            .try_fold(0, |bits, term| Some(bits | value(term)?)),
        _ => None,
    }
}

/// The number in `[n]`, or a bare one.
pub(super) fn single(written: &Expr) -> Option<i64> {
    match written {
        Expr::List(items) if items.len() == 1 => value(&items[0]),
        other => value(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(constant("EPOLLET"), Some(0x8000_0000));
        assert_eq!(constant("SO_ZEROCOPY"), Some(60));
        assert_eq!(constant("TCP_FASTOPEN_CONNECT"), Some(30));
        assert_eq!(constant("MSG_FASTOPEN"), Some(0x2000_0000));
        assert_eq!(constant("SIOCOUTQNSD"), Some(0x894b));
        assert_eq!(constant("TCP_CA_Loss"), Some(4));
        assert_eq!(constant("EDOM"), Some(33));
        assert_eq!(constant("no_such_name"), None);
        assert_eq!(errno_name(11), "EAGAIN");
        assert_eq!(errno_name(95), "EOPNOTSUPP");
        assert_eq!(errno_name(4095), "errno 4095");
        assert_eq!(bit_names("POLL", 0x11), "POLLIN|POLLHUP");
        assert_eq!(bit_names("EPOLL", 0), "0x0");
        assert_eq!(bit_names("MSG_", 0x2000), "MSG_ERRQUEUE");
    }

    #[test]
    fn no_name_has_two_values() {
        let mut all: Vec<_> = TABLES.iter().flat_map(|table| table.iter()).collect();
        all.sort();
        all.dedup();
        for pair in all.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "{pair:?}");
        }
    }
}
