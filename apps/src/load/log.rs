//! What a run has measured: histograms of latency from the intended and from the actual time of sending, and a
//! time series.

use core::time::Duration;

use hdrhistogram::Histogram;

/// The longest time that is told apart from longer ones.
const LONGEST: u64 = 3_600_000_000_000;
/// Significant digits of all histograms.
const DIGITS: u8 = 3;

/// A histogram of nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("valid bounds")
}

/// One stretch of the time series.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Stretch {
    /// Seconds from the start of the measurement to the stretch's end.
    pub at_s: f64,
    /// Its length in seconds.
    pub length_s: f64,
    /// Requests sent.
    pub sent: u64,
    /// Replies received.
    pub replies: u64,
    /// Bytes received, and of a sending stream those sent.
    pub bytes: u64,
    /// Median latency from the intended time, nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Longest.
    pub max_ns: u64,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// When it was meant to be sent, nanoseconds.
    pub intended: u64,
    /// When it was sent.
    pub sent: u64,
}

/// Everything that is measured between the end of the warm-up and the end of the run.
#[derive(Debug)]
pub struct Log {
    /// Latency from the intended time.
    pub corrected: Histogram<u64>,
    /// Latency from the time of sending.
    pub raw: Histogram<u64>,
    /// Time to connect.
    pub connect: Histogram<u64>,
    /// How late we ourselves turned to requests that were due.
    pub lag: Histogram<u64>,
    /// Requests that were due.
    pub offered: u64,
    /// Requests sent.
    pub sent: u64,
    /// Replies to requests that were due within the measurement.
    pub replies: u64,
    /// Replies that arrived within it.
    pub achieved: u64,
    /// Bytes received or streamed within it.
    pub bytes: u64,
    /// Requests that have no reply.
    pub unanswered: u64,
    /// Requests that could not even wait.
    pub shed: u64,
    /// Connections that the server ended between two requests and that were opened again.
    pub reopened: u64,
    /// The time series.
    pub series: Vec<Stretch>,
    /// The longest time within the measurement in which no reply came, nanoseconds.
    pub longest_silence: u64,
    last_reply: u64,
    now: Now,
}

/// The stretch under way.
#[derive(Debug)]
struct Now {
    since: u64,
    begin: u64,
    sent: u64,
    replies: u64,
    bytes: u64,
    latency: Histogram<u64>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            corrected: histogram(),
            raw: histogram(),
            connect: histogram(),
            lag: histogram(),
            offered: 0,
            sent: 0,
            replies: 0,
            achieved: 0,
            bytes: 0,
            unanswered: 0,
            shed: 0,
            reopened: 0,
            series: Vec::new(),
            longest_silence: 0,
            last_reply: 0,
            now: Now {
                since: 0,
                begin: 0,
                sent: 0,
                replies: 0,
                bytes: 0,
                latency: histogram(),
            },
        }
    }
}

impl Log {
    /// The measurement begins.
    pub fn begin(&mut self, now: u64) {
        self.last_reply = now;
        self.now.begin = now;
        self.now.since = now;
    }

    /// A request was sent.
    pub fn sent(&mut self) {
        self.sent += 1;
        self.now.sent += 1;
    }

    /// A reply to a request of the measurement has come.
    pub fn reply(&mut self, request: Request, now: u64) {
        let corrected = now.saturating_sub(request.intended).max(1);
        self.corrected.saturating_record(corrected);
        self.raw
            .saturating_record(now.saturating_sub(request.sent).max(1));
        self.now.latency.saturating_record(corrected);
        self.replies += 1;
    }

    /// A reply has come within the measurement.
    pub fn achieved(&mut self, now: u64) {
        self.achieved += 1;
        self.now.replies += 1;
        self.silence(now);
    }

    /// Until now there was no reply since the last one.
    pub fn silence(&mut self, now: u64) {
        let silent = now.saturating_sub(self.last_reply);
        self.longest_silence = self.longest_silence.max(silent);
        self.last_reply = self.last_reply.max(now);
    }

    /// Bytes were moved within the measurement.
    pub fn bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.now.bytes += bytes;
    }

    /// A request will have no reply: what it has waited is a lower bound, which keeps its place among the longest.
    pub fn unanswered(&mut self, intended: u64, sent: Option<u64>, now: u64) {
        self.unanswered += 1;
        self.corrected
            .saturating_record(now.saturating_sub(intended).max(1));
        if let Some(sent) = sent {
            self.raw.saturating_record(now.saturating_sub(sent).max(1));
        }
    }

    /// When the present stretch ends.
    pub fn stretch_end(&self, length: Duration) -> u64 {
        self.now.since + length.as_nanos() as u64
    }

    /// Ends the present stretch and begins the next.
    pub fn cut(&mut self, now: u64) {
        let part = &mut self.now;
        if now <= part.since {
            return;
        }
        self.series.push(Stretch {
            at_s: (now - part.begin) as f64 / 1e9,
            length_s: (now - part.since) as f64 / 1e9,
            sent: part.sent,
            replies: part.replies,
            bytes: part.bytes,
            p50_ns: part.latency.value_at_quantile(0.5),
            p99_ns: part.latency.value_at_quantile(0.99),
            max_ns: part.latency.max(),
        });
        (part.since, part.sent, part.replies, part.bytes) = (now, 0, 0, 0);
        part.latency.reset();
    }
}
