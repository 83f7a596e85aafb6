//! The passive side: a SYN with a good cookie becomes a full socket at once, and its data is delivered (Linux
//! `tcp_try_fastopen`, `tcp_fastopen_create_child`, `tcp_fastopen_synack_timer`).

use crate::core::{Ctx, Stack};
use crate::dst::Dst;
use crate::ids::SockId;
use crate::stats::Counter;
use crate::tcp::INIT_CWND;
use crate::tcp::conn::active;
use crate::tcp::fastopen::cookie::{self, FastOpenKeys, Match};
use crate::tcp::fastopen::{SERVER, SERVER_NO_COOKIE, SockFastOpen};
use crate::tcp::input::data::{self, Memory};
use crate::tcp::output;
use crate::tcp::recovery::machine::CaState;
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Want;
use crate::tcp::sock::request::Request;
use core::time::Duration;
use millrace_wire::tcp::options::FastOpen;
use millrace_wire::time::Instant;

/// How long a child that was reset counts against the queue: whoever forges SYNs with a stolen cookie makes victims
/// that answer with RSTs.
const RESET_HOLD: Duration = Duration::from_secs(60);

/// A child that left its listener's Fast Open queue.
pub(crate) struct Left {
    listener: SockId,
    /// Its place stays taken until then.
    hold: Option<Instant>,
}

/// What becomes of a SYN.
pub(crate) enum Outcome {
    /// The connection is there.
    Child,
    /// A handshake as usual, with this option in the SYN-ACK; the request is given back.
    Usual(Request, Option<FastOpen>),
}

/// The handshake of this child is not complete (Linux `tcp_passive_fastopen`).
pub(crate) fn is_pending(sk: &TcpSock) -> bool {
    sk.cold
        .fastopen
        .as_ref()
        .is_some_and(|f| f.pending.is_some())
}

/// How a child leaves its listener's queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Its handshake is complete, or it ends otherwise.
    Quietly,
    /// By a RST of the peer.
    Reset,
}

/// Linux `reqsk_fastopen_remove`.
pub(crate) fn leave(sk: &mut TcpSock, ctx: &mut Ctx, how: How) {
    let Some(fastopen) = &mut sk.cold.fastopen else {
        return;
    };
    let Some(listener) = fastopen.pending.take() else {
        return;
    };
    let accepted = sk.cold.parent.is_none();
    let hold = (how == How::Reset && accepted).then(|| ctx.now + RESET_HOLD);
    ctx.fastopen.left.push(Left { listener, hold });
}

/// The third ACK has come (Linux `tcp_rcv_synrecv_state_fastopen`): unlike other connections this one may have data in
/// the network, so its recovery goes on.
pub(crate) fn established(sk: &mut TcpSock, ctx: &mut Ctx) {
    leave(sk, ctx, How::Quietly);
    let recovery = &mut sk.warm.recovery;
    recovery.retransmits = 0;
    recovery.retrans_stamp = None;
    if recovery.state == CaState::Open {
        // The SYN-ACK had a place of its own in the window.
        sk.tx.snd_cwnd = (sk.tx.snd_cwnd - 1).max(INIT_CWND);
    }
}

/// The SYN-ACK of a child was not answered in time. True: it is given up.
pub(crate) fn synack_timeout(sk: &mut TcpSock, ctx: &mut Ctx) -> bool {
    ctx.mib.inc(Counter::TcpExtTCPTimeouts);
    let configured = sk.cold.opts.syncnt;
    let retries = configured.unwrap_or(ctx.sysctl.tcp_synack_retries + 1);
    let timeouts = u32::from(sk.warm.recovery.retransmits);
    if timeouts >= retries {
        return true;
    }
    if timeouts == 1 {
        crate::tcp::recovery::machine::enter_loss(sk, ctx);
    } else {
        sk.records.mark_lost(0);
    }
    sk.tx.want.insert(Want::RTX_HEAD);
    sk.warm.syn_timeouts = sk.warm.syn_timeouts.saturating_add(1);
    sk.warm.recovery.retransmits = sk.warm.recovery.retransmits.saturating_add(1);
    sk.warm.recovery.retrans_stamp.get_or_insert(ctx.now);
    false
}

/// Whether a cookie is asked for at all (Linux `tcp_fastopen_no_cookie`).
fn needs_cookie(ctx: &Ctx, settings: &SockFastOpen) -> bool {
    ctx.sysctl.tcp_fastopen & SERVER_NO_COOKIE == 0 && !settings.no_cookie
}

/// The keys of a listener: its own, the system's, or those made at start.
fn keys(ctx: &Ctx, settings: &SockFastOpen) -> FastOpenKeys {
    let configured = settings.keys.or(ctx.sysctl.tcp_fastopen_key.0);
    configured.unwrap_or(ctx.keys.fastopen())
}

impl Stack {
    /// A SYN that was let in: does it open the connection at once?
    pub(crate) fn try_fastopen(
        &mut self,
        req: Request,
        seg: &Segment,
        payload: &Payload<'_, '_>,
        dst: Dst,
    ) -> Outcome {
        let option = FastOpen::parse(payload.slice(&seg.options));
        if option.is_some_and(|o| o.is_request()) {
            self.ctx.mib.inc(Counter::TcpExtTCPFastOpenCookieReqd);
        }
        let wanted =
            self.ctx.sysctl.tcp_fastopen & SERVER != 0 && (seg.len > 0 || option.is_some());
        if !wanted || !self.fastopen_has_room(req.listener) {
            return Outcome::Usual(req, None);
        }
        let listener = self.socks.tcp.get(req.listener);
        let Some(settings) = listener.and_then(|sk| sk.cold.fastopen.as_deref()) else {
            return Outcome::Usual(req, None);
        };
        let keys = keys(&self.ctx, settings);
        let fresh = |experimental| cookie::issue(&keys, &req.tuple, experimental);
        let grant = match option {
            _ if !needs_cookie(&self.ctx, settings) => None,
            None => return Outcome::Usual(req, None),
            Some(o) if o.is_request() => {
                let granted = fresh(o.experimental);
                return Outcome::Usual(req, granted);
            }
            Some(o) => match cookie::check(&keys, &req.tuple, &o) {
                Match::Primary => None,
                Match::Backup => {
                    self.ctx.mib.inc(Counter::TcpExtTCPFastOpenPassiveAltKey);
                    fresh(o.experimental)
                }
                Match::None => {
                    self.ctx.mib.inc(Counter::TcpExtTCPFastOpenPassiveFail);
                    let granted = fresh(o.experimental);
                    return Outcome::Usual(req, granted);
                }
            },
        };
        self.fastopen_child(req, seg, payload, dst, grant)
    }

    /// Linux `tcp_fastopen_queue_check`.
    fn fastopen_has_room(&mut self, listener: SockId) -> bool {
        for left in self.ctx.fastopen.left.drain(..) {
            let sk = self.socks.tcp.get_mut(left.listener);
            if let Some(listen) = sk.and_then(|sk| sk.cold.listen.as_mut()) {
                match left.hold {
                    Some(until) => listen.fastopen_resets.push_back(until),
                    None => listen.fastopen_len = listen.fastopen_len.saturating_sub(1),
                }
            }
        }
        let Some(sk) = self.socks.tcp.get_mut(listener) else {
            return false;
        };
        let most = sk.cold.fastopen.as_ref().map_or(0, |f| f.max_qlen);
        let Some(listen) = sk.cold.listen.as_mut().filter(|_| most > 0) else {
            return false;
        };
        if listen.fastopen_len < most {
            return true;
        }
        let first = listen.fastopen_resets.front().copied();
        if first.is_none_or(|until| until > self.ctx.now) {
            self.ctx.mib.inc(Counter::TcpExtTCPFastOpenListenOverflow);
            return false;
        }
        listen.fastopen_resets.pop_front();
        listen.fastopen_len -= 1;
        true
    }

    /// The full socket, with the data of the SYN; it can be accepted at once.
    fn fastopen_child(
        &mut self,
        req: Request,
        seg: &Segment,
        payload: &Payload<'_, '_>,
        dst: Dst,
        grant: Option<FastOpen>,
    ) -> Outcome {
        if self.socks.tcp.is_full() {
            self.ctx.mib.inc(Counter::TcpExtTCPFastOpenPassiveFail);
            return Outcome::Usual(req, None);
        }
        let (listener, iss) = (req.listener, req.iss);
        let Some(child) = self.create_child(&req, None, None) else {
            self.ctx.mib.inc(Counter::TcpExtTCPFastOpenPassiveFail);
            return Outcome::Usual(req, None);
        };
        self.ctx.mib.inc(Counter::TcpExtTCPFastOpenPassive);
        self.ctx.mib.inc(Counter::TcpPassiveOpens);
        if let Some(sk) = self.socks.tcp.get_mut(child) {
            sk.warm.dst = dst;
            output::sync_mss(sk, &mut self.ctx);
            active::init_rcv_mss(sk);
            active::set_numbers(sk, iss);
            active::init_transfer(sk, &self.ctx);
            sk.tx.snd_cwnd = INIT_CWND + 1;
            sk.cold.fastopen = Some(Box::new(SockFastOpen {
                pending: Some(listener),
                option: grant,
                ..SockFastOpen::default()
            }));
            if seg.len > 0 && data::reserve(sk, &mut self.ctx, seg.len) == Memory::Reserved {
                data::append(sk, &mut self.ctx, payload, 0, seg.len);
                sk.rx.rcv_wup = sk.rx.rcv_nxt;
                if let Some(fastopen) = &mut sk.cold.fastopen {
                    fastopen.syn_data_acked = true;
                }
            }
            sk.tx.want.insert(Want::SYN);
        }
        let sk = self.socks.tcp.get_mut(listener);
        if let Some(listen) = sk.and_then(|sk| sk.cold.listen.as_mut()) {
            listen.fastopen_len += 1;
        }
        self.enqueue_child(child);
        self.settle(child);
        Outcome::Child
    }
}
