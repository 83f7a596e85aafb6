//! What a round trip may cost. The file is part of the repository; its figures only go down.

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
}

impl Budget {
    /// Reads the file's text.
    ///
    /// # Errors
    /// A sentence that names the line.
    pub fn parse(text: &str) -> Result<Budget, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    /// Judges what was measured: pairs of connections and instructions.
    ///
    /// # Errors
    /// One line for each figure that is too high, or that nobody measured.
    pub fn judge(&self, measured: &[(usize, f64)]) -> Result<(), String> {
        let mut complaints = Vec::new();
        for (connections, budget) in &self.instructions_per_round_trip {
            let found = measured
                .iter()
                .find(|(count, _)| count.to_string() == *connections);
            match found {
                None => complaints.push(format!(
                    "{connections} connections have a budget and were not measured"
                )),
                Some((_, cost)) if *cost > budget * (1.0 + SLACK) => complaints.push(format!(
                    "{connections} connections: {cost:.0} instructions per round trip, budget {budget:.0} and 5 %"
                )),
                Some(_) => {}
            }
        }
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
        Budget::parse("[instructions_per_round_trip]\n1 = 1000\n32 = 900\n").expect("a good budget")
    }

    #[test]
    fn within_five_percent_is_within() {
        assert_eq!(budget().judge(&[(1, 1_050.0), (32, 100.0)]), Ok(()));
    }

    #[test]
    fn above_it_every_figure_is_named() {
        let said = budget().judge(&[(1, 1_051.0), (32, 2_000.0)]).unwrap_err();
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("1051") && said.contains("32 connections"));
    }

    #[test]
    fn a_figure_that_nobody_measured_fails() {
        assert!(
            budget()
                .judge(&[(1, 1.0)])
                .unwrap_err()
                .contains("not measured")
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
