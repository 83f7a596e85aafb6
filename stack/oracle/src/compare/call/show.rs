//! Answers as text. What depends on the memory or the clock of a machine is left out.

use std::fmt::Write;

use millrace_lab::drill::tcp_info_names;
use millrace_posix::call::{Out, Received, Return, SockAddr};

use super::options::Opt;
use crate::compare::bench::outcome;
use crate::compare::packet::{LOCAL, REMOTE};

/// A call's result with all that came with it.
pub fn answer(answer: &Return, port: u16) -> String {
    told(answer, port, true)
}

/// The same of a call that copies no data out (MSG_TRUNC).
pub fn without_data(answer: &Return, port: u16) -> String {
    told(answer, port, false)
}

fn told(answer: &Return, port: u16, data: bool) -> String {
    let mut text = outcome(answer);
    match &answer.out {
        Out::None => {}
        Out::Addr(addr) => write!(text, " {}", address(addr, port)).unwrap_or_default(),
        Out::Msg(message) if answer.value >= 0 => text.push_str(&received(message, port, data)),
        Out::Int(value) if answer.value >= 0 => write!(text, " {value}").unwrap_or_default(),
        Out::Poll(revents) => revents.iter().for_each(|one| {
            text.push(' ');
            text.push_str(&events(i64::from(*one)));
        }),
        Out::Msg(_) | Out::Int(_) | Out::Value(_) | Out::Epoll(_) | Out::Fds(_) => {}
    }
    text
}

fn address(addr: &SockAddr, port: u16) -> String {
    match addr {
        SockAddr::V4(addr) => {
            let host = match addr.ip() {
                ip if *ip == LOCAL => "local".to_owned(),
                ip if ip == REMOTE.ip() => "peer".to_owned(),
                ip => ip.to_string(),
            };
            let place = match addr.port() {
                0 => "0",
                one if one == port => "port",
                one if one == REMOTE.port() => "peer",
                _ => "another",
            };
            format!("{host}:{place}")
        }
        other => format!("{other:?}"),
    }
}

fn received(message: &Received, port: u16, data: bool) -> String {
    let mut text = String::new();
    if let Some(first) = message.data.first().filter(|_| data) {
        write!(text, " {} octets from {first:02x}", message.data.len()).unwrap_or_default();
    }
    if let Some(name) = &message.name {
        write!(text, " name {}", address(name, port)).unwrap_or_default();
    }
    if message.flags != 0 {
        write!(text, " flags {:#x}", message.flags).unwrap_or_default();
    }
    for one in &message.control {
        let (level, ty, len) = (one.level, one.ty, one.data.len());
        write!(text, " control {level}/{ty}({len})").unwrap_or_default();
    }
    text
}

/// Events of poll and epoll by name.
pub fn events(bits: i64) -> String {
    let table = [
        (0x1, "IN"),
        (0x2, "PRI"),
        (0x4, "OUT"),
        (0x8, "ERR"),
        (0x10, "HUP"),
        (0x20, "NVAL"),
        (0x40, "RDNORM"),
        (0x80, "RDBAND"),
        (0x100, "WRNORM"),
        (0x200, "WRBAND"),
        (0x2000, "RDHUP"),
    ];
    let names: Vec<&str> = table
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join("|")
    }
}

/// Values that are each machine's own.
const OWN: &[&str] = &["SO_COOKIE", "TCP_TIMESTAMP", "SO_MEMINFO"];

/// An option's value.
pub fn value(answer: &Return, opt: &Opt) -> String {
    let Out::Value(bytes) = &answer.out else {
        return outcome(answer);
    };
    if OWN.contains(&opt.name) {
        return format!("{} octets", bytes.len());
    }
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(word) => i32::from_ne_bytes(word).to_string(),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("[{hex}]")
        }
    }
}

/// Fields of TCP_INFO that count or name something: neither times nor rates, nor what follows from the size of memory.
const DISCRETE: &[&str] = &[
    "tcpi_state",
    "tcpi_ca_state",
    "tcpi_retransmits",
    "tcpi_probes",
    "tcpi_backoff",
    "tcpi_options",
    "tcpi_snd_wscale",
    "tcpi_rcv_wscale",
    "tcpi_delivery_rate_app_limited",
    "tcpi_fastopen_client_fail",
    "tcpi_ato",
    "tcpi_snd_mss",
    "tcpi_rcv_mss",
    "tcpi_unacked",
    "tcpi_sacked",
    "tcpi_lost",
    "tcpi_retrans",
    "tcpi_fackets",
    "tcpi_last_ack_sent",
    "tcpi_pmtu",
    "tcpi_snd_ssthresh",
    "tcpi_snd_cwnd",
    "tcpi_advmss",
    "tcpi_reordering",
    "tcpi_total_retrans",
    "tcpi_max_pacing_rate",
    "tcpi_bytes_acked",
    "tcpi_bytes_received",
    "tcpi_segs_out",
    "tcpi_segs_in",
    "tcpi_notsent_bytes",
    "tcpi_data_segs_in",
    "tcpi_data_segs_out",
    "tcpi_rwnd_limited",
    "tcpi_sndbuf_limited",
    "tcpi_delivered",
    "tcpi_delivered_ce",
    "tcpi_bytes_sent",
    "tcpi_bytes_retrans",
    "tcpi_dsack_dups",
    "tcpi_reord_seen",
    "tcpi_rcv_ooopack",
    "tcpi_snd_wnd",
    "tcpi_rehash",
    "tcpi_total_rto",
    "tcpi_total_rto_recoveries",
];

/// Fields of TCP_INFO of which it is told only whether there is anything.
const PRESENT: &[&str] = &["tcpi_busy_time", "tcpi_rcv_rtt"];

/// TCP_INFO, a line for each field.
pub fn info(answer: &Return) -> Vec<String> {
    let Out::Value(bytes) = &answer.out else {
        return vec![outcome(answer)];
    };
    let mut lines = vec![format!("TCP_INFO: {} octets", bytes.len())];
    for (name, value) in tcp_info_names(bytes) {
        if DISCRETE.contains(&name) {
            lines.push(format!("{name} {value}"));
        } else if PRESENT.contains(&name) {
            lines.push(format!(
                "{name} {}",
                if value == 0 { "none" } else { "some" }
            ));
        }
    }
    lines
}
