//! Passive open: a SYN at a listener makes a request mini-socket (Linux `tcp_conn_request`).

use crate::core::{Reply, Stack};
use crate::drop::DropReason;
use crate::dst::Dst;
use crate::ids::SockId;
use crate::qdisc::Ctl;
use crate::stats::Counter;
use crate::tcp::demux::Tuple;
use crate::tcp::input::{Fate, ecn};
use crate::tcp::md5;
use crate::tcp::output::{self, window};
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::request::Request;
use crate::tcp::{HEADERS, MSS_DEFAULT, TIMESTAMPS_LEN, isn};
use crate::wheel::TimerEntry;
use core::time::Duration;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;
use millrace_wire::tcp::options::{Timestamps, write_syn};

/// RTO of the first SYN-ACK (Linux `TCP_TIMEOUT_INIT`).
const SYNACK_RTO: Duration = Duration::from_secs(1);

impl Stack {
    /// A segment for which only a listener was found.
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
            return Fate::Reset(DropReason::TcpNoSocket);
        }
        if !seg.has(TcpFlags::SYN) || seg.has(TcpFlags::FIN) {
            return Fate::Dropped(DropReason::TcpBadFlags);
        }
        self.conn_request(listener, seg, payload, iss)
    }

    fn conn_request(
        &mut self,
        listener: SockId,
        seg: &Segment,
        payload: &Payload<'_, '_>,
        iss: Option<SeqNum>,
    ) -> Fate {
        let Some(sk) = self.socks.tcp.get(listener) else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        let Some(listen) = sk.cold.listen.as_ref() else {
            return Fate::Dropped(DropReason::TcpNoSocket);
        };
        if listen.accept_full() {
            self.ctx.mib.inc(Counter::TcpExtListenOverflows);
            self.ctx.mib.inc(Counter::TcpExtListenDrops);
            return Fate::Dropped(DropReason::TcpListenOverflow);
        }
        let most = listen
            .backlog
            .min(self.ctx.sysctl.tcp_max_syn_backlog)
            .max(1);
        if listen.requests >= most || self.socks.requests.is_full() {
            self.ctx.mib.inc(Counter::TcpExtTCPReqQFullDrop);
            self.ctx.mib.inc(Counter::TcpExtListenDrops);
            return Fate::Dropped(DropReason::TcpRequestTableFull);
        }
        let tuple = seg.tuple;
        let Some(dst) = self.ctx.route(tuple.remote, Some(tuple.local)) else {
            return Fate::Dropped(DropReason::NoRoute);
        };
        let opts = &sk.cold.opts;
        let advmss = dst
            .mtu
            .saturating_sub(HEADERS)
            .min(opts.user_mss.unwrap_or(u16::MAX));
        let tos = opts.tos;
        let options = seg.parse_options(payload);
        let sysctl = &self.ctx.sysctl;
        // SACK, timestamps and a signature do not fit together (Linux `tcp_synack_options`).
        let signed = self.socks.reply_key(&tuple, seg.hash).is_some();
        let crowded = signed && options.sack_permitted && sysctl.tcp_sack;
        let ts = options
            .timestamps
            .filter(|_| sysctl.tcp_timestamps != 0 && !crowded);
        // Whole segments, without the room that their timestamps take.
        let mss = advmss - ts.map_or(0, |_| TIMESTAMPS_LEN.min(advmss));
        let initial = window::initial(opts, mss, sysctl);
        let wscale = options.wscale.filter(|_| sysctl.tcp_window_scaling);
        let sack_ok = options.sack_permitted && sysctl.tcp_sack;
        let ecn_ok = ecn::accepts_syn(seg, sysctl.tcp_ecn);
        let iss = iss.unwrap_or_else(|| isn::initial(&self.ctx, &tuple));
        let request = |id: SockId| Request {
            tuple,
            hash: seg.hash,
            listener,
            id,
            irs: seg.seq,
            iss,
            deadline: self.ctx.now + SYNACK_RTO,
            synack_at: self.ctx.now,
            wheel: TimerEntry::default(),
            ts_recent: ts.map_or(0, |t| t.val),
            ts_sent: (0, 0),
            ts_offset: isn::ts_offset(&self.ctx, &tuple),
            rcv_wnd: initial.wnd,
            snd_wnd: u32::from(seg.window),
            mss: options.mss.unwrap_or(MSS_DEFAULT),
            timeouts: 0,
            retransmits: 0,
            rcv_wscale: initial.wscale,
            snd_wscale: wscale.unwrap_or(0).min(14),
            wscale_ok: wscale.is_some(),
            ts_ok: ts.is_some(),
            sack_ok,
            ecn_ok,
            tos,
            last_oow_ack: 0,
        };
        let Ok(id) = self.socks.requests.insert_with(request) else {
            return Fate::Dropped(DropReason::TcpRequestTableFull);
        };
        self.socks.ehash.insert(seg.hash, id.place());
        if let Some(listen) = self
            .socks
            .tcp
            .get_mut(listener)
            .and_then(|sk| sk.cold.listen.as_mut())
        {
            listen.requests += 1;
        }
        self.send_syn_ack(id, Some(dst));
        if let Some(req) = self.socks.requests.get_mut(id) {
            self.ctx.wheel.arm(&mut req.wheel, id, req.deadline);
        }
        Fate::Taken
    }

    /// Sends the SYN-ACK of a request, first time or again.
    pub(crate) fn send_syn_ack(&mut self, id: SockId, dst: Option<Dst>) {
        let req = self.socks.requests.get(id);
        let key = req.and_then(|req| self.socks.reply_key(&req.tuple, req.hash));
        let key = key.cloned();
        let Some(req) = self.socks.requests.get_mut(id) else {
            return;
        };
        let Some(dst) = dst.or_else(|| self.ctx.route(req.tuple.remote, Some(req.tuple.local)))
        else {
            return;
        };
        let ts = req.ts_ok.then(|| Timestamps {
            val: self.ctx.ts_now(req.ts_offset),
            ecr: req.ts_recent,
        });
        if let Some(ts) = ts {
            let first = if req.retransmits == 0 {
                ts.val
            } else {
                req.ts_sent.0
            };
            req.ts_sent = (first, ts.val);
        }
        let user_mss = self
            .socks
            .tcp
            .get(req.listener)
            .and_then(|sk| sk.cold.opts.user_mss);
        let mss = dst
            .mtu
            .saturating_sub(HEADERS)
            .min(user_mss.unwrap_or(u16::MAX));
        let wscale = req.wscale_ok.then_some(req.rcv_wscale);
        let mut ctl = Ctl {
            tuple: req.tuple,
            seq: req.iss,
            ack: req.irs + 1,
            flags: TcpFlags::SYN | TcpFlags::ACK | ecn::syn_ack_flags(req.ecn_ok),
            window: req.rcv_wnd.min(u32::from(u16::MAX)) as u16,
            urgent: 0,
            options: write_syn(Some(mss), wscale, req.sack_ok, ts),
            dst,
            tos: req.tos,
            ttl: self.ctx.sysctl.ip_default_ttl as u8,
        };
        if let Some(key) = key {
            md5::sign(&mut ctl, &key);
        }
        self.ctx.push_ctl(ctl);
    }

    /// A SYN-ACK was not answered in time (Linux `reqsk_timer_handler`).
    pub(crate) fn request_timeout(&mut self, id: SockId) {
        let retries = self.ctx.sysctl.tcp_synack_retries;
        let Some(req) = self.socks.requests.get_mut(id) else {
            return;
        };
        req.wheel = TimerEntry::default();
        if req.deadline > self.ctx.now {
            self.ctx.wheel.arm(&mut req.wheel, id, req.deadline);
            return;
        }
        if u32::from(req.timeouts) >= retries {
            self.drop_request(id);
            return;
        }
        req.timeouts += 1;
        req.deadline = self.ctx.now
            + (SYNACK_RTO * (1 << u32::from(req.timeouts).min(16))).min(Duration::from_secs(120));
        req.retransmits = req.retransmits.saturating_add(1);
        self.ctx.wheel.arm(&mut req.wheel, id, req.deadline);
        self.ctx.mib.inc(Counter::TcpRetransSegs);
        self.ctx.mib.inc(Counter::TcpExtTCPSynRetrans);
        self.send_syn_ack(id, None);
    }

    /// Forgets a handshake.
    pub(crate) fn drop_request(&mut self, id: SockId) {
        let Some(mut req) = self.socks.requests.remove(id) else {
            return;
        };
        self.ctx.wheel.cancel(&mut req.wheel);
        self.socks.ehash.remove(req.hash, id.place());
        if let Some(listen) = self
            .socks
            .tcp
            .get_mut(req.listener)
            .and_then(|sk| sk.cold.listen.as_mut())
        {
            listen.requests = listen.requests.saturating_sub(1);
        }
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
