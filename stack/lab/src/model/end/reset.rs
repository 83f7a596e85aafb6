//! Resets: which are allowed.

use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;

use super::super::line::place;
use super::super::segment::Segment;
use super::{End, Said};

impl End {
    pub(super) fn sent_reset(&mut self, segment: &Segment) -> Result<(), String> {
        if let Some(index) = self.answers(segment) {
            self.answerable.swap_remove(index);
            if let Some(said) = &mut self.said {
                said.reset = true;
                said.owed.now = None;
            }
            return Ok(());
        }
        if !segment.has(TcpFlags::ACK) {
            return Err("a RST with a number that no segment acknowledged".to_owned());
        }
        let calls = self.calls;
        let Some(said) = &mut self.said else {
            return Err("a RST of no connection".to_owned());
        };
        said.check_reset(segment)?;
        // Whoever probes may find that nobody is there; nobody has accepted what a listener leaves behind.
        if calls.is_some_and(|calls| !calls.gone && !calls.keepalive) {
            return Err("a RST although its owner has not left".to_owned());
        }
        if said.over {
            return Err("a second RST".to_owned());
        }
        said.reset = true;
        said.over = true;
        said.owed = Default::default();
        Ok(())
    }

    /// Which segment it answers: it takes its number from the ACK, or acknowledges what has none (RFC 9293 §3.5.2).
    fn answers(&self, segment: &Segment) -> Option<usize> {
        let acks = segment.has(TcpFlags::ACK);
        self.answerable.iter().position(|(ack, end)| match ack {
            Some(ack) => !acks && *ack == segment.seq,
            None => acks && *end == segment.ack && segment.seq == SeqNum::new(0),
        })
    }
}

impl Said {
    /// It stands where the peer expects the next octet, or at the end of its window.
    fn check_reset(&self, segment: &Segment) -> Result<(), String> {
        let at = place(self.own.isn, self.end, segment.seq);
        let inside = self.una.shrunk && (self.una.surely..=self.end).contains(&at);
        if at != self.end && !inside {
            let end = self.end;
            return Err(format!("a RST at {at} although it has sent up to {end}"));
        }
        let Some(irs) = self.irs else { return Ok(()) };
        let ack = place(irs, self.most(), segment.ack);
        if ack > self.most() {
            return Err("a RST that acknowledges what has not arrived".to_owned());
        }
        Ok(())
    }
}
