//! Passive open: a SYN at a listener makes a request mini-socket, or a cookie (Linux `tcp_conn_request`), and an ACK at
//! a listener may bring a cookie back (`cookie_v4_check`).

use crate::core::{Reply, Stack};
use crate::drop::DropReason;
use crate::dst::Dst;
use crate::ids::SockId;
use crate::stats::Counter;
use crate::tcp::conn::synack::{self, SYNACK_RTO};
use crate::tcp::demux::Tuple;
use crate::tcp::fastopen::server::Outcome;
use crate::tcp::input::{Fate, ecn};
use crate::tcp::md5;
use crate::tcp::output::{self, window};
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::cold::Options;
use crate::tcp::sock::request::Request;
use crate::tcp::{HEADERS, MSS_DEFAULT, TIMESTAMPS_LEN, isn, syncookies};
use crate::wheel::TimerEntry;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::TcpOptions;

/// Whether a SYN gets a mini-socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Admission {
    /// Yes.
    Request,
    /// A cookie instead.
    Cookie,
}

impl Stack {
    /// A segment for which only a listener was found. `iss` is set for a SYN that takes the place of a TIME_WAIT
    /// mini-socket: it is let in whatever the queue holds.
    pub(crate) fn listener_input(
        &mut self,
        listener: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
        iss: Option<SeqNum>,
    ) -> Fate {
        if let Err(reason) = self.md5_listener(listener, seg, payload) {
            return Fate::Dropped(reason);
        }
        if seg.has(TcpFlags::RST) {
            return Fate::Dropped(DropReason::TcpInvalidRst);
        }
        if seg.has(TcpFlags::ACK) {
            return self
                .cookie_input(listener, seg, payload)
                .unwrap_or(Fate::Reset(DropReason::TcpNoSocket));
        }
        if !seg.has(TcpFlags::SYN) || seg.has(TcpFlags::FIN) {
            return Fate::Dropped(DropReason::TcpBadFlags);
        }
        self.conn_request(listener, seg, payload, iss)
            .unwrap_or_else(|reason| {
                self.ctx.mib.inc(Counter::TcpExtListenDrops);
                Fate::Dropped(reason)
            })
    }

    fn conn_request(
        &mut self,
        listener: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
        iss: Option<SeqNum>,
    ) -> Result<Fate, DropReason> {
        let admission = self.admit(listener, iss)?;
        let sk = self
            .socks
            .tcp
            .get(listener)
            .ok_or(DropReason::TcpNoSocket)?;
        let dst = self
            .ctx
            .route(seg.tuple.remote, Some(seg.tuple.local))
            .ok_or(DropReason::NoRoute)?;
        let opts = &sk.cold.opts;
        let mut options = seg.parse_options(payload);
        if admission == Admission::Cookie {
            return Ok(self.send_cookie(listener, seg, options, dst));
        }
        options.timestamps = options
            .timestamps
            .filter(|_| self.ctx.sysctl.tcp_timestamps != 0);
        if iss.is_none() {
            self.keep_room_for_the_proven(listener)?;
        }
        let iss = iss.unwrap_or_else(|| isn::initial(&self.ctx, &seg.tuple));
        let req = self.request_of(listener, seg, &options, iss, opts, &dst);
        let (req, grant) = match self.try_fastopen(req, seg, payload, dst) {
            Outcome::Child => return Ok(Fate::Taken),
            Outcome::Usual(req, grant) => (req, grant),
        };
        let id = self.insert_request(req)?;
        self.send_syn_ack(id, Some(dst), grant);
        Ok(Fate::Taken)
    }

    /// The queues of the listener, in Linux's order: handshakes, then complete connections.
    fn admit(&mut self, listener: SockId, iss: Option<SeqNum>) -> Result<Admission, DropReason> {
        let sk = self.socks.tcp.get(listener);
        let listen = sk
            .and_then(|sk| sk.cold.listen.as_ref())
            .ok_or(DropReason::TcpNoSocket)?;
        let table_full = self.socks.requests.is_full();
        let cookies = self.ctx.sysctl.tcp_syncookies;
        let mut admission = Admission::Request;
        if iss.is_none() && (cookies == 2 || listen.requests_full() || table_full) {
            if cookies == 0 {
                self.ctx.mib.inc(Counter::TcpExtTCPReqQFullDrop);
                return Err(DropReason::TcpRequestTableFull);
            }
            self.ctx.mib.inc(Counter::TcpExtTCPReqQFullDoCookies);
            admission = Admission::Cookie;
        }
        if listen.accept_full() {
            self.ctx.mib.inc(Counter::TcpExtListenOverflows);
            return Err(DropReason::TcpListenOverflow);
        }
        Ok(admission)
    }

    /// Without cookies the last quarter of `tcp_max_syn_backlog` is for peers that were seen alive before. Nothing is
    /// remembered about peers yet, so it stays empty.
    fn keep_room_for_the_proven(&self, listener: SockId) -> Result<(), DropReason> {
        let most = self.ctx.sysctl.tcp_max_syn_backlog;
        let sk = self.socks.tcp.get(listener);
        let len = sk
            .and_then(|sk| sk.cold.listen.as_ref())
            .map_or(0, |l| l.requests);
        let left = i64::from(most) - i64::from(len);
        if self.ctx.sysctl.tcp_syncookies == 0 && left < i64::from(most >> 2) {
            return Err(DropReason::TcpRequestTableFull);
        }
        Ok(())
    }

    /// What a SYN asked for, within what our settings allow.
    fn request_of(
        &self,
        listener: SockId,
        seg: &Segment,
        options: &TcpOptions,
        iss: SeqNum,
        opts: &Options,
        dst: &Dst,
    ) -> Request {
        let sysctl = &self.ctx.sysctl;
        let ts = options.timestamps.filter(|_| !self.crowded(seg, options));
        let advmss = dst
            .mtu
            .saturating_sub(HEADERS)
            .min(opts.user_mss.unwrap_or(u16::MAX));
        // Whole segments, without the room that their timestamps take.
        let mss = advmss - ts.map_or(0, |_| TIMESTAMPS_LEN.min(advmss));
        let initial = window::initial(opts, mss, sysctl);
        let wscale = options.wscale.filter(|_| sysctl.tcp_window_scaling);
        Request {
            tuple: seg.tuple,
            hash: seg.hash,
            listener,
            irs: seg.seq,
            iss,
            deadline: self.ctx.now + SYNACK_RTO,
            synack_at: self.ctx.now,
            wheel: TimerEntry::default(),
            ts_recent: ts.map_or(0, |t| t.val),
            ts_offset: ts.map_or(0, |_| isn::ts_offset(&self.ctx, &seg.tuple)),
            tsval_first: 0,
            tsval_last: 0,
            rcv_wnd: initial.wnd,
            snd_wnd: u32::from(seg.window),
            mss: options.mss.unwrap_or(MSS_DEFAULT),
            timeouts: 0,
            retransmits: 0,
            rcv_wscale: initial.wscale,
            snd_wscale: wscale.unwrap_or(0).min(14),
            wscale_ok: wscale.is_some(),
            ts_ok: ts.is_some(),
            sack_ok: options.sack_permitted && sysctl.tcp_sack,
            ecn_ok: ecn::accepts_syn(seg, sysctl.tcp_ecn),
            acked: false,
            tos: opts.tos,
            last_oow_ack: 0,
        }
    }

    /// SACK, timestamps and a signature do not fit together in a SYN-ACK (Linux `tcp_synack_options`).
    fn crowded(&self, seg: &Segment, options: &TcpOptions) -> bool {
        let sack = options.sack_permitted && self.ctx.sysctl.tcp_sack;
        sack && self.socks.reply_key(&seg.tuple, seg.hash).is_some()
    }

    fn insert_request(&mut self, req: Request) -> Result<SockId, DropReason> {
        let (hash, listener, deadline) = (req.hash, req.listener, req.deadline);
        let id = self
            .socks
            .requests
            .insert_with(|_| req)
            .map_err(|_| DropReason::TcpRequestTableFull)?;
        self.socks.ehash.insert(hash, id.place());
        if let Some(req) = self.socks.requests.get_mut(id) {
            self.ctx.wheel.arm(&mut req.wheel, id, deadline);
        }
        let sk = self.socks.tcp.get_mut(listener);
        if let Some(listen) = sk.and_then(|sk| sk.cold.listen.as_mut()) {
            listen.begin();
        }
        Ok(id)
    }

    /// Answers a SYN with a cookie: the request lives on the stack only.
    fn send_cookie(
        &mut self,
        listener: SockId,
        seg: &Segment,
        mut options: TcpOptions,
        dst: Dst,
    ) -> Fate {
        let now = self.ctx.now;
        if self.ctx.sysctl.tcp_timestamps == 0 || self.crowded(seg, &options) {
            options.timestamps = None;
        }
        if options.timestamps.is_none() {
            // There is nowhere to keep them.
            options.wscale = None;
            options.sack_permitted = false;
        }
        let Some(sk) = self.socks.tcp.get(listener) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        let mss = options.mss.unwrap_or(MSS_DEFAULT);
        let mss = mss.min(sk.cold.opts.user_mss.unwrap_or(u16::MAX));
        let iss = syncookies::issue(&self.ctx.keys, &seg.tuple, seg.seq, mss, now);
        let mut req = self.request_of(listener, seg, &options, iss, &sk.cold.opts, &dst);
        req.ecn_ok &= req.ts_ok;
        let carried = syncookies::Carried {
            wscale: req.wscale_ok.then_some(req.snd_wscale),
            sack: req.sack_ok,
            ecn: req.ecn_ok,
        };
        let clock = syncookies::timestamp(now.as_millis() as u32, carried);
        let tsval = clock.wrapping_add(req.ts_offset);
        let mut ctl = synack::build(&self.ctx, &req, &sk.cold.opts, dst, tsval, None);
        if let Some(key) = self.socks.reply_key(&req.tuple, req.hash) {
            md5::sign(&mut ctl, key);
        }
        self.ctx.push_ctl(ctl);
        self.ctx.mib.inc(Counter::TcpExtSyncookiesSent);
        let sk = self.socks.tcp.get_mut(listener);
        if let Some(listen) = sk.and_then(|sk| sk.cold.listen.as_mut()) {
            listen.overflow = Some(now);
        }
        Fate::Taken
    }

    /// An ACK at a listener: the third of a handshake that a cookie began? None when it is not.
    fn cookie_input(
        &mut self,
        listener: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
    ) -> Option<Fate> {
        let sk = self.socks.tcp.get(listener)?;
        let listen = sk.cold.listen.as_ref()?;
        let possible = self.ctx.sysctl.tcp_syncookies != 0
            && !seg.has(TcpFlags::SYN)
            && listen.may_see_cookies(self.ctx.now);
        if !possible {
            return None;
        }
        let (irs, iss) = (seg.seq - 1, seg.ack - 1);
        let mss = syncookies::check(&self.ctx.keys, &seg.tuple, irs, iss, self.ctx.now);
        let Some(mss) = mss else {
            self.ctx.mib.inc(Counter::TcpExtSyncookiesFailed);
            return None;
        };
        self.ctx.mib.inc(Counter::TcpExtSyncookiesRecv);
        let told = seg.parse_options(payload);
        let offset = told
            .timestamps
            .map_or(0, |_| isn::ts_offset(&self.ctx, &seg.tuple));
        let carried = syncookies::settle(&self.ctx, &told, offset)?;
        if listen.accept_full() || self.socks.tcp.is_full() {
            self.ctx.mib.inc(Counter::TcpExtListenOverflows);
            self.ctx.mib.inc(Counter::TcpExtListenDrops);
            return Some(Fate::Dropped(DropReason::TcpAcceptQueueFull));
        }
        let Some(dst) = self.ctx.route(seg.tuple.remote, Some(seg.tuple.local)) else {
            return Some(Fate::Dropped(DropReason::NoRoute));
        };
        // The SYN once more, as far as it can be known.
        let options = TcpOptions {
            mss: Some(mss),
            wscale: carried.wscale,
            sack_permitted: carried.sack,
            ..told
        };
        let syn = Segment { seq: irs, ..*seg };
        let mut req = self.request_of(listener, &syn, &options, iss, &sk.cold.opts, &dst);
        req.ecn_ok = carried.ecn && self.ctx.sysctl.tcp_ecn != 0;
        let rtt = synack::echoed_rtt(&self.ctx, &req, told.timestamps);
        let Some(child) = self.create_child(&req, None, rtt) else {
            self.ctx.mib.inc(Counter::TcpExtListenDrops);
            return Some(Fate::Dropped(DropReason::TcpAcceptQueueFull));
        };
        Some(self.child_input(child, dst, seg, payload))
    }

    /// Forgets a handshake.
    pub(crate) fn drop_request(&mut self, id: SockId) {
        let Some(req) = self.take_request(id) else {
            return;
        };
        self.socks.ehash.remove(req.hash, id.place());
    }

    /// Takes a request out of its table, the wheel and the listener's queue; the ehash still has it.
    pub(crate) fn take_request(&mut self, id: SockId) -> Option<Request> {
        let mut req = self.socks.requests.remove(id)?;
        self.ctx.wheel.cancel(&mut req.wheel);
        let sk = self.socks.tcp.get_mut(req.listener);
        if let Some(listen) = sk.and_then(|sk| sk.cold.listen.as_mut())
            && !mutant!("backlog_leaks")
        {
            listen.end(req.timeouts);
        }
        Some(req)
    }

    /// An ACK from a mini-socket, signed if it has a key.
    pub(crate) fn reply(&mut self, tuple: Tuple, reply: &Reply) {
        let key = if self.socks.md5_needed {
            let hash = tuple.hash(&self.ctx.keys);
            self.socks.reply_key(&tuple, hash).cloned()
        } else {
            None
        };
        self.reply_signed(tuple, reply, key.as_ref());
    }

    /// The same, or a RST for a segment that nobody wants, with this key.
    pub(crate) fn reply_signed(&mut self, tuple: Tuple, reply: &Reply, key: Option<&md5::Key>) {
        let Some(dst) = self.ctx.route(tuple.remote, Some(tuple.local)) else {
            self.ctx.mib.inc(Counter::IpOutNoRoutes);
            return;
        };
        let mut ctl =
            output::reset::from_reply(tuple, reply, dst, self.ctx.sysctl.ip_default_ttl as u8);
        if let Some(key) = key {
            md5::sign(&mut ctl, key);
        }
        self.ctx.push_ctl(ctl);
    }
}
