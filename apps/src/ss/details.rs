//! What follows the columns: timer, number, memory, and what TCP knows.

use super::SsArgs;
use super::number::{general, rate, timer};
use crate::control::protocol::{Memory, Sock, Timer};

/// Bits of `tcpi_options` and what they are called.
const OPTIONS: [(u64, &str); 5] = [
    (1, "ts"),
    (2, "sack"),
    (8, "ecn"),
    (16, "ecnseen"),
    (32, "fastopen"),
];
/// The option of window scaling.
const WSCALE: u64 = 4;
/// The time-out before there was a sample; not worth showing.
const FIRST_RTO: u64 = 3_000_000;
/// From here on there is no threshold.
const NO_THRESHOLD: u64 = 0xffff;
/// Segments of reordering where nothing was seen yet.
const REORDERING: u64 = 3;
/// No rate, and no time: all bits.
const NO_RATE: u64 = u64::MAX;
const NO_TIME: u64 = u32::MAX as u64;

/// All that was asked for.
pub fn text(sock: &Sock, args: &SsArgs) -> String {
    let mut text = String::new();
    if args.options
        && let Some(timer) = &sock.timer
    {
        text += &timer_text(timer);
    }
    if args.extended {
        // No socket of ours has an inode.
        text += &format!(" ino:0 sk:{:x}", sock.id);
        text += sock.shutdown.map_or("", arrow);
    }
    if args.memory || args.info {
        text += if args.oneline { "" } else { "\n\t" };
        if args.memory
            && let Some(memory) = &sock.memory
        {
            text += &memory_text(memory);
        }
        if args.info {
            text += &info_text(sock, args);
        }
    }
    text
}

fn timer_text(timer: &Timer) -> String {
    format!(
        " timer:({},{},{})",
        timer.name,
        self::timer(timer.left_ms),
        timer.count
    )
}

/// Which directions are open.
fn arrow(shutdown: u8) -> &'static str {
    match shutdown & 3 {
        0 => " <->",
        1 => " -->",
        2 => " <--",
        _ => " ---",
    }
}

/// Our rings stand for the queues. Nothing lies with the device, is set aside, or waits for its owner.
fn memory_text(memory: &Memory) -> String {
    let Memory {
        rcv_ring,
        rcvbuf,
        snd_ring,
        sndbuf,
    } = memory;
    format!(" skmem:(r{rcv_ring},rb{rcvbuf},t0,tb{sndbuf},f0,w{snd_ring},o0,bl0)")
}

/// TCP_INFO, in the order of `ss`; what is zero is left out, and the options that were agreed if nobody asks for options.
fn info_text(sock: &Sock, args: &SsArgs) -> String {
    let Some(info) = &sock.info else {
        return String::new();
    };
    let of = |name: &str| info.get(name).copied().unwrap_or(0);
    let mut text = String::new();
    for (bit, name) in OPTIONS {
        if args.options && of("options") & bit != 0 {
            text += &format!(" {name}");
        }
    }
    if let Some(name) = &sock.congestion {
        text += &format!(" {name}");
    }
    if of("options") & WSCALE != 0 {
        let (given, taken) = (of("wscale") & 15, of("wscale") >> 4);
        text += &format!(" wscale:{given},{taken}");
    }
    timing(&mut text, &of);
    sizes(&mut text, &of);
    counts(&mut text, &of);
    rates(&mut text, &of, args.numeric);
    losses(&mut text, &of, sock.state == "LISTEN");
    text
}

/// ` NAME:VALUE` unless the value is zero.
fn add(text: &mut String, name: &str, value: u64) {
    if value != 0 {
        *text += &format!(" {name}:{value}");
    }
}

/// Microseconds as milliseconds.
fn millis(micros: u64) -> String {
    general(micros as f64 / 1000.0, 6)
}

/// The same as ` NAME:VALUE` unless it is zero.
fn add_millis(text: &mut String, name: &str, micros: u64) {
    if micros != 0 {
        *text += &format!(" {name}:{}", millis(micros));
    }
}

fn timing(text: &mut String, of: &impl Fn(&str) -> u64) {
    if of("rto") != FIRST_RTO {
        add_millis(text, "rto", of("rto"));
    }
    add(text, "backoff", of("backoff"));
    if of("rtt") != 0 {
        *text += &format!(" rtt:{}/{}", millis(of("rtt")), millis(of("rttvar")));
    }
    add_millis(text, "ato", of("ato"));
}

fn sizes(text: &mut String, of: &impl Fn(&str) -> u64) {
    add(text, "mss", of("snd_mss"));
    add(text, "pmtu", of("pmtu"));
    add(text, "rcvmss", of("rcv_mss"));
    add(text, "advmss", of("advmss"));
    add(text, "cwnd", of("snd_cwnd"));
    if of("snd_ssthresh") < NO_THRESHOLD {
        add(text, "ssthresh", of("snd_ssthresh"));
    }
}

fn counts(text: &mut String, of: &impl Fn(&str) -> u64) {
    for name in [
        "bytes_sent",
        "bytes_retrans",
        "bytes_acked",
        "bytes_received",
        "segs_out",
        "segs_in",
        "data_segs_out",
        "data_segs_in",
    ] {
        add(text, name, of(name));
    }
}

fn rates(text: &mut String, of: &impl Fn(&str) -> u64, exact: bool) {
    let (rtt, mss, cwnd) = (of("rtt"), of("snd_mss"), of("snd_cwnd"));
    if rtt != 0 && mss != 0 && cwnd != 0 {
        let bits = cwnd as f64 * mss as f64 * 8e6 / rtt as f64;
        *text += &format!(" send {}", rate(bits, exact));
    }
    add(text, "lastsnd", of("last_data_sent"));
    add(text, "lastrcv", of("last_data_recv"));
    add(text, "lastack", of("last_ack_recv"));
    let bits = |octets: u64| rate(octets as f64 * 8.0, exact);
    let (pacing, most) = (of("pacing_rate"), of("max_pacing_rate"));
    if pacing != 0 && pacing != NO_RATE {
        *text += &format!(" pacing_rate {}", bits(pacing));
        if most != 0 && most != NO_RATE {
            *text += &format!("/{}", bits(most));
        }
    }
    if of("delivery_rate") != 0 {
        *text += &format!(" delivery_rate {}", bits(of("delivery_rate")));
    }
    add(text, "delivered", of("delivered"));
    add(text, "delivered_ce", of("delivered_ce"));
    if of("delivery_rate_flags") & 1 != 0 {
        *text += " app_limited";
    }
}

fn losses(text: &mut String, of: &impl Fn(&str) -> u64, listener: bool) {
    add(text, "unacked", of("unacked"));
    if of("retrans") != 0 || of("total_retrans") != 0 {
        *text += &format!(" retrans:{}/{}", of("retrans"), of("total_retrans"));
    }
    add(text, "lost", of("lost"));
    if !listener {
        add(text, "sacked", of("sacked"));
    }
    add(text, "dsack_dups", of("dsack_dups"));
    if of("reordering") != REORDERING {
        add(text, "reordering", of("reordering"));
    }
    add(text, "reord_seen", of("reord_seen"));
    add(text, "rcv_space", of("rcv_space"));
    add(text, "rcv_ssthresh", of("rcv_ssthresh"));
    add(text, "notsent", of("notsent_bytes"));
    if of("min_rtt") != NO_TIME {
        add_millis(text, "minrtt", of("min_rtt"));
    }
    add(text, "rcv_ooopack", of("rcv_ooopack"));
    add(text, "snd_wnd", of("snd_wnd"));
    add(text, "rcv_wnd", of("rcv_wnd"));
}

#[cfg(test)]
mod tests;
