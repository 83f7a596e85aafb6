//! send and recv (Linux `tcp_sendmsg`, `tcp_recvmsg`). Neither waits here: `ops` makes waiting calls out of the parts.

use crate::core::{Ctx, Stack};
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::errqueue;
use crate::sock::flags::MsgFlags;
use crate::sock::msg::{Received, SendMsg};
use crate::sock::space::{self, Asks};
use crate::tcp::chrono::Kind;
use crate::tcp::fastopen::{client, server};
use crate::tcp::input::acking;
use crate::tcp::input::urg::{self, Taken};
use crate::tcp::output::write::MAX_BURST;
use crate::tcp::output::{self, eor};
use crate::tcp::rate;
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::{Features, Nonagle};
use crate::tcp::stamps;
use crate::tcp::state::{CAN_QUEUE, StateSet, TcpState};
use core::time::Duration;
use millrace_wire::time::Instant;

/// How long a sender waits that found the stack's ring memory used up.
const MEMORY_WAIT: Duration = Duration::from_millis(50);

/// What one step of a receiving call got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    pub msg: Received,
    /// The call returns now, even if it wants more: the end, an error for the next call, or the urgent mark.
    pub stop: bool,
}

impl Stack {
    /// Queues bytes: [`Stack::send_msg`] with flags only.
    ///
    /// # Errors
    /// As [`Stack::send_msg`].
    pub fn send(
        &mut self,
        now: Instant,
        s: SockId,
        data: &[u8],
        flags: MsgFlags,
    ) -> Result<usize, SockError> {
        self.send_msg(now, s, data, &flags.into())
    }

    /// Queues bytes. Takes as many as there is room for, and never waits.
    ///
    /// # Errors
    /// EAGAIN when the send buffer is full (or TCP_NOTSENT_LOWAT reached) or connect has not ended, EPIPE after
    /// shutdown or reset and on a socket that is not connected, the pending error, ENOBUFS when the stack's ring
    /// memory is used up.
    pub fn send_msg(
        &mut self,
        now: Instant,
        s: SockId,
        data: &[u8],
        msg: &SendMsg,
    ) -> Result<usize, SockError> {
        self.send_part(now, s, data, msg, 0)
    }

    /// The same for a call that has queued `before` octets already: an error is left for the next call.
    pub(crate) fn send_part(
        &mut self,
        now: Instant,
        s: SockId,
        data: &[u8],
        msg: &SendMsg,
        before: usize,
    ) -> Result<usize, SockError> {
        self.ctx.now = now;
        self.sock(s)?;
        let ctx = &mut self.ctx;
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        if client::is_deferred(sk) {
            return self.send_syn_data(s, data);
        }
        may_send(sk, before)?;
        rate::check_app_limited(sk);
        let taken = match queue(sk, ctx, data) {
            Ok(taken) => taken,
            // A wish for memory has a timer. A wish for room changes nothing that the flow could act on.
            Err(SockError::NoBuffers) => {
                self.settle(s);
                return Err(SockError::NoBuffers);
            }
            Err(error) => return Err(error),
        };
        push(sk, msg.flags, taken, data.len());
        if taken > 0 {
            sk.warm.chrono.start(now, Kind::Busy);
            stamps::queued(sk, msg);
        }
        // What a service answers settles when it has taken what it was lent.
        if self.ctx.delivering != Some(s) {
            self.settle(s);
        }
        Ok(taken)
    }

    /// Takes received bytes: [`Stack::recv_msg`] without the rest of the message. 0 is the end of the stream.
    ///
    /// # Errors
    /// As [`Stack::recv_msg`].
    pub fn recv(
        &mut self,
        now: Instant,
        s: SockId,
        buf: &mut [u8],
        flags: MsgFlags,
    ) -> Result<usize, SockError> {
        Ok(self.recv_msg(now, s, buf, flags)?.len)
    }

    /// Takes received bytes, as many as there are and fit, and never waits. Data comes before an error, an error
    /// before the end of the stream, but the peer's FIN before an error that came after it.
    ///
    /// # Errors
    /// EAGAIN when there is nothing yet, even for an empty buffer; ENOTCONN on a listener or a socket that was never
    /// connected; the pending error.
    pub fn recv_msg(
        &mut self,
        now: Instant,
        s: SockId,
        buf: &mut [u8],
        flags: MsgFlags,
    ) -> Result<Received, SockError> {
        Ok(self.recv_part(now, s, buf, flags, 0)?.msg)
    }

    /// The same for a call that has taken `before` octets already: an error is left for the next call.
    pub(crate) fn recv_part(
        &mut self,
        now: Instant,
        s: SockId,
        buf: &mut [u8],
        flags: MsgFlags,
        before: usize,
    ) -> Result<Part, SockError> {
        self.ctx.now = now;
        self.sock(s)?;
        let ctx = &mut self.ctx;
        let Some(sk) = self.socks.tcp.get_mut(s) else {
            return Err(SockError::BadSocket);
        };
        if flags.contains(MsgFlags::ERRQUEUE) {
            return errqueue::recv(sk).map(|msg| Part { msg, stop: true });
        }
        if sk.cold.listen.is_some() {
            return Err(SockError::NotConnected);
        }
        let mut part = if flags.contains(MsgFlags::OOB) {
            Part {
                msg: urg::recv(sk, buf, flags)?,
                stop: true,
            }
        } else {
            receive(sk, ctx, buf, flags, before)?
        };
        part.msg.inq = sk.cold.opts.inq.then(|| inq_hint(sk));
        self.settle(s);
        Ok(part)
    }
}

/// Linux `sk_stream_wait_connect` without the waiting, then the checks of `tcp_sendmsg_locked`.
fn may_send(sk: &mut TcpSock, before: usize) -> Result<(), SockError> {
    if before > 0 {
        let over = sk.warm.err.is_some()
            || sk.rx.features.contains(Features::SEND_SHUTDOWN)
            || !sk.rx.state.is_in(CAN_QUEUE) && !server::is_pending(sk);
        return if over {
            Err(SockError::BrokenPipe)
        } else {
            Ok(())
        };
    }
    if let Some(error) = sk.warm.err.take() {
        return Err(error);
    }
    let early = server::is_pending(sk) && sk.rx.state == TcpState::SynRecv;
    let opening = StateSet::of(&[TcpState::SynSent, TcpState::SynRecv]);
    if sk.rx.state.is_in(opening) && !early {
        return Err(SockError::WouldBlock);
    }
    if !sk.rx.state.is_in(CAN_QUEUE) && !early || sk.rx.features.contains(Features::SEND_SHUTDOWN) {
        return Err(SockError::BrokenPipe);
    }
    Ok(())
}

fn queue(sk: &mut TcpSock, ctx: &mut Ctx, data: &[u8]) -> Result<usize, SockError> {
    space::expand_sndbuf(sk, ctx);
    let mut taken = 0;
    if !space::has_lowat(sk, &ctx.sysctl) && !eor::any(sk) {
        taken = write(sk, ctx, data)?;
    } else {
        // One buffer's worth at a time, as long as the limits leave room for another; the last is filled in any case.
        while taken < data.len() {
            let goal = buffer_goal(sk);
            let room = if may_begin_buffer(sk, ctx) {
                goal
            } else {
                tail_room(sk, goal)
            };
            let end = data.len().min(taken + room);
            match write(sk, ctx, &data[taken..end]) {
                Ok(0) => break,
                Ok(n) => taken += n,
                Err(_) if taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
    }
    sk.warm.no_space |= taken < data.len();
    if taken == 0 && !data.is_empty() {
        return Err(SockError::WouldBlock);
    }
    Ok(taken)
}

fn write(sk: &mut TcpSock, ctx: &mut Ctx, data: &[u8]) -> Result<usize, SockError> {
    let Some(rings) = &mut sk.rings else {
        return Err(SockError::BrokenPipe);
    };
    let mut written = rings.snd_in.write(data, &mut ctx.chunks);
    if written.is_err() {
        // The least buffer is promised to everybody (`tcp_wmem`).
        let queued = rings.snd_out.tail() - rings.snd_out.head();
        let least = u64::from(ctx.sysctl.tcp_wmem[0]).saturating_sub(queued) as usize;
        let part = &data[..data.len().min(least)];
        if !part.is_empty() {
            written = ctx.promised(|ctx| rings.snd_in.write(part, &mut ctx.chunks));
        }
    }
    let Ok(taken) = written else {
        // Nothing of this connection may ever free memory: look again later (Linux `sk_stream_wait_memory`).
        sk.warm.timers.memory = Some(ctx.now + MEMORY_WAIT);
        return Err(SockError::NoBuffers);
    };
    sk.tx.write_seq += taken as u32;
    Ok(taken)
}

/// Room for another buffer (Linux `sk_stream_memory_free` before each new skb).
fn may_begin_buffer(sk: &mut TcpSock, ctx: &Ctx) -> bool {
    space::below_lowat(sk, &ctx.sysctl, Asks::Writer) && eor::has_room(sk)
}

/// Octets that one buffer takes (Linux `tcp_xmit_size_goal`): whole segments, at most half of the largest window.
fn buffer_goal(sk: &TcpSock) -> usize {
    let mss = u32::from(sk.tx.mss_cache).max(1);
    let most = (mss * MAX_BURST).min((sk.tx.max_window >> 1).max(mss));
    (most - most % mss) as usize
}

/// Octets that still fit into the last buffer that was not sent (Linux: the skb at the tail), unless a record ended
/// there.
fn tail_room(sk: &TcpSock, goal: usize) -> usize {
    let unsent = if sk.tx.snd_nxt.before(sk.tx.write_seq) {
        sk.tx.write_seq.bytes_since(sk.tx.snd_nxt) as usize
    } else {
        0
    };
    match unsent % goal {
        0 => 0,
        _ if eor::ends_queue(sk) => 0,
        part => goal - part,
    }
}

/// What the flags mean for what was queued (Linux `tcp_push`).
fn push(sk: &mut TcpSock, flags: MsgFlags, taken: usize, wanted: usize) {
    if taken == 0 {
        return;
    }
    let whole = taken == wanted;
    let more = whole && flags.contains(MsgFlags::MORE);
    sk.tx.nonagle.set(Nonagle::MORE, more);
    sk.tx.nonagle.set(Nonagle::UNPUSHED, more);
    // A buffer that holds no two segments would wait for ever for its segments to fill (Linux pushes here always, but
    // its buffers end with whole segments).
    let limit = sk.rings.as_ref().map_or(0, |r| r.snd_in.limit());
    let tight = limit < 2 * u64::from(sk.tx.mss_cache);
    sk.tx.nonagle.set(Nonagle::PUSH, !whole && tight);
    if flags.contains(MsgFlags::OOB) {
        output::urg::mark(sk);
    }
    if whole && flags.contains(MsgFlags::EOR) {
        eor::mark(sk);
    }
}

/// No octet can be read and none was: why (the order is Linux's). Ok is the end of the stream.
fn nothing_to_read(sk: &mut TcpSock) -> Result<(), SockError> {
    if sk.warm.fin_received {
        return Ok(());
    }
    if let Some(error) = sk.warm.err.take() {
        return Err(error);
    }
    if sk.rx.features.contains(Features::RCV_SHUTDOWN) {
        return Ok(());
    }
    Err(if sk.rx.state == TcpState::Close {
        SockError::NotConnected
    } else {
        SockError::WouldBlock
    })
}

/// Nothing will follow what was read.
pub(crate) fn no_more_comes(sk: &TcpSock) -> bool {
    sk.warm.err.is_some()
        || sk.rx.state == TcpState::Close
        || sk.rx.features.contains(Features::RCV_SHUTDOWN)
}

/// Linux `tcp_inq_hint`: the end of the stream counts as one octet, so that the reader comes again.
fn inq_hint(sk: &mut TcpSock) -> u32 {
    let fin = u32::from(sk.warm.fin_received);
    let unread = sk.rings.as_mut().map_or(0, |r| r.rcv_out.len());
    unread.min(u64::from(u32::MAX / 2)) as u32 + fin
}

/// What there is in the stream.
fn receive(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    buf: &mut [u8],
    flags: MsgFlags,
    before: usize,
) -> Result<Part, SockError> {
    let begin = sk.rings.as_ref().map_or(0, |r| r.rcv_out.head());
    let taken = if sk.rx.features.contains(Features::URGENT) {
        urg::take(sk, ctx, buf, flags, before)
    } else {
        take(sk, ctx, buf, flags)
    };
    if taken.len == 0 && taken.dry && before == 0 {
        nothing_to_read(sk)?;
    }
    if taken.len > 0 && !flags.contains(MsgFlags::PEEK) {
        acking::cleanup_rbuf(sk, ctx);
    }
    // Who takes all that there is takes the FIN with it: in Linux it is in the last buffer.
    if taken.dry && !buf.is_empty() && !flags.contains(MsgFlags::PEEK) {
        sk.warm.fin_read = sk.warm.fin_received;
    }
    let timestamp = if taken.len > 0 && sk.rx.features.contains(Features::RX_STAMPS) {
        let head = sk.rings.as_ref().map_or(0, |r| r.rcv_out.head());
        let end = head.max(begin + taken.len as u64);
        stamps::seen(sk, end, head)
    } else {
        None
    };
    Ok(Part {
        msg: Received {
            len: taken.len,
            timestamp,
            ..Received::default()
        },
        stop: taken.at_mark || taken.dry && no_more_comes(sk),
    })
}

fn take(sk: &mut TcpSock, ctx: &mut Ctx, buf: &mut [u8], flags: MsgFlags) -> Taken {
    let mut taken = Taken {
        len: 0,
        dry: true,
        at_mark: false,
    };
    let Some(rings) = &mut sk.rings else {
        return taken;
    };
    let (head, waiting) = (rings.rcv_out.head(), rings.rcv_out.len());
    let len = waiting.min(buf.len() as u64) as usize;
    taken.dry = len as u64 == waiting;
    if len == 0 {
        return taken;
    }
    taken.len = len;
    if !flags.contains(MsgFlags::TRUNC) {
        rings.rcv_out.copy_to(head, &mut buf[..len]);
    }
    if !flags.contains(MsgFlags::PEEK) {
        rings.rcv_out.advance(head + len as u64);
        rings.rcv_in.reclaim(&mut ctx.chunks);
    }
    taken
}
