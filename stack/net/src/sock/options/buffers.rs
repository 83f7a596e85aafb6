//! The sizes of a socket's buffers.

use crate::tcp::sock::TcpSock;
use crate::tcp::sock::cold::Options;

/// Least SO_RCVBUF and SO_SNDBUF, octets as set (Linux doubles what is set; `getsockopt` shows the double).
const MIN_RCVBUF: u32 = 1152;
const MIN_SNDBUF: u32 = 2304;

/// The send buffer as `getsockopt` shows it.
pub(super) fn sndbuf(opts: &Options) -> u32 {
    if opts.sndbuf_locked {
        opts.sndbuf * 2
    } else {
        opts.sndbuf
    }
}

/// SO_BUF_LOCK changes who may change the buffers, not their sizes.
pub(super) fn lock_buffers(opts: &mut Options, bits: u8) {
    let shown = sndbuf(opts);
    opts.sndbuf_locked = bits & 1 != 0;
    opts.rcvbuf_locked = bits & 2 != 0;
    opts.sndbuf = if opts.sndbuf_locked { shown / 2 } else { shown };
}

/// Linux `sk_get_meminfo`: received and unread, its limit, in the network, the send buffer, reserved, queued, options,
/// backlog, drops. What a device holds is its own, and nothing is reserved.
pub(super) fn mem_info(sk: &TcpSock) -> [u32; 9] {
    let rings = sk.rings.as_ref();
    let unread = rings.map_or(0, |r| r.rcv_in.tail() - r.rcv_out.head());
    let queued = rings.map_or(0, |r| r.snd_in.tail() - r.snd_out.head());
    let octets = |n: u64| n.min(u64::from(u32::MAX)) as u32;
    let opts = &sk.cold.opts;
    let (rcvbuf, sndbuf) = (opts.rcvbuf * 2, sndbuf(opts));
    [
        octets(unread),
        rcvbuf,
        0,
        sndbuf,
        0,
        octets(queued),
        0,
        0,
        0,
    ]
}

pub(super) fn set_sndbuf(sk: &mut TcpSock, bytes: u32) {
    let bytes = bytes.max(MIN_SNDBUF);
    sk.cold.opts.sndbuf = bytes;
    sk.cold.opts.sndbuf_locked = true;
    if let Some(rings) = &mut sk.rings {
        rings.snd_in.set_limit(u64::from(bytes));
    }
}

pub(super) fn set_rcvbuf(sk: &mut TcpSock, bytes: u32) {
    let bytes = bytes.max(MIN_RCVBUF);
    sk.cold.opts.rcvbuf = bytes;
    sk.cold.opts.rcvbuf_locked = true;
    sk.warm.rcvbuf = sk.cold.opts.window_space();
    if let Some(rings) = &mut sk.rings {
        rings.rcv_in.set_limit(u64::from(bytes));
    }
}
