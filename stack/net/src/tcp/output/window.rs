//! The window that we advertise (Linux `__tcp_select_window`, `tcp_select_window`; RFC 9293 §3.8.6).

use crate::core::Ctx;
use crate::stats::Counter;
use crate::sysctl::Sysctl;
use crate::tcp::pressure;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::Options;
use crate::tcp::sock::hot::AckState;

/// Window and scale of a SYN.
pub(crate) struct Initial {
    pub wnd: u32,
    pub wscale: u8,
}

/// Linux `tcp_select_initial_window`: a whole number of segments, at most what an unscaled field holds; the scale
/// is for the largest buffer that autotuning may reach.
pub(crate) fn initial(opts: &Options, mss: u16, sysctl: &Sysctl) -> Initial {
    let rcvbuf = opts.window_space();
    let mss = u32::from(mss.max(1));
    let mut wnd = rcvbuf.min(u32::from(u16::MAX));
    if wnd > mss {
        wnd -= wnd % mss;
    }
    let largest = match (opts.rcvbuf_locked, opts.window_clamp) {
        (true, _) => rcvbuf,
        (false, 0) => rcvbuf.max(sysctl.tcp_rmem[2]),
        (false, clamp) => rcvbuf.max(sysctl.tcp_rmem[2]).min(clamp),
    };
    let wscale = if sysctl.tcp_window_scaling {
        largest.max(1).ilog2().saturating_sub(15).min(14) as u8
    } else {
        0
    };
    Initial { wnd, wscale }
}

/// What the buffer allows now, before the rule that the edge never moves back.
pub(crate) fn candidate(sk: &mut TcpSock) -> u32 {
    let full = sk.warm.rcvbuf;
    let mut free = full.saturating_sub(sk.unread().min(u64::from(u32::MAX)) as u32);
    let shift = sk.rx.rcv_wscale;
    let mss = u32::from(sk.rx.rcv_mss).min(full);
    if free < full / 2 {
        free &= !((1u32 << shift) - 1);
        // Receiver's silly-window avoidance: nothing rather than little.
        if free < full >> 4 || free < mss {
            return 0;
        }
    }
    free = free.min(sk.rx.rcv_ssthresh.max(mss));
    if shift > 0 {
        return (free + (1 << shift) - 1) & !((1u32 << shift) - 1);
    }
    let current = sk.rx.rcv_wnd;
    if mss > 0 && (current + mss <= free || current > free) {
        free - free % mss
    } else if mss == full && free > current + full / 2 {
        free
    } else {
        current
    }
}

/// Chooses the window of a segment that goes out now, and remembers it. The value is for the header.
pub(crate) fn select(sk: &mut TcpSock, ctx: &mut Ctx) -> u16 {
    let old = sk.rx.rcv_wnd;
    let current = sk.rx.receive_window();
    if ctx.pressure.is_on() && sk.unread() > u64::from(sk.warm.rcvbuf / 2) {
        pressure::narrow_window(sk);
    }
    let mut new = candidate(sk);
    let shift = sk.rx.rcv_wscale;
    if sk.rx.ack.contains(AckState::NOMEM) {
        // What was promised cannot be kept: the peer shall probe, not send the same again and again.
        new = 0;
    } else if new < current && !mutant!("window_retreats") {
        if new == 0 {
            ctx.mib.inc(Counter::TcpExtTCPWantZeroWindowAdv);
        }
        // RFC 9293 SHLD-14: a window that was given is not taken back.
        new = (current + (1 << shift) - 1) & !((1u32 << shift) - 1);
    }
    new = new.min(u32::from(u16::MAX) << shift);
    sk.rx.rcv_wnd = new;
    sk.rx.rcv_wup = sk.rx.rcv_nxt;
    if new == 0 {
        sk.rx.predict = false;
        if old != 0 {
            ctx.mib.inc(Counter::TcpExtTCPToZeroWindowAdv);
        }
    } else if old == 0 {
        ctx.mib.inc(Counter::TcpExtTCPFromZeroWindowAdv);
        crate::tcp::input::fast::check(sk);
    }
    (new >> shift).min(u32::from(u16::MAX)) as u16
}
