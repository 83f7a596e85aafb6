//! Every script under `scripts/`, three times: as written, with consecutive injections in one batch, and in all its
//! mutants, none of which may pass.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use millrace_lab::drill::{Checks, Delivery, RunConfig, Verdict, mutants, parse, run, run_text};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(
        files.len() >= 14,
        "only {} scripts under {}",
        files.len(),
        root.display()
    );
    let trials = files
        .into_iter()
        .flat_map(|file| trials(&root, file))
        .collect();
    libtest_mimic::run(&args, trials).exit_code()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            files.push(path);
        }
    }
}

fn trials(root: &Path, file: PathBuf) -> [Trial; 3] {
    let name = file
        .strip_prefix(root)
        .unwrap_or(&file)
        .display()
        .to_string();
    let as_written = file.clone();
    let batched = file.clone();
    [
        Trial::test(format!("{name}::as_written"), move || {
            passes(&as_written, Delivery::OneByOne)
        }),
        Trial::test(format!("{name}::batched"), move || {
            passes(&batched, Delivery::Batched)
        }),
        Trial::test(format!("{name}::mutants"), move || all_mutants_fail(&file)),
    ]
}

fn passes(file: &Path, delivery: Delivery) -> Result<(), Failed> {
    let source = std::fs::read_to_string(file)?;
    match run_text(&source, RunConfig::new(delivery, Checks::Strict)) {
        Verdict::Pass => Ok(()),
        verdict => Err(format!("{}: {verdict}", file.display()).into()),
    }
}

/// A runner that passes a wrong script does not look; a script without mutants expects nothing.
fn all_mutants_fail(file: &Path) -> Result<(), Failed> {
    let script = parse(&std::fs::read_to_string(file)?)?;
    let mutants = mutants(&script);
    if mutants.is_empty() {
        return Err("nothing to get wrong".into());
    }
    let config = RunConfig::new(Delivery::OneByOne, Checks::Strict);
    let survivors: Vec<String> = mutants
        .iter()
        .filter(|mutant| !matches!(run(&mutant.script, config).verdict, Verdict::Fail(_)))
        .map(|mutant| format!("line {}: {}", mutant.line, mutant.what))
        .collect();
    if survivors.is_empty() {
        Ok(())
    } else {
        Err(format!("{}: {survivors:#?}", file.display()).into())
    }
}
