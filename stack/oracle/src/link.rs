//! Changes to the device, in the words of iproute2.

use std::fmt::Write;

use millrace_lab::machine::{LinkChange, Offload, Qdisc, RouteMetrics};

use crate::space::DEVICE;

/// The command line that makes the change.
pub fn command(change: &LinkChange) -> String {
    match change {
        LinkChange::Mtu(mtu) => format!("ip link set dev {DEVICE} mtu {mtu}"),
        LinkChange::Route(metrics) => route(metrics),
        LinkChange::Qdisc(Qdisc::Pfifo(None)) => {
            format!("tc qdisc replace dev {DEVICE} root pfifo")
        }
        LinkChange::Qdisc(Qdisc::Pfifo(Some(limit))) => {
            format!("tc qdisc replace dev {DEVICE} root pfifo limit {limit}")
        }
        LinkChange::Offload { offload, on } => {
            let name = match offload {
                Offload::Tso => "tso",
                Offload::Gso => "gso",
                Offload::Gro => "gro",
            };
            let switch = if *on { "on" } else { "off" };
            format!("ethtool -K {DEVICE} {name} {switch}")
        }
        LinkChange::FlushTcpMetrics => "ip tcp_metrics flush all".to_owned(),
        LinkChange::Qdisc(Qdisc::Fq) => format!("tc qdisc replace dev {DEVICE} root fq"),
    }
}

fn route(metrics: &RouteMetrics) -> String {
    let RouteMetrics {
        mtu,
        mtu_locked,
        advmss,
        initcwnd,
        initrwnd,
    } = metrics;
    let mut text = format!("ip route change default dev {DEVICE}");
    let mut add = |name: &str, value: Option<u32>| {
        if let Some(value) = value {
            // A String takes all.
            write!(text, " {name} {value}").ok();
        }
    };
    add(
        if *mtu_locked { "mtu lock" } else { "mtu" },
        mtu.map(u32::from),
    );
    add("advmss", advmss.map(u32::from));
    add("initcwnd", *initcwnd);
    add("initrwnd", *initrwnd);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_in_order() {
        let metrics = RouteMetrics {
            mtu: Some(1400),
            mtu_locked: true,
            initcwnd: Some(4),
            ..RouteMetrics::default()
        };
        assert_eq!(
            command(&LinkChange::Route(metrics)),
            "ip route change default dev tun0 mtu lock 1400 initcwnd 4"
        );
    }
}
