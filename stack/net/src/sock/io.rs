//! send and recv (Linux `tcp_sendmsg`, `tcp_recvmsg`).

use crate::core::{Ctx, Stack};
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::flags::MsgFlags;
use crate::tcp::input::acking;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, Nonagle};
use crate::tcp::state::{CAN_QUEUE, StateSet, TcpState};
use core::time::Duration;
use millrace_wire::time::Instant;

/// How long a sender waits that found the stack's ring memory used up.
const MEMORY_WAIT: Duration = Duration::from_millis(50);
/// What autotuning multiplies a window's worth of data by (Linux `tcp_sndbuf_expand`).
const SNDBUF_FACTOR: u32 = 2;

impl Stack {
    /// Queues bytes. Takes as many as there is room for.
    ///
    /// # Errors
    /// EAGAIN when the send buffer is full or connect has not ended, EPIPE after shutdown or reset, the pending
    /// error, ENOBUFS when the stack's ring memory is used up.
    pub fn send(
        &mut self,
        now: Instant,
        s: SockId,
        data: &[u8],
        flags: MsgFlags,
    ) -> Result<usize, SockError> {
        self.ctx.now = now;
        self.sock(s)?;
        let ctx = &mut self.ctx;
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        if let Some(error) = sk.warm.err.take() {
            return Err(error);
        }
        if sk.rx.features.contains(Features::SEND_SHUTDOWN) {
            return Err(SockError::BrokenPipe);
        }
        if !sk.rx.state.is_in(CAN_QUEUE) {
            let opening = StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]);
            return Err(if sk.rx.state.is_in(opening) {
                SockError::WouldBlock
            } else {
                SockError::BrokenPipe
            });
        }
        let taken = match queue(sk, ctx, data) {
            Ok(taken) => taken,
            // A wish for memory has a timer. A wish for room changes nothing that the flow could act on.
            Err(SockError::NoBuffers) => {
                self.settle(s);
                return Err(SockError::NoBuffers);
            }
            Err(error) => return Err(error),
        };
        if flags.contains(MsgFlags::MORE) {
            sk.tx.nonagle.insert(Nonagle::MORE);
        } else {
            sk.tx.nonagle.remove(Nonagle::MORE);
        }
        self.settle(s);
        Ok(taken)
    }

    /// Takes received bytes. 0 is the end of the stream.
    ///
    /// # Errors
    /// EAGAIN when there are none yet, ENOTCONN, the pending error.
    pub fn recv(
        &mut self,
        now: Instant,
        s: SockId,
        buf: &mut [u8],
        flags: MsgFlags,
    ) -> Result<usize, SockError> {
        self.ctx.now = now;
        self.sock(s)?;
        let ctx = &mut self.ctx;
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        let readable = sk.rings.as_mut().map_or(0, |r| r.rcv_out.len());
        if readable == 0 || buf.is_empty() {
            return nothing_to_read(sk, buf.is_empty());
        }
        let taken = take(sk, ctx, buf, flags);
        if !flags.contains(MsgFlags::PEEK) {
            acking::cleanup_rbuf(sk, ctx);
        }
        self.settle(s);
        Ok(taken)
    }
}

fn queue(sk: &mut TcpSock, ctx: &mut Ctx, data: &[u8]) -> Result<usize, SockError> {
    expand_sndbuf(sk, ctx);
    let Some(rings) = &mut sk.rings else {
        return Err(SockError::BrokenPipe);
    };
    let Ok(taken) = rings.snd_in.write(data, &mut ctx.chunks) else {
        // Nothing of this connection may ever free memory: look again later (Linux `sk_stream_wait_memory`).
        sk.warm.timers.memory = Some(ctx.now + MEMORY_WAIT);
        return Err(SockError::NoBuffers);
    };
    sk.tx.write_seq += taken as u32;
    sk.warm.no_space |= taken < data.len();
    if taken == 0 && !data.is_empty() {
        return Err(SockError::WouldBlock);
    }
    Ok(taken)
}

/// The send buffer follows the congestion window (Linux `tcp_sndbuf_expand`).
fn expand_sndbuf(sk: &mut TcpSock, ctx: &Ctx) {
    if sk.cold.opts.sndbuf_locked {
        return;
    }
    let segments = sk.tx.snd_cwnd.max(crate::tcp::INIT_CWND);
    let wanted = segments
        .saturating_mul(u32::from(sk.tx.mss_cache))
        .saturating_mul(SNDBUF_FACTOR);
    let wanted = wanted.min(ctx.sysctl.tcp_wmem[2]);
    if wanted > sk.cold.opts.sndbuf
        && let Some(rings) = &mut sk.rings
    {
        sk.cold.opts.sndbuf = wanted;
        rings.snd_in.set_limit(u64::from(wanted));
    }
}

fn nothing_to_read(sk: &mut TcpSock, asked_for_nothing: bool) -> Result<usize, SockError> {
    if let Some(error) = sk.warm.err.take() {
        return Err(error);
    }
    if sk.cold.listen.is_some() || sk.rings.is_none() {
        return Err(SockError::NotConnected);
    }
    if sk.rx.features.contains(Features::RCV_SHUTDOWN) || asked_for_nothing {
        return Ok(0);
    }
    Err(SockError::WouldBlock)
}

fn take(sk: &mut TcpSock, ctx: &mut Ctx, buf: &mut [u8], flags: MsgFlags) -> usize {
    let Some(rings) = &mut sk.rings else { return 0 };
    let head = rings.rcv_out.head();
    let len = (rings.rcv_out.len().min(buf.len() as u64)) as usize;
    if flags.contains(MsgFlags::TRUNC) {
        rings.rcv_out.advance(head + len as u64);
    } else {
        rings.rcv_out.copy_to(head, &mut buf[..len]);
        if flags.contains(MsgFlags::PEEK) {
            return len;
        }
        rings.rcv_out.advance(head + len as u64);
    }
    rings.rcv_in.reclaim(&mut ctx.chunks);
    len
}
