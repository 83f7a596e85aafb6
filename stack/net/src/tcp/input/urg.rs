//! Urgent data (RFC 9293 §3.8.5, RFC 6093; Linux `tcp_check_urg`, `tcp_urg`, `tcp_recv_urg`): one urgent octet at a
//! time, taken out of the stream unless SO_OOBINLINE; a newer one replaces it.

use crate::core::{Ctx, Stack};
use crate::ids::SockId;
use crate::sock::error::SockError;
use crate::sock::flags::MsgFlags;
use crate::sock::msg::Received;
use crate::sock::readiness::Readiness;
use crate::tcp::input::fast;
use crate::tcp::segment::{Payload, Segment};
use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Features;
use crate::tcp::state::TcpState;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;

/// The urgent octet of a connection (Linux `urg_seq`, `urg_data`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Urgent {
    /// Its sequence number.
    pub seq: SeqNum,
    pub octet: Octet,
}

/// What is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Octet {
    /// Announced, not here yet.
    Awaited,
    /// It came.
    Here(u8),
    /// It came and was read with MSG_OOB.
    Read,
}

/// What a read got from a stream with an urgent mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub len: usize,
    /// Nothing is left behind it.
    pub dry: bool,
    /// It stopped in front of the mark.
    pub at_mark: bool,
}

/// Sequence number of the first octet that was not read (Linux `copied_seq`).
fn copied_seq(sk: &mut TcpSock) -> SeqNum {
    let fin = u32::from(sk.warm.fin_received);
    let unread = sk.unread() as u32;
    sk.rx.rcv_nxt - (fin + unread)
}

/// The urgent part of an acceptable segment, before its data is queued.
pub(crate) fn segment(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment, payload: &Payload<'_, '_>) {
    if seg.has(TcpFlags::URG) {
        check_pointer(sk, ctx, seg);
    }
    let Some(urgent) = &mut sk.cold.urgent else {
        return;
    };
    if urgent.octet != Octet::Awaited {
        return;
    }
    let offset = urgent.seq.raw().wrapping_sub(seg.seq.raw());
    if offset >= seg.len {
        return;
    }
    if let Some(octet) = payload
        .slices(offset, 1)
        .next()
        .and_then(|(_, bytes)| bytes.first().copied())
    {
        urgent.octet = Octet::Here(octet);
        sk.note(Readiness::IN | Readiness::PRI);
    }
}

/// Is it news?
fn check_pointer(sk: &mut TcpSock, ctx: &mut Ctx, seg: &Segment) {
    let mut offset = u32::from(seg.urgent);
    if offset > 0 && !ctx.sysctl.tcp_stdurg {
        // As BSD: the pointer names the octet after the urgent one.
        offset -= 1;
    }
    let at = seg.seq + offset;
    let copied = copied_seq(sk);
    if copied.after(at) || at.before(sk.rx.rcv_nxt) {
        return;
    }
    if let Some(old) = sk.cold.urgent {
        if !at.after(old.seq) {
            return;
        }
        // The old octet is the next to be read, and would be read as data from now on: it is lost.
        if old.seq == copied && !sk.cold.opts.oob_inline {
            skip_one(sk, ctx);
        }
    }
    sk.cold.urgent = Some(Urgent {
        seq: at,
        octet: Octet::Awaited,
    });
    sk.rx.features.insert(Features::URGENT);
    sk.rx.predict = false;
}

fn skip_one(sk: &mut TcpSock, ctx: &mut Ctx) {
    if let Some(rings) = &mut sk.rings
        && !rings.rcv_out.is_empty()
    {
        let next = rings.rcv_out.head() + 1;
        rings.rcv_out.advance(next);
        rings.rcv_in.reclaim(&mut ctx.chunks);
    }
}

/// Reads from a stream with a mark: up to it, or from it on when `before` is 0 and nothing was read in this call.
pub(crate) fn take(
    sk: &mut TcpSock,
    ctx: &mut Ctx,
    buf: &mut [u8],
    flags: MsgFlags,
    before: usize,
) -> Taken {
    let inline = sk.cold.opts.oob_inline;
    let start = copied_seq(sk);
    let mark = sk.cold.urgent.map(|u| u.seq);
    let mut at_mark = false;
    let Some(rings) = &mut sk.rings else {
        return Taken {
            len: 0,
            dry: true,
            at_mark,
        };
    };
    let (head, unread) = (rings.rcv_out.head(), rings.rcv_out.len());
    // Octets passed, and those of them that were taken.
    let (mut passed, mut len) = (0u64, 0usize);
    while len < buf.len() && passed < unread {
        let left = (unread - passed).min((buf.len() - len) as u64) as u32;
        let to_mark = mark.map(|m| m.raw().wrapping_sub((start + passed as u32).raw()));
        let (skip, used) = match to_mark {
            Some(0) if before + len > 0 => {
                at_mark = true;
                break;
            }
            Some(0) if !inline => (1, left - 1),
            Some(n) if n > 0 && n < left => (0, n),
            _ => (0, left),
        };
        passed += skip;
        if !flags.contains(MsgFlags::TRUNC) {
            let to = &mut buf[len..len + used as usize];
            rings.rcv_out.copy_to(head + passed, to);
        }
        passed += u64::from(used);
        len += used as usize;
    }
    // At the very end of what there is, the mark may come next.
    at_mark |= passed == unread && before + len > 0 && mark == Some(start + passed as u32);
    if !flags.contains(MsgFlags::PEEK) && passed > 0 {
        rings.rcv_out.advance(head + passed);
        rings.rcv_in.reclaim(&mut ctx.chunks);
        if mark.is_some_and(|m| (start + passed as u32).after(m)) {
            forget(sk);
            fast::check(sk);
        }
    }
    Taken {
        len,
        dry: passed == unread,
        at_mark,
    }
}

/// The mark is behind the reader.
pub(crate) fn forget(sk: &mut TcpSock) {
    sk.cold.urgent = None;
    sk.rx.features.remove(Features::URGENT);
}

/// recv with MSG_OOB; never waits.
pub(crate) fn recv(
    sk: &mut TcpSock,
    buf: &mut [u8],
    flags: MsgFlags,
) -> Result<Received, SockError> {
    let inline = sk.cold.opts.oob_inline;
    let Some(urgent) = sk
        .cold
        .urgent
        .as_mut()
        .filter(|u| !inline && u.octet != Octet::Read)
    else {
        return Err(SockError::Invalid);
    };
    if sk.rx.state == TcpState::Close && !sk.warm.fin_received {
        return Err(SockError::NotConnected);
    }
    let Octet::Here(octet) = urgent.octet else {
        return if sk.rx.features.contains(Features::RCV_SHUTDOWN) {
            Ok(Received::default())
        } else {
            Err(SockError::WouldBlock)
        };
    };
    if !flags.contains(MsgFlags::PEEK) {
        urgent.octet = Octet::Read;
    }
    let mut got = Received {
        flags: MsgFlags::OOB,
        ..Received::default()
    };
    match buf.first_mut() {
        Some(first) => {
            if !flags.contains(MsgFlags::TRUNC) {
                *first = octet;
            }
            got.len = 1;
        }
        None => got.flags |= MsgFlags::TRUNC,
    }
    Ok(got)
}

/// The next octet to be read is the urgent one.
pub(crate) fn at_mark(sk: &mut TcpSock) -> bool {
    match sk.cold.urgent {
        Some(urgent) => urgent.seq == copied_seq(sk),
        None => false,
    }
}

/// Octets in front of the mark (Linux `tcp_inq`); none when there is no mark to stop at.
pub(crate) fn to_mark(sk: &mut TcpSock) -> Option<u32> {
    let urgent = sk.cold.urgent.filter(|_| !sk.cold.opts.oob_inline)?;
    let copied = copied_seq(sk);
    let ahead = urgent.seq.at_or_after(copied) && urgent.seq.before(sk.rx.rcv_nxt);
    ahead.then(|| urgent.seq.bytes_since(copied))
}

/// An urgent octet can be read with MSG_OOB: poll's POLLPRI.
pub(crate) fn is_here(sk: &TcpSock) -> bool {
    sk.cold
        .urgent
        .is_some_and(|u| matches!(u.octet, Octet::Here(_)))
}

impl Stack {
    /// SIOCATMARK: the next octet to be read is the urgent one.
    ///
    /// # Errors
    /// EBADF.
    pub fn at_mark(&mut self, s: SockId) -> Result<bool, SockError> {
        Ok(at_mark(self.sock(s)?))
    }
}
