//! recv and send with all their names, and the flags of both.

use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_net::ops::{self, Op};
use millrace_net::{
    ExtendedError, MsgFlags, OptName, Received, SendMsg, SockError, SockId, SockOpt, Stack,
    Timestamping,
};
use millrace_wire::time::Instant;

use crate::addr::{self, Peer};
use crate::call::{self, Buffer, Cmsg, Fd, Out, Return, SockAddr};
use crate::file::File;
use crate::pending::{RecvWait, SendWait, Wait};
use crate::pipe;
use crate::process::{Process, Started};

/// Most octets of one call (Linux `MAX_RW_COUNT`).
const MAX_COUNT: usize = 0x7fff_f000;

/// Octets of `struct cmsghdr`.
const CMSG_HEADER: usize = 16;

/// Octets of `struct sockaddr_in`.
const SOCKADDR_IN: usize = 16;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Bit of `tcp_fastopen`: clients may (Linux `TFO_CLIENT_ENABLE`).
const CLIENT_ENABLE: u32 = 1;

/// `TCP_CM_INQ`, which is `TCP_INQ`.
const TCP_CM_INQ: i32 = 36;

/// The stack's flags; O_NONBLOCK counts as `MSG_DONTWAIT`, and flags that TCP does not know are ignored.
fn flags_of(flags: i32, file: &File) -> MsgFlags {
    let mut bits = MsgFlags::from_bits_truncate(flags.cast_unsigned());
    bits.set(
        MsgFlags::DONTWAIT,
        file.nonblocking() || bits.contains(MsgFlags::DONTWAIT),
    );
    bits
}

/// recv(2) and its relatives.
pub(crate) fn recv(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, room, control_room, flags): (Fd, Buffer<usize>, usize, i32),
) -> Started {
    let (file, sock) = match process.socket(fd) {
        Ok(found) => found,
        // Only read works on other files.
        Err(libc::ENOTSOCK) if flags == 0 => return read(process, stack, now, (fd, room)),
        Err(errno) => return Return::fail(errno).into(),
    };
    let mut bits = flags_of(flags, file);
    let discard = bits.contains(MsgFlags::TRUNC);
    let (len, fault) = match room {
        Buffer::Given(len) => (len.min(MAX_COUNT), false),
        Buffer::Null(len) => (len.min(MAX_COUNT), len > 0 && !discard),
    };
    if fault {
        // Nothing is taken when the copy fails.
        bits |= MsgFlags::PEEK;
    }
    let op = ops::RecvMsg::owned(sock, len, bits);
    let wait = RecvWait {
        op,
        fault,
        discard,
        control_room,
    };
    process.first_step(stack, now, (fd, Wait::Recv(wait)))
}

fn read(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, room): (Fd, Buffer<usize>),
) -> Started {
    match room {
        Buffer::Given(len) => pipe::read(process, stack, now, (fd, len.min(MAX_COUNT))),
        Buffer::Null(_) => Return::fail(libc::EFAULT).into(),
    }
}

fn write(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, data): (Fd, Buffer<Vec<u8>>),
) -> Started {
    match data {
        Buffer::Given(data) => pipe::write(process, stack, now, (fd, data)),
        Buffer::Null(_) => Return::fail(libc::EFAULT).into(),
    }
}

/// What recv returns.
pub(crate) fn received(
    wait: &mut RecvWait,
    result: Result<Received, SockError>,
    stack: &Stack,
) -> Return {
    match result {
        Ok(got) if got.len > 0 && wait.fault => Return::fail(libc::EFAULT),
        Ok(got) => {
            let data = wait.op.take_data(got.len);
            let mut message = call::Received {
                data: if wait.discard { Vec::new() } else { data },
                flags: got.flags.bits().cast_signed(),
                ..call::Received::default()
            };
            for cmsg in control(stack, wait.op.sock(), &got) {
                put_cmsg(&mut message, wait.control_room, &cmsg);
            }
            Return::with(got.len as i64, Out::Msg(message))
        }
        Err(error) => Return::fail(error.errno()),
    }
}

/// The control messages of what was received, in the kernel's order.
fn control(stack: &Stack, sock: SockId, got: &Received) -> Vec<Cmsg> {
    let mut all = Vec::new();
    if let Some(at) = got.timestamp {
        stamps(stack, sock, at, got.error.is_some(), &mut all);
    }
    if let Some(error) = got.error {
        all.push(Cmsg {
            level: libc::IPPROTO_IP,
            ty: libc::IP_RECVERR,
            data: extended_error(&error),
        });
    }
    if let Some(inq) = got.inq {
        all.push(Cmsg {
            level: libc::IPPROTO_TCP,
            ty: TCP_CM_INQ,
            data: inq.to_ne_bytes().to_vec(),
        });
    }
    all
}

/// The times that the options ask for (Linux `tcp_recv_timestamp`, `__sock_recv_timestamp`). The stack's clock is the
/// program's.
fn stamps(stack: &Stack, sock: SockId, at: Instant, sent: bool, all: &mut Vec<Cmsg>) {
    let (seconds, nanos) = (at.as_nanos() / NANOS_PER_SEC, at.as_nanos() % NANOS_PER_SEC);
    let mut put = |ty, words: &[u64]| {
        all.push(Cmsg {
            level: libc::SOL_SOCKET,
            ty,
            data: words.iter().flat_map(|word| word.to_ne_bytes()).collect(),
        });
    };
    if stack.option(sock, OptName::SoTimestamp) == Ok(SockOpt::SoTimestamp(true)) {
        put(libc::SCM_TIMESTAMP, &[seconds, nanos / 1000]);
    }
    if stack.option(sock, OptName::SoTimestampNs) == Ok(SockOpt::SoTimestampNs(true)) {
        put(libc::SCM_TIMESTAMPNS, &[seconds, nanos]);
    }
    let Ok(SockOpt::Timestamping(bits)) = stack.option(sock, OptName::Timestamping) else {
        return;
    };
    let options = Timestamping::from_bits_truncate(bits);
    let wanted = sent
        || options.contains(Timestamping::RX_SOFTWARE)
        || !options.contains(Timestamping::OPT_RX_FILTER);
    if options.contains(Timestamping::SOFTWARE) && wanted {
        // The software time; the two others are of hardware.
        put(libc::SCM_TIMESTAMPING, &[seconds, nanos, 0, 0, 0, 0]);
    }
}

/// `struct sock_extended_err`, and the address of the offender: nobody's.
fn extended_error(error: &ExtendedError) -> Vec<u8> {
    let mut bytes = error.errno.to_ne_bytes().to_vec();
    bytes.extend([error.origin, error.ty, error.code, 0]);
    bytes.extend(error.info.to_ne_bytes());
    bytes.extend(error.data.to_ne_bytes());
    bytes.resize(bytes.len() + SOCKADDR_IN, 0);
    bytes
}

/// Adds a control message as far as there is room (Linux `put_cmsg`): one that is cut, or does not even begin, sets
/// `MSG_CTRUNC`.
fn put_cmsg(message: &mut call::Received, room: usize, cmsg: &Cmsg) {
    let used: usize = message
        .control
        .iter()
        .map(|c| cmsg_space(c.data.len()))
        .sum();
    let left = room.saturating_sub(used);
    if left < CMSG_HEADER + cmsg.data.len() {
        message.flags |= libc::MSG_CTRUNC;
    }
    if left < CMSG_HEADER {
        return;
    }
    let len = cmsg.data.len().min(left - CMSG_HEADER);
    message.control.push(Cmsg {
        data: cmsg.data[..len].to_vec(),
        ..*cmsg
    });
}

/// Octets that a control message takes with header and padding (`CMSG_SPACE`).
fn cmsg_space(data: usize) -> usize {
    CMSG_HEADER + data.next_multiple_of(size_of::<usize>())
}

/// send(2) and its relatives.
pub(crate) fn send(
    process: &mut Process,
    stack: &mut Stack,
    now: Instant,
    (fd, data, to, control, flags): (Fd, Buffer<Vec<u8>>, Option<&SockAddr>, &[Cmsg], i32),
) -> Started {
    let (file, sock) = match process.socket(fd) {
        Ok(found) => found,
        Err(libc::ENOTSOCK) if flags == 0 => return write(process, stack, now, (fd, data)),
        Err(errno) => return Return::fail(errno).into(),
    };
    let opens = if flags & libc::MSG_FASTOPEN == 0 {
        None
    } else {
        match fast_open(stack, sock, to) {
            Ok(to) => to,
            Err(errno) => return Return::fail(errno).into(),
        }
    };
    let Some(timestamping) = per_call(control) else {
        return Return::fail(libc::EINVAL).into();
    };
    let msg = SendMsg {
        flags: flags_of(flags, file),
        timestamping,
    };
    let (data, fault) = match data {
        Buffer::Given(mut data) => {
            data.truncate(MAX_COUNT);
            (data, false)
        }
        Buffer::Null(len) => (Vec::new(), len > 0),
    };
    let mut op = ops::Send::owned(sock, data, msg);
    if let Some(to) = opens {
        op = op.opening(to);
    }
    process.first_step(stack, now, (fd, Wait::Send(SendWait { op, fault })))
}

/// Whom MSG_FASTOPEN connects to; nobody when the socket has its peer and only waits for data.
///
/// # Errors
/// EOPNOTSUPP when Fast Open is off for clients or the address is none, and those of connect's address.
fn fast_open(
    stack: &Stack,
    sock: SockId,
    to: Option<&SockAddr>,
) -> Result<Option<SocketAddrV4>, i32> {
    if stack.sysctl().tcp_fastopen & CLIENT_ENABLE == 0 {
        return Err(libc::EOPNOTSUPP);
    }
    if stack.is_deferred(sock) {
        return Ok(None);
    }
    match to.map(addr::for_connect) {
        Some(Ok(Peer::To(to))) => Ok(Some(to)),
        Some(Ok(Peer::Dissolve)) => Err(libc::EOPNOTSUPP),
        Some(Err(errno)) => Err(errno),
        Some(Ok(Peer::Unfit(errno))) if stack.connects_anew(sock) => Err(errno),
        None if stack.connects_anew(sock) => Err(libc::EINVAL),
        // It is connected, is about to be or has failed, which is what will be told.
        None | Some(Ok(Peer::Unfit(_))) => Ok(Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))),
    }
}

/// Linux `sock_cmsg_send`: which times a call wants told. Other levels than SOL_SOCKET are not TCP's, other messages
/// of it are not known here: none.
fn per_call(control: &[Cmsg]) -> Option<Option<Timestamping>> {
    let mut chosen = None;
    for cmsg in control.iter().filter(|c| c.level == libc::SOL_SOCKET) {
        if cmsg.ty != libc::SO_TIMESTAMPING {
            return None;
        }
        let bits = u32::from_ne_bytes(<[u8; 4]>::try_from(cmsg.data.as_slice()).ok()?);
        let flags = Timestamping::from_bits(bits)?;
        if !Timestamping::PER_CALL.contains(flags) {
            return None;
        }
        chosen = Some(flags);
    }
    Some(chosen)
}

/// What send returns.
pub(crate) fn sent(wait: &SendWait, result: Result<usize, SockError>) -> Return {
    match result {
        Ok(_) if wait.fault => Return::fail(libc::EFAULT),
        Ok(n) => Return::ok(n as i64),
        Err(error) => Return::fail(error.errno()),
    }
}
