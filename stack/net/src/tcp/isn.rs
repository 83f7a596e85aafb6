//! Initial sequence numbers and timestamp offsets of new connections (RFC 6528, RFC 7323 §5.4).

use crate::core::Ctx;
use crate::tcp::demux::Tuple;
use millrace_wire::seq::SeqNum;

/// The initial sequence number for a tuple now.
pub(crate) fn initial(ctx: &Ctx, tuple: &Tuple) -> SeqNum {
    ctx.keys.isn(tuple, ctx.now)
}

/// What is added to our clock in timestamps; 0 when `tcp_timestamps` is 2.
pub(crate) fn ts_offset(ctx: &Ctx, tuple: &Tuple) -> u32 {
    if ctx.sysctl.tcp_timestamps == 1 {
        ctx.keys.ts_offset(tuple)
    } else {
        0
    }
}
