//! What every script of the lab counts, on the kernel and on the stack: `nstat` shows the same for the same exchange, but
//! for what `counters.toml` lists. Needs root. Scripts that take longer than 20 s are not run, as this is real time.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Failed, Trial};
use millrace_lab::drill::ast::Script;
use millrace_lab::drill::{Checks, Delivery, Ground, RunConfig, Verdict, parse, run_on};
use millrace_lab::machine::{Machine, StackConfig, StackMachine};
use millrace_oracle::compare::counts::{CounterList, Counts, Differs, differences};
use millrace_oracle::{ATTEMPTS, ScriptFile, in_real_time, kernel_on, scripts};

/// Scripts at once: nearly all of their time is waiting.
const AT_ONCE: usize = 24;

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(AT_ONCE);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(here.join("counters.toml")).expect("the list is there");
    let list = Arc::new(CounterList::read(&text).expect("counters.toml is a list"));
    let (files, _) = scripts(&here.join("../lab/scripts"));
    let count = files.len();
    let used = Arc::new(Mutex::new(BTreeSet::new()));
    let trials = files
        .into_iter()
        .map(|file| {
            let (list, used) = (list.clone(), used.clone());
            Trial::test(file.name.clone(), move || judge(&file, &list, &used))
                .with_ignored_flag(true)
        })
        .collect();
    let conclusion = libtest_mimic::run(&args, trials);
    let all_ran = conclusion.num_passed + conclusion.num_failed == count as u64;
    let used = used.lock().unwrap_or_else(|held| held.into_inner());
    let stale = list
        .entries()
        .into_iter()
        .filter(|entry| !used.contains(entry));
    // A part of the scripts says nothing about the list.
    let stale: Vec<String> = stale.filter(|_| all_ran).collect();
    for entry in &stale {
        eprintln!("counters.toml: \"{entry}\" explains no difference; take it out");
    }
    if stale.is_empty() {
        conclusion.exit_code()
    } else {
        ExitCode::FAILURE
    }
}

/// Both count the same, of what both count. What differs by chance, on a busy machine, does not differ each time.
fn judge(
    file: &ScriptFile,
    list: &CounterList,
    used: &Mutex<BTreeSet<String>>,
) -> Result<(), Failed> {
    let script = parse(&std::fs::read_to_string(&file.path)?)?;
    let ground = Ground::of(&script).map_err(|verdict| verdict.to_string())?;
    let mut params = StackConfig::new(ground.local);
    params.mtu = ground.mtu;
    let mut stack = StackMachine::new(params).map_err(|error| error.to_string())?;
    let config = RunConfig::new(Delivery::OneByOne, Checks::Strict);
    let Some(ours) = counted(&script, config, &mut stack) else {
        return Err("the stack does not do what the script says".into());
    };
    let mut text = String::new();
    for _ in 0..ATTEMPTS {
        let mut kernel = kernel_on(&ground)?;
        // What the kernel refutes is the business of `kernel_scripts`.
        let Some(theirs) = counted(&script, in_real_time(config), &mut kernel) else {
            continue;
        };
        let found = differences(&theirs, &ours);
        text = unexplained(&file.name, &found, list, used);
        if text.is_empty() {
            break;
        }
    }
    if text.is_empty() {
        Ok(())
    } else {
        Err(text.into())
    }
}

fn unexplained(
    script: &str,
    found: &[Differs],
    list: &CounterList,
    used: &Mutex<BTreeSet<String>>,
) -> String {
    let mut text = String::new();
    for one in found {
        if let Some(entry) = list.explains(script, &one.counter) {
            used.lock()
                .unwrap_or_else(|held| held.into_inner())
                .insert(entry);
            continue;
        }
        let ours = one
            .stack
            .map_or("does not keep it".to_owned(), |ours| ours.to_string());
        text += &format!("{}: kernel {}, stack {ours}\n", one.counter, one.kernel);
    }
    text
}

/// What a run adds to each counter; nothing when the script fails.
fn counted(script: &Script, config: RunConfig, machine: &mut dyn Machine) -> Option<Counts> {
    let before: Counts = machine
        .counters()
        .into_iter()
        .map(|(name, value)| (name, value as i64))
        .collect();
    let verdict = run_on(script, config, machine).verdict;
    if !matches!(verdict, Verdict::Pass) {
        return None;
    }
    let after = machine.counters().into_iter();
    Some(
        after
            .map(|(name, value)| {
                let old = before.get(&name).copied().unwrap_or(0);
                (name, value as i64 - old)
            })
            .collect(),
    )
}
