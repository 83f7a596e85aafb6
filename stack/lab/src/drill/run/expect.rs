//! Expected packets: waiting for them, gluing segments together, and judging the time.

use super::{Micros, Previous, Runner, Wait, Waited, instant, seconds, tolerance};
use crate::clock::START;
use crate::drill::ast::{Body, Event, Flags, Packet, Tcp, When};
use crate::drill::compare;
use crate::drill::conn::Belongs;
use crate::drill::live::{Live, LiveBody, LiveTcp};
use crate::drill::run::EventKind;
use crate::drill::settings::Segments;
use crate::drill::verdict::Stop;

/// How long `*` waits: as good as for ever.
const NEVER: Micros = 3_600 * 1_000_000;

/// Patience beyond the expected time.
const GRACE: Micros = 2_000_000;

/// When a packet is expected: earliest and latest, in script time; `None` for `*`.
type Window = Option<(Micros, Micros)>;

impl<'s> Runner<'_, 's> {
    pub(super) fn expect(
        &mut self,
        event: &Event,
        packet: &'s Packet,
        base: Micros,
    ) -> Result<(), Stop> {
        let window: Window = match event.when {
            When::At(at) => Some((at, at)),
            When::After(after) => Some((base + after, base + after)),
            When::AtRange(from, to) => Some((from, to)),
            When::AfterRange(from, to) => Some((base + from, base + to)),
            When::Any => None,
        };
        let patience = match window {
            Some((_, latest)) => {
                latest.saturating_sub(self.previous.at) / 1_000_000 * 1_000_000 + GRACE
            }
            None => NEVER,
        };
        let give_up = self.micros() + patience;
        let live = match &packet.body {
            Body::Tcp(expected) => self.expect_tcp(event.line, packet, expected, give_up)?,
            Body::Icmp(expected) => {
                let live = self.next_packet(event.line, expected_text(packet), give_up)?;
                match live.body {
                    LiveBody::Icmp { ty, code, .. } => {
                        compare::icmp(event.line, expected, (ty, code))?
                    }
                    _ => {
                        return Err(Stop::fail(
                            event.line,
                            "packet",
                            expected_text(packet),
                            "another one",
                        ));
                    }
                }
                compare::ip_header(event.line, &packet.ip, &live)?;
                live
            }
            Body::Udp { .. } => return Err(Stop::unsupported(event.line, "udp")),
        };
        let sent = live.at.since(START).as_micros() as Micros;
        self.check_time(event.line, window, sent)?;
        let at = window.map_or(sent, |(earliest, _)| earliest);
        self.previous = Previous {
            at,
            kind: EventKind::Other,
        };
        Ok(())
    }

    fn check_time(&self, line: u32, window: Window, sent: Micros) -> Result<(), Stop> {
        let Some((earliest, latest)) = window else {
            return Ok(());
        };
        let slack = tolerance(&self.settings, latest.saturating_sub(self.previous.at));
        if sent + slack >= earliest && sent <= latest + slack {
            return Ok(());
        }
        let expected = match earliest == latest {
            true => seconds(earliest),
            false => format!("{} to {}", seconds(earliest), seconds(latest)),
        };
        Err(Stop::fail(
            line,
            "time of the packet",
            expected,
            seconds(sent),
        ))
    }

    fn expect_tcp(
        &mut self,
        line: u32,
        packet: &Packet,
        expected: &Tcp,
        give_up: Micros,
    ) -> Result<Live, Stop> {
        let (live, tcp) = self.glued(line, packet, expected, give_up)?;
        let Some(conn) = &mut self.conn else {
            return Err(Stop::unsupported(
                line,
                "an expected packet before there is a connection",
            ));
        };
        let how = (&self.settings, self.config.checks);
        compare::segment(line, &packet.ip, expected, (&live, &tcp), conn, how)?;
        Ok(live)
    }

    /// The next segment; smaller ones are put together up to the expected length.
    fn glued(
        &mut self,
        line: u32,
        packet: &Packet,
        expected: &Tcp,
        give_up: Micros,
    ) -> Result<(Live, LiveTcp), Stop> {
        let (mut live, mut whole) = self.next_segment(line, packet, give_up)?;
        let piece = whole.segment.len;
        while piece > 0
            && whole.segment.len < expected.len
            && self.settings.segments == Segments::Glued
        {
            let (next_live, next) = self.next_segment(line, packet, give_up)?;
            let last = whole.segment.len + next.segment.len >= expected.len;
            if !follows(&whole, &next)
                || (next.segment.len != piece && !last)
                || next.segment.len > piece
            {
                let got = format!("{} and then {}", whole.segment, next.segment);
                return Err(Stop::fail(line, "segments", expected, got));
            }
            // Flags, options and time are the last one's, the rest the first one's.
            whole.segment.flags.bits = next.segment.flags.bits;
            whole.segment.options = next.segment.options;
            whole.segment.len += next.segment.len;
            whole.payload.extend(next.payload);
            live.at = next_live.at;
        }
        Ok((live, whole))
    }

    fn next_segment(
        &mut self,
        line: u32,
        packet: &Packet,
        give_up: Micros,
    ) -> Result<(Live, LiveTcp), Stop> {
        let live = self.next_packet(line, expected_text(packet), give_up)?;
        match &live.body {
            LiveBody::Tcp(tcp) => {
                let tcp = tcp.clone();
                Ok((live, tcp))
            }
            LiveBody::Icmp { ty, code, .. } => {
                let got = format!("icmp type_{ty} code_{code}");
                Err(Stop::fail(line, "packet", expected_text(packet), got))
            }
            LiveBody::Other(protocol) => Err(Stop::fail(
                line,
                "packet",
                expected_text(packet),
                format!("protocol {protocol}"),
            )),
        }
    }

    /// The next packet of the connection under test, sent already or by `give_up`.
    fn next_packet(&mut self, line: u32, expected: String, give_up: Micros) -> Result<Live, Stop> {
        loop {
            if let Some(live) = self.sent_already(line)? {
                return Ok(live);
            }
            let mut something_sent = |host: &mut crate::host::Host| match host.sent().is_empty() {
                true => Wait::On,
                false => Wait::Over,
            };
            if let Waited::TimeIsUp = self.pass_time(line, give_up, &mut something_sent)? {
                return Err(Stop::fail(
                    line,
                    "packet",
                    expected,
                    format!("nothing until {}", seconds(give_up)),
                ));
            }
        }
    }

    /// The oldest packet of the connection under test among those sent; older ones of others are forgotten.
    fn sent_already(&mut self, line: u32) -> Result<Option<Live>, Stop> {
        while let Some(frame) = self.host.sent().pop_front() {
            let live = Live::decode(frame.at, &frame.bytes)
                .map_err(|why| Stop::fail(line, "packet", "a well-formed packet", why))?;
            let belongs = match (&live.body, &mut self.conn) {
                (LiveBody::Tcp(tcp), Some(conn)) => conn.owns(tcp),
                (LiveBody::Icmp { to, .. }, Some(conn)) if to == conn.remote().ip() => {
                    Belongs::Here
                }
                _ => Belongs::Elsewhere,
            };
            if belongs == Belongs::Here {
                return Ok(Some(live));
            }
        }
        Ok(None)
    }

    /// Strict runs only: the stack has sent nothing that the script does not mention.
    pub(super) fn nothing_left(&mut self, line: u32) -> Result<(), Stop> {
        let Some(live) = self.sent_already(line)? else {
            return Ok(());
        };
        let got = match (&live.body, &self.conn) {
            (LiveBody::Tcp(tcp), Some(conn)) => conn.to_script(&tcp.segment).to_string(),
            (body, _) => format!("{body:?}"),
        };
        Err(Stop::fail(
            line,
            "end of the script",
            "no further packet",
            format!("{got} at {}", live_time(&live)),
        ))
    }
}

fn live_time(live: &Live) -> String {
    debug_assert!(live.at >= instant(0));
    seconds(live.at.since(START).as_micros() as Micros)
}

/// `next` continues `whole` and agrees with it in all but PSH, FIN and length.
fn follows(whole: &LiveTcp, next: &LiveTcp) -> bool {
    let ignored = Flags::PSH | Flags::FIN;
    let (a, b) = (&whole.segment, &next.segment);
    a.seq.wrapping_add(a.len) == b.seq
        && a.flags.bits & !ignored == b.flags.bits & !ignored
        && a.ack == b.ack
        && a.win == b.win
        && a.options == b.options
}

fn expected_text(packet: &Packet) -> String {
    match &packet.body {
        Body::Tcp(tcp) => tcp.to_string(),
        Body::Icmp(icmp) => format!("icmp {} {}", icmp.ty, icmp.code.as_deref().unwrap_or("")),
        Body::Udp { len, .. } => format!("udp ({len})"),
    }
}
