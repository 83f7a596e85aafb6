//! Segments for a request mini-socket: the third ACK makes the full socket (Linux `tcp_check_req`,
//! `tcp_create_openreq_child`).

use crate::core::{Reply, Stack};
use crate::drop::DropReason;
use crate::ids::SockId;
use crate::stats::Counter;
use crate::tcp::conn::active;
use crate::tcp::input::Fate;
use crate::tcp::input::validate::may_always_answer;
use crate::tcp::md5;
use crate::tcp::output;
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::cold::{Cold, PortOrigin};
use crate::tcp::sock::hot::{EcnFlags, Features};
use crate::tcp::sock::request::Request;
use crate::tcp::sock::{Rings, TcpSock};
use crate::tcp::stamps;
use crate::tcp::state::{TcpState, set_state};
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{Timestamps, write_established};

/// What a segment means for a handshake in progress.
enum Check {
    Drop(DropReason),
    /// Answer with the SYN-ACK again.
    SynAck,
    /// Answer with an ACK of where we are.
    Ack(DropReason),
    /// Answer with a RST; the request stays.
    Reset(DropReason),
    /// The request ends, with a RST or without.
    Embryonic(Option<DropReason>),
    /// The handshake is complete.
    Complete,
}

impl Stack {
    pub(crate) fn request_input(
        &mut self,
        id: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
    ) -> Fate {
        let options = seg.parse_options(payload);
        let Some(listener) = self.socks.requests.get(id).map(|req| req.listener) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        if let Err(reason) = self.md5_listener(listener, seg, payload) {
            return Fate::Dropped(reason);
        }
        let Some(req) = self.socks.requests.get_mut(id) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        match check(req, seg, options.timestamps) {
            Check::Drop(reason) => Fate::Dropped(reason),
            Check::Reset(reason) => Fate::Reset(reason),
            Check::SynAck => self.syn_again(id),
            Check::Ack(reason) => self.request_ack(id, seg, reason),
            Check::Embryonic(reset) => {
                self.ctx.mib.inc(Counter::TcpExtEmbryonicRsts);
                self.ctx.mib.inc(Counter::TcpAttemptFails);
                self.drop_request(id);
                reset.map_or(Fate::Taken, Fate::Reset)
            }
            Check::Complete => self.complete(id, seg, payload),
        }
    }

    fn is_request_limited(&mut self, id: SockId) -> bool {
        let now = self.ctx.now.as_millis().max(1);
        let limit = u64::from(self.ctx.sysctl.tcp_invalid_ratelimit);
        let Some(req) = self.socks.requests.get_mut(id) else {
            return true;
        };
        if req.last_oow_ack != 0 && now.saturating_sub(req.last_oow_ack) < limit {
            self.ctx.mib.inc(Counter::TcpExtTCPACKSkippedSynRecv);
            return true;
        }
        req.last_oow_ack = now;
        false
    }

    /// The SYN came again: our SYN-ACK was lost.
    fn syn_again(&mut self, id: SockId) -> Fate {
        if !self.is_request_limited(id) {
            if let Some(req) = self.socks.requests.get_mut(id) {
                req.retransmits = req.retransmits.saturating_add(1);
            }
            self.ctx.mib.inc(Counter::TcpRetransSegs);
            self.ctx.mib.inc(Counter::TcpExtTCPSynRetrans);
            self.send_syn_ack(id, None);
        }
        Fate::Taken
    }

    fn request_ack(&mut self, id: SockId, seg: &Segment, reason: DropReason) -> Fate {
        if (may_always_answer(seg) || !self.is_request_limited(id))
            && let Some(req) = self.socks.requests.get(id)
        {
            let ts = req.ts_ok.then(|| Timestamps {
                val: self.ctx.ts_now(req.ts_offset),
                ecr: req.ts_recent,
            });
            let shift = if req.wscale_ok { req.rcv_wscale } else { 0 };
            let reply = Reply {
                seq: req.iss + 1,
                ack: Some(req.irs + 1),
                flags: TcpFlags::ACK,
                window: (req.rcv_wnd >> shift).min(u32::from(u16::MAX)) as u16,
                options: write_established(ts, &[]),
                tos: req.tos,
            };
            self.reply(req.tuple, &reply);
        }
        Fate::Dropped(reason)
    }

    /// The third ACK: a full socket takes the request's place, and gets the segment.
    fn complete(&mut self, id: SockId, seg: &Segment, payload: &Payload<'_, '_>) -> Fate {
        let Some(req) = self.socks.requests.get(id) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        let Some(listen) = self
            .socks
            .tcp
            .get(req.listener)
            .and_then(|sk| sk.cold.listen.as_ref())
        else {
            self.drop_request(id);
            return Fate::Reset(DropReason::TcpNoSocket);
        };
        if listen.accept_full() || self.socks.tcp.is_full() {
            return self.accept_overflow(id);
        }
        let Some(dst) = self.ctx.route(req.tuple.remote, Some(req.tuple.local)) else {
            return Fate::Dropped(DropReason::NoRoute);
        };
        let Some(child) = self.create_child(id) else {
            return self.accept_overflow(id);
        };
        self.ctx.mib.inc(Counter::TcpPassiveOpens);
        let fate = match self.socks.tcp.get_mut(child) {
            Some(sk) => {
                sk.warm.dst = dst;
                output::sync_mss(sk, &mut self.ctx);
                active::init_rcv_mss(sk);
                sk.warm.counts.received(1, seg.len);
                crate::tcp::input::segment(sk, &mut self.ctx, seg, payload)
            }
            None => Fate::Dropped(DropReason::TcpNoSocket),
        };
        self.enqueue_child(child);
        self.settle(child);
        fate
    }

    fn accept_overflow(&mut self, id: SockId) -> Fate {
        self.ctx.mib.inc(Counter::TcpExtListenOverflows);
        self.ctx.mib.inc(Counter::TcpExtListenDrops);
        if self.ctx.sysctl.tcp_abort_on_overflow {
            self.drop_request(id);
            return Fate::Reset(DropReason::TcpAcceptQueueFull);
        }
        // The request stays: the next answer to a SYN-ACK finds room, perhaps.
        Fate::Dropped(DropReason::TcpAcceptQueueFull)
    }

    /// The full socket of a request; it takes the request's place in the ehash.
    fn create_child(&mut self, id: SockId) -> Option<SockId> {
        let req = self.socks.requests.get(id)?;
        let listener = self.socks.tcp.get(req.listener)?;
        let mut cold = Box::new(Cold::new(listener.cold.opts.clone()));
        cold.bound = listener.cold.bound;
        cold.opts.kept = cold.opts.kept.inherited();
        cold.parent = Some(req.listener);
        cold.md5 = md5::inherited(listener, req.tuple.remote);
        let attached = listener.rx.features.contains(Features::ATTACHED);
        let user = listener.warm.user;
        let child = self
            .socks
            .tcp
            .insert_with(|id| TcpSock::new(id, cold))
            .ok()?;
        let mut req = self.socks.requests.remove(id)?;
        self.ctx.wheel.cancel(&mut req.wheel);
        self.socks
            .ehash
            .replace(req.hash, id.place(), child.place());
        if let Some(listen) = self
            .socks
            .tcp
            .get_mut(req.listener)
            .and_then(|sk| sk.cold.listen.as_mut())
        {
            listen.requests = listen.requests.saturating_sub(1);
        }
        let sk = self.socks.tcp.get_mut(child)?;
        inherit(sk, &req);
        sk.warm.user = user;
        if attached {
            sk.rx.features.insert(Features::ATTACHED);
        }
        set_state(sk, &mut self.ctx, TcpState::SynRecv);
        if req.retransmits == 0 {
            let rtt = self.ctx.now.since(req.synack_at);
            sk.warm
                .rtt
                .sample(self.ctx.now, rtt, self.ctx.sysctl.tcp_rto_min_us);
        }
        sk.warm.syn_timeouts = req.timeouts;
        self.hold_port(child, req.tuple.lport, PortOrigin::Inherited);
        Some(child)
    }
}

/// What the handshake settled goes over into the full socket.
fn inherit(sk: &mut TcpSock, req: &Request) {
    let opts = sk.cold.opts.clone();
    sk.rx.tuple = req.tuple;
    sk.warm.hash = req.hash;
    sk.warm.hashed = true;
    sk.rings = Some(Rings::new(opts.rcvbuf, opts.sndbuf));
    sk.warm.rcvbuf = opts.window_space();
    active::set_numbers(sk, req.iss);
    sk.tx.snd_nxt = req.iss + 1;
    sk.tx.snd_sml = sk.tx.snd_nxt;
    sk.warm.irs = req.irs;
    // The SYN; what the mini-socket sent is nobody's.
    sk.warm.counts.segs_in = 1;
    sk.cold.events.total_retrans = u32::from(req.retransmits);
    sk.rx.rcv_nxt = req.irs + 1;
    sk.rx.rcv_wup = sk.rx.rcv_nxt;
    sk.rx.rcv_wnd = req.rcv_wnd;
    sk.rx.rcv_ssthresh = req.rcv_wnd;
    sk.rx.ts_offset = req.ts_offset;
    sk.rx.ts_recent = req.ts_recent;
    sk.rx.ts_recent_stamp = (req.synack_at.as_millis() / 1000) as u32;
    md5::refresh(sk);
    sk.tx.snd_wnd = req.snd_wnd;
    sk.tx.max_window = req.snd_wnd;
    sk.tx.snd_wl1 = req.irs;
    sk.tx.tos = opts.tos;
    sk.tx.nonagle = output::nagle_bits(&opts);
    sk.warm.mss_clamp = req.mss.min(opts.user_mss.unwrap_or(u16::MAX));
    for (on, feature) in [
        (req.ts_ok, Features::TIMESTAMPS),
        (req.sack_ok, Features::SACK),
        (req.wscale_ok, Features::WSCALE),
    ] {
        if on {
            sk.rx.features.insert(feature);
        }
    }
    stamps::watch_arrivals(sk);
    if req.ecn_ok {
        sk.rx.ecn = EcnFlags::OK;
    }
    if req.wscale_ok {
        sk.rx.rcv_wscale = req.rcv_wscale;
        sk.rx.snd_wscale = req.snd_wscale;
    }
}

/// Linux `tcp_check_req`, without side effects but for the echoed timestamp.
fn check(req: &mut Request, seg: &Segment, ts: Option<Timestamps>) -> Check {
    let ts = ts.filter(|_| req.ts_ok);
    let paws =
        req.ts_recent != 0 && ts.is_some_and(|t| req.ts_recent.wrapping_sub(t.val) as i32 > 0);
    let only_syn =
        seg.flags.intersects(TcpFlags::SYN) && !seg.flags.intersects(TcpFlags::ACK | TcpFlags::RST);
    // Only what a SYN-ACK carried can be echoed.
    let (first, last) = req.ts_sent;
    let forged =
        ts.is_some_and(|t| t.ecr != 0 && t.ecr.wrapping_sub(first) > last.wrapping_sub(first));
    if seg.seq == req.irs && only_syn && !paws {
        return Check::SynAck;
    }
    if seg.has(TcpFlags::ACK) && !seg.has(TcpFlags::RST) && seg.ack != req.iss + 1 {
        return Check::Reset(DropReason::TcpInvalidAck);
    }
    let start = req.irs + 1;
    if paws || forged || !seg.is_in_window(start, start + req.rcv_wnd) {
        let reason = if paws || forged {
            DropReason::TcpPaws
        } else {
            DropReason::TcpOutOfWindow
        };
        return if seg.has(TcpFlags::RST) {
            Check::Drop(reason)
        } else {
            Check::Ack(reason)
        };
    }
    if let Some(t) = ts
        && seg.seq.at_or_before(start)
    {
        req.ts_recent = t.val;
    }
    if seg.has(TcpFlags::RST) {
        // RFC 5961: only the exact number ends a handshake.
        return if seg.seq == start {
            Check::Embryonic(None)
        } else {
            Check::Ack(DropReason::TcpInvalidRst)
        };
    }
    if seg.has(TcpFlags::SYN) && seg.seq != req.irs {
        return Check::Embryonic(Some(DropReason::TcpInvalidSyn));
    }
    if !seg.has(TcpFlags::ACK) {
        return Check::Drop(DropReason::TcpNoAck);
    }
    Check::Complete
}
