//! Scripts judged by the kernel.

use std::path::{Path, PathBuf};

use millrace_lab::drill::ast::Script;
use millrace_lab::drill::{Ground, Report, RunConfig, Verdict, parse, run_on};

use crate::{KernelMachine, Setup, SetupError};

/// How far times may be off on a machine that has other things to do, microseconds: two ticks of 4 ms and some.
const TOLERANCE: u64 = 12_000;

/// How late the script's own actions may be, microseconds.
const LATENESS: u64 = 150_000;

/// Runs of a script that fails: a busy machine is late now and then, but a wrong expectation is wrong each time.
pub const ATTEMPTS: u32 = 3;

/// Longest script that is run in real time, microseconds.
const LONGEST: u64 = 20_000_000;

/// The configuration with times as a kernel on a busy machine keeps them.
pub fn in_real_time(config: RunConfig) -> RunConfig {
    RunConfig {
        min_tolerance: config.min_tolerance.max(TOLERANCE),
        lateness: Some(LATENESS),
        ..config
    }
}

/// A kernel on the ground that a script needs.
///
/// # Errors
/// See [`SetupError`].
pub fn kernel_on(ground: &Ground) -> Result<KernelMachine, SetupError> {
    KernelMachine::new(&Setup {
        local: ground.local.addr(),
        prefix: ground.local.prefix_len(),
        mtu: ground.mtu,
        sysctls: Vec::new(),
    })
}

/// Runs a script on a kernel of its own, in real time, with tolerances widened as a busy machine needs them.
pub fn run_script(script: &Script, config: RunConfig) -> Report {
    let config = in_real_time(config);
    let mut report = run_once(script, config);
    for _ in 1..ATTEMPTS {
        if matches!(report.verdict, Verdict::Pass | Verdict::Unsupported { .. }) {
            break;
        }
        report = run_once(script, config);
    }
    report
}

fn run_once(script: &Script, config: RunConfig) -> Report {
    let ground = match Ground::of(script) {
        Ok(ground) => ground,
        Err(verdict) => return Report::from(verdict),
    };
    match kernel_on(&ground) {
        Ok(mut machine) => run_on(script, config, &mut machine),
        Err(error) => Report::from(Verdict::Broken {
            line: 1,
            why: error.to_string(),
        }),
    }
}
/// A script of the lab.
#[derive(Debug, Clone)]
pub struct ScriptFile {
    /// Its path below the folder of scripts.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// How long it takes, microseconds.
    pub takes: u64,
}

/// All scripts below a folder, in order, those first that [`LONGEST`] allows in real time, and the others.
///
/// # Panics
/// The folder has no scripts, or cannot be read.
pub fn scripts(root: &Path) -> (Vec<ScriptFile>, Vec<ScriptFile>) {
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no scripts under {}", root.display());
    let file = |path: PathBuf| ScriptFile {
        name: path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string(),
        takes: takes(&path),
        path,
    };
    files
        .into_iter()
        .map(file)
        .partition(|file| file.takes <= LONGEST)
}

/// What is no script takes no time, and fails when it is run.
fn takes(file: &Path) -> u64 {
    std::fs::read_to_string(file)
        .ok()
        .and_then(|text| parse(&text).ok())
        .map_or(0, |script| script.duration())
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
