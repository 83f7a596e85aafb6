//! Socket addresses as arguments.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use millrace_posix::call::SockAddr;

use super::args::Args;
use super::field;
use crate::drill::ast::Expr;
use crate::drill::symbols::value;
use crate::drill::verdict::Stop;

/// `...` (which is `filled_in`), a family alone, or `{sa_family=, sin_port=htons(), sin_addr=inet_addr("")}`.
pub(super) fn address(
    args: &Args<'_>,
    at: usize,
    filled_in: SocketAddrV4,
) -> Result<SockAddr, Stop> {
    let written = args.expr(at)?;
    match written {
        Expr::Ellipsis => Ok(SockAddr::V4(filled_in)),
        Expr::Struct(_) => sockaddr(written).ok_or_else(|| args.unsupported()),
        other => match value(other) {
            Some(0) => Ok(SockAddr::Unspec),
            _ => Err(args.unsupported()),
        },
    }
}

fn sockaddr(written: &Expr) -> Option<SockAddr> {
    let port = || -> Option<u16> {
        match field(written, "sin_port").or_else(|| field(written, "sin6_port"))? {
            Expr::Call(name, args) if name == "htons" => value(args.first()?)?.try_into().ok(),
            // A bare number is what stands in memory: network order.
            other => Some(u16::from_be(value(other)?.try_into().ok()?)),
        }
    };
    match value(field(written, "sa_family")?)? {
        0 => Some(SockAddr::Unspec),
        2 => {
            let addr = inet_addr(field(written, "sin_addr")?)?;
            Some(SockAddr::V4(SocketAddrV4::new(addr, port()?)))
        }
        10 => {
            let addr =
                inet6_addr(field(written, "sin6_addr").or_else(|| field(written, "sin_addr"))?)?;
            Some(SockAddr::V6(SocketAddrV6::new(addr, port()?, 0, 0)))
        }
        family => Some(SockAddr::Raw(
            u16::try_from(family).ok()?.to_ne_bytes().to_vec(),
        )),
    }
}

/// `inet_addr("192.0.2.1")`, `INADDR_ANY` or an address without quotes.
pub(super) fn inet_addr(written: &Expr) -> Option<Ipv4Addr> {
    match written {
        Expr::Ipv4(addr) => Some(*addr),
        Expr::Call(name, args) if name == "inet_addr" => match args.as_slice() {
            [Expr::Str(text)] => std::str::from_utf8(text).ok()?.parse().ok(),
            [Expr::Ipv4(addr)] => Some(*addr),
            _ => None,
        },
        Expr::Symbol(name) if name == "INADDR_ANY" => Some(Ipv4Addr::UNSPECIFIED),
        Expr::Symbol(name) if name == "INADDR_LOOPBACK" => Some(Ipv4Addr::LOCALHOST),
        _ => None,
    }
}

/// `inet6_addr("2001:db8::1")`.
pub(super) fn inet6_addr(written: &Expr) -> Option<Ipv6Addr> {
    match written {
        Expr::Ipv6(addr) => Some(*addr),
        Expr::Call(name, args) if name == "inet6_addr" => match args.as_slice() {
            [Expr::Str(text)] => std::str::from_utf8(text).ok()?.parse().ok(),
            [Expr::Ipv6(addr)] => Some(*addr),
            _ => None,
        },
        _ => None,
    }
}
