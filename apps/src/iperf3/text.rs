//! The lines that iperf3 prints, in its layout: what reads its output reads ours.

use core::fmt::Write as _;
use std::net::SocketAddrV4;

use super::params::{Params, Way};
use super::results::stream_id;
use super::run::{Interval, Part, Role, Row, Tcp};
use super::sums::{Sum, Sums, parts, rate};

/// Between intervals.
const RULE: &str = "- - - - - - - - - - - - - - - - - - - - - - - - -\n";
/// Around the server's greeting.
const LINE: &str = "-----------------------------------------------------------\n";

/// What rates are shown in (`--format`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Unit {
    /// Bits, whatever fits.
    #[default]
    #[value(name = "a")]
    Adaptive,
    /// Kilobits.
    #[value(name = "k")]
    Kbits,
    /// Megabits.
    #[value(name = "m")]
    Mbits,
    /// Gigabits.
    #[value(name = "g")]
    Gbits,
    /// Terabits.
    #[value(name = "t")]
    Tbits,
    /// Kilobytes (of 1024).
    #[value(name = "K")]
    KBytes,
    /// Megabytes.
    #[value(name = "M")]
    MBytes,
    /// Gigabytes.
    #[value(name = "G")]
    GBytes,
    /// Terabytes.
    #[value(name = "T")]
    TBytes,
}

impl Unit {
    /// A rate: `1.23 Gbits`.
    fn rate(self, bits: f64) -> String {
        let bits_in = |power: i32, name: &str| amount(bits / 1000f64.powi(power), name);
        let bytes_in = |power: i32, name: &str| amount(bits / 8.0 / 1024f64.powi(power), name);
        match self {
            Self::Adaptive => scaled(bits, 1000.0, ["bits", "Kbits", "Mbits", "Gbits", "Tbits"]),
            Self::Kbits => bits_in(1, "Kbits"),
            Self::Mbits => bits_in(2, "Mbits"),
            Self::Gbits => bits_in(3, "Gbits"),
            Self::Tbits => bits_in(4, "Tbits"),
            Self::KBytes => bytes_in(1, "KBytes"),
            Self::MBytes => bytes_in(2, "MBytes"),
            Self::GBytes => bytes_in(3, "GBytes"),
            Self::TBytes => bytes_in(4, "TBytes"),
        }
    }
}

/// `11.5 MBytes`.
fn octets(bytes: u64) -> String {
    scaled(
        bytes as f64,
        1024.0,
        ["Bytes", "KBytes", "MBytes", "GBytes", "TBytes"],
    )
}

fn scaled(mut value: f64, step: f64, names: [&str; 5]) -> String {
    let mut names = names.into_iter();
    let mut name = names.next().unwrap_or_default();
    for larger in names {
        if value < step {
            break;
        }
        value /= step;
        name = larger;
    }
    amount(value, name)
}

fn amount(value: f64, name: &str) -> String {
    let digits = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:4.digits$} {name}")
}

/// What the server says while it waits.
pub fn listening(port: u16, number: u64) -> String {
    format!("{LINE}Server listening on {port} (test #{number})\n{LINE}")
}

/// The client's first line, and who sends if that is not the usual.
pub fn connecting(to: SocketAddrV4, params: &Params) -> String {
    let mut text = format!("Connecting to host {}, port {}\n", to.ip(), to.port());
    if params.way == Way::Reverse {
        let _ = writeln!(text, "Reverse mode, remote host {} is sending", to.ip());
    }
    text
}

/// The server's first line of a test.
pub fn accepted(from: SocketAddrV4) -> String {
    format!(
        "Accepted connection from {}, port {}\n",
        from.ip(),
        from.port()
    )
}

/// How a test's lines look.
#[derive(Clone, Debug)]
pub struct Style {
    /// Of rates.
    pub unit: Unit,
    /// Whose lines.
    pub role: Role,
    /// Whether both send.
    pub way: Way,
    parts: Vec<Part>,
}

impl Style {
    /// That of a test.
    pub fn new(unit: Unit, role: Role, params: &Params) -> Self {
        Self {
            unit,
            role,
            way: params.way,
            parts: parts(params, role),
        }
    }

    /// A stream that was opened.
    pub fn connected(&self, place: usize, local: SocketAddrV4, peer: SocketAddrV4) -> String {
        let (l, p) = (local, peer);
        format!(
            "[{:3}] local {} port {} connected to {} port {}\n",
            stream_id(place),
            l.ip(),
            l.port(),
            p.ip(),
            p.port()
        )
    }

    /// The head of the intervals.
    pub fn head(&self) -> String {
        let sends = self.parts.contains(&Part::Sends);
        self.any_head(if sends { "         Retr  Cwnd" } else { "" })
    }

    fn any_head(&self, more: &str) -> String {
        let role = if self.way == Way::Both { "[Role]" } else { "" };
        format!("[ ID]{role} Interval           Transfer     Bitrate{more}\n")
    }

    /// `[  5][TX-C]`.
    fn who(&self, who: &str, part: Part) -> String {
        if self.way != Way::Both {
            return format!("[{who:>3}]");
        }
        let part = if part == Part::Sends { "TX" } else { "RX" };
        let role = if self.role == Role::Client { "C" } else { "S" };
        format!("[{who:>3}][{part}-{role}]")
    }

    /// The part of each line that all have.
    fn line(&self, who: &str, times: (f64, f64), bytes: u64) -> String {
        let (start, end) = times;
        let rate = self.unit.rate(rate(bytes, end - start));
        format!(
            "{who} {start:6.2}-{end:<6.2} sec  {}  {rate}/sec",
            octets(bytes)
        )
    }

    /// The lines of an interval; a rule before those that follow others, where there are several streams.
    pub fn interval(&self, interval: &Interval, first: bool) -> String {
        let mut text = String::new();
        let times = (interval.start, interval.end);
        let end = if interval.omitted { "(omitted)" } else { "" };
        let several = interval.rows.len() > self.parts.len();
        if several && !first {
            text += RULE;
        }
        for &part in &self.parts {
            let rows = interval.rows.iter().enumerate();
            for (place, row) in rows.filter(|(_, row)| row.part == part) {
                let who = self.who(&stream_id(place).to_string(), part);
                text += &self.line(&who, times, row.bytes);
                text += &of_row(row, end);
            }
            if several && let Some(sum) = interval.sum(part) {
                text += &self.line(&self.who("SUM", part), times, sum.bytes);
                text += &retransmits(sum.tcp.map(|tcp| tcp.retransmits), end);
            }
        }
        text
    }

    /// The sums at the end.
    pub fn sums(&self, sums: &Sums) -> String {
        let told = self.role == Role::Client || self.parts.contains(&Part::Sends);
        let mut text = RULE.to_owned();
        text += &self.any_head(if told { "         Retr" } else { "" });
        for part in sums.parts() {
            let mut streams = 0;
            for stream in sums.of(part) {
                let who = self.who(&stream.id.to_string(), part);
                text += &self.both(&who, stream.sender, stream.receiver);
                streams += 1;
            }
            if streams > 1 {
                let who = self.who("SUM", part);
                text += &self.both(&who, sums.sent(part), sums.received(part));
            }
        }
        text
    }

    fn both(&self, who: &str, sender: Option<Sum>, receiver: Option<Sum>) -> String {
        let mut text = String::new();
        for (sum, name) in [(sender, "sender"), (receiver, "receiver")] {
            if let Some(sum) = sum {
                text += &self.line(who, (0.0, sum.seconds), sum.bytes);
                text += &retransmits(sum.retransmits, name);
            }
        }
        text
    }
}

fn of_row(row: &Row, end: &str) -> String {
    match row.tcp {
        Some(Tcp {
            retransmits, cwnd, ..
        }) => format!("  {retransmits:3}   {}       {end}\n", octets(cwnd)),
        None => retransmits(None, end),
    }
}

fn retransmits(count: Option<u64>, end: &str) -> String {
    match count {
        Some(count) => format!("  {count:3}             {end}\n"),
        None => format!("                  {end}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(role: Role, way: Way) -> Style {
        let params = Params {
            way,
            streams: 1,
            ..Params::default()
        };
        Style::new(Unit::Adaptive, role, &params)
    }

    fn sending(bytes: u64, tcp: Option<(u64, u64)>) -> Row {
        Row {
            part: if tcp.is_some() {
                Part::Sends
            } else {
                Part::Receives
            },
            bytes,
            tcp: tcp.map(|(retransmits, cwnd)| Tcp {
                retransmits,
                cwnd,
                ..Tcp::default()
            }),
        }
    }

    /// Against lines that stock iperf3 3.12 printed, but for the numbers of its descriptors.
    #[test]
    fn the_lines_of_iperf3() {
        let client = style(Role::Client, Way::Forward);
        assert_eq!(
            client.head(),
            "[ ID] Interval           Transfer     Bitrate         Retr  Cwnd\n"
        );
        let two = Interval {
            start: 0.0,
            end: 1.0,
            omitted: true,
            rows: vec![
                sending(845_000_000, Some((1, 3_995_000))),
                sending(791_000_000, Some((0, 1_572_864))),
            ],
        };
        assert_eq!(
            client.interval(&two, true),
            "[  1]   0.00-1.00   sec   806 MBytes  6.76 Gbits/sec    1   3.81 MBytes       (omitted)\n\
             [  3]   0.00-1.00   sec   754 MBytes  6.33 Gbits/sec    0   1.50 MBytes       (omitted)\n\
             [SUM]   0.00-1.00   sec  1.52 GBytes  13.1 Gbits/sec    1             (omitted)\n"
        );
        assert!(client.interval(&two, false).starts_with(RULE));
        let server = style(Role::Server, Way::Forward);
        let one = Interval {
            start: 1.0,
            end: 1.04,
            omitted: false,
            rows: vec![sending(405_000, None)],
        };
        assert_eq!(
            server.head() + &server.interval(&one, false),
            "[ ID] Interval           Transfer     Bitrate\n\
             [  1]   1.00-1.04   sec   396 KBytes  81.0 Mbits/sec                  \n"
        );
        let both = style(Role::Server, Way::Both);
        let last = Interval {
            rows: vec![
                sending(3_145_728, None),
                sending(2_621_440, Some((0, 2_621_440))),
            ],
            ..one
        };
        assert_eq!(
            both.head() + &both.interval(&last, false),
            "[ ID][Role] Interval           Transfer     Bitrate         Retr  Cwnd\n\
             [  1][RX-S]   1.00-1.04   sec  3.00 MBytes   629 Mbits/sec                  \n\
             [  3][TX-S]   1.00-1.04   sec  2.50 MBytes   524 Mbits/sec    0   2.50 MBytes       \n"
        );
    }

    #[test]
    fn sums_of_both_ends() {
        let sum = |bytes, retransmits| {
            Some(Sum {
                bytes,
                seconds: 2.0,
                retransmits,
            })
        };
        let client = style(Role::Client, Way::Forward);
        assert_eq!(
            client.both(
                "[  1]",
                sum(2_662_879_724, Some(1)),
                sum(2_662_879_724, None)
            ),
            "[  1]   0.00-2.00   sec  2.48 GBytes  10.7 Gbits/sec    1             sender\n\
             [  1]   0.00-2.00   sec  2.48 GBytes  10.7 Gbits/sec                  receiver\n"
        );
    }

    #[test]
    fn units() {
        assert_eq!(octets(0), "0.00 Bytes");
        assert_eq!(octets(1023 * 1024), "1023 KBytes");
        assert_eq!(Unit::Adaptive.rate(100_900_000.0), " 101 Mbits");
        assert_eq!(Unit::Kbits.rate(1_234_000.0), "1234 Kbits");
        assert_eq!(
            Unit::MBytes.rate(8.0 * 1024.0 * 1024.0 * 2.5),
            "2.50 MBytes"
        );
        assert_eq!(Unit::Gbits.rate(2.5e8), "0.25 Gbits");
    }
}
