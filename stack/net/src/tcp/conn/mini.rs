//! Segments for a request mini-socket: the third ACK makes the full socket (Linux `tcp_check_req`,
//! `tcp_create_openreq_child`).

use crate::core::{Reply, Stack};
use crate::drop::DropReason;
use crate::dst::Dst;
use crate::ids::SockId;
use crate::stats::Counter;
use crate::tcp::conn::{active, synack};
use crate::tcp::input::validate::may_always_answer;
use crate::tcp::input::{Fate, ack};
use crate::tcp::md5;
use crate::tcp::output;
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::cold::{Cold, PortOrigin};
use crate::tcp::sock::hot::{EcnFlags, Features};
use crate::tcp::sock::request::Request;
use crate::tcp::sock::{Rings, TcpSock};
use crate::tcp::stamps;
use crate::tcp::state::{TcpState, set_state};
use core::time::Duration;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{Timestamps, write_established};

/// What a segment means for a handshake in progress.
enum Check {
    /// Nothing.
    Drop(DropReason),
    /// Answer with the SYN-ACK again.
    SynAck,
    /// Answer with an ACK of where we are, unless that happened just now.
    Ack(DropReason),
    /// The same, as a challenge (RFC 5961 §3).
    Challenge,
    /// It is not for this handshake: the listener judges it.
    Listener,
    /// The handshake ends, with a RST or without.
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
        let listener = req.listener;
        match check(req, seg, options.timestamps) {
            Check::Drop(reason) => Fate::Dropped(reason),
            Check::Listener => self.listener_input(listener, seg, payload, None),
            Check::SynAck => {
                if !self.is_request_limited(id, Counter::TcpExtTCPACKSkippedSynRecv) {
                    self.repeat_syn_ack(id);
                }
                Fate::Taken
            }
            Check::Ack(reason) => {
                match reason {
                    DropReason::TcpPaws => self.ctx.mib.inc(Counter::TcpExtPAWSEstab),
                    DropReason::TcpEcr => self.ctx.mib.inc(Counter::TcpExtTSEcrRejected),
                    _ => {}
                }
                let limited = seg.has(TcpFlags::RST)
                    || !may_always_answer(seg)
                        && self.is_request_limited(id, Counter::TcpExtTCPACKSkippedSynRecv);
                if !limited {
                    self.request_ack(id);
                }
                Fate::Dropped(reason)
            }
            Check::Challenge => {
                if !self.is_request_limited(id, Counter::TcpExtTCPACKSkippedChallenge) {
                    self.ctx.mib.inc(Counter::TcpExtTCPChallengeACK);
                    self.request_ack(id);
                }
                Fate::Dropped(DropReason::TcpInvalidRst)
            }
            Check::Embryonic(reset) => {
                self.ctx.mib.inc(Counter::TcpExtEmbryonicRsts);
                self.ctx.mib.inc(Counter::TcpAttemptFails);
                self.drop_request(id);
                reset.map_or(Fate::Taken, Fate::Reset)
            }
            Check::Complete => self.complete(id, seg, payload, options.timestamps),
        }
    }

    /// Answers from a handshake are limited like those of a connection (Linux `tcp_oow_rate_limited`).
    fn is_request_limited(&mut self, id: SockId, skipped: Counter) -> bool {
        let now = self.ctx.now.as_millis().max(1);
        let limit = u64::from(self.ctx.sysctl.tcp_invalid_ratelimit);
        let Some(req) = self.socks.requests.get_mut(id) else {
            return true;
        };
        if req.last_oow_ack != 0 && now.saturating_sub(req.last_oow_ack) < limit {
            self.ctx.mib.inc(skipped);
            return true;
        }
        req.last_oow_ack = now;
        false
    }

    /// An ACK of where we are (Linux `tcp_v4_reqsk_send_ack`).
    fn request_ack(&mut self, id: SockId) {
        let Some(req) = self.socks.requests.get(id) else {
            return;
        };
        let ts = req.ts_ok.then(|| Timestamps {
            val: self.ctx.ts_now(req.ts_offset),
            ecr: req.ts_recent,
        });
        let shift = if req.wscale_ok { req.rcv_wscale } else { 0 };
        let reply = Reply {
            seq: req.iss + 1,
            ack: Some(req.irs + 1),
            flags: TcpFlags::ACK,
            window: (synack_window(req) >> shift) as u16,
            options: write_established(ts, &[]),
            tos: req.tos,
        };
        self.reply(req.tuple, &reply);
    }

    /// The third ACK: a full socket takes the request's place, and gets the segment.
    fn complete(
        &mut self,
        id: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
        ts: Option<Timestamps>,
    ) -> Fate {
        let Some(req) = self.socks.requests.get_mut(id) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        let Some(sk) = self.socks.tcp.get(req.listener) else {
            self.drop_request(id);
            return Fate::Reset(DropReason::TcpNoSocket);
        };
        let Some(listen) = sk.cold.listen.as_ref() else {
            self.drop_request(id);
            return Fate::Reset(DropReason::TcpNoSocket);
        };
        if req.timeouts < sk.cold.opts.defer_accept && seg.end_seq() == req.irs + 1 {
            req.acked = true;
            self.ctx.mib.inc(Counter::TcpExtTCPDeferAcceptDrop);
            return Fate::Dropped(DropReason::TcpDeferAccept);
        }
        if listen.accept_full() || self.socks.tcp.is_full() {
            return self.accept_overflow(id);
        }
        let Some(dst) = self.ctx.route(req.tuple.remote, Some(req.tuple.local)) else {
            return Fate::Dropped(DropReason::NoRoute);
        };
        let rtt = if req.retransmits == 0 {
            Some(self.ctx.now.since(req.synack_at))
        } else {
            synack::echoed_rtt(&self.ctx, req, ts)
        };
        let Some(req) = self.take_request(id) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        match self.create_child(&req, Some(id), rtt) {
            Some(child) => self.child_input(child, dst, seg, payload),
            None => Fate::Dropped(DropReason::TcpAcceptQueueFull),
        }
    }

    /// A child that was just born takes its first segment and stands in the accept queue from then on.
    pub(crate) fn child_input(
        &mut self,
        child: SockId,
        dst: Dst,
        seg: &Segment,
        payload: &Payload<'_, '_>,
    ) -> Fate {
        self.ctx.mib.inc(Counter::TcpPassiveOpens);
        let fate = match self.socks.tcp.get_mut(child) {
            Some(sk) => {
                sk.warm.dst = dst;
                if !seg.has(TcpFlags::SYN) {
                    // The largest window is of the connection: what the SYN said does not count (Linux
                    // `tcp_create_openreq_child`).
                    sk.tx.snd_wnd = u32::from(seg.window) << sk.rx.snd_wscale;
                    sk.tx.max_window = sk.tx.snd_wnd;
                }
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
            self.ctx.mib.inc(Counter::TcpExtEmbryonicRsts);
            self.drop_request(id);
            return Fate::Reset(DropReason::TcpAcceptQueueFull);
        }
        // The request stays: the next answer to a SYN-ACK finds room, perhaps.
        if let Some(req) = self.socks.requests.get_mut(id) {
            req.acked = true;
        }
        Fate::Dropped(DropReason::TcpAcceptQueueFull)
    }

    /// The full socket of a handshake, in SYN_RECV. It takes the place in the ehash that the mini-socket `replaces`
    /// has, or one of its own. The caller has seen to it that there is room.
    pub(crate) fn create_child(
        &mut self,
        req: &Request,
        replaces: Option<SockId>,
        rtt: Option<Duration>,
    ) -> Option<SockId> {
        let Some(child) = self.insert_child(req) else {
            if let Some(mini) = replaces {
                self.socks.ehash.remove(req.hash, mini.place());
            }
            return None;
        };
        match replaces {
            Some(mini) => self
                .socks
                .ehash
                .replace(req.hash, mini.place(), child.place()),
            None => self.socks.ehash.insert(req.hash, child.place()),
        }
        let sk = self.socks.tcp.get_mut(child)?;
        inherit(sk, req);
        set_state(sk, &mut self.ctx, TcpState::SynRecv);
        if let Some(rtt) = rtt {
            ack::take_rtt(sk, &self.ctx, rtt.as_nanos() as u64);
        }
        sk.warm.syn_timeouts = req.timeouts;
        self.hold_port(child, req.tuple.lport, PortOrigin::Inherited);
        Some(child)
    }

    /// A socket with what a child has from its listener.
    fn insert_child(&mut self, req: &Request) -> Option<SockId> {
        let listener = self.socks.tcp.get(req.listener)?;
        let mut cold = Box::new(Cold::new(listener.cold.opts.clone()));
        cold.bound = listener.cold.bound;
        cold.opts.kept = cold.opts.kept.inherited();
        cold.parent = Some(req.listener);
        cold.md5 = md5::inherited(listener, req.tuple.remote);
        let attached = listener.rx.features.contains(Features::ATTACHED);
        let user = listener.warm.user;
        let child = self.socks.tcp.insert_with(|id| TcpSock::new(id, cold));
        let sk = child.ok().and_then(|id| self.socks.tcp.get_mut(id))?;
        sk.warm.user = user;
        if attached {
            sk.rx.features.insert(Features::ATTACHED);
        }
        Some(sk.id())
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
    if req.wscale_ok && !mutant!("wscale_forgotten") {
        sk.rx.rcv_wscale = req.rcv_wscale;
        sk.rx.snd_wscale = req.snd_wscale;
    }
}

/// The window of a SYN-ACK, which is never scaled.
fn synack_window(req: &Request) -> u32 {
    req.rcv_wnd.min(u32::from(u16::MAX))
}

/// Linux `tcp_check_req`, without side effects but for the echoed timestamp.
fn check(req: &mut Request, seg: &Segment, ts: Option<Timestamps>) -> Check {
    let (rst, ack) = (seg.has(TcpFlags::RST), seg.has(TcpFlags::ACK));
    let mut syn = seg.has(TcpFlags::SYN);
    let older = |t: Timestamps| req.ts_recent.wrapping_sub(t.val) as i32 > 0;
    let paws = req.ts_recent != 0 && ts.is_some_and(older);
    let echoes = |t: Timestamps| {
        let since = t.ecr.wrapping_sub(req.tsval_first);
        t.ecr == 0 || since <= req.tsval_last.wrapping_sub(req.tsval_first)
    };
    let bad_echo = req.ts_ok && ts.is_some_and(|t| !echoes(t));
    if seg.seq == req.irs && syn && !ack && !rst && !paws {
        return Check::SynAck;
    }
    if ack && !rst && seg.ack != req.iss + 1 && !mutant!("handshake_ack_unchecked") {
        return Check::Listener;
    }
    let start = req.irs + 1;
    if paws {
        return Check::Ack(DropReason::TcpPaws);
    }
    if bad_echo {
        return Check::Ack(DropReason::TcpEcr);
    }
    if !seg.is_in_window(start, start + synack_window(req)) {
        return Check::Ack(DropReason::TcpOutOfWindow);
    }
    if seg.seq == req.irs {
        // The SYN itself lies before the window.
        syn = false;
    }
    if rst {
        return if seg.seq == start {
            Check::Embryonic(None)
        } else {
            Check::Challenge
        };
    }
    if syn {
        return Check::Embryonic(Some(DropReason::TcpInvalidSyn));
    }
    if !ack {
        return Check::Drop(DropReason::TcpNoAck);
    }
    if let Some(t) = ts.filter(|_| req.ts_ok && seg.seq.at_or_before(start)) {
        req.ts_recent = t.val;
    }
    Check::Complete
}
