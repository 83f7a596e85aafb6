//! The SYN-ACK of a request mini-socket: its fields, when it goes out again, and when it is given up (Linux
//! `tcp_make_synack`, `reqsk_timer_handler`, `syn_ack_recalc`), TCP_DEFER_ACCEPT included.

use crate::core::{Ctx, Stack};
use crate::dst::Dst;
use crate::ids::SockId;
use crate::qdisc::Ctl;
use crate::stats::Counter;
use crate::tcp::HEADERS;
use crate::tcp::input::ecn;
use crate::tcp::md5;
use crate::tcp::sock::cold::Options;
use crate::tcp::sock::listen::Listen;
use crate::tcp::sock::request::Request;
use crate::wheel::TimerEntry;
use core::time::Duration;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{FastOpen, Timestamps, write_syn};

/// RTO of the first SYN-ACK (Linux `TCP_TIMEOUT_INIT`).
pub(crate) const SYNACK_RTO: Duration = Duration::from_secs(1);
/// A queue of at most this many handshakes is never pruned, whatever the backlog.
const NEVER_PRUNED: u32 = 8;
/// Pruning leaves a SYN-ACK at least this many retransmissions.
const LEAST_RETRIES: u32 = 2;

/// The SYN-ACK of a request; `grant` is a Fast Open cookie for the peer.
pub(crate) fn build(
    ctx: &Ctx,
    req: &Request,
    opts: &Options,
    dst: Dst,
    tsval: u32,
    grant: Option<FastOpen>,
) -> Ctl {
    let ts = req.ts_ok.then_some(Timestamps {
        val: tsval,
        ecr: req.ts_recent,
    });
    let mss = dst
        .mtu
        .saturating_sub(HEADERS)
        .min(opts.user_mss.unwrap_or(u16::MAX));
    let wscale = req.wscale_ok.then_some(req.rcv_wscale);
    let mut options = write_syn(Some(mss), wscale, req.sack_ok, ts);
    if let Some(grant) = grant {
        options.fast_open(&grant);
    }
    Ctl {
        tuple: req.tuple,
        seq: req.iss,
        ack: req.irs + 1,
        flags: TcpFlags::SYN | TcpFlags::ACK | ecn::syn_ack_flags(req.ecn_ok),
        window: req.rcv_wnd.min(u32::from(u16::MAX)) as u16,
        urgent: 0,
        options,
        dst,
        tos: req.tos,
        ttl: opts.ttl.unwrap_or(ctx.sysctl.ip_default_ttl as u8),
        id: opts
            .mtu_discover
            .may_fragment()
            .then_some(req.ts_offset as u16),
    }
}

/// The round-trip time of a handshake by the timestamp that the third ACK echoes, where Karn's rule forbids another
/// measure; ms resolution.
pub(crate) fn echoed_rtt(ctx: &Ctx, req: &Request, ts: Option<Timestamps>) -> Option<Duration> {
    let ecr = ts.filter(|t| req.ts_ok && t.ecr != 0)?.ecr;
    let delta = ctx.ts_now(req.ts_offset).wrapping_sub(ecr);
    (delta < 1 << 20).then(|| Duration::from_millis(u64::from(delta.max(1))))
}

/// How long to wait for the answer to the next SYN-ACK.
fn timeout(req: &Request, ctx: &Ctx) -> Duration {
    let most = Duration::from_millis(u64::from(ctx.sysctl.tcp_rto_max_ms));
    (SYNACK_RTO * (1 << u32::from(req.timeouts).min(16))).min(most)
}

/// Half of the queue is for young handshakes: when it fills with old ones, these are given up the sooner, the more
/// they are.
fn retries(listen: &Listen, configured: u32) -> u32 {
    let len = listen.requests;
    let mut retries = configured;
    if len.saturating_mul(2) <= listen.backlog.max(NEVER_PRUNED) {
        return retries;
    }
    let mut young = listen.young.saturating_mul(2);
    while retries > LEAST_RETRIES && len >= young {
        retries -= 1;
        young = young.saturating_mul(2);
    }
    retries
}

/// What a time-out means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Verdict {
    expire: bool,
    resend: bool,
}

/// `defer` is TCP_DEFER_ACCEPT in time-outs; a handshake that only waits for data is not disturbed before the end.
fn judge(req: &Request, retries: u32, defer: u8) -> Verdict {
    let timeouts = u32::from(req.timeouts);
    let over = timeouts >= retries;
    if defer == 0 {
        return Verdict {
            expire: over,
            resend: true,
        };
    }
    Verdict {
        expire: over && (!req.acked || timeouts >= u32::from(defer)),
        resend: !req.acked || timeouts >= u32::from(defer) - 1,
    }
}

/// TCP_DEFER_ACCEPT in seconds to time-outs of the SYN-ACK, rounded up (Linux `secs_to_retrans`).
pub(crate) fn seconds_to_timeouts(seconds: u32, rto_max_secs: u32) -> u8 {
    if seconds == 0 {
        return 0;
    }
    let (mut timeout, mut period, mut count) = (1u32, 1u32, 1u8);
    while seconds > period && count < u8::MAX {
        count += 1;
        timeout = (timeout * 2).min(rto_max_secs);
        period = period.saturating_add(timeout);
    }
    count
}

/// And back (Linux `retrans_to_secs`).
pub(crate) fn timeouts_to_seconds(timeouts: u8, rto_max_secs: u32) -> u32 {
    let (mut timeout, mut period) = (1u32, 0u32);
    for _ in 0..timeouts {
        period = period.saturating_add(timeout);
        timeout = (timeout * 2).min(rto_max_secs);
    }
    period
}

impl Stack {
    /// Sends the SYN-ACK of a request, first time or again. False when there is no way to the peer.
    pub(crate) fn send_syn_ack(
        &mut self,
        id: SockId,
        dst: Option<Dst>,
        grant: Option<FastOpen>,
    ) -> bool {
        let req = self.socks.requests.get(id);
        let key = req.and_then(|req| self.socks.reply_key(&req.tuple, req.hash));
        let key = key.cloned();
        let Some(req) = self.socks.requests.get_mut(id) else {
            return false;
        };
        let route = || self.ctx.route(req.tuple.remote, Some(req.tuple.local));
        let Some(sk) = self.socks.tcp.get(req.listener) else {
            return false;
        };
        let Some(dst) = dst.or_else(route) else {
            return false;
        };
        let tsval = self.ctx.ts_now(req.ts_offset);
        if req.timeouts == 0 && req.retransmits == 0 {
            req.tsval_first = tsval;
        }
        req.tsval_last = tsval;
        let mut ctl = build(&self.ctx, req, &sk.cold.opts, dst, tsval, grant);
        if let Some(key) = key {
            md5::sign(&mut ctl, &key);
        }
        self.ctx.push_ctl(ctl);
        true
    }

    /// The same for the second and later times (Linux `tcp_rtx_synack`).
    fn retransmit_syn_ack(&mut self, id: SockId) -> bool {
        if let Some(req) = self.socks.requests.get_mut(id) {
            req.retransmits = req.retransmits.saturating_add(1);
        }
        let sent = self.send_syn_ack(id, None, None);
        if sent {
            self.ctx.mib.inc(Counter::TcpRetransSegs);
            self.ctx.mib.inc(Counter::TcpExtTCPSynRetrans);
        }
        sent
    }

    /// The peer asks for it: its SYN came again. The wait starts anew.
    pub(crate) fn repeat_syn_ack(&mut self, id: SockId) {
        if !self.retransmit_syn_ack(id) {
            return;
        }
        if let Some(req) = self.socks.requests.get_mut(id) {
            req.deadline = self.ctx.now + timeout(req, &self.ctx);
            self.ctx.wheel.arm(&mut req.wheel, id, req.deadline);
        }
    }

    /// A SYN-ACK was not answered in time.
    pub(crate) fn request_timeout(&mut self, id: SockId) {
        let Some(req) = self.socks.requests.get_mut(id) else {
            return;
        };
        req.wheel = TimerEntry::default();
        if req.deadline > self.ctx.now {
            self.ctx.wheel.arm(&mut req.wheel, id, req.deadline);
            return;
        }
        let Some(verdict) = self.judge_request(id) else {
            self.drop_request(id);
            return;
        };
        self.ctx.mib.inc(Counter::TcpExtTCPTimeouts);
        if !verdict.expire && (!verdict.resend || self.retransmit_syn_ack(id) || self.is_acked(id))
        {
            self.wait_longer(id);
        } else if !mutant!("request_leaks") {
            self.drop_request(id);
        }
    }

    fn judge_request(&self, id: SockId) -> Option<Verdict> {
        let req = self.socks.requests.get(id)?;
        let sk = self.socks.tcp.get(req.listener)?;
        let listen = sk.cold.listen.as_ref()?;
        let opts = &sk.cold.opts;
        let configured = opts.syncnt.unwrap_or(self.ctx.sysctl.tcp_synack_retries);
        let retries = retries(listen, configured);
        Some(judge(req, retries, opts.defer_accept))
    }

    fn is_acked(&self, id: SockId) -> bool {
        self.socks.requests.get(id).is_some_and(|r| r.acked)
    }

    fn wait_longer(&mut self, id: SockId) {
        let Some(req) = self.socks.requests.get_mut(id) else {
            return;
        };
        let was_young = req.timeouts == 0;
        req.timeouts = req.timeouts.saturating_add(1);
        req.deadline = self.ctx.now + timeout(req, &self.ctx);
        self.ctx.wheel.arm(&mut req.wheel, id, req.deadline);
        let sk = self.socks.tcp.get_mut(req.listener);
        if let Some(listen) = sk.and_then(|sk| sk.cold.listen.as_mut())
            && was_young
        {
            listen.young = listen.young.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deferring_is_counted_in_time_outs() {
        // 1, 1+2, 1+2+4, … seconds: rounded up, and read back as what it became.
        let steps = [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 3),
            (7, 3),
            (8, 4),
            (100, 7),
        ];
        for (seconds, timeouts) in steps {
            assert_eq!(seconds_to_timeouts(seconds, 120), timeouts, "{seconds} s");
        }
        let back = [(0, 0), (1, 1), (2, 3), (3, 7), (7, 127), (8, 247), (9, 367)];
        for (timeouts, seconds) in back {
            assert_eq!(timeouts_to_seconds(timeouts, 120), seconds, "{timeouts}");
        }
        assert_eq!(seconds_to_timeouts(u32::MAX, 120), u8::MAX);
    }

    #[test]
    fn old_handshakes_make_room_for_young_ones() {
        let listen = |backlog, requests, young| Listen {
            backlog,
            requests,
            young,
            ..Listen::default()
        };
        assert_eq!(retries(&listen(100, 50, 0), 5), 5, "half full");
        assert_eq!(retries(&listen(100, 51, 51), 5), 5, "all young");
        assert_eq!(retries(&listen(100, 60, 20), 5), 4);
        assert_eq!(retries(&listen(100, 60, 10), 5), 3);
        assert_eq!(retries(&listen(100, 60, 0), 5), 2, "hardly any is young");
        assert_eq!(
            retries(&listen(0, 4, 0), 5),
            5,
            "a short queue is left alone"
        );
        assert_eq!(retries(&listen(0, 5, 0), 5), 2);
        assert_eq!(retries(&listen(0, 5, 0), 1), 1, "fewer stay fewer");
    }
}
