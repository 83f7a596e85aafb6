//! What the stack may cost. The file is part of the repository; its figures only go down.

use core::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Deserialize;

/// Share above a figure that is still forgiven: another processor's `memmove` counts differently.
const SLACK: f64 = 0.05;

/// `bench/budget.toml`.
#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Instructions of a 64 B round trip over the in-memory pair, both sides, by number of connections.
    pub instructions_per_round_trip: BTreeMap<String, f64>,
    /// Instructions for each full segment of a bulk transfer over the pair, both sides.
    pub instructions_per_bulk_segment: f64,
    /// Bytes that memcpy and its kin move for each byte of that transfer, both sides and both applications.
    pub bytes_copied_per_byte: f64,
    /// Bytes by which the process grows for each side of an idle connection.
    pub bytes_per_idle_connection: f64,
}

/// What was measured.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Costs {
    /// Connections, and instructions of a round trip.
    pub round_trips: Vec<(usize, f64)>,
    /// Instructions of a bulk segment.
    pub bulk_segment: f64,
    /// Bytes copied for a byte.
    pub copied: f64,
    /// Bytes of an idle connection.
    pub idle: f64,
}

impl Budget {
    /// Reads the file's text.
    ///
    /// # Errors
    /// A sentence that names the line.
    pub fn parse(text: &str) -> Result<Budget, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    /// Judges what was measured.
    ///
    /// # Errors
    /// One line for each figure that is too high, or that nobody measured.
    pub fn judge(&self, costs: &Costs) -> Result<(), String> {
        let mut complaints = Vec::new();
        let mut judge = |what: &str, cost: f64, budget: f64| {
            // A figure that is not above zero was not measured.
            if cost > budget * (1.0 + SLACK) || cost.partial_cmp(&0.0) != Some(Ordering::Greater) {
                complaints.push(format!("{what}: {cost:.2}, budget {budget:.2} and 5 %"));
            }
        };
        for (connections, budget) in &self.instructions_per_round_trip {
            let found = costs
                .round_trips
                .iter()
                .find(|(count, _)| count.to_string() == *connections);
            let what = format!("instructions per round trip on {connections} connections");
            judge(&what, found.map_or(f64::NAN, |(_, cost)| *cost), *budget);
        }
        judge(
            "instructions per bulk segment",
            costs.bulk_segment,
            self.instructions_per_bulk_segment,
        );
        judge(
            "bytes copied per byte",
            costs.copied,
            self.bytes_copied_per_byte,
        );
        judge(
            "bytes per idle connection",
            costs.idle,
            self.bytes_per_idle_connection,
        );
        if complaints.is_empty() {
            Ok(())
        } else {
            Err(complaints.join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        let text = "instructions_per_bulk_segment = 500\nbytes_copied_per_byte = 2.0\nbytes_per_idle_connection = 1000\n\
                    [instructions_per_round_trip]\n1 = 1000\n32 = 900\n";
        Budget::parse(text).expect("a good budget")
    }

    fn costs() -> Costs {
        Costs {
            round_trips: vec![(1, 1_050.0), (32, 100.0)],
            bulk_segment: 525.0,
            copied: 2.1,
            idle: 1_050.0,
        }
    }

    #[test]
    fn within_five_percent_is_within() {
        assert_eq!(budget().judge(&costs()), Ok(()));
    }

    #[test]
    fn above_it_every_figure_is_named() {
        let costs = Costs {
            round_trips: vec![(1, 1_051.0), (32, 2_000.0)],
            bulk_segment: 526.0,
            copied: 2.2,
            idle: 2_000.0,
        };
        let said = budget().judge(&costs).unwrap_err();
        assert_eq!(said.lines().count(), 5, "{said}");
        for part in [
            "1051",
            "32 connections",
            "bulk segment: 526",
            "2.20",
            "idle connection: 2000",
        ] {
            assert!(said.contains(part), "{part} not in {said}");
        }
    }

    #[test]
    fn a_figure_that_nobody_measured_fails() {
        let nothing = budget().judge(&Costs::default()).unwrap_err();
        assert_eq!(nothing.lines().count(), 5, "{nothing}");
        let one = Costs {
            copied: f64::NAN,
            ..costs()
        };
        assert!(
            budget()
                .judge(&one)
                .unwrap_err()
                .contains("bytes copied per byte: NaN")
        );
    }

    #[test]
    fn a_misspelt_table_is_refused() {
        assert!(Budget::parse("[instructions]\n1 = 1\n").is_err());
    }

    #[test]
    fn the_repository_has_a_good_one() {
        let budget = Budget::parse(include_str!("../budget.toml")).expect("bench/budget.toml");
        assert!(!budget.instructions_per_round_trip.is_empty());
    }
}
