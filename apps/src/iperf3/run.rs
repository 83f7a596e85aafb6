//! What is counted while data flows: octets of each stream, by interval and in all, with the first seconds left out if that is
//! wanted. Time comes from outside.

use core::time::Duration;

use millrace::Instant;
use millrace::net::TcpInfo;

use super::params::{End, Params, Way};
use super::results::StreamResult;

/// Which end this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The server.
    Server,
    /// The client.
    Client,
}

/// What this end does on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Sends.
    Sends,
    /// Receives.
    Receives,
}

/// This end's part on the stream that was opened as the `place`th.
pub fn part(params: &Params, role: Role, place: usize) -> Part {
    let client_sends = match params.way {
        Way::Forward => true,
        Way::Reverse => false,
        Way::Both => (place as u64) < params.streams,
    };
    match (client_sends, role) {
        (true, Role::Client) | (false, Role::Server) => Part::Sends,
        _ => Part::Receives,
    }
}

/// What TCP says of a sender.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Tcp {
    /// Segments sent again, in the time that is told of.
    pub retransmits: u64,
    /// Congestion window, octets.
    pub cwnd: u64,
    /// The peer's window, octets.
    pub wnd: u64,
    /// Round-trip time, µs.
    pub rtt: u64,
    /// Its deviation, µs.
    pub rttvar: u64,
    /// Path MTU.
    pub pmtu: u64,
}

/// The largest and the usual of what TCP said at the ends of intervals.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Extremes {
    /// Largest congestion window, octets.
    pub max_cwnd: u64,
    /// Largest window of the peer, octets.
    pub max_wnd: u64,
    /// Round-trip times, µs.
    pub max_rtt: u64,
    /// The least.
    pub min_rtt: u64,
    /// Their sum.
    pub sum_rtt: u64,
    /// How many were seen.
    pub seen: u64,
}

impl Extremes {
    fn see(&mut self, tcp: &Tcp) {
        self.max_cwnd = self.max_cwnd.max(tcp.cwnd);
        self.max_wnd = self.max_wnd.max(tcp.wnd);
        self.max_rtt = self.max_rtt.max(tcp.rtt);
        self.min_rtt = match self.seen {
            0 => tcp.rtt,
            _ => self.min_rtt.min(tcp.rtt),
        };
        self.sum_rtt += tcp.rtt;
        self.seen += 1;
    }

    /// The mean round-trip time, µs.
    pub fn mean_rtt(&self) -> u64 {
        self.sum_rtt / self.seen.max(1)
    }
}

/// A stream's counts.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// What this end does.
    pub part: Part,
    /// Octets in all, without those left out.
    pub bytes: u64,
    /// Octets of the present interval.
    interval: u64,
    /// Segments that had been sent again when the counting began, and at the end of the last interval.
    retrans: (u64, u64),
    /// Segments sent again in all.
    pub retransmits: u64,
    /// What TCP said.
    pub extremes: Extremes,
}

/// A line of an interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    /// What this end does.
    pub part: Part,
    /// Octets.
    pub bytes: u64,
    /// For a sender.
    pub tcp: Option<Tcp>,
}

/// An interval of all streams.
#[derive(Clone, PartialEq, Debug)]
pub struct Interval {
    /// Seconds from the start.
    pub start: f64,
    /// To here.
    pub end: f64,
    /// It is left out of the sums.
    pub omitted: bool,
    /// One for each stream.
    pub rows: Vec<Row>,
}

impl Interval {
    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }

    /// The rows of one part together; `None` where there are none.
    pub fn sum(&self, part: Part) -> Option<Row> {
        sum(self.rows.iter().filter(|row| row.part == part).copied())
    }
}

fn sum(rows: impl Iterator<Item = Row>) -> Option<Row> {
    rows.reduce(|mut all, row| {
        all.bytes += row.bytes;
        if let (Some(all), Some(tcp)) = (&mut all.tcp, row.tcp) {
            all.retransmits += tcp.retransmits;
        }
        all
    })
}

/// A test under way.
#[derive(Debug)]
pub struct Run {
    role: Role,
    end: End,
    block: u64,
    /// Where the sums begin, if the start is left out still.
    omit: Option<Instant>,
    /// When the sums, or the part that is left out, began.
    since: Instant,
    /// When the present interval began.
    interval: Instant,
    every: Option<Duration>,
    streams: Vec<Counted>,
    /// Seconds of the sums, once it is over.
    seconds: Option<f64>,
}

impl Run {
    /// Begins now. `tcp` tells of a stream.
    pub fn new(
        params: &Params,
        role: Role,
        every: Option<Duration>,
        now: Instant,
        tcp: &mut dyn FnMut(usize) -> Option<TcpInfo>,
    ) -> Self {
        let counted = |place| {
            let before = tcp(place).map_or(0, |info| u64::from(info.total_retrans));
            Counted {
                part: part(params, role, place),
                bytes: 0,
                interval: 0,
                retrans: (before, before),
                retransmits: 0,
                extremes: Extremes::default(),
            }
        };
        Self {
            role,
            end: params.end,
            block: params.block.max(1) as u64,
            omit: (!params.omit.is_zero()).then(|| now + params.omit),
            since: now,
            interval: now,
            every,
            streams: (0..params.all_streams()).map(counted).collect(),
            seconds: None,
        }
    }

    /// Octets were sent or received. None counts after the end.
    pub fn count(&mut self, place: usize, bytes: usize) {
        if self.seconds.is_none()
            && let Some(stream) = self.streams.get_mut(place)
        {
            stream.bytes += bytes as u64;
            stream.interval += bytes as u64;
        }
    }

    /// The streams.
    pub fn streams(&self) -> &[Counted] {
        &self.streams
    }

    /// Whether the first seconds are over.
    pub fn is_measuring(&self) -> bool {
        self.omit.is_none()
    }

    /// Octets on all streams on which this end does `part`.
    pub fn bytes(&self, part: Part) -> u64 {
        let some = self.streams.iter().filter(|stream| stream.part == part);
        some.map(|stream| stream.bytes).sum()
    }

    /// Whether the client ends it now.
    pub fn is_over(&self, now: Instant) -> bool {
        let most = self.bytes(Part::Sends).max(self.bytes(Part::Receives));
        self.is_measuring()
            && match self.end {
                End::Time(time) => now >= self.since + time,
                End::Bytes(bytes) => most >= bytes,
                End::Blocks(blocks) => most / self.block >= blocks,
            }
    }

    /// Octets that may still be sent, where a number was asked for.
    pub fn left(&self) -> Option<u64> {
        let goal = match self.end {
            End::Time(_) => return None,
            End::Bytes(bytes) => bytes,
            End::Blocks(blocks) => blocks.saturating_mul(self.block),
        };
        self.is_measuring()
            .then(|| goal.saturating_sub(self.bytes(Part::Sends)))
    }

    /// When [`Run::tick`] or [`Run::is_over`] has something new to say.
    pub fn next_deadline(&self) -> Option<Instant> {
        let end = match self.end {
            // The server is told.
            End::Time(time) if self.is_measuring() && self.role == Role::Client => {
                Some(self.since + time)
            }
            _ => None,
        };
        let interval = self.every.map(|every| self.interval + every);
        [end, self.omit, interval].into_iter().flatten().min()
    }

    /// When it should be over at the latest.
    pub fn expected_end(&self) -> Option<Instant> {
        match self.end {
            End::Time(time) => Some(self.omit.unwrap_or(self.since) + time),
            End::Bytes(_) | End::Blocks(_) => None,
        }
    }

    /// An interval that has ended, if one has.
    pub fn tick(
        &mut self,
        now: Instant,
        tcp: &mut dyn FnMut(usize) -> Option<TcpInfo>,
    ) -> Option<Interval> {
        if self.seconds.is_some() {
            return None;
        }
        if self.omit.is_some_and(|end| end <= now) {
            let interval = self.close(now, tcp);
            self.omit = None;
            self.since = now;
            for stream in &mut self.streams {
                stream.bytes = 0;
                stream.retransmits = 0;
                stream.extremes = Extremes::default();
                stream.retrans.0 = stream.retrans.1;
            }
            return Some(interval);
        }
        let due = self.every.is_some_and(|every| self.interval + every <= now);
        due.then(|| self.close(now, tcp))
    }

    /// The end. Gives the last interval, unless it is short and nothing happened in it.
    pub fn finish(
        &mut self,
        now: Instant,
        tcp: &mut dyn FnMut(usize) -> Option<TcpInfo>,
    ) -> Option<Interval> {
        if self.seconds.is_some() {
            return None;
        }
        let passed = now.since(self.interval);
        let last = self.close(now, tcp);
        self.seconds = Some(now.since(self.since).as_secs_f64());
        let tiny = self.every.is_some_and(|every| passed < every / 10);
        let empty = last.rows.iter().all(|row| row.bytes == 0);
        (!(tiny && empty)).then_some(last)
    }

    fn close(&mut self, now: Instant, tcp: &mut dyn FnMut(usize) -> Option<TcpInfo>) -> Interval {
        let rows = self.streams.iter_mut().enumerate().map(|(place, stream)| {
            let told = match stream.part {
                Part::Sends => tcp(place).map(|info| stream.sender(&info)),
                Part::Receives => None,
            };
            Row {
                part: stream.part,
                bytes: core::mem::take(&mut stream.interval),
                tcp: told,
            }
        });
        let interval = Interval {
            start: self.interval.since(self.since).as_secs_f64(),
            end: now.since(self.since).as_secs_f64(),
            omitted: self.omit.is_some(),
            rows: rows.collect(),
        };
        self.interval = now;
        interval
    }

    /// Seconds of the sums.
    pub fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(0.0)
    }

    /// What is told to the peer.
    pub fn results(&self) -> Vec<StreamResult> {
        let told = self
            .streams
            .iter()
            .enumerate()
            .map(|(place, stream)| StreamResult {
                id: super::results::stream_id(place),
                bytes: stream.bytes,
                retransmits: (stream.part == Part::Sends).then_some(stream.retransmits),
                seconds: self.seconds(),
            });
        told.collect()
    }
}

impl Counted {
    /// Takes in what TCP says at the end of an interval.
    fn sender(&mut self, info: &TcpInfo) -> Tcp {
        let total = u64::from(info.total_retrans);
        let tcp = Tcp {
            retransmits: total.saturating_sub(self.retrans.1),
            cwnd: u64::from(info.snd_cwnd) * u64::from(info.snd_mss),
            wnd: u64::from(info.snd_wnd),
            rtt: u64::from(info.rtt),
            rttvar: u64::from(info.rttvar),
            pmtu: u64::from(info.pmtu),
        };
        self.retrans.1 = total;
        self.retransmits = total.saturating_sub(self.retrans.0);
        self.extremes.see(&tcp);
        tcp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn retrans(count: u32) -> impl FnMut(usize) -> Option<TcpInfo> {
        move |_| {
            Some(TcpInfo {
                total_retrans: count,
                snd_cwnd: 10,
                snd_mss: 1448,
                rtt: count,
                ..TcpInfo::default()
            })
        }
    }

    #[test]
    fn parts_of_both_ends() {
        let both = Params {
            way: Way::Both,
            streams: 2,
            ..Params::default()
        };
        let parts = |role| {
            (0..4)
                .map(|place| part(&both, role, place))
                .collect::<Vec<_>>()
        };
        use Part::{Receives, Sends};
        assert_eq!(parts(Role::Client), [Sends, Sends, Receives, Receives]);
        assert_eq!(parts(Role::Server), [Receives, Receives, Sends, Sends]);
    }

    #[test]
    fn the_first_second_is_left_out() {
        let params = Params {
            omit: SECOND,
            end: End::Time(2 * SECOND),
            ..Params::default()
        };
        let mut run = Run::new(&params, Role::Client, Some(SECOND), at(0), &mut retrans(3));
        run.count(0, 1000);
        assert_eq!(run.tick(at(999), &mut retrans(4)), None);
        let first = run.tick(at(1000), &mut retrans(5)).expect("an interval");
        assert!(first.omitted && first.rows[0].bytes == 1000);
        assert_eq!(first.rows[0].tcp.map(|tcp| tcp.retransmits), Some(2));
        run.count(0, 10);
        let second = run.tick(at(2000), &mut retrans(6)).expect("an interval");
        assert_eq!(
            (second.start, second.end, second.omitted),
            (0.0, 1.0, false)
        );
        assert!(!run.is_over(at(2999)) && run.is_over(at(3000)));
        assert_eq!(run.next_deadline(), Some(at(3000)));
        run.count(0, 5);
        let last = run.finish(at(3000), &mut retrans(9)).expect("the last");
        assert_eq!(last.rows[0].bytes, 5);
        run.count(0, 1_000_000);
        let told = run.results();
        assert_eq!((told[0].bytes, told[0].seconds), (15, 2.0));
        assert_eq!(told[0].retransmits, Some(4));
        assert_eq!(run.streams()[0].extremes.max_cwnd, 14_480);
        assert_eq!(run.streams()[0].extremes.mean_rtt(), 7);
        assert_eq!(run.finish(at(4000), &mut retrans(9)), None);
    }

    #[test]
    fn numbers_end_it_too() {
        let mut params = Params {
            end: End::Bytes(300),
            block: 100,
            streams: 2,
            ..Params::default()
        };
        let run = |params: &Params| Run::new(params, Role::Client, None, at(0), &mut |_| None);
        let mut bytes = run(&params);
        bytes.count(0, 200);
        assert_eq!((bytes.left(), bytes.is_over(at(0))), (Some(100), false));
        bytes.count(1, 150);
        assert_eq!((bytes.left(), bytes.is_over(at(0))), (Some(0), true));
        assert_eq!(bytes.next_deadline(), None);
        params.end = End::Blocks(3);
        let mut blocks = run(&params);
        blocks.count(0, 299);
        assert!(!blocks.is_over(at(0)));
        blocks.count(0, 1);
        assert!(blocks.is_over(at(0)));
    }

    /// A deadline that has passed and is no server's to keep would let it spin.
    #[test]
    fn the_server_waits_to_be_told() {
        let params = Params {
            end: End::Time(SECOND),
            ..Params::default()
        };
        let server = Run::new(&params, Role::Server, None, at(0), &mut |_| None);
        assert_eq!(server.next_deadline(), None);
        assert_eq!(server.expected_end(), Some(at(1000)));
    }

    #[test]
    fn a_short_empty_rest_is_no_interval() {
        let params = Params::default();
        let begin = || Run::new(&params, Role::Server, Some(SECOND), at(0), &mut |_| None);
        assert_eq!(begin().finish(at(50), &mut |_| None), None);
        let mut some = begin();
        some.count(0, 1);
        assert!(some.finish(at(50), &mut |_| None).is_some());
        assert!(begin().finish(at(150), &mut |_| None).is_some());
    }
}
