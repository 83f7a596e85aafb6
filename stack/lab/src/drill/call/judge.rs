//! What a call returned against what is written.

use millrace_posix::call::{Out, Return, SockAddr};

use super::args::Args;
use super::cmsg::Clock;
use super::message::Message;
use super::{makes_descriptor, option, ready};
use crate::drill::ast::{Expr, Syscall};
use crate::drill::symbols::{constant, errno_name, single, value};
use crate::drill::verdict::Stop;

/// `FIONBIO`: its argument goes in, not out.
const FIONBIO: i64 = 0x5421;

/// Judges one return.
pub(in crate::drill) struct Judge<'a> {
    pub args: Args<'a>,
    pub clock: Clock,
}

/// New descriptors: the script's number and the machine's.
pub(in crate::drill) type Opened = Vec<(i64, i32)>;

impl Judge<'_> {
    /// Compares everything, and tells which descriptors the script has from now on.
    pub(in crate::drill) fn judge(&self, got: &Return) -> Result<Opened, Stop> {
        let args = &self.args;
        let expected =
            value(&args.call.result).ok_or_else(|| Stop::unsupported(args.line, "this result"))?;
        self.number(expected, got)?;
        if got.value < 0 {
            return Ok(Vec::new());
        }
        let difference = match &got.out {
            Out::Addr(peer) if args.call.name.starts_with("accept") => {
                self.peer(peer)?;
                None
            }
            Out::Msg(message) if args.call.name == "recvmsg" => {
                Message::of(args, 1)?.differs(args, message, self.clock)?
            }
            Out::Value(bytes) => {
                let len = args.call.args.get(4).and_then(single);
                option::differs(args.expr(3)?, len, bytes)
            }
            Out::Int(got) => self.ioctl(*got)?,
            Out::Poll(revents) => ready::revents_differ(args, 0, revents)?,
            Out::Epoll(events) => ready::epoll_differ(args, 1, events)?,
            Out::Fds(fds) => return self.pipe(*fds),
            Out::None | Out::Addr(_) | Out::Msg(_) => None,
        };
        if let Some((expected, got)) = difference {
            return Err(Stop::fail(args.line, &args.call.name, expected, got));
        }
        Ok(match makes_descriptor(&args.call.name) {
            true => vec![(expected, got.value as i32)],
            false => Vec::new(),
        })
    }

    /// The number returned and errno.
    fn number(&self, expected: i64, got: &Return) -> Result<(), Stop> {
        let call = self.args.call;
        let is_right = match makes_descriptor(&call.name) {
            true if expected >= 0 => got.value >= 0,
            _ => got.value == expected,
        };
        let errno_is_right = match &call.errno {
            None => true,
            Some(name) => {
                let number = constant(name)
                    .ok_or_else(|| Stop::unsupported(self.args.line, format!("errno {name}")))?;
                got.value == -1 && i64::from(got.errno) == number
            }
        };
        if is_right && errno_is_right {
            return Ok(());
        }
        let shown = match got.value {
            -1 => format!("-1 {}", errno_name(got.errno)),
            n => n.to_string(),
        };
        Err(Stop::fail(
            self.args.line,
            &call.name,
            shown_result(call),
            shown,
        ))
    }

    /// Who was accepted must be the peer that the script plays, if it plays only one.
    fn peer(&self, got: &SockAddr) -> Result<(), Stop> {
        match (self.args.conn, got) {
            (Some(conn), SockAddr::V4(peer)) if *peer != conn.remote() => Err(Stop::fail(
                self.args.line,
                "peer of accept",
                conn.remote(),
                peer,
            )),
            _ => Ok(()),
        }
    }

    fn ioctl(&self, got: i32) -> Result<Option<(String, String)>, Stop> {
        let args = &self.args;
        if args.call.args.get(1).and_then(value) == Some(FIONBIO) {
            return Ok(None);
        }
        let expected = match args.call.args.get(2) {
            None | Some(Expr::Ellipsis | Expr::Int(0)) => return Ok(None),
            Some(written) => single(written).ok_or_else(|| args.unsupported())?,
        };
        Ok((expected != i64::from(got)).then(|| (expected.to_string(), got.to_string())))
    }

    fn pipe(&self, fds: [i32; 2]) -> Result<Opened, Stop> {
        let Expr::List(names) = self.args.expr(0)? else {
            return Err(self.args.unsupported());
        };
        let numbers: Option<Vec<i64>> = names.iter().map(value).collect();
        match numbers.as_deref() {
            Some([read, write]) => Ok(vec![(*read, fds[0]), (*write, fds[1])]),
            _ => Err(self.args.unsupported()),
        }
    }
}

/// The written result, for messages.
pub(in crate::drill) fn shown_result(call: &Syscall) -> String {
    let number = value(&call.result).map_or_else(|| "?".to_owned(), |n| n.to_string());
    match &call.errno {
        Some(errno) => format!("{number} {errno}"),
        None => number,
    }
}
