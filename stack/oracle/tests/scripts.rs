//! Every script of the lab, on the kernel: what the kernel refutes, Linux does not do. Needs root.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use millrace_lab::drill::{Checks, Delivery, RunConfig, Verdict, parse};
use millrace_oracle::run_script;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/scripts");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no scripts under {}", root.display());
    let trials = files
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(&root).unwrap_or(&file);
            let name = name.display().to_string();
            Trial::test(name, move || passes(&file)).with_ignored_flag(true)
        })
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

fn passes(file: &Path) -> Result<(), Failed> {
    let script = parse(&std::fs::read_to_string(file)?)?;
    let config = RunConfig::new(Delivery::OneByOne, Checks::Strict);
    match run_script(&script, config).verdict {
        Verdict::Pass => Ok(()),
        verdict => Err(format!("{}: {verdict}", file.display()).into()),
    }
}
