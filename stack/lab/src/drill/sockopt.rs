//! `setsockopt` and `getsockopt` arguments to the stack's options and back.

use std::time::Duration;

use millrace_net::{OptName, SockOpt};

use super::ast::Expr;
use super::symbols::value;

const SOL_SOCKET: i64 = 1;
const IPPROTO_IP: i64 = 0;
const IPPROTO_TCP: i64 = 6;

/// The stack's name of an option.
pub(super) fn name(level: &Expr, name: &Expr) -> Option<OptName> {
    Some(match (value(level)?, value(name)?) {
        (SOL_SOCKET, 2) => OptName::ReuseAddr,
        (SOL_SOCKET, 4) => OptName::Error,
        (SOL_SOCKET, 7) => OptName::SndBuf,
        (SOL_SOCKET, 8) => OptName::RcvBuf,
        (SOL_SOCKET, 9) => OptName::KeepAlive,
        (SOL_SOCKET, 13) => OptName::Linger,
        (SOL_SOCKET, 15) => OptName::ReusePort,
        (IPPROTO_IP, 1) => OptName::Tos,
        (IPPROTO_IP, 2) => OptName::Ttl,
        (IPPROTO_TCP, 1) => OptName::NoDelay,
        (IPPROTO_TCP, 2) => OptName::MaxSeg,
        (IPPROTO_TCP, 3) => OptName::Cork,
        (IPPROTO_TCP, 4) => OptName::KeepIdle,
        (IPPROTO_TCP, 5) => OptName::KeepIntvl,
        (IPPROTO_TCP, 6) => OptName::KeepCnt,
        (IPPROTO_TCP, 7) => OptName::SynCnt,
        (IPPROTO_TCP, 8) => OptName::Linger2,
        (IPPROTO_TCP, 12) => OptName::QuickAck,
        (IPPROTO_TCP, 18) => OptName::UserTimeout,
        _ => return None,
    })
}

/// The option that a `setsockopt` value stands for: `[int]` or `{onoff=, linger=}`.
pub(super) fn option(name: OptName, written: &Expr) -> Option<SockOpt> {
    if name == OptName::Linger {
        let Expr::Struct(fields) = written else {
            return None;
        };
        let field = |wanted: &str| {
            fields
                .iter()
                .find(|field| field.name.as_deref() == Some(wanted))
        };
        let seconds = u64::try_from(value(&field("linger")?.value)?).ok()?;
        let on = value(&field("onoff")?.value)? != 0;
        return Some(SockOpt::Linger(on.then(|| Duration::from_secs(seconds))));
    }
    let n = single(written)?;
    let on = n != 0;
    let unsigned = u32::try_from(n).ok();
    Some(match name {
        OptName::ReuseAddr => SockOpt::ReuseAddr(on),
        OptName::ReusePort => SockOpt::ReusePort(on),
        OptName::KeepAlive => SockOpt::KeepAlive(on),
        OptName::NoDelay => SockOpt::NoDelay(on),
        OptName::Cork => SockOpt::Cork(on),
        OptName::QuickAck => SockOpt::QuickAck(on),
        OptName::SndBuf => SockOpt::SndBuf(unsigned?),
        OptName::RcvBuf => SockOpt::RcvBuf(unsigned?),
        OptName::MaxSeg => SockOpt::MaxSeg(u16::try_from(n).ok()?),
        OptName::KeepIdle => SockOpt::KeepIdle(unsigned?),
        OptName::KeepIntvl => SockOpt::KeepIntvl(unsigned?),
        OptName::KeepCnt => SockOpt::KeepCnt(unsigned?),
        OptName::UserTimeout => SockOpt::UserTimeout(unsigned?),
        OptName::SynCnt => SockOpt::SynCnt(unsigned?),
        OptName::Linger2 => SockOpt::Linger2(i32::try_from(n).ok()?),
        OptName::Tos => SockOpt::Tos(u8::try_from(n).ok()?),
        OptName::Ttl => SockOpt::Ttl(u8::try_from(n).ok()?),
        _ => return None,
    })
}

/// The number that `getsockopt` would return for an option.
pub(super) fn number(option: SockOpt) -> Option<i64> {
    Some(match option {
        SockOpt::ReuseAddr(on)
        | SockOpt::ReusePort(on)
        | SockOpt::KeepAlive(on)
        | SockOpt::NoDelay(on)
        | SockOpt::Cork(on)
        | SockOpt::QuickAck(on) => i64::from(on),
        SockOpt::SndBuf(n)
        | SockOpt::RcvBuf(n)
        | SockOpt::KeepIdle(n)
        | SockOpt::KeepIntvl(n)
        | SockOpt::KeepCnt(n)
        | SockOpt::UserTimeout(n)
        | SockOpt::SynCnt(n) => i64::from(n),
        SockOpt::MaxSeg(n) => i64::from(n),
        SockOpt::Linger2(n) => i64::from(n),
        SockOpt::Tos(n) | SockOpt::Ttl(n) => i64::from(n),
        _ => return None,
    })
}

/// The number in `[n]`, or a bare one.
pub(super) fn single(written: &Expr) -> Option<i64> {
    match written {
        Expr::List(items) if items.len() == 1 => value(&items[0]),
        other => value(other),
    }
}
