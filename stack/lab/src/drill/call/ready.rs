//! poll and epoll: entries and events.

use millrace_posix::call::{EpollEvent, PollFd};

use super::args::Args;
use super::field;
use crate::drill::ast::Expr;
use crate::drill::symbols::{bit_names, value};
use crate::drill::verdict::Stop;

/// `[{fd=, events=, revents=}, …]` as the call's argument.
pub(super) fn poll_fds(args: &Args<'_>, at: usize) -> Result<Vec<PollFd>, Stop> {
    let entries = entries(args, at)?;
    entries
        .iter()
        .map(|entry| {
            let fd = field(entry, "fd").ok_or_else(|| args.unsupported())?;
            let events = field(entry, "events").map_or(Ok(0), |bits| args.number(bits))?;
            Ok(PollFd {
                fd: args.fd_of(fd)?,
                events: events as i16,
            })
        })
        .collect()
}

fn entries<'e>(args: &Args<'e>, at: usize) -> Result<&'e [Expr], Stop> {
    match args.expr(at)? {
        Expr::List(entries) => Ok(entries),
        _ => Err(args.unsupported()),
    }
}

/// What differs between written and returned `revents`: expected and got.
pub(super) fn revents_differ(
    args: &Args<'_>,
    at: usize,
    got: &[i16],
) -> Result<Option<(String, String)>, Stop> {
    let entries = entries(args, at)?;
    let mut expected = Vec::with_capacity(entries.len());
    for entry in entries {
        let bits = field(entry, "revents").map_or(Ok(0), |bits| args.number(bits))?;
        expected.push(bits as i16);
    }
    if expected == got {
        return Ok(None);
    }
    let shown = |list: &[i16]| {
        let names: Vec<String> = list
            .iter()
            .map(|bits| bit_names("POLL", u32::from(bits.cast_unsigned())))
            .collect();
        format!("revents {}", names.join(", "))
    };
    Ok(Some((shown(&expected), shown(got))))
}

/// `{events=…, fd=|ptr=|u32=|u64=…}`: the value is the program's own and stays as written.
pub(super) fn epoll_event(args: &Args<'_>, written: &Expr) -> Result<EpollEvent, Stop> {
    let bits = field(written, "events").ok_or_else(|| args.unsupported())?;
    let data = ["fd", "ptr", "u32", "u64"]
        .iter()
        .find_map(|name| field(written, name));
    let data = match data {
        None => 0,
        Some(expr) => value(expr).ok_or_else(|| args.unsupported())?,
    };
    let events = value(bits).ok_or_else(|| args.unsupported())?;
    let narrow = field(written, "fd")
        .or_else(|| field(written, "u32"))
        .is_some();
    Ok(EpollEvent {
        events: u32::try_from(events).map_err(|_| args.unsupported())?,
        data: match narrow {
            true => u64::from(data as u32),
            false => data.cast_unsigned(),
        },
    })
}

/// What differs between written and returned events: all that are written are compared, one at least.
pub(super) fn epoll_differ(
    args: &Args<'_>,
    at: usize,
    got: &[EpollEvent],
) -> Result<Option<(String, String)>, Stop> {
    let written = match args.expr(at)? {
        Expr::List(events) => events.as_slice(),
        Expr::Ellipsis => return Ok(None),
        single => std::slice::from_ref(single),
    };
    for (at, written) in written.iter().enumerate() {
        let expected = epoll_event(args, written)?;
        // With nothing returned the script writes zeros.
        let none = EpollEvent { events: 0, data: 0 };
        let got = got.get(at).copied().unwrap_or(none);
        if expected != got {
            return Ok(Some((shown(expected), shown(got))));
        }
    }
    Ok(None)
}

fn shown(event: EpollEvent) -> String {
    format!(
        "{}, data {:#x}",
        bit_names("EPOLL", event.events),
        event.data
    )
}
