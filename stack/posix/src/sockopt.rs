//! Socket options as bytes: which lengths are taken, what is written back, and the errors, by level.
//!
//! The rules differ by level (Linux `sk_setsockopt`, `do_ip_setsockopt`, `do_tcp_setsockopt` and their `get`
//! counterparts): an `int` shorter than four octets is EINVAL, but IP options also take a single octet and write one
//! back when there is room for no more.

use std::time::Duration;

use millrace_net::{CongestionName, FastOpenKeys, Kept, OptName, SockError, SockOpt, Stack};
use millrace_wire::time::Instant;

use crate::call::{Fd, Out, Return};
use crate::md5sig;
use crate::process::Process;

const INT: usize = 4;
/// Octets of `struct linger` and of `struct timeval`.
const LINGER: usize = 8;
const TIMEVAL: usize = 16;
/// The same as their older namesakes, where `long` has 64 bits.
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;
/// Linux's numbers that the libc crate does not have.
const SO_BUF_LOCK: i32 = 72;
const SO_TXREHASH: i32 = 74;
const SO_RCVMARK: i32 = 75;
const SO_RCVPRIORITY: i32 = 82;
const TCP_IS_MPTCP: i32 = 43;
const TCP_RTO_MAX_MS: i32 = 44;
const IP_CHECKSUM: i32 = 23;
const IP_LOCAL_PORT_RANGE: i32 = 51;
/// What only sockets of other families have: SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD, SO_PASSRIGHTS.
const UNIX_ONLY: [i32; 4] = [libc::SO_PASSCRED, libc::SO_PASSSEC, 76, 83];
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
    /// `int` of IP_TTL: -1 is the default.
    Ttl,
    /// `u32` of IP_LOCAL_PORT_RANGE: the first port, and the last one in the upper half.
    Ports,
    /// No octets at all.
    Empty(SockOpt),
    /// `char[]` of TCP_CONGESTION.
    Name,
    /// `u8[]` of TCP_FASTOPEN_KEY: one key or two.
    Keys,
    /// It can only be read.
    ReadOnly,
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

use Form::{
    Bit, Byte, Empty, Flag, Int, Keys, Linger, LowByte, Name, Ports, ReadOnly, Short, Time, Ttl,
    Unsigned,
};

/// An option that the stack has.
struct Row {
    level: i32,
    opt: OptName,
    form: Form,
}

fn find(level: i32, name: i32) -> Result<Row, i32> {
    if level == SOCKET && UNIX_ONLY.contains(&name) {
        return Err(libc::EOPNOTSUPP);
    }
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
        libc::SO_TIMESTAMP => (OptName::SoTimestamp, Flag(SockOpt::SoTimestamp)),
        libc::SO_TIMESTAMPNS => (OptName::SoTimestampNs, Flag(SockOpt::SoTimestampNs)),
        libc::SO_TIMESTAMPING => (OptName::Timestamping, Unsigned(SockOpt::Timestamping)),
        libc::SO_KEEPALIVE => (OptName::KeepAlive, Flag(SockOpt::KeepAlive)),
        libc::SO_LINGER => (OptName::Linger, Linger),
        libc::SO_SNDBUF => (OptName::SndBuf, Unsigned(SockOpt::SndBuf)),
        libc::SO_RCVBUF => (OptName::RcvBuf, Unsigned(SockOpt::RcvBuf)),
        libc::SO_RCVLOWAT => (OptName::RcvLowat, Unsigned(SockOpt::RcvLowat)),
        libc::SO_RCVTIMEO | SO_RCVTIMEO_NEW => (OptName::RcvTimeo, Time(SockOpt::RcvTimeo)),
        libc::SO_SNDTIMEO | SO_SNDTIMEO_NEW => (OptName::SndTimeo, Time(SockOpt::SndTimeo)),
        libc::SO_SNDBUFFORCE => (OptName::SndBuf, Int(|v| SockOpt::SndBufForce(natural(v)))),
        libc::SO_RCVBUFFORCE => (OptName::RcvBuf, Int(|v| SockOpt::RcvBufForce(natural(v)))),
        SO_BUF_LOCK => (OptName::BufLock, Byte(SockOpt::BufLock)),
        libc::SO_TYPE => (OptName::Type, ReadOnly),
        libc::SO_DOMAIN => (OptName::Domain, ReadOnly),
        libc::SO_PROTOCOL => (OptName::Protocol, ReadOnly),
        libc::SO_ACCEPTCONN => (OptName::AcceptConn, ReadOnly),
        libc::SO_SNDLOWAT => (OptName::SndLowat, ReadOnly),
        libc::SO_COOKIE => (OptName::Cookie, ReadOnly),
        libc::SO_MEMINFO => (OptName::MemInfo, ReadOnly),
        libc::SO_ERROR => (OptName::Error, ReadOnly),
        _ => return kept_at_socket_level(name),
    })
}

fn natural(value: i32) -> u32 {
    value.max(0).cast_unsigned()
}

/// A negative clamp is a very small one, not none.
fn clamp(value: i32) -> u32 {
    if value < 0 { 1 } else { value.cast_unsigned() }
}

/// Options that are only kept.
fn kept_at_socket_level(name: i32) -> Option<(OptName, Form)> {
    let (kept, make): (Kept, fn(i32) -> SockOpt) = match name {
        libc::SO_DEBUG => (Kept::Debug, |v| SockOpt::Kept(Kept::Debug, v)),
        libc::SO_BROADCAST => (Kept::Broadcast, |v| SockOpt::Kept(Kept::Broadcast, v)),
        libc::SO_NO_CHECK => (Kept::NoCheck, |v| SockOpt::Kept(Kept::NoCheck, v)),
        libc::SO_PRIORITY => (Kept::Priority, |v| SockOpt::Kept(Kept::Priority, v)),
        libc::SO_MARK => (Kept::Mark, |v| SockOpt::Kept(Kept::Mark, v)),
        libc::SO_BUSY_POLL => (Kept::BusyPoll, |v| SockOpt::Kept(Kept::BusyPoll, v)),
        libc::SO_PREFER_BUSY_POLL => (Kept::PreferBusyPoll, |v| {
            SockOpt::Kept(Kept::PreferBusyPoll, v)
        }),
        libc::SO_RXQ_OVFL => (Kept::RxqOvfl, |v| SockOpt::Kept(Kept::RxqOvfl, v)),
        libc::SO_WIFI_STATUS => (Kept::WifiStatus, |v| SockOpt::Kept(Kept::WifiStatus, v)),
        libc::SO_NOFCS => (Kept::NoFcs, |v| SockOpt::Kept(Kept::NoFcs, v)),
        libc::SO_BSDCOMPAT => (Kept::BsdCompat, |v| SockOpt::Kept(Kept::BsdCompat, v)),
        SO_TXREHASH => (Kept::TxRehash, |v| SockOpt::Kept(Kept::TxRehash, v)),
        SO_RCVMARK => (Kept::RcvMark, |v| SockOpt::Kept(Kept::RcvMark, v)),
        SO_RCVPRIORITY => (Kept::RcvPriority, |v| SockOpt::Kept(Kept::RcvPriority, v)),
        _ => return None,
    };
    Some((OptName::Kept(kept), Int(make)))
}

fn tcp_level(name: i32) -> Option<(OptName, Form)> {
    Some(match name {
        libc::TCP_NODELAY => (OptName::NoDelay, Flag(SockOpt::NoDelay)),
        libc::TCP_CORK => (OptName::Cork, Flag(SockOpt::Cork)),
        libc::TCP_QUICKACK => (OptName::QuickAck, Int(SockOpt::QuickAck)),
        libc::TCP_MAXSEG => (OptName::MaxSeg, Short(SockOpt::MaxSeg)),
        libc::TCP_KEEPIDLE => (OptName::KeepIdle, Unsigned(SockOpt::KeepIdle)),
        libc::TCP_KEEPINTVL => (OptName::KeepIntvl, Unsigned(SockOpt::KeepIntvl)),
        libc::TCP_KEEPCNT => (OptName::KeepCnt, Unsigned(SockOpt::KeepCnt)),
        libc::TCP_USER_TIMEOUT => (OptName::UserTimeout, Unsigned(SockOpt::UserTimeout)),
        libc::TCP_SYNCNT => (OptName::SynCnt, Unsigned(SockOpt::SynCnt)),
        libc::TCP_NOTSENT_LOWAT => (OptName::NotSentLowat, Unsigned(SockOpt::NotSentLowat)),
        libc::TCP_INQ => (OptName::Inq, Bit(SockOpt::Inq)),
        libc::TCP_LINGER2 => (OptName::Linger2, Int(SockOpt::Linger2)),
        libc::TCP_DEFER_ACCEPT => (
            OptName::DeferAccept,
            Int(|v| SockOpt::DeferAccept(v.max(0).cast_unsigned())),
        ),
        libc::TCP_FASTOPEN => (OptName::FastOpen, Unsigned(SockOpt::FastOpen)),
        libc::TCP_FASTOPEN_CONNECT => (OptName::FastOpenConnect, Bit(SockOpt::FastOpenConnect)),
        libc::TCP_FASTOPEN_NO_COOKIE => (OptName::FastOpenNoCookie, Bit(SockOpt::FastOpenNoCookie)),
        libc::TCP_FASTOPEN_KEY => (OptName::FastOpenKey, Keys),
        libc::TCP_CONGESTION => (OptName::Congestion, Name),
        libc::TCP_WINDOW_CLAMP => (
            OptName::WindowClamp,
            Int(|v| SockOpt::WindowClamp(clamp(v))),
        ),
        libc::TCP_THIN_LINEAR_TIMEOUTS => (
            OptName::ThinLinearTimeouts,
            Bit(SockOpt::ThinLinearTimeouts),
        ),
        libc::TCP_THIN_DUPACK => (
            OptName::Kept(Kept::ThinDupack),
            Int(|v| SockOpt::Kept(Kept::ThinDupack, v)),
        ),
        libc::TCP_TIMESTAMP => (OptName::Timestamp, Unsigned(SockOpt::Timestamp)),
        TCP_IS_MPTCP => (OptName::IsMptcp, ReadOnly),
        TCP_RTO_MAX_MS => (OptName::RtoMaxMs, Unsigned(SockOpt::RtoMaxMs)),
        _ => return None,
    })
}

fn ip_level(name: i32) -> Option<(OptName, Form)> {
    Some(match name {
        libc::IP_TOS => (OptName::Tos, LowByte(SockOpt::Tos)),
        libc::IP_TTL => (OptName::Ttl, Ttl),
        libc::IP_OPTIONS => (OptName::IpOptions, Empty(SockOpt::IpOptions)),
        libc::IP_MTU_DISCOVER => (OptName::MtuDiscover, Byte(SockOpt::MtuDiscover)),
        libc::IP_MTU => (OptName::Mtu, ReadOnly),
        libc::IP_FREEBIND => (OptName::FreeBind, Flag(SockOpt::FreeBind)),
        libc::IP_BIND_ADDRESS_NO_PORT => {
            (OptName::BindAddressNoPort, Flag(SockOpt::BindAddressNoPort))
        }
        IP_LOCAL_PORT_RANGE => (OptName::LocalPortRange, Ports),
        libc::IP_HDRINCL => (OptName::Kept(Kept::HdrIncl), ReadOnly),
        libc::IP_NODEFRAG => (OptName::Kept(Kept::NoDefrag), ReadOnly),
        _ => return kept_at_ip_level(name),
    })
}

/// Options that are only kept.
fn kept_at_ip_level(name: i32) -> Option<(OptName, Form)> {
    let (kept, make): (Kept, fn(i32) -> SockOpt) = match name {
        libc::IP_RECVOPTS => (Kept::RecvOpts, |v| SockOpt::Kept(Kept::RecvOpts, v)),
        libc::IP_RETOPTS => (Kept::RetOpts, |v| SockOpt::Kept(Kept::RetOpts, v)),
        libc::IP_PKTINFO => (Kept::PktInfo, |v| SockOpt::Kept(Kept::PktInfo, v)),
        libc::IP_RECVTTL => (Kept::RecvTtl, |v| SockOpt::Kept(Kept::RecvTtl, v)),
        libc::IP_RECVTOS => (Kept::RecvTos, |v| SockOpt::Kept(Kept::RecvTos, v)),
        libc::IP_PASSSEC => (Kept::PassSec, |v| SockOpt::Kept(Kept::PassSec, v)),
        libc::IP_RECVORIGDSTADDR => (Kept::RecvOrigDstAddr, |v| {
            SockOpt::Kept(Kept::RecvOrigDstAddr, v)
        }),
        IP_CHECKSUM => (Kept::Checksum, |v| SockOpt::Kept(Kept::Checksum, v)),
        _ => return None,
    };
    Some((OptName::Kept(kept), Int(make)))
}

/// setsockopt(2).
pub(crate) fn set(
    process: &Process,
    stack: &mut Stack,
    now: Instant,
    (fd, level, name, value): (Fd, i32, i32, &[u8]),
) -> Result<i64, i32> {
    let (_, sock) = process.socket(fd)?;
    let text = (level, name) == (TCP, libc::TCP_CONGESTION);
    if matches!(level, SOCKET | TCP) && value.len() < INT && !text {
        return Err(libc::EINVAL);
    }
    if (level, name) == (IP, libc::IP_FREEBIND) && value.is_empty() {
        return Err(libc::EINVAL);
    }
    if level == TCP && matches!(name, md5sig::TCP_MD5SIG | md5sig::TCP_MD5SIG_EXT) {
        return md5sig::set(stack, now, sock, (name, value));
    }
    let row = find(level, name)?;
    let option = decode(&row, value)?;
    stack
        .set_option(now, sock, option)
        .map(|()| 0)
        .map_err(SockError::errno)
}

/// The name ends with the value, with its 15th octet or with a NUL.
fn congestion(value: &[u8]) -> Result<SockOpt, i32> {
    if value.is_empty() {
        return Err(libc::EINVAL);
    }
    let mut name = CongestionName::default();
    let most = name.len() - 1;
    for (octet, given) in name[..most].iter_mut().zip(value) {
        *octet = *given;
    }
    Ok(SockOpt::Congestion(name))
}

fn ttl(value: i32) -> Result<SockOpt, i32> {
    match value {
        -1 => Ok(SockOpt::DefaultTtl),
        value => u8::try_from(value)
            .map(SockOpt::Ttl)
            .map_err(|_| libc::EINVAL),
    }
}

/// Exactly four octets, unlike other options of its level.
fn ports(value: &[u8]) -> Result<SockOpt, i32> {
    let word = <[u8; INT]>::try_from(value).map_err(|_| libc::EINVAL)?;
    let both = u32::from_ne_bytes(word);
    Ok(SockOpt::LocalPortRange(both as u16, (both >> 16) as u16))
}

fn decode(row: &Row, value: &[u8]) -> Result<SockOpt, i32> {
    Ok(match row.form {
        Flag(make) => make(int(row.level, value)? != 0),
        Unsigned(make) => make(int(row.level, value)?.cast_unsigned()),
        Int(make) => make(int(row.level, value)?),
        Short(make) => make(u16::try_from(int(row.level, value)?).map_err(|_| libc::EINVAL)?),
        Byte(make) => make(u8::try_from(int(row.level, value)?).map_err(|_| libc::EINVAL)?),
        Ttl => ttl(int(row.level, value)?)?,
        Ports => ports(value)?,
        Name => congestion(value)?,
        Keys => {
            let keys = FastOpenKeys::from_bytes(value).ok_or(libc::EINVAL)?;
            SockOpt::FastOpenKey(Some(keys))
        }
        Empty(option) if value.is_empty() => option,
        Empty(_) | ReadOnly => return Err(libc::ENOPROTOOPT),
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
    Ok(SockOpt::Linger(on != 0, wait))
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
    if level == SOCKET && matches!(name, libc::SO_SNDBUFFORCE | libc::SO_RCVBUFFORCE) {
        return Err(libc::ENOPROTOOPT);
    }
    if (level, name) == (TCP, libc::TCP_INFO) {
        let info = stack.tcp_info(now, sock).map_err(SockError::errno)?;
        return Ok(cut(&info.to_bytes(), room));
    }
    // Reno has nothing to tell about itself.
    if (level, name) == (TCP, libc::TCP_CC_INFO) {
        return Ok(Vec::new());
    }
    let row = find(level, name)?;
    if row.opt == OptName::Error {
        // Asking takes it.
        let error = stack.take_error(sock).map_or(0, SockError::errno);
        return Ok(cut(&error.to_ne_bytes(), room));
    }
    let option = stack.option(sock, row.opt).map_err(SockError::errno)?;
    let bytes = encode(option);
    match <[u8; INT]>::try_from(bytes.as_slice()) {
        Ok(word) if level == IP => Ok(ip_int(i32::from_ne_bytes(word), room)),
        _ => Ok(cut(&bytes, room)),
    }
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
        | SockOpt::OobInline(on)
        | SockOpt::SoTimestamp(on)
        | SockOpt::SoTimestampNs(on)
        | SockOpt::AcceptConn(on)
        | SockOpt::ThinLinearTimeouts(on)
        | SockOpt::IsMptcp(on)
        | SockOpt::FreeBind(on)
        | SockOpt::BindAddressNoPort(on)
        | SockOpt::FastOpenConnect(on)
        | SockOpt::FastOpenNoCookie(on)
        | SockOpt::Inq(on) => int(i32::from(on)),
        SockOpt::SndBuf(n)
        | SockOpt::RcvBuf(n)
        | SockOpt::RcvLowat(n)
        | SockOpt::KeepIdle(n)
        | SockOpt::KeepIntvl(n)
        | SockOpt::KeepCnt(n)
        | SockOpt::UserTimeout(n)
        | SockOpt::SynCnt(n)
        | SockOpt::DeferAccept(n)
        | SockOpt::FastOpen(n)
        | SockOpt::SndBufForce(n)
        | SockOpt::RcvBufForce(n)
        | SockOpt::WindowClamp(n)
        | SockOpt::RtoMaxMs(n)
        | SockOpt::Timestamp(n)
        | SockOpt::Timestamping(n)
        | SockOpt::Mtu(n)
        | SockOpt::NotSentLowat(n) => int(n.cast_signed()),
        SockOpt::Linger2(n)
        | SockOpt::QuickAck(n)
        | SockOpt::Kept(_, n)
        | SockOpt::Type(n)
        | SockOpt::Domain(n)
        | SockOpt::Protocol(n)
        | SockOpt::SndLowat(n)
        | SockOpt::Error(n) => int(n),
        SockOpt::MaxSeg(n) => int(i32::from(n)),
        SockOpt::Tos(n) | SockOpt::Ttl(n) | SockOpt::BufLock(n) | SockOpt::MtuDiscover(n) => {
            int(i32::from(n))
        }
        SockOpt::Cookie(n) => n.to_ne_bytes().to_vec(),
        SockOpt::MemInfo(words) => words.map(u32::to_ne_bytes).concat(),
        SockOpt::Congestion(name) => name.to_vec(),
        SockOpt::FastOpenKey(keys) => keys.map_or_else(Vec::new, |keys| keys.to_bytes()),
        SockOpt::LocalPortRange(low, high) => int(i32::from(low) | i32::from(high) << 16),
        SockOpt::IpOptions | SockOpt::DefaultTtl => Vec::new(),
        SockOpt::Linger(on, time) => [i32::from(on), time.as_secs() as i32]
            .map(i32::to_ne_bytes)
            .concat(),
        SockOpt::RcvTimeo(wait) | SockOpt::SndTimeo(wait) => {
            let wait = wait.unwrap_or_default();
            let [seconds, micros] = [wait.as_secs(), u64::from(wait.subsec_micros())];
            [seconds, micros].map(u64::to_ne_bytes).concat()
        }
    }
}

#[cfg(test)]
mod tests;
