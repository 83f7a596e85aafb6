//! Scripts judged by the kernel.

use millrace_lab::drill::ast::Script;
use millrace_lab::drill::{Ground, Report, RunConfig, Verdict, run_on};

use crate::{KernelMachine, Setup};

/// How far times may be off on a machine that has other things to do, microseconds: two ticks of 4 ms and some.
const TOLERANCE: u64 = 12_000;

/// How late the script's own actions may be, microseconds.
const LATENESS: u64 = 150_000;

/// Runs of a script that fails: a busy machine is late now and then, but a wrong expectation is wrong each time.
const ATTEMPTS: u32 = 3;

/// Runs a script on a kernel of its own, in real time, with tolerances widened as a busy machine needs them.
pub fn run_script(script: &Script, config: RunConfig) -> Report {
    let config = RunConfig {
        min_tolerance: config.min_tolerance.max(TOLERANCE),
        lateness: Some(LATENESS),
        ..config
    };
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
    let setup = Setup {
        local: ground.local.addr(),
        prefix: ground.local.prefix_len(),
        mtu: ground.mtu,
        sysctls: Vec::new(),
    };
    match KernelMachine::new(&setup) {
        Ok(mut machine) => run_on(script, config, &mut machine),
        Err(error) => Report::from(Verdict::Broken {
            line: 1,
            why: error.to_string(),
        }),
    }
}
