//! A segment is given to the node: what that allows and demands (RFC 9293 §3.10.7, RFC 5961, RFC 7323 §5).

use std::time::Duration;

use millrace_wire::tcp::TcpFlags;
use millrace_wire::time::Instant;

use super::super::line::{Place, place};
use super::super::segment::Segment;
use super::{End, Offer, Said};

/// The longest that an ACK is delayed (`TCP_DELACK_MAX`; RFC 9293 MUST-58 has half a second).
const DELACK_MAX: Duration = Duration::from_millis(200);

/// A stack may forget what is out of order when it has so many pieces.
const PIECES: usize = 200;

/// Numbers this far beyond the window belong to somebody else.
const FAR: Place = 1 << 24;

/// How a segment fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// It must be used.
    Good,
    /// It may be used.
    Perhaps,
    /// It must not.
    Bad,
}

/// A segment with its numbers as places.
#[derive(Debug, Clone, Copy)]
struct Placed<'a> {
    segment: &'a Segment,
    at: Place,
    ack: Place,
}

impl End {
    /// The node takes `segment` from its device. Where memory is `short` nothing is sure.
    pub(in crate::model) fn heard(&mut self, now: Instant, segment: &Segment, short: bool) {
        let ack = segment.has(TcpFlags::ACK).then_some(segment.ack);
        self.answerable.push((ack, segment.end()));
        if segment.has(TcpFlags::SYN) {
            self.heard_syn(segment);
        }
        let timed = self.agreed(|options| options.timestamps.is_some());
        let ecn = self.ecn_agreed();
        let sure = self.is_live() && !short;
        let theirs = self.theirs();
        let Some(said) = &mut self.said else { return };
        if segment.takes() > 0 && !segment.has(TcpFlags::SYN) {
            said.repeats += 1;
        }
        let Some(irs) = said.irs else { return };
        let placed = Placed {
            segment,
            at: place(irs, said.most(), segment.seq),
            ack: place(said.own.isn, said.end, segment.ack),
        };
        let sure = sure && !said.reset;
        if segment.has(TcpFlags::RST) {
            said.heard_reset(now, placed, sure);
            said.challenges.provoked = true;
            return;
        }
        if segment.has(TcpFlags::SYN) {
            if sure && said.acked > 0 {
                said.owe_challenge(now, "a SYN");
            }
            said.challenges.provoked = true;
            return;
        }
        said.got.seen.add(placed.at, placed.at + segment.takes());
        let fit = said.fit(placed, timed, sure);
        let odd = fit != Fit::Good && segment.takes() == 0;
        said.challenges.provoked |= odd || !said.is_ours(placed);
        if sure && said.is_ours(placed) {
            said.owe_at_once(placed);
        }
        if fit == Fit::Bad {
            return;
        }
        let shift = said.shifts(theirs.as_ref()).1;
        said.hear_window(placed, fit, i64::from(segment.window) << shift);
        said.hear_recent(placed, fit);
        if ecn {
            said.hear_congestion(placed, fit);
        }
        said.take(now, placed, fit);
    }

    fn heard_syn(&mut self, segment: &Segment) {
        let offer = Offer::of(segment);
        self.syns.push(offer);
        let Some(said) = &mut self.said else { return };
        let answers = segment.has(TcpFlags::ACK) && segment.ack == said.own.isn + 1;
        if said.irs.is_some() {
            if answers && said.irs == Some(segment.seq) {
                said.una.perhaps = said.una.perhaps.max(1);
                said.una.edge = said.una.edge.max(1 + offer.window);
            }
            return;
        }
        if !segment.has(TcpFlags::ACK) {
            // The opens have crossed (RFC 9293 §3.5).
            said.open(&offer);
        } else if answers {
            said.una.surely = 1;
            said.una.perhaps = 1;
            said.open(&offer);
        }
    }
}

impl Said {
    /// Only a RST at RCV.NXT, or behind what waits out of order, or before a FIN may end the connection (RFC 5961 §3.2).
    fn heard_reset(&mut self, now: Instant, placed: Placed<'_>, sure: bool) {
        let at = placed.at;
        let exact = (self.least()..=self.most()).contains(&at)
            || self.got.seen.iter().any(|(_, end)| at == end)
            || self.got.fin == Some(at);
        if exact {
            self.reset = true;
        } else if sure && at > self.most() && at < self.edge {
            self.owe_challenge(now, "a RST that is not exact");
        }
    }

    fn owe_challenge(&mut self, now: Instant, what: &'static str) {
        // A tick more than the limit, so that nobody can think that it holds.
        let free = |last| now.since(last) > super::RATE_LIMIT + Duration::from_millis(2);
        if self.challenges.spent.is_none_or(free) && !self.challenges.provoked {
            self.owed.now = Some(what);
        }
    }

    /// Its ACK is one that this end may look at: not of what was never sent, nor far too old (RFC 5961 §5.2).
    fn is_ours(&self, placed: Placed<'_>) -> bool {
        placed.segment.has(TcpFlags::ACK)
            && placed.ack <= self.end
            && placed.ack >= self.una.perhaps - self.una.largest.min(self.una.surely)
    }

    fn fit(&self, placed: Placed<'_>, timed: bool, sure: bool) -> Fit {
        let Placed { segment, at, ack } = placed;
        let end = at + segment.takes();
        let far = at > self.edge + FAR || end < self.acked - FAR;
        let oldest = self.una.surely - self.una.largest - FAR;
        if !segment.has(TcpFlags::ACK) || ack > self.end || ack < oldest || far {
            return Fit::Bad;
        }
        let value = segment.options.timestamps.map(|ts| ts.val);
        let newest = |value: u32| {
            let older = |recent: &u32| value.wrapping_sub(*recent).cast_signed() < 0;
            !self.recents.iter().any(older)
        };
        let timely = !timed || value.is_some_and(newest);
        let ends_inside = at + segment.len <= self.edge && (at <= self.most() || end <= self.edge);
        let fits = sure
            && timely
            && self.is_ours(placed)
            && !segment.has(TcpFlags::URG)
            && end >= self.most()
            && at <= self.edge
            && ends_inside;
        if fits { Fit::Good } else { Fit::Perhaps }
    }

    /// SND.UNA and SND.WND. Every window that might count does.
    fn hear_window(&mut self, placed: Placed<'_>, fit: Fit, size: i64) {
        let ack = placed.ack;
        self.una.perhaps = self.una.perhaps.max(ack);
        if fit == Fit::Good {
            self.una.surely = self.una.surely.max(ack);
        }
        self.una.edge = self.una.edge.max(ack + size);
        self.una.largest = self.una.largest.max(size);
        self.una.shrunk |= ack + size < self.end;
    }

    /// TS.Recent (RFC 7323 §4.3).
    fn hear_recent(&mut self, placed: Placed<'_>, fit: Fit) {
        let Some(value) = placed.segment.options.timestamps.map(|ts| ts.val) else {
            return;
        };
        if placed.at <= self.most() && !self.recents.contains(&value) {
            self.recents.push(value);
        }
        if placed.at <= self.acked && fit == Fit::Good && placed.ack >= self.una.perhaps {
            self.recent = Some(value);
        }
    }

    /// Congestion is echoed from the first mark on new data until the peer says CWR (RFC 3168 §6.1.3).
    fn hear_congestion(&mut self, placed: Placed<'_>, fit: Fit) {
        let segment = placed.segment;
        if segment.has(TcpFlags::CWR) {
            self.echo.must = false;
            self.echo.must_soon = false;
            if fit == Fit::Good {
                self.echo.may_soon = false;
            }
        }
        if segment.met_congestion() && segment.len > 0 {
            self.echo.may = true;
            self.echo.may_soon = true;
            let new = placed.at + segment.len > self.most() && placed.at <= self.least();
            self.echo.must_soon |= new && fit == Fit::Good;
        }
    }

    /// Data that was seen before, and data behind a hole, are acknowledged at once.
    fn owe_at_once(&mut self, placed: Placed<'_>) {
        let Placed { segment, at, .. } = placed;
        let end = at + segment.takes();
        // What acknowledges its FIN may end the connection, and then there is nobody to answer.
        let over = self.ended && placed.ack >= self.end;
        if segment.takes() == 0 || over || self.got.fin.is_some_and(|fin| at > fin) {
            return;
        }
        if end <= self.least() {
            self.owed.now = Some("data that came before");
        } else if at > self.most() {
            self.owed.now = Some("data out of order");
        }
    }

    /// The octets.
    fn take(&mut self, now: Instant, placed: Placed<'_>, fit: Fit) {
        let Placed { segment, at, .. } = placed;
        let end = at + segment.takes();
        if at > self.most() && self.got.surely.count() > PIECES {
            return;
        }
        let before = self.least();
        self.got.perhaps.add(at.max(1), end);
        if fit == Fit::Good {
            self.got.surely.add(at.max(1), end);
            if segment.has(TcpFlags::FIN) {
                self.got.fin = Some(end - 1);
            }
        }
        if self.least() > before {
            self.got.longest = self.got.longest.max(segment.len);
            self.owed.due.get_or_insert(now + DELACK_MAX);
        }
    }
}
