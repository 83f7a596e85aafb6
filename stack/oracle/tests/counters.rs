//! What every script of the lab counts, on the kernel and on the stack: `nstat` shows the same for the same exchange.
//! Needs root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use millrace_lab::drill::ast::Script;
use millrace_lab::drill::{Checks, Delivery, Ground, RunConfig, Verdict, parse, run_on};
use millrace_lab::machine::{Machine, StackConfig, StackMachine};
use millrace_oracle::{KernelMachine, Setup};

/// Runs on a kernel whose clock a busy machine may delay.
const ATTEMPTS: u32 = 3;
const TOLERANCE: u64 = 12_000;
const LATENESS: u64 = 150_000;

/// Counters that do not compare, and why.
const UNLIKE: &[(&str, &str)] = &[
    (
        "IcmpMsgInType",
        "not kept: the types have counters of their own",
    ),
    (
        "IcmpMsgOutType",
        "not kept: the types have counters of their own",
    ),
    ("IpOutTransmits", "not kept"),
    ("IpExtInOctets", "not kept"),
    ("IpExtOutOctets", "not kept"),
    ("IpOutRequests", "the kernel counts a GSO train once"),
    (
        "TcpExtTCPHPHits",
        "the kernel's fast path needs memory that was charged before",
    ),
    (
        "TcpExtTCPHPAcks",
        "as TCPHPHits: what the first data was decides",
    ),
    (
        "TcpExtTCPRcvCoalesce",
        "counts buffers of the kernel, which the ring does not have",
    ),
    (
        "TcpExtTCPSackShift",
        "counts buffers of the kernel, which the scoreboard does not have",
    ),
    ("TcpExtTCPSackMerged", "likewise"),
    ("TcpExtTcpTimeoutRehash", "paths are not re-hashed"),
];

/// What the stack does not count as the kernel does yet, by script.
const REFUTED: &[(&str, &str)] = &[
    ("fastopen/client_deferred.pkt", "TcpExtTCPSlowStartRetrans"),
    ("fastopen/server_data.pkt", "TcpExtTCPDelivered"),
    ("icmp/frag_needed.pkt", "TcpExtTCPSlowStartRetrans"),
    ("loss/tail_loss_probe.pkt", "TcpExtTCPDSACKIgnoredNoUndo"),
    ("loss/tail_loss_probe.pkt", "TcpExtTCPDSACKRecvSegs"),
    ("loss/tail_loss_probe.pkt", "TcpExtTCPDelivered"),
];

type Counts = BTreeMap<String, i64>;

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
            Trial::test(name.clone(), move || judge(&file, &name)).with_ignored_flag(true)
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

/// Both count the same, of what both count.
fn judge(file: &Path, name: &str) -> Result<(), Failed> {
    let script = parse(&std::fs::read_to_string(file)?)?;
    let ground = Ground::of(&script).map_err(|verdict| verdict.to_string())?;
    let mut params = StackConfig::new(ground.local);
    params.mtu = ground.mtu;
    let mut stack = StackMachine::new(params).map_err(|error| error.to_string())?;
    let config = RunConfig::new(Delivery::OneByOne, Checks::Strict);
    let Some(ours) = counted(&script, config, &mut stack) else {
        // What this script says is not what the stack does: `tests/scripts.rs` tells.
        return Ok(());
    };
    for _ in 0..ATTEMPTS {
        let setup = Setup {
            local: ground.local.addr(),
            prefix: ground.local.prefix_len(),
            mtu: ground.mtu,
            sysctls: Vec::new(),
        };
        let mut kernel = KernelMachine::new(&setup)?;
        let config = RunConfig {
            min_tolerance: TOLERANCE,
            lateness: Some(LATENESS),
            ..config
        };
        if let Some(theirs) = counted(&script, config, &mut kernel) {
            return compare(&theirs, &ours, name);
        }
    }
    Ok(())
}

/// What a run adds to each counter; nothing when the script fails.
fn counted(script: &Script, config: RunConfig, machine: &mut dyn Machine) -> Option<Counts> {
    let before: BTreeMap<_, _> = machine.counters().into_iter().collect();
    let verdict = run_on(script, config, machine).verdict;
    if !matches!(verdict, Verdict::Pass) {
        return None;
    }
    let after = machine.counters().into_iter();
    Some(
        after
            .map(|(name, value)| {
                let old = before.get(&name).copied().unwrap_or(0);
                (name, value as i64 - old as i64)
            })
            .collect(),
    )
}

fn compare(kernel: &Counts, stack: &Counts, script: &str) -> Result<(), Failed> {
    let mut text = String::new();
    for (name, theirs) in kernel {
        if UNLIKE.iter().any(|(unlike, _)| name.starts_with(unlike)) {
            continue;
        }
        let ours = stack.get(name).copied();
        let agree = ours.unwrap_or(0) == *theirs;
        let refuted = REFUTED.contains(&(script, name.as_str()));
        if agree == refuted {
            let ours = ours.map_or("does not keep it".to_owned(), |ours| ours.to_string());
            let listed = if refuted { ", but is listed" } else { "" };
            text += &format!("{name}: kernel {theirs}, stack {ours}{listed}\n");
        }
    }
    if text.is_empty() {
        Ok(())
    } else {
        Err(text.into())
    }
}
