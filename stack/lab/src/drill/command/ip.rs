//! `ip`, `ethtool` and `tc`, as far as they are about the one interface and the route behind it.

use super::{Done, Outcome, Unsuccessful};
use crate::machine::{LinkChange, Machine, Offload, Qdisc, RouteMetrics};

fn change<M: Machine + ?Sized>(machine: &mut M, change: LinkChange) -> Done<Outcome> {
    machine.change_link(&change)?;
    Ok(Outcome::status(0))
}

fn unsupported(command: &str, args: &[&str]) -> Unsuccessful {
    Unsuccessful::unsupported(format!("`{command} {}`", args.join(" ")))
}

/// `ip tcp_metrics flush`, `ip link set [dev] DEV mtu N`, `ip route change|replace|append …`.
pub(super) fn ip<M: Machine + ?Sized>(machine: &mut M, args: &[&str]) -> Done<Outcome> {
    let none = || unsupported("ip", args);
    match args {
        ["tcp_metrics" | "tcpmetrics", "flush", ..] => change(machine, LinkChange::FlushTcpMetrics),
        ["link", "set", "dev", _, "mtu", mtu] | ["link", "set", _, "mtu", mtu] => {
            let mtu = mtu.parse().map_err(|_| none())?;
            change(machine, LinkChange::Mtu(mtu))
        }
        ["route", "change" | "replace", _, rest @ ..] => {
            let metrics = route_metrics(rest).ok_or_else(none)?;
            change(machine, LinkChange::Route(metrics))
        }
        _ => Err(none()),
    }
}

/// `[via ADDR] [dev DEV] [mtu [lock] N] [advmss N] …` behind the destination; `None`: something else stands there.
fn route_metrics(args: &[&str]) -> Option<RouteMetrics> {
    let mut metrics = RouteMetrics::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match *word {
            // The one interface and the one next hop; the kernel's own marks of the route.
            "via" | "dev" | "src" | "proto" | "scope" | "metric" | "table" => drop(words.next()?),
            "onlink" => {}
            "mtu" => {
                let mut value = *words.next()?;
                if value == "lock" {
                    metrics.mtu_locked = true;
                    value = words.next()?;
                }
                metrics.mtu = Some(value.parse().ok()?);
            }
            "advmss" => metrics.advmss = Some(number(words.next()?)?),
            "initcwnd" => metrics.initcwnd = Some(number(words.next()?)?),
            "initrwnd" => metrics.initrwnd = Some(number(words.next()?)?),
            _ => return None,
        }
    }
    Some(metrics)
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// `ethtool -K DEV tso on|off gso on|off …`.
pub(super) fn ethtool<M: Machine + ?Sized>(machine: &mut M, args: &[&str]) -> Done<Outcome> {
    let none = || unsupported("ethtool", args);
    let ["-K" | "--features", _, features @ ..] = args else {
        return Err(none());
    };
    if features.is_empty() || !features.len().is_multiple_of(2) {
        return Err(none());
    }
    for pair in features.chunks_exact(2) {
        let offload = match pair[0] {
            "tso" => Offload::Tso,
            "gso" => Offload::Gso,
            "gro" => Offload::Gro,
            _ => return Err(none()),
        };
        let on = match pair[1] {
            "on" => true,
            "off" => false,
            _ => return Err(none()),
        };
        machine.change_link(&LinkChange::Offload { offload, on })?;
    }
    Ok(Outcome::status(0))
}

/// `tc qdisc add|replace|change dev DEV root pfifo [limit N] | fq`.
pub(super) fn tc<M: Machine + ?Sized>(machine: &mut M, args: &[&str]) -> Done<Outcome> {
    let none = || unsupported("tc", args);
    let [
        "qdisc",
        "add" | "replace" | "change",
        "dev",
        _,
        "root",
        rest @ ..,
    ] = args
    else {
        return Err(none());
    };
    let qdisc = match rest {
        ["pfifo" | "pfifo_fast"] => Qdisc::Pfifo(None),
        ["pfifo", "limit", limit] => Qdisc::Pfifo(Some(limit.parse().map_err(|_| none())?)),
        ["fq"] => Qdisc::Fq,
        _ => return Err(none()),
    };
    change(machine, LinkChange::Qdisc(qdisc))
}
