//! `sysctl` and `set_sysctls.py`.

use super::{Done, Outcome, Unsuccessful};
use crate::machine::Machine;

/// `sysctl [-q] [-w] [-e] name=value…`, names with dots or slashes.
pub(super) fn sysctl<M: Machine + ?Sized>(machine: &mut M, args: &[&str]) -> Done<Outcome> {
    for arg in args {
        if matches!(*arg, "-q" | "-w" | "-e" | "-qw" | "-wq") {
            continue;
        }
        let (name, value) = arg
            .split_once('=')
            .ok_or_else(|| Unsuccessful::unsupported(format!("`sysctl {arg}`")))?;
        set(machine, name, value)?;
    }
    Ok(Outcome::status(0))
}

/// `set_sysctls.py /proc/sys/net/ipv4/name=value…`.
pub(super) fn set_sysctls<M: Machine + ?Sized>(machine: &mut M, args: &[&str]) -> Done<Outcome> {
    for arg in args {
        let (path, value) = arg
            .split_once('=')
            .ok_or_else(|| Unsuccessful::unsupported(format!("`set_sysctls.py {arg}`")))?;
        set(machine, path.trim_start_matches("/proc/sys/"), value)?;
    }
    Ok(Outcome::status(0))
}

fn set<M: Machine + ?Sized>(machine: &mut M, name: &str, value: &str) -> Done<()> {
    let name = name.trim().replace('/', ".");
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    machine
        .set_sysctl(&name, &value)
        .map_err(|why| Unsuccessful::unsupported(format!("{name}={value}: {why}")))
}
