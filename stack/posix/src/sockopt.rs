//! Socket options as bytes: which lengths are taken, what is written back, and the errors, by level.
//!
//! The rules differ by level (Linux `sk_setsockopt`, `do_ip_setsockopt`, `do_tcp_setsockopt` and their `get`
//! counterparts): an `int` shorter than four octets is EINVAL, but IP options also take a single octet and write one
//! back when there is room for no more.

use std::time::Duration;

use millrace_net::{OptName, SockError, SockId, SockOpt, Stack, TcpState};
use millrace_wire::time::Instant;

use crate::call::{Fd, Out, Return};
use crate::process::Process;

const INT: usize = 4;
/// Octets of `struct linger` and of `struct timeval`.
const LINGER: usize = 8;
const TIMEVAL: usize = 16;
/// The same as their older namesakes, where `long` has 64 bits.
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;
/// The one congestion control there is, and most octets of a name (`TCP_CA_NAME_MAX`).
const CONGESTION: &[u8] = b"reno";
const CONGESTION_NAME: usize = 16;
const MICROS_PER_SEC: i64 = 1_000_000;

/// How a value is laid out, and the stack's option that it stands for.
#[derive(Clone, Copy)]
enum Form {
    /// `int`, 0 or not.
    Flag(fn(bool) -> SockOpt),
    /// `int` whose negative values are very large ones.
    Unsigned(fn(u32) -> SockOpt),
    /// `int` that may be negative.
    Int(fn(i32) -> SockOpt),
    /// `int` within 16 bits.
    Short(fn(u16) -> SockOpt),
    /// `int` within 8 bits.
    Byte(fn(u8) -> SockOpt),
    /// `int` of which the low 8 bits count.
    LowByte(fn(u8) -> SockOpt),
    /// `int`, 0 or 1.
    Bit(fn(bool) -> SockOpt),
    /// `struct linger`.
    Linger,
    /// `struct timeval`.
    Time(fn(Option<Duration>) -> SockOpt),
}

const SOCKET: i32 = libc::SOL_SOCKET;
const IP: i32 = libc::IPPROTO_IP;
const TCP: i32 = libc::IPPROTO_TCP;

use Form::{Bit, Byte, Flag, Int, Linger, LowByte, Short, Time, Unsigned};

/// An option that the stack has.
struct Row {
    level: i32,
    opt: OptName,
    form: Form,
}

fn find(level: i32, name: i32) -> Result<Row, i32> {
    let found = match level {
        SOCKET => socket_level(name),
        TCP => tcp_level(name),
        IP => ip_level(name),
        _ => None,
    };
    let (opt, form) = found.ok_or(libc::ENOPROTOOPT)?;
    Ok(Row { level, opt, form })
}

fn socket_level(name: i32) -> Option<(OptName, Form)> {
    Some(match name {
        libc::SO_REUSEADDR => (OptName::ReuseAddr, Flag(SockOpt::ReuseAddr)),
        libc::SO_REUSEPORT => (OptName::ReusePort, Flag(SockOpt::ReusePort)),
        libc::SO_OOBINLINE => (OptName::OobInline, Flag(SockOpt::OobInline)),
        libc::SO_KEEPALIVE => (OptName::KeepAlive, Flag(SockOpt::KeepAlive)),
        libc::SO_LINGER => (OptName::Linger, Linger),
        libc::SO_SNDBUF => (OptName::SndBuf, Unsigned(SockOpt::SndBuf)),
        libc::SO_RCVBUF => (OptName::RcvBuf, Unsigned(SockOpt::RcvBuf)),
        libc::SO_RCVLOWAT => (OptName::RcvLowat, Unsigned(SockOpt::RcvLowat)),
        libc::SO_RCVTIMEO | SO_RCVTIMEO_NEW => (OptName::RcvTimeo, Time(SockOpt::RcvTimeo)),
        libc::SO_SNDTIMEO | SO_SNDTIMEO_NEW => (OptName::SndTimeo, Time(SockOpt::SndTimeo)),
        _ => return None,
    })
}

fn tcp_level(name: i32) -> Option<(OptName, Form)> {
    Some(match name {
        libc::TCP_NODELAY => (OptName::NoDelay, Flag(SockOpt::NoDelay)),
        libc::TCP_CORK => (OptName::Cork, Flag(SockOpt::Cork)),
        libc::TCP_QUICKACK => (OptName::QuickAck, Flag(SockOpt::QuickAck)),
        libc::TCP_MAXSEG => (OptName::MaxSeg, Short(SockOpt::MaxSeg)),
        libc::TCP_KEEPIDLE => (OptName::KeepIdle, Unsigned(SockOpt::KeepIdle)),
        libc::TCP_KEEPINTVL => (OptName::KeepIntvl, Unsigned(SockOpt::KeepIntvl)),
        libc::TCP_KEEPCNT => (OptName::KeepCnt, Unsigned(SockOpt::KeepCnt)),
        libc::TCP_USER_TIMEOUT => (OptName::UserTimeout, Unsigned(SockOpt::UserTimeout)),
        libc::TCP_SYNCNT => (OptName::SynCnt, Unsigned(SockOpt::SynCnt)),
        libc::TCP_NOTSENT_LOWAT => (OptName::NotSentLowat, Unsigned(SockOpt::NotSentLowat)),
        libc::TCP_INQ => (OptName::Inq, Bit(SockOpt::Inq)),
        libc::TCP_LINGER2 => (OptName::Linger2, Int(SockOpt::Linger2)),
        _ => return None,
    })
}

fn ip_level(name: i32) -> Option<(OptName, Form)> {
    Some(match name {
        libc::IP_TOS => (OptName::Tos, LowByte(SockOpt::Tos)),
        libc::IP_TTL => (OptName::Ttl, Byte(SockOpt::Ttl)),
        _ => return None,
    })
}

/// setsockopt(2).
pub(crate) fn set(
    process: &Process,
    stack: &mut Stack,
    now: Instant,
    (fd, level, name, value): (Fd, i32, i32, &[u8]),
) -> Result<i64, i32> {
    let (_, sock) = process.socket(fd)?;
    if (level, name) == (TCP, libc::TCP_CONGESTION) {
        return set_congestion(value);
    }
    if matches!(level, SOCKET | TCP) && value.len() < INT {
        return Err(libc::EINVAL);
    }
    let row = find(level, name)?;
    let option = decode(&row, value)?;
    stack
        .set_option(now, sock, option)
        .map(|()| 0)
        .map_err(SockError::errno)
}

/// The name ends with the value, with its 15th octet or with a NUL.
fn set_congestion(value: &[u8]) -> Result<i64, i32> {
    if value.is_empty() {
        return Err(libc::EINVAL);
    }
    let most = &value[..value.len().min(CONGESTION_NAME - 1)];
    let name = most.split(|octet| *octet == 0).next().unwrap_or_default();
    if name == CONGESTION {
        Ok(0)
    } else {
        Err(libc::ENOENT)
    }
}

fn decode(row: &Row, value: &[u8]) -> Result<SockOpt, i32> {
    Ok(match row.form {
        Flag(make) => make(int(row.level, value)? != 0),
        Unsigned(make) => make(int(row.level, value)?.cast_unsigned()),
        Int(make) => make(int(row.level, value)?),
        Short(make) => make(u16::try_from(int(row.level, value)?).map_err(|_| libc::EINVAL)?),
        Byte(make) => make(u8::try_from(int(row.level, value)?).map_err(|_| libc::EINVAL)?),
        LowByte(make) => make(int(row.level, value)? as u8),
        Bit(make) => make(match int(row.level, value)? {
            0 => false,
            1 => true,
            _ => return Err(libc::EINVAL),
        }),
        Linger => linger(value)?,
        Time(make) => make(timeval(value)?),
    })
}

/// An `int`; at the IP level a single octet will do, and nothing at all is 0.
fn int(level: i32, value: &[u8]) -> Result<i32, i32> {
    match (value.first_chunk::<INT>(), value.first()) {
        (Some(bytes), _) => Ok(i32::from_ne_bytes(*bytes)),
        (None, first) if level == IP => Ok(first.copied().map_or(0, i32::from)),
        _ => Err(libc::EINVAL),
    }
}

fn linger(value: &[u8]) -> Result<SockOpt, i32> {
    let bytes = value.first_chunk::<LINGER>().ok_or(libc::EINVAL)?;
    let [on, seconds] = [0, INT].map(|at| {
        let word = bytes[at..].first_chunk::<INT>();
        word.map_or(0, |word| i32::from_ne_bytes(*word))
    });
    let wait = Duration::from_secs(u64::from(seconds.cast_unsigned()));
    Ok(SockOpt::Linger((on != 0).then_some(wait)))
}

/// A time-out: 0 waits for ever, a negative one not at all (Linux `sock_set_timeout`).
fn timeval(value: &[u8]) -> Result<Option<Duration>, i32> {
    let bytes = value.first_chunk::<TIMEVAL>().ok_or(libc::EINVAL)?;
    let [seconds, micros] = [0, 8].map(|at| {
        let word = bytes[at..].first_chunk::<8>();
        word.map_or(0, |word| i64::from_ne_bytes(*word))
    });
    if !(0..MICROS_PER_SEC).contains(&micros) {
        return Err(libc::EDOM);
    }
    let Ok(seconds) = u64::try_from(seconds) else {
        return Ok(Some(Duration::ZERO));
    };
    let wait = Duration::from_secs(seconds) + Duration::from_micros(micros.cast_unsigned());
    Ok((!wait.is_zero()).then_some(wait))
}

/// getsockopt(2).
pub(crate) fn get(
    process: &Process,
    stack: &mut Stack,
    now: Instant,
    (fd, level, name, room): (Fd, i32, i32, u32),
) -> Return {
    match try_get(process, stack, now, (fd, level, name, room)) {
        Ok(value) => Return::with(0, Out::Value(value)),
        Err(errno) => Return::fail(errno),
    }
}

fn try_get(
    process: &Process,
    stack: &mut Stack,
    now: Instant,
    (fd, level, name, room): (Fd, i32, i32, u32),
) -> Result<Vec<u8>, i32> {
    let (_, sock) = process.socket(fd)?;
    if !matches!(level, SOCKET | TCP | IP) {
        return Err(libc::EOPNOTSUPP);
    }
    // `*optlen` is an int.
    let room = usize::try_from(room.cast_signed()).map_err(|_| libc::EINVAL)?;
    if level == SOCKET
        && let Some(value) = about(stack, sock, name)
    {
        return Ok(cut(&value.to_ne_bytes(), room));
    }
    if (level, name) == (TCP, libc::TCP_CONGESTION) {
        let mut padded = CONGESTION.to_vec();
        padded.resize(CONGESTION_NAME, 0);
        return Ok(cut(&padded, room));
    }
    if (level, name) == (TCP, libc::TCP_INFO) {
        let info = stack.tcp_info(now, sock).map_err(SockError::errno)?;
        return Ok(cut(&info.to_bytes(), room));
    }
    let row = find(level, name)?;
    let option = stack.option(sock, row.opt).map_err(SockError::errno)?;
    let bytes = encode(option);
    match <[u8; INT]>::try_from(bytes.as_slice()) {
        Ok(word) if level == IP => Ok(ip_int(i32::from_ne_bytes(word), room)),
        _ => Ok(cut(&bytes, room)),
    }
}

/// What a socket says about itself.
fn about(stack: &mut Stack, sock: SockId, name: i32) -> Option<i32> {
    Some(match name {
        libc::SO_TYPE => libc::SOCK_STREAM,
        libc::SO_DOMAIN => libc::AF_INET,
        libc::SO_PROTOCOL => libc::IPPROTO_TCP,
        // It cannot be set.
        libc::SO_SNDLOWAT => 1,
        libc::SO_ACCEPTCONN => i32::from(stack.state(sock) == Ok(TcpState::Listen)),
        libc::SO_ERROR => stack.take_error(sock).map_or(0, SockError::errno),
        _ => return None,
    })
}

/// As much as there is room for.
fn cut(bytes: &[u8], room: usize) -> Vec<u8> {
    bytes[..bytes.len().min(room)].to_vec()
}

/// A short buffer gets one octet, if the value fits in it.
fn ip_int(value: i32, room: usize) -> Vec<u8> {
    match u8::try_from(value) {
        Ok(octet) if (1..INT).contains(&room) => vec![octet],
        _ => cut(&value.to_ne_bytes(), room),
    }
}

fn encode(option: SockOpt) -> Vec<u8> {
    let int = |value: i32| value.to_ne_bytes().to_vec();
    match option {
        SockOpt::ReuseAddr(on)
        | SockOpt::ReusePort(on)
        | SockOpt::KeepAlive(on)
        | SockOpt::NoDelay(on)
        | SockOpt::Cork(on)
        | SockOpt::QuickAck(on)
        | SockOpt::Inq(on)
        | SockOpt::OobInline(on) => int(i32::from(on)),
        SockOpt::SndBuf(n)
        | SockOpt::RcvBuf(n)
        | SockOpt::RcvLowat(n)
        | SockOpt::KeepIdle(n)
        | SockOpt::KeepIntvl(n)
        | SockOpt::KeepCnt(n)
        | SockOpt::UserTimeout(n)
        | SockOpt::SynCnt(n)
        | SockOpt::NotSentLowat(n) => int(n.cast_signed()),
        SockOpt::Linger2(n) | SockOpt::Error(n) => int(n),
        SockOpt::MaxSeg(n) => int(i32::from(n)),
        SockOpt::Tos(n) | SockOpt::Ttl(n) => int(i32::from(n)),
        SockOpt::Linger(wait) => {
            let seconds = wait.map_or(0, |wait| wait.as_secs() as i32);
            [i32::from(wait.is_some()), seconds]
                .map(i32::to_ne_bytes)
                .concat()
        }
        SockOpt::RcvTimeo(wait) | SockOpt::SndTimeo(wait) => {
            let wait = wait.unwrap_or_default();
            let [seconds, micros] = [wait.as_secs(), u64::from(wait.subsec_micros())];
            [seconds, micros].map(u64::to_ne_bytes).concat()
        }
        // No row names the others.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
