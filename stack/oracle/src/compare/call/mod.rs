//! Every state meets every socket call: what is returned, who is woken, which segments leave, and how the connection
//! goes on.

pub mod ask;
mod options;
pub mod place;
mod run;
mod show;

use std::fmt;

use millrace_lab::machine::{Broken, Machine};

use self::ask::Ask;
use self::place::Place;
use super::question::{Observed, Question};

/// In this place this is asked.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// The socket's state, and what it has behind it.
    pub place: Place,
    /// The call.
    pub ask: Ask,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.ask)
    }
}

impl Question for Made {
    fn axes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("place", self.place.name().to_owned()),
            ("ask", self.ask.to_string()),
        ]
    }

    fn axis(name: &str) -> Vec<String> {
        match name {
            "place" => Place::names(),
            "ask" => ask::all().iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    fn put(machine: &mut dyn Machine, all: &[Self], first: u16) -> Result<Vec<Observed>, Broken> {
        run::run(machine, all, first)
    }
}

/// All of them, in order.
pub fn all() -> Vec<Made> {
    let asks = ask::all();
    let in_place = |place: &Place| {
        let place = *place;
        asks.clone().into_iter().map(move |ask| Made { place, ask })
    };
    Place::ALL.iter().flat_map(in_place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_question_has_a_name_of_its_own() {
        let all = all();
        let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.len() > 5_000, "{}", all.len());
    }
}
