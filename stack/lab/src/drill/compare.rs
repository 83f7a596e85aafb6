//! A written segment against a sent one.

use super::ast::{Ecn, Flags, Icmp, IpInfo, Options, Tcp, TcpOption};
use super::conn::{Conn, Timestamp};
use super::inject::icmp::numbers;
use super::live::{Live, LiveTcp};
use super::settings::Settings;
use super::verdict::Stop;

/// How much is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// What the packetdrill tool compares.
    Upstream,
    /// Also the echoed timestamp, and that no sent packet is left over at the end.
    Strict,
}

/// Everything but the time. Learns the stack's initial sequence number from its first SYN.
pub(super) fn segment(
    line: u32,
    ip: &IpInfo,
    expected: &Tcp,
    (live, tcp): (&Live, &LiveTcp),
    conn: &mut Conn,
    (settings, checks): (&Settings, Checks),
) -> Result<(), Stop> {
    if tcp.segment.flags.has(Flags::SYN) && expected.flags.has(Flags::SYN) {
        conn.learn_local_isn(expected.seq, tcp.segment.seq);
    }
    let mut got = conn.to_script(&tcp.segment);
    let timestamp = align_timestamps(expected, &mut got, live, conn, settings);
    let shown = shown(expected, &got);
    let fail = |what: &str| Err(Stop::fail(line, what, expected, &shown));
    if got.flags.bits != expected.flags.bits || got.flags.ece.bits() != expected.flags.ece.bits() {
        return fail("flags");
    }
    if got.seq != expected.seq {
        return fail("sequence number");
    }
    if got.len != expected.len {
        return fail("payload length");
    }
    if got.ack.unwrap_or(0) != expected.ack.unwrap_or(0) {
        return fail("acknowledgement number");
    }
    if expected.win.is_some() && got.win != expected.win {
        return fail("window");
    }
    if got.urg.unwrap_or(0) != expected.urg.unwrap_or(0) {
        return fail("urgent pointer");
    }
    if expected.options != Options::Ignored
        && !same_options(&expected.options, &got.options, checks)
    {
        return fail("options");
    }
    if timestamp != Timestamp::AsWritten {
        return fail("timestamp value");
    }
    if tcp.reserved != 0 {
        return Err(Stop::fail(line, "reserved header bits", 0, tcp.reserved));
    }
    zeros(line, &tcp.payload)?;
    ip_header(line, ip, live)
}

/// The IP header's marks, as far as the script says something about them.
pub(super) fn ip_header(line: u32, ip: &IpInfo, live: &Live) -> Result<(), Stop> {
    let mark = live.tos & 3;
    let fits = match ip.ecn {
        None => true,
        Some(Ecn::NoEcn) => mark == 0,
        Some(Ecn::Ect1) => mark == 1,
        Some(Ecn::Ect0) => mark == 2,
        Some(Ecn::Ect01) => mark == 1 || mark == 2,
        Some(Ecn::Ce) => mark == 3,
    };
    if !fits {
        return Err(Stop::fail(line, "ECN mark", format!("{:?}", ip.ecn), mark));
    }
    if ip.flow_label.is_some() {
        return Err(Stop::unsupported(line, "a flow label in IPv4"));
    }
    match (ip.tos, ip.ttl) {
        (Some(tos), _) if tos != live.tos => Err(Stop::fail(line, "TOS", tos, live.tos)),
        (_, Some(ttl)) if ttl != live.ttl => Err(Stop::fail(line, "TTL", ttl, live.ttl)),
        _ => Ok(()),
    }
}

/// An ICMP message: type and code only.
pub(super) fn icmp(line: u32, expected: &Icmp, (ty, code): (u8, u8)) -> Result<(), Stop> {
    let Some(wanted) = numbers(&expected.ty, expected.code.as_deref()) else {
        return Err(Stop::unsupported(line, format!("icmp {}", expected.ty)));
    };
    if wanted == (ty, code) {
        return Ok(());
    }
    let text = |(ty, code): (u8, u8)| format!("icmp type_{ty} code_{code}");
    Err(Stop::fail(
        line,
        "ICMP message",
        text(wanted),
        text((ty, code)),
    ))
}

/// A UDP datagram: its length, and that it is all zeros.
pub(super) fn udp(line: u32, expected: u16, payload: &[u8]) -> Result<(), Stop> {
    if payload.len() != usize::from(expected) {
        let got = format!("udp ({})", payload.len());
        return Err(Stop::fail(
            line,
            "payload length",
            format!("udp ({expected})"),
            got,
        ));
    }
    zeros(line, payload)
}

/// All data of a script are zeros.
fn zeros(line: u32, payload: &[u8]) -> Result<(), Stop> {
    match payload.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(at) => {
            let got = format!("{:#04x} at offset {at}", payload[at]);
            Err(Stop::fail(line, "payload", "zeros", got))
        }
    }
}

/// Brings the live timestamp into the script's numbers where the two segments have one at the same place.
fn align_timestamps(
    expected: &Tcp,
    got: &mut Tcp,
    live: &Live,
    conn: &mut Conn,
    settings: &Settings,
) -> Timestamp {
    let (Options::List(written), Options::List(sent)) = (&expected.options, &mut got.options)
    else {
        return Timestamp::AsWritten;
    };
    let mut result = Timestamp::AsWritten;
    for (written, sent) in written.iter().zip(sent) {
        if let (TcpOption::Timestamps { val: script, .. }, TcpOption::Timestamps { val, .. }) =
            (written, sent)
        {
            result = conn.timestamp(*script, *val, live.at, settings);
            *val = match result {
                Timestamp::AsWritten => *script,
                Timestamp::Off(value) => value,
            };
        }
    }
    result
}

fn same_options(written: &Options, sent: &Options, checks: Checks) -> bool {
    let (Options::List(written), Options::List(sent)) = (written, sent) else {
        return false;
    };
    written.len() == sent.len()
        && written.iter().zip(sent).all(|pair| match pair {
            // The value was compared apart, with its tolerance.
            (
                TcpOption::Timestamps { ecr: written, .. },
                TcpOption::Timestamps { ecr: sent, .. },
            ) => checks == Checks::Upstream || written == sent,
            (written, sent) => written == sent,
        })
}

/// The sent segment as the script would have written it: only what the expectation mentions, or what differs.
fn shown(expected: &Tcp, got: &Tcp) -> Tcp {
    let mut shown = got.clone();
    if expected.ack.is_none() && shown.ack == Some(0) {
        shown.ack = None;
    }
    if expected.win.is_none() {
        shown.win = None;
    }
    if expected.urg.is_none() && shown.urg == Some(0) {
        shown.urg = None;
    }
    shown
}
