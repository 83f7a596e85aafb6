//! A set of ports as `/proc/sys` writes it (Linux `proc_do_large_bitmap`): `8080,9000-9100`.

use core::fmt;

/// Ports, as ranges in rising order that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet(Vec<(u16, u16)>);

impl PortSet {
    /// The port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= port);
        after > 0 && port <= self.0[after - 1].1
    }

    /// Reads a list; `None` if it is not one. Blanks may surround it, not stand in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Self::default());
        }
        let mut ranges = text
            .split(',')
            .map(|item| {
                let (first, last) = item.split_once('-').unwrap_or((item, item));
                let range = (first.parse().ok()?, last.parse().ok()?);
                (range.0 <= range.1).then_some(range)
            })
            .collect::<Option<Vec<(u16, u16)>>>()?;
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = u32::from(next.0) <= u32::from(kept.1) + 1;
            kept.1 = if joins { kept.1.max(next.1) } else { kept.1 };
            joins
        });
        Some(Self(ranges))
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux 6.18 makes of these; none is EINVAL.
    #[test]
    fn lists() {
        for (text, printed) in [
            ("50000-50001,50003", Some("50000-50001,50003")),
            ("", Some("")),
            ("5-3", None),
            ("70000", None),
            ("0", Some("0")),
            ("1,2,3-4,2-9", Some("1-9")),
            (" 8 , 9", None),
            ("9,8\n", Some("8-9")),
            ("65535", Some("65535")),
        ] {
            let read = PortSet::parse(text).map(|set| set.to_string());
            assert_eq!(read.as_deref(), printed, "{text:?}");
        }
    }

    #[test]
    fn members() {
        let set = PortSet::parse("10-12,20,65535").unwrap();
        let inside: Vec<u16> = (0..=u16::MAX).filter(|port| set.contains(*port)).collect();
        assert_eq!(inside, [10, 11, 12, 20, 65535]);
    }
}
