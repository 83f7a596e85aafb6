//! From a plan that fails to a smaller one that fails in the same way: what does not matter goes, piece by piece.

use super::plan::{Faults, Plan};
use super::{Report, run_plan};

/// A kind of simplification, applied to one place of the plan; `None` when there is nothing left to simplify.
type Step = fn(&Plan, usize) -> Option<Plan>;

/// From what removes most to what removes least.
const STEPS: &[Step] = &[
    without_attack,
    without_connection,
    without_faults,
    without_tampering,
    without_jump,
    without_settings,
    with_less_data,
];

/// Shrinks a failing plan until no step keeps the failure, or `runs` runs are used up. Returns the report of the
/// smallest plan found; `report` itself when it does not fail.
pub fn shrink(report: Report, mut runs: usize) -> Report {
    let mut best = report;
    let Err(violation) = &best.result else {
        return best;
    };
    let kind = kind_of(&violation.what);
    loop {
        let mut smaller = false;
        for step in STEPS {
            let mut place = 0;
            while let Some(plan) = step(&best.plan, place) {
                if runs == 0 {
                    return best;
                }
                runs -= 1;
                let tried = run_plan(plan);
                let same = tried
                    .result
                    .as_ref()
                    .is_err_and(|v| kind_of(&v.what) == kind);
                if same {
                    // The next candidate has moved to this place.
                    best = tried;
                    smaller = true;
                } else {
                    place += 1;
                }
            }
        }
        if !smaller {
            return best;
        }
    }
}

/// What went wrong, without the numbers and names of this run.
pub fn kind_of(what: &str) -> String {
    let sentence = what.rsplit_once(" in ").map_or(what, |(_, rest)| rest);
    sentence
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| word.len() > 2)
        .take(8)
        .collect::<Vec<_>>()
        .join(" ")
}

fn edited(plan: &Plan, edit: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = plan.clone();
    edit(&mut plan);
    plan
}

fn without_attack(plan: &Plan, place: usize) -> Option<Plan> {
    (place == 0 && plan.attack.is_some()).then(|| edited(plan, |plan| plan.attack = None))
}

fn without_connection(plan: &Plan, place: usize) -> Option<Plan> {
    (place < plan.connections.len() && plan.connections.len() > 1).then(|| {
        edited(plan, |plan| {
            plan.connections.remove(place);
        })
    })
}

/// The lanes that still have faults; their delay stays.
fn faulty(plan: &Plan, is_faulty: impl Fn(&Faults) -> bool, place: usize) -> Option<usize> {
    let mut lanes = (0..plan.lanes.len()).filter(|lane| is_faulty(&plan.lanes[*lane]));
    lanes.nth(place)
}

fn clean(faults: &Faults) -> Faults {
    Faults {
        delay: faults.delay,
        ..Faults::default()
    }
}

fn without_faults(plan: &Plan, place: usize) -> Option<Plan> {
    let lane = faulty(plan, |faults| *faults != clean(faults), place)?;
    Some(edited(plan, |plan| {
        plan.lanes[lane] = clean(&plan.lanes[lane])
    }))
}

fn without_tampering(plan: &Plan, place: usize) -> Option<Plan> {
    let lane = faulty(plan, |faults| faults.tampering != Default::default(), place)?;
    Some(edited(plan, |plan| {
        plan.lanes[lane].tampering = Default::default()
    }))
}

fn without_jump(plan: &Plan, place: usize) -> Option<Plan> {
    (place < plan.jumps.len()).then(|| {
        edited(plan, |plan| {
            plan.jumps.remove(place);
        })
    })
}

fn without_settings(plan: &Plan, place: usize) -> Option<Plan> {
    let mut set = (0..plan.nodes.len()).filter(|node| !plan.nodes[*node].sysctls.is_empty());
    let node = set.nth(place)?;
    Some(edited(plan, |plan| plan.nodes[node].sysctls.clear()))
}

fn with_less_data(plan: &Plan, place: usize) -> Option<Plan> {
    let ends = plan.connections.iter().flat_map(|c| &c.ends);
    let mut large = ends.enumerate().filter(|(_, end)| end.total > 1);
    let (end, _) = large.nth(place)?;
    Some(edited(plan, |plan| {
        plan.connections[end / 2].ends[end % 2].total /= 2;
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shrinks_to_what_causes_it() {
        // Forged bytes are the one fault that every run notices, if there are bytes.
        let report = (0..50)
            .map(|seed| {
                let mut plan = Plan::draw(seed);
                plan.lanes
                    .iter_mut()
                    .for_each(|lane| lane.forge_ppm = 1_000_000);
                run_plan(plan)
            })
            .find(|report| {
                let wrong = |v: &crate::sim::Violation| v.what.contains("wrong byte");
                report.plan.connections.len() > 3 && report.result.as_ref().is_err_and(wrong)
            })
            .expect("one seed of fifty notices");
        let small = shrink(report, 300);
        assert_eq!(small.plan.connections.len(), 1, "{small}");
        assert_eq!((&small.plan.attack, small.plan.jumps.len()), (&None, 0));
        let faulty = small.plan.lanes.iter().filter(|lane| **lane != clean(lane));
        assert_eq!(faulty.count(), 1, "{small}");
        assert!(small.result.is_err_and(|v| v.what.contains("wrong byte")));
    }

    #[test]
    fn a_kind_has_no_numbers() {
        let first = kind_of("node 0: Tcp#1.1 in ESTAB: cwnd is zero");
        assert_eq!(first, kind_of("node 3: Tcp#7.2 in ESTAB: cwnd is zero"));
        assert_ne!(first, kind_of("node 0: Tcp#1.1 in ESTAB: ssthresh is less"));
    }
}
