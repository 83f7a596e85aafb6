//! System calls of a script: from written expressions to values for the machine, and what came back against what is
//! written.

mod address;
mod args;
mod cmsg;
mod judge;
mod make;
mod message;
mod option;
mod ready;

use std::collections::BTreeMap;

use millrace_posix::call::Fd;

use super::ast::{Expr, Syscall};
use super::symbols::value;

pub(super) use args::Args;
pub(super) use cmsg::Clock;
pub(super) use judge::{Judge, shown_result};
pub(super) use make::make;

/// Given to the machine for a descriptor that the script has not opened: no process has that many.
const NOT_OPEN: Fd = 1_000_000;

/// `MSG_FASTOPEN`.
const FASTOPEN: i64 = 0x2000_0000;

/// What a call means for the connection under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// A new socket is under test.
    NewSocket,
    /// The socket under test opens a connection.
    Connects,
    /// The socket under test is as new.
    Disconnects,
}

/// What `call` does to the connection under test.
pub(super) fn effect(call: &Syscall) -> Effect {
    let fastopen = |at: usize| call.args.get(at).and_then(value).unwrap_or(0) & FASTOPEN != 0;
    match call.name.as_str() {
        "socket" => Effect::NewSocket,
        "connect" if call.args.get(1).and_then(value) == Some(0) => Effect::Disconnects,
        "connect" => Effect::Connects,
        "sendto" if fastopen(3) => Effect::Connects,
        "sendmsg" if fastopen(2) => Effect::Connects,
        _ => Effect::None,
    }
}

/// Whether the number that a call returns is a new descriptor.
fn makes_descriptor(name: &str) -> bool {
    matches!(
        name,
        "socket" | "accept" | "accept4" | "open" | "epoll_create" | "epoll_create1"
    )
}

/// The script's descriptors: its own numbers to the machine's.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    live: BTreeMap<i64, Fd>,
}

impl Descriptors {
    /// The script calls this one `number` from now on.
    pub(super) fn insert(&mut self, number: i64, live: Fd) {
        self.live.insert(number, live);
    }

    /// The script has closed its `number`.
    pub(super) fn remove(&mut self, number: i64) {
        self.live.remove(&number);
    }

    /// The machine's descriptor: one that is not open if the script has not got it either.
    pub(super) fn live(&self, number: i64) -> Fd {
        match self.live.get(&number) {
            Some(fd) => *fd,
            None if number < 0 => -1,
            None => NOT_OPEN,
        }
    }
}

/// The descriptor that a `close` is about.
pub(super) fn closes(call: &Syscall) -> Option<i64> {
    match (call.name.as_str(), call.args.first()) {
        ("close", Some(fd)) => value(fd),
        _ => None,
    }
}

/// The field of this name in a struct expression.
fn field<'e>(written: &'e Expr, name: &str) -> Option<&'e Expr> {
    let Expr::Struct(fields) = written else {
        return None;
    };
    fields
        .iter()
        .find(|field| field.name.as_deref() == Some(name))
        .map(|field| &field.value)
}
