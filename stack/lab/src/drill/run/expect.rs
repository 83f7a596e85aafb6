//! Expected packets: waiting for them, gluing segments together, and judging the time.

use super::{EventKind, Micros, Previous, Runner, seconds, tolerance};
use crate::drill::ast::{Body, EcnFlags, Event, Flags, Options, Packet, Tcp, TcpOption, When};
use crate::drill::compare;
use crate::drill::conn::Belongs;
use crate::drill::live::{Live, LiveBody, LiveTcp};
use crate::drill::settings::Segments;
use crate::drill::verdict::Stop;
use crate::machine::{Machine, Passed};

/// How long `*` waits in virtual time: as good as for ever.
const NEVER: Micros = 3_600 * 1_000_000;

/// How long `*` waits in real time.
const LONG: Micros = 60 * 1_000_000;

/// Patience beyond the expected time.
const GRACE: Micros = 2_000_000;

/// When a packet is expected: earliest and latest, in script time; `None` for `*`.
type Window = Option<(Micros, Micros)>;

impl<'s, M: Machine + ?Sized> Runner<'s, '_, M> {
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
            None if self.machine.is_real_time() => LONG,
            None => NEVER,
        };
        if !packet.encap.is_empty() {
            return Err(Stop::unsupported(event.line, "encapsulation"));
        }
        let give_up = self.micros() + patience;
        let live = match &packet.body {
            Body::Tcp(expected) => self.expect_tcp(event.line, packet, expected, give_up)?,
            _ => self.expect_datagram(event.line, packet, give_up)?,
        };
        let sent = live.at;
        self.note(event.line, || {
            format!("> {} at {}", packet.body, seconds(sent))
        });
        self.check_time(event.line, window, sent)?;
        let at = window.map_or(sent, |(earliest, _)| earliest);
        self.previous = Previous {
            at,
            kind: EventKind::Other,
        };
        Ok(())
    }

    /// An ICMP message or a UDP datagram.
    fn expect_datagram(
        &mut self,
        line: u32,
        packet: &Packet,
        give_up: Micros,
    ) -> Result<Live, Stop> {
        let live = self.next_packet(line, &packet.body, give_up)?;
        match (&packet.body, &live.body) {
            (Body::Icmp(expected), LiveBody::Icmp { ty, code, .. }) => {
                compare::icmp(line, expected, (*ty, *code))?;
            }
            (Body::Udp { len, .. }, LiveBody::Udp { payload, .. }) => {
                compare::udp(line, *len, payload)?;
            }
            (expected, got) => return Err(Stop::fail(line, "packet", expected, got)),
        }
        compare::ip_header(line, &packet.ip, &live)?;
        Ok(live)
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
        let live = self.next_packet(line, &packet.body, give_up)?;
        match &live.body {
            LiveBody::Tcp(tcp) => {
                let tcp = tcp.clone();
                Ok((live, tcp))
            }
            other => Err(Stop::fail(line, "packet", &packet.body, other)),
        }
    }

    /// The next packet of the connection under test, sent already or by `give_up`.
    fn next_packet(&mut self, line: u32, expected: &Body, give_up: Micros) -> Result<Live, Stop> {
        let mut passed = Passed::Something;
        loop {
            if let Some(live) = self.sent_already(line)? {
                return Ok(live);
            }
            if passed == Passed::Due {
                let got = format!("nothing until {}", seconds(give_up));
                return Err(Stop::fail(line, "packet", expected, got));
            }
            passed = self.pass_some_time(line, give_up)?;
        }
    }

    /// The oldest packet of the connection under test among those sent; older ones of others are forgotten.
    fn sent_already(&mut self, line: u32) -> Result<Option<Live>, Stop> {
        while let Some(packet) = self.machine.sent().pop_front() {
            if let Some(recorder) = &mut self.recorder {
                recorder.sent(&packet);
            }
            let at = self.script_time(packet.at);
            let live = Live::decode(at, &packet.bytes)
                .map_err(|why| Stop::fail(line, "packet", "a well-formed packet", why))?;
            if self.belongs(&live.body) == Belongs::Here {
                return Ok(Some(live));
            }
        }
        Ok(None)
    }

    /// Whether a packet is one that the script sees.
    fn belongs(&mut self, body: &LiveBody) -> Belongs {
        let remote_ip = self.settings.remote_ip;
        match (body, &mut self.conn) {
            (LiveBody::Tcp(tcp), Some(conn)) => conn.owns(tcp),
            (LiveBody::Udp { src, dst, .. }, Some(conn)) => conn.owns_datagram(*src, *dst),
            (LiveBody::Icmp { to, .. }, conn) => {
                let peer = conn.as_ref().map_or(remote_ip, |conn| *conn.remote().ip());
                match *to == peer {
                    true => Belongs::Here,
                    false => Belongs::Elsewhere,
                }
            }
            _ => Belongs::Elsewhere,
        }
    }

    /// Strict runs only: the machine has sent nothing that the script does not mention.
    pub(super) fn nothing_left(&mut self, line: u32) -> Result<(), Stop> {
        let Some(live) = self.sent_already(line)? else {
            return Ok(());
        };
        let got = match (&live.body, &self.conn) {
            (LiveBody::Tcp(tcp), Some(conn)) => conn.to_script(&tcp.segment).to_string(),
            (body, _) => body.to_string(),
        };
        Err(Stop::fail(
            line,
            "end of the script",
            "no further packet",
            format!("{got} at {}", seconds(live.at)),
        ))
    }
}

/// `next` continues `whole` and agrees with it in all but PSH, FIN, CWR and length.
fn follows(whole: &LiveTcp, next: &LiveTcp) -> bool {
    let ignored = Flags::PSH | Flags::FIN;
    let (a, b) = (&whole.segment, &next.segment);
    a.seq.wrapping_add(a.len) == b.seq
        && a.flags.bits & !ignored == b.flags.bits & !ignored
        && a.flags.ece.bits() & !EcnFlags::W == b.flags.ece.bits() & !EcnFlags::W
        && a.ack == b.ack
        && a.win == b.win
        && same_option_kinds(a, b)
}

/// The time stamp may move on between two pieces, nothing else.
fn same_option_kinds(a: &Tcp, b: &Tcp) -> bool {
    let (Options::List(a), Options::List(b)) = (&a.options, &b.options) else {
        return false;
    };
    let alike = |pair: (&TcpOption, &TcpOption)| match pair {
        (TcpOption::Timestamps { .. }, TcpOption::Timestamps { .. }) => true,
        (a, b) => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(alike)
}
