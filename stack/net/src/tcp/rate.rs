//! How fast data is delivered (draft-cheng-iccrg-delivery-rate-estimation; Linux `tcp_rate.c`). Each segment remembers
//! what had been delivered when it was sent; when it is delivered itself, the difference over the longer of the two times
//! that sending and acknowledging took is a sample.

use crate::core::Ctx;
use crate::tcp::recovery::records::{Marks, TxRecord};
use crate::tcp::sock::TcpSock;
use millrace_wire::seq::SeqNum;
use millrace_wire::time::Instant;

const MICROS_PER_SEC: u64 = 1_000_000;

/// A time in microseconds, of which differences count; 0 is none.
type Micros = u32;

fn micros(at: Instant) -> Micros {
    at.as_micros() as u32
}

/// What was known when a segment was sent.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Snapshot {
    /// When the segment delivered last was sent: the sample's sending begins there.
    first_tx: Micros,
    /// When it was delivered; 0: the segment gives no sample (a SYN).
    delivered_at: Micros,
    /// Segments delivered by then.
    delivered: u32,
}

/// A connection's part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    first_tx: Micros,
    delivered_at: Micros,
    /// Until so many are delivered the application is what limits the rate; 0 when it is not.
    app_limited: u32,
    /// The last sample: segments, their time, and whether the application was what limited it.
    delivered: u32,
    interval: Micros,
    limited: bool,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            first_tx: 0,
            delivered_at: 0,
            app_limited: u32::MAX,
            delivered: 0,
            interval: 0,
            limited: true,
        }
    }
}

/// The most recently sent of the segments that one ACK delivers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    prior: Snapshot,
    end: SeqNum,
    send_time: Micros,
    limited: bool,
}

impl Sample {
    /// Segments that had been delivered when the segment was sent.
    pub(crate) fn prior_delivered(&self) -> u32 {
        self.prior.delivered
    }
}

impl Rate {
    /// A segment goes out now. With nothing else in the network everything begins anew.
    #[inline]
    pub(crate) fn on_sent(
        &mut self,
        now: Instant,
        idle: bool,
        delivered: u32,
    ) -> (Snapshot, Marks) {
        if idle {
            self.first_tx = micros(now);
            self.delivered_at = self.first_tx;
        }
        let snapshot = Snapshot {
            first_tx: self.first_tx,
            delivered_at: self.delivered_at,
            delivered,
        };
        let limited = if self.app_limited == 0 {
            Marks::default()
        } else {
            Marks::APP_LIMITED
        };
        (snapshot, limited)
    }

    /// A segment is delivered. Of all that one ACK delivers, the one that was sent last makes the sample.
    #[inline]
    pub(crate) fn on_delivered(&mut self, sample: &mut Option<Sample>, record: &TxRecord) {
        let prior = record.snapshot;
        if prior.delivered_at == 0 {
            return;
        }
        let sent = micros(record.sent_at);
        let newer = sample.is_none_or(|found| {
            let later = sent.wrapping_sub(self.first_tx) as i32;
            found.prior.delivered == 0 || later > 0 || later == 0 && record.end.after(found.end)
        });
        if newer {
            self.first_tx = sent;
            *sample = Some(Sample {
                prior,
                end: record.end,
                send_time: sent.wrapping_sub(prior.first_tx),
                limited: record.marks.contains(Marks::APP_LIMITED),
            });
        }
    }

    /// An ACK has been taken in, by which `total` segments are delivered; `min_rtt` in microseconds.
    #[inline]
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        total: u32,
        sample: Option<Sample>,
        min_rtt: u32,
    ) {
        if self.app_limited != 0 && (total.wrapping_sub(self.app_limited) as i32) > 0 {
            self.app_limited = 0;
        }
        let now = micros(now);
        self.delivered_at = now;
        let Some(sample) = sample else {
            return;
        };
        let delivered = total.wrapping_sub(sample.prior.delivered);
        let interval = sample
            .send_time
            .max(now.wrapping_sub(sample.prior.delivered_at));
        // Faster than the path can be: an ACK of the original of what was sent again.
        if interval < min_rtt {
            return;
        }
        // The last one that the network limited, or the best that the application did.
        let better = |delivered: u32, interval: Micros| {
            u64::from(delivered) * u64::from(self.interval)
                >= u64::from(self.delivered) * u64::from(interval)
        };
        if !sample.limited || better(delivered, interval) {
            self.delivered = delivered;
            self.interval = interval;
            self.limited = sample.limited;
        }
    }

    /// Octets per second, for segments of `mss`; 0 without a sample.
    pub(crate) fn octets_per_second(&self, mss: u16) -> u64 {
        (u64::from(self.delivered) * u64::from(mss) * MICROS_PER_SEC)
            .checked_div(u64::from(self.interval))
            .unwrap_or(0)
    }

    /// The application was what limited the sample.
    pub(crate) fn is_app_limited(&self) -> bool {
        self.limited
    }
}

/// The application sends: if all that it gave before is in the network, and more would fit, it is what limits the rate
/// (Linux `tcp_rate_check_app_limited`).
#[inline]
pub(crate) fn check_app_limited(sk: &mut TcpSock) {
    let unsent = sk.end_of_queue().bytes_since(sk.tx.snd_nxt) as i32;
    let in_flight = sk.in_flight();
    if unsent < i32::from(sk.tx.mss_cache)
        && in_flight < sk.tx.snd_cwnd
        && sk.records.lost() <= sk.records.retrans()
    {
        let limit = sk.warm.counts.delivered.wrapping_add(in_flight);
        sk.warm.rate.app_limited = limit.max(1);
    }
}

/// A copy of record `index` goes out now.
pub(crate) fn sent_again(sk: &mut TcpSock, ctx: &Ctx, index: usize) {
    let delivered = sk.warm.counts.delivered;
    let (snapshot, limited) = sk.warm.rate.on_sent(ctx.now, false, delivered);
    sk.records.set_snapshot(index, snapshot, limited);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(MS * (1000 + ms))
    }

    fn record(rate: &mut Rate, ms: u64, idle: bool, delivered: u32, end: u32) -> TxRecord {
        let (snapshot, marks) = rate.on_sent(at(ms), idle, delivered);
        TxRecord {
            seq: SeqNum::new(end - 1000),
            end: SeqNum::new(end),
            sent_at: at(ms),
            snapshot,
            marks,
        }
    }

    #[test]
    fn ten_segments_in_a_round_trip() {
        let mut rate = Rate::default();
        let first = record(&mut rate, 0, true, 1, 1000);
        let mut sample = None;
        rate.on_delivered(&mut sample, &first);
        rate.on_ack(at(10), 2, sample, 10_000);
        assert_eq!(rate.octets_per_second(1000), 100_000);
        let train: Vec<TxRecord> = (2..12)
            .map(|n| record(&mut rate, 10, n == 2, 2, n * 1000))
            .collect();
        let mut sample = None;
        train
            .iter()
            .for_each(|one| rate.on_delivered(&mut sample, one));
        rate.on_ack(at(20), 12, sample, 10_000);
        assert_eq!(rate.octets_per_second(1000), 1_000_000);
        assert!(!rate.is_app_limited(), "the first ACK ended that");
    }

    #[test]
    fn a_slower_sample_that_the_application_limited_does_not_count() {
        let mut rate = Rate::default();
        let fast = record(&mut rate, 0, true, 0, 1000);
        let mut sample = None;
        rate.on_delivered(&mut sample, &fast);
        rate.on_ack(at(10), 1, sample, 1000);
        rate.app_limited = 5;
        let slow = record(&mut rate, 10, true, 1, 2000);
        let mut sample = None;
        rate.on_delivered(&mut sample, &slow);
        rate.on_ack(at(110), 2, sample, 1000);
        assert_eq!(rate.octets_per_second(1000), 100_000, "as before");
        rate.app_limited = 0;
        let free = record(&mut rate, 110, true, 2, 3000);
        let mut sample = None;
        rate.on_delivered(&mut sample, &free);
        rate.on_ack(at(210), 3, sample, 1000);
        assert_eq!(rate.octets_per_second(1000), 10_000, "the network's");
    }

    #[test]
    fn an_ack_faster_than_the_path_is_no_sample() {
        let mut rate = Rate::default();
        let one = record(&mut rate, 0, true, 0, 1000);
        let mut sample = None;
        rate.on_delivered(&mut sample, &one);
        rate.on_ack(at(1), 1, sample, 5000);
        assert_eq!(rate.octets_per_second(1000), 0);
    }
}
