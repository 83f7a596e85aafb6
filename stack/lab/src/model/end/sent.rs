//! A segment leaves the node: whether it is allowed.

use millrace_wire::tcp::TcpFlags;
use millrace_wire::time::Instant;

use super::super::line::{Place, place};
use super::super::segment::Segment;
use super::{End, Offer, RATE_LIMIT, Said};

/// The MSS of a peer that names none (RFC 9293 MUST-15).
const MSS_DEFAULT: u16 = 536;

impl End {
    /// The node sends `segment`.
    pub(in crate::model) fn sent(&mut self, now: Instant, segment: &Segment) -> Result<(), String> {
        if segment.has(TcpFlags::RST) {
            return self.sent_reset(segment);
        }
        if segment.has(TcpFlags::SYN) {
            self.sent_syn(segment);
            return Ok(());
        }
        let Some(said) = &self.said else {
            return Err("a segment of no connection".to_owned());
        };
        let Some(irs) = said.irs else {
            return Err("a segment before it heard a SYN".to_owned());
        };
        if said.over {
            return Err("a segment after its RST".to_owned());
        }
        let ack = place(irs, said.most(), segment.ack);
        let at = place(said.own.isn, said.end, segment.seq);
        said.check_ack(segment, ack)?;
        self.check_data(segment, at)?;
        self.check_echo(segment)?;
        self.check_congestion(segment)?;
        let shift = said.shifts(self.theirs().as_ref()).0;
        let edge = ack + (i64::from(segment.window) << shift);
        match &mut self.said {
            Some(said) => said.note(now, segment, (at, ack, edge)),
            None => Ok(()),
        }
    }

    fn sent_syn(&mut self, segment: &Segment) {
        let offer = Offer::of(segment);
        if self
            .said
            .as_ref()
            .is_none_or(|said| said.own.isn != offer.isn)
        {
            self.said = Some(Said::new(offer));
        }
        let Some(said) = &mut self.said else { return };
        said.own.ecn |= offer.ecn;
        if segment.has(TcpFlags::ACK) {
            said.acked = said.acked.max(1);
            said.edge = said.edge.max(1 + offer.window);
            said.last_edge = said.edge;
            said.owed.now = None;
            let of = self.syns.iter().filter(|syn| syn.isn + 1 == segment.ack);
            of.for_each(|syn| said.open(syn));
        }
    }

    /// Octets: written, not acknowledged, in the window, not too many.
    fn check_data(&self, segment: &Segment, at: Place) -> Result<(), String> {
        let (Some(said), true) = (&self.said, segment.takes() > 0) else {
            return Ok(());
        };
        if at < said.una.surely {
            let back = said.una.surely - at;
            return Err(format!("{back} octets that were acknowledged before"));
        }
        let end = at + segment.len;
        let written = 1 + self.calls.map_or(0, |calls| calls.written as Place);
        if end > written {
            return Err(format!("{} octets that nobody wrote", end - written));
        }
        let shut = self.calls.is_some_and(|calls| calls.shut || calls.gone);
        if segment.has(TcpFlags::FIN) && (!shut || end != written) {
            return Err("a FIN before the end".to_owned());
        }
        if segment.len > 0 && end > said.una.edge {
            let over = end - said.una.edge;
            return Err(format!("{over} octets beyond the window that arrived"));
        }
        let most = self
            .offers()
            .map(|offer| offer.options.mss.unwrap_or(MSS_DEFAULT));
        let most = most.max().unwrap_or(MSS_DEFAULT);
        let len = segment.len as usize + segment.options_len;
        if segment.len > 0 && len > usize::from(most) {
            return Err(format!(
                "{len} bytes of data and options where the MSS is {most}"
            ));
        }
        Ok(())
    }

    fn check_echo(&self, segment: &Segment) -> Result<(), String> {
        let (Some(said), Some(ts)) = (&self.said, segment.options.timestamps) else {
            return Ok(());
        };
        if said.recents.contains(&ts.ecr) {
            return Ok(());
        }
        Err(format!(
            "an echo of timestamp {} where it may be one of {:?}",
            ts.ecr, said.recents
        ))
    }

    fn check_congestion(&self, segment: &Segment) -> Result<(), String> {
        let Some(said) = &self.said else {
            return Ok(());
        };
        let echoes = segment.has(TcpFlags::ECE);
        if !self.ecn_agreed() {
            return match echoes || segment.has(TcpFlags::CWR) {
                true => Err("ECN flags that were not agreed on".to_owned()),
                false => Ok(()),
            };
        }
        if echoes && !said.echo.may {
            return Err("ECE although no mark has come".to_owned());
        }
        // TIME_WAIT has no data to ask for and has forgotten it.
        if !echoes && said.echo.must && said.got.fin.is_none() && self.is_live() {
            return Err("no ECE although a mark has come, and no CWR".to_owned());
        }
        Ok(())
    }
}

impl Said {
    /// Only what has arrived is acknowledged.
    fn check_ack(&self, segment: &Segment, ack: Place) -> Result<(), String> {
        let most = self.most();
        if ack > most {
            let over = ack - most;
            return Err(format!("an ACK of {over} octets that have not arrived"));
        }
        let Some(irs) = self.irs else { return Ok(()) };
        for block in segment.options.sack.as_slice() {
            let start = place(irs, most, block.start);
            let end = place(irs, most, block.end);
            // The peer's SYN may be reported as a duplicate.
            if !self.got.seen.contain(start.max(1), end) {
                return Err(format!(
                    "a SACK of {start} to {end}, which have not arrived"
                ));
            }
        }
        if segment.has(TcpFlags::URG) {
            return Err("urgent data that nobody wrote".to_owned());
        }
        Ok(())
    }

    /// It was allowed: this is what it said.
    fn note(
        &mut self,
        now: Instant,
        segment: &Segment,
        (at, ack, edge): (Place, Place, Place),
    ) -> Result<(), String> {
        let news = ack > self.acked || edge != self.last_edge;
        // A probe repeats a number that the peer has, to draw an answer.
        let probes = at < self.una.perhaps;
        if segment.takes() == 0 && !news && !probes {
            self.spend(now)?;
        }
        self.got.surely.add(1, ack);
        self.acked = self.acked.max(ack);
        self.last_edge = edge;
        self.edge = self.edge.max(edge);
        self.end = self.end.max(at + segment.takes());
        self.ended |= segment.has(TcpFlags::FIN);
        self.challenges.answered |= segment.takes() == 0;
        self.owed.now = None;
        self.doubt = false;
        if self.acked >= self.least() {
            self.owed.due = None;
        }
        Ok(())
    }

    /// An acknowledgement that says nothing new must answer something.
    fn spend(&mut self, now: Instant) -> Result<(), String> {
        if self.repeats > 0 {
            self.repeats -= 1;
            return Ok(());
        }
        let held = self
            .limited
            .is_some_and(|last| now.since(last) < RATE_LIMIT);
        if !held {
            self.limited = Some(now);
        } else if self.spare > 0 {
            self.spare -= 1;
        } else {
            return Err("the same ACK again, and too soon".to_owned());
        }
        Ok(())
    }
}
