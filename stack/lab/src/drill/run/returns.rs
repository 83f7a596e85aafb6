//! What calls return, and when.

use super::{seconds, tolerance};
use crate::clock::START;
use crate::drill::ast::{Micros, Syscall};
use crate::drill::call::{Descriptors, Returned, Waiting};
use crate::drill::conn::Conn;
use crate::drill::settings::Settings;
use crate::drill::symbols::value;
use crate::drill::verdict::Stop;
use crate::host::Host;

/// A blocking call on its way.
pub(super) struct Outstanding<'b, 's> {
    pub waiting: Waiting<'b>,
    pub call: &'s Syscall,
    pub line: u32,
    pub started: Micros,
    pub end: Micros,
}

/// Steps the outstanding call and judges it when it returns.
pub(super) fn poll(
    outstanding: &mut Option<Outstanding<'_, '_>>,
    host: &mut Host,
    settings: &Settings,
    descriptors: &mut Descriptors,
    conn: Option<&Conn>,
) -> Result<(), Stop> {
    let Some(call) = outstanding else {
        return Ok(());
    };
    let now = host.now();
    let Some(returned) = call.waiting.step(host.stack(), now) else {
        return Ok(());
    };
    host.flush();
    let (line, written, span) = (call.line, call.call, (call.started, call.end));
    *outstanding = None;
    check_result(line, written, returned, descriptors, conn)?;
    check_end(
        line,
        written,
        span,
        now.since(START).as_micros() as Micros,
        settings,
    )
}

/// The time at which a blocking call returned.
pub(super) fn check_end(
    line: u32,
    call: &Syscall,
    (started, end): (Micros, Micros),
    now: Micros,
    settings: &Settings,
) -> Result<(), Stop> {
    if now.abs_diff(end) <= tolerance(settings, end.saturating_sub(started)) {
        return Ok(());
    }
    let what = format!("return time of {}", call.name);
    Err(Stop::fail(line, &what, seconds(end), seconds(now)))
}

/// The value that a call returned. A new descriptor gets the script's number.
pub(super) fn check_result(
    line: u32,
    call: &Syscall,
    returned: Returned,
    descriptors: &mut Descriptors,
    conn: Option<&Conn>,
) -> Result<(), Stop> {
    let Some(expected) = value(&call.result) else {
        return Err(Stop::unsupported(line, "this result"));
    };
    let wrong = |got: String| Err(Stop::fail(line, &call.name, shown_result(call), got));
    match returned {
        Returned::Value(got) if got == expected && call.errno.is_none() => Ok(()),
        Returned::Value(got) => wrong(got.to_string()),
        Returned::Socket(sock) if expected >= 0 => {
            descriptors.insert(expected, sock);
            Ok(())
        }
        Returned::Accepted(sock, peer) if expected >= 0 => {
            if let Some(conn) = conn.filter(|conn| conn.remote() != peer) {
                return Err(Stop::fail(line, "peer of accept", conn.remote(), peer));
            }
            descriptors.insert(expected, sock);
            Ok(())
        }
        Returned::Socket(_) | Returned::Accepted(..) => wrong("a descriptor".to_owned()),
        Returned::Failed(error) => match &call.errno {
            _ if expected != -1 => wrong(format!("-1 {}", error.name())),
            Some(errno) if errno != error.name() => wrong(format!("-1 {}", error.name())),
            _ => Ok(()),
        },
        Returned::BadFd
            if expected == -1 && call.errno.as_deref().is_none_or(|errno| errno == "EBADF") =>
        {
            Ok(())
        }
        Returned::BadFd => wrong("-1 EBADF".to_owned()),
    }
}

pub(super) fn shown_result(call: &Syscall) -> String {
    let number = value(&call.result).map_or_else(|| "?".to_owned(), |n| n.to_string());
    match &call.errno {
        Some(errno) => format!("{number} {errno}"),
        None => number,
    }
}
