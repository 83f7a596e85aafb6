//! TCP output (Linux `tcp_output.c`), pulled by the device: when a flow has its turn, this decides what goes out
//! now (retransmissions, new data, probes, an ACK) and cuts it from the send ring into slots.

pub(crate) mod ack;
pub(crate) mod eor;
pub(crate) mod nagle;
pub(crate) mod probe;
pub(crate) mod reset;
pub(crate) mod rtx;
pub(crate) mod segment;
pub(crate) mod urg;
pub(crate) mod window;
pub(crate) mod write;

use crate::core::Ctx;
use crate::sysctl::Sysctl;
use crate::tcp::fastopen;
use crate::tcp::md5::ALIGNED_LEN;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::Options;
use crate::tcp::sock::hot::{Features, Nonagle, Want};
use crate::tcp::state::{CAN_SEND, TcpState};
use crate::tcp::{HEADERS, MSS_DEFAULT, TIMESTAMPS_LEN};
use millrace_wire::frame::TxBatch;
use segment::Path;

pub(crate) use nagle::bits as nagle_bits;

/// How a flow's turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Turn {
    /// Nothing more may go out now.
    Done,
    /// More could, but others wait.
    More,
    /// The device is full.
    Full,
}

/// Sends what may be sent now.
pub(crate) fn output(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    path: &Path<'_>,
    batch: &mut dyn TxBatch,
) -> Turn {
    if sk.rx.state == TcpState::Close {
        sk.tx.want = Want::default();
        return Turn::Done;
    }
    if sk.tx.want.contains(Want::SYN) && segment::send_syn(sk, ctx, path, batch) == Turn::Full {
        return Turn::Full;
    }
    if (sk.tx.want.contains(Want::RTX_HEAD) || sk.records.lost() > 0)
        && rtx::retransmit(sk, ctx, path, batch) == Turn::Full
    {
        return Turn::Full;
    }
    let mut turn = Turn::Done;
    if can_send(sk) && sk.has_unsent() {
        turn = write::xmit(sk, ctx, path, batch);
    }
    if turn != Turn::Full && !sk.tx.want.is_empty() {
        let rest = control(sk, ctx, path, batch);
        if rest == Turn::Full {
            return Turn::Full;
        }
    }
    turn
}

fn control(sk: &mut TcpSock, ctx: &mut Ctx, path: &Path<'_>, batch: &mut dyn TxBatch) -> Turn {
    if sk.tx.want.contains(Want::TLP) && probe::tail_loss(sk, ctx, path, batch) == Turn::Full {
        return Turn::Full;
    }
    if sk.tx.want.contains(Want::WAKEUP) && probe::send_wakeup(sk, ctx, path, batch) == Turn::Full {
        return Turn::Full;
    }
    if sk.tx.want.contains(Want::PROBE) && probe::send(sk, ctx, path, batch) == Turn::Full {
        return Turn::Full;
    }
    if sk.tx.want.contains(Want::ACK) && ack::send_pure(sk, ctx, path, batch) == Turn::Full {
        return Turn::Full;
    }
    Turn::Done
}

/// Queued data may go out: the peer's side is open, or its SYN brought a Fast Open cookie.
#[inline]
fn can_send(sk: &TcpSock) -> bool {
    sk.rx.state.is_in(CAN_SEND)
        || sk.rx.state == TcpState::SynRecv && fastopen::server::is_pending(sk)
}

/// The flow has a reason to stand in the qdisc.
#[inline]
pub(crate) fn has_work(sk: &TcpSock) -> bool {
    // With nothing in the network even a closed window is the output's business: it starts the probes.
    let open = sk.records.is_empty()
        || sk.in_flight() < sk.tx.snd_cwnd && sk.tx.snd_nxt.before(sk.tx.wnd_end());
    !sk.tx.want.is_empty()
        || open && sk.has_unsent() && can_send(sk)
        || sk.records.lost() > 0 && sk.rx.state != TcpState::Close
}

/// MSS that we advertise: what our link takes, or what the application set.
pub(crate) fn advmss(sk: &TcpSock) -> u16 {
    (sk.warm.dst.mtu.saturating_sub(HEADERS))
        .min(sk.cold.opts.user_mss.unwrap_or(u16::MAX))
        .max(48)
}

/// Payload per segment: the peer's MSS, the path's MTU, less the options of every segment (Linux `tcp_sync_mss`,
/// `tcp_current_mss`).
pub(crate) fn sync_mss(sk: &mut TcpSock, ctx: &mut Ctx) {
    ctx.refresh_dst(sk);
    compute_mss(sk, &ctx.sysctl);
}

/// The same for the route as it is.
pub(crate) fn compute_mss(sk: &mut TcpSock, sysctl: &Sysctl) {
    let path = sk.warm.dst.mtu.saturating_sub(HEADERS);
    if sk.warm.advmss == MSS_DEFAULT && path > 0 {
        sk.warm.advmss = advmss(sk);
    }
    let options = if sk.rx.features.contains(Features::TIMESTAMPS) {
        TIMESTAMPS_LEN * u16::from(!mutant!("options_not_counted"))
    } else {
        0
    };
    let signature = if sk.rx.features.contains(Features::MD5) {
        ALIGNED_LEN
    } else {
        0
    };
    let options = options + signature;
    let least = sysctl.tcp_min_snd_mss.min(u32::from(u16::MAX)) as u16;
    let clamp = if mutant!("peer_mss_ignored") {
        u16::MAX
    } else {
        sk.warm.mss_clamp
    };
    let mss = path.min(clamp).max(least).saturating_sub(options);
    sk.tx.mss_cache = bound_to_half_window(sk, mss, options);
}

/// A window that takes less than two segments is filled with smaller ones, or it would wait for probes (Linux
/// `tcp_bound_to_half_wnd`).
fn bound_to_half_window(sk: &TcpSock, mss: u16, options: u16) -> u16 {
    let window = sk.tx.max_window;
    let cutoff = if window > u32::from(MSS_DEFAULT) {
        window >> 1
    } else {
        window
    };
    if cutoff == 0 || u32::from(mss) <= cutoff {
        return mss;
    }
    (cutoff as u16).max(48 - options)
}

/// Takes over the options that the data path asks for.
pub(crate) fn apply_options(sk: &mut TcpSock) {
    let opts: &Options = &sk.cold.opts;
    let options = Nonagle::OFF | Nonagle::CORK;
    sk.tx.nonagle = sk.tx.nonagle.difference(options) | nagle_bits(opts);
    sk.tx.tos = opts.tos;
}
