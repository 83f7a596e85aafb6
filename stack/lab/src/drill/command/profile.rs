//! The settings that scripts take for granted (`defaults.sh`), so that a verdict does not depend on a host.

use super::{Done, Outcome};
use crate::machine::{LinkChange, Machine, Qdisc};

/// Known values of what scripts depend on: Linux's own defaults but for buffer sizes, retries, pacing and Fast Open.
const SETTINGS: [(&str, &str); 24] = [
    ("net.ipv4.tcp_rmem", "4096 540000 15728640"),
    ("net.ipv4.tcp_wmem", "4096 262144 4194304"),
    ("net.ipv4.tcp_timestamps", "1"),
    ("net.ipv4.tcp_syn_retries", "5"),
    ("net.ipv4.tcp_synack_retries", "5"),
    ("net.ipv4.tcp_frto", "2"),
    ("net.ipv4.tcp_sack", "1"),
    ("net.ipv4.tcp_dsack", "1"),
    ("net.ipv4.tcp_reordering", "3"),
    ("net.ipv4.tcp_congestion_control", "cubic"),
    ("net.ipv4.tcp_slow_start_after_idle", "0"),
    ("net.ipv4.tcp_early_retrans", "3"),
    ("net.ipv4.tcp_recovery", "1"),
    ("net.ipv4.tcp_tso_win_divisor", "3"),
    ("net.ipv4.tcp_min_tso_segs", "4"),
    ("net.ipv4.tcp_ecn", "0"),
    ("net.ipv4.tcp_pacing_ss_ratio", "200"),
    ("net.ipv4.tcp_pacing_ca_ratio", "120"),
    ("net.ipv4.tcp_notsent_lowat", "4294967295"),
    ("net.ipv4.tcp_fastopen", "0x70403"),
    (
        "net.ipv4.tcp_fastopen_key",
        "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4",
    ),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv4.tcp_no_metrics_save", "1"),
    ("net.ipv4.tcp_invalid_ratelimit", "500"),
];

/// Sets the profile. As with the shell script, what a machine does not have does not stop it: the settings that decide
/// a script it sets itself.
pub(super) fn apply<M: Machine + ?Sized>(machine: &mut M) -> Done<Outcome> {
    for (name, value) in SETTINGS {
        let _ = machine.set_sysctl(name, value);
    }
    let _ = machine.change_link(&LinkChange::FlushTcpMetrics);
    machine.change_link(&LinkChange::Qdisc(Qdisc::Pfifo(None)))?;
    Ok(Outcome::status(0))
}

/// Whether a command line names a script that comes with the language.
pub(super) fn names_one(text: &str) -> bool {
    ["defaults.sh", "set_sysctls.py", "sysctl_restore_"]
        .iter()
        .any(|name| text.contains(name))
}

/// `sysctl_restore_PID.sh`, which `set_sysctls.py` writes.
pub(super) fn is_restore(script: &str) -> bool {
    script.starts_with("sysctl_restore_") && script.ends_with(".sh")
}
