//! The settings under which the kernel and the stack are compared.
//!
//! Everything that the stack has a setting for is set to the stack's default, so that a difference is one of behaviour.
//! What the stack does not have is switched off in the kernel, as far as it can be, in [`PINNED`].

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use millrace_net::Sysctl;

/// Settings of the kernel that the stack has no counterpart for, or that would make runs differ from each other.
const PINNED: &[(&str, &str)] = &[
    // The stack has reno.
    ("net.ipv4.tcp_congestion_control", "reno"),
    // One connection must not teach the next.
    ("net.ipv4.tcp_no_metrics_save", "1"),
    // Only IPv4 is compared, and router solicitations are noise.
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    ("net.ipv4.tcp_ecn", "0"),
    ("net.ipv4.tcp_fastopen", "0"),
    ("net.ipv4.tcp_syncookies", "0"),
];

/// Where settings of one name live.
const FOLDERS: &[&str] = &["net.ipv4", "net.core", "net.ipv4.route"];

/// The profile: names with dots, and values. Which settings exist depends on the calling thread's namespace (some are
/// the whole machine's, and are left alone).
pub fn settings() -> Vec<(String, String)> {
    let stack = Sysctl::default();
    let mut list: Vec<(String, String)> = PINNED
        .iter()
        .filter(|(name, _)| exists(name))
        .filter(|(name, _)| stack.get(name).is_none())
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    for name in Sysctl::names() {
        let place = FOLDERS
            .iter()
            .map(|folder| format!("{folder}.{name}"))
            .find(|name| exists(name));
        if let (Some(place), Some(value)) = (place, stack.get(name)) {
            list.push((place, value));
        }
    }
    list
}

/// The namespace has the setting for itself; the whole machine's (`rmem_max`) can only be read here.
fn exists(name: &str) -> bool {
    Path::new("/proc/sys")
        .join(name.replace('.', "/"))
        .metadata()
        .is_ok_and(|file| file.permissions().mode() & 0o200 != 0)
}
