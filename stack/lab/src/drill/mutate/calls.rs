//! Wrong results of calls: numbers, errno, and everything that a call hands back.

use crate::drill::ast::{Expr, Field, Syscall};
use crate::drill::symbols::value;

/// `POLLMSG`, and a bit of `msg_flags` that no call sets (`MSG_PROBE`).
const NO_EVENT: i64 = 0x400;
const NO_FLAG: i64 = 0x10;

/// Calls that differ from this one in one expectation.
pub(super) fn mutants(call: &Syscall) -> Vec<(&'static str, Syscall)> {
    let mut list = Vec::new();
    if let Some(result) = value(&call.result) {
        let wrong = Expr::Int(wrong_result(&call.name, result));
        list.push((
            "result",
            Syscall {
                result: wrong,
                ..call.clone()
            },
        ));
    }
    if call.errno.is_some() {
        let errno = Some("EDOM".to_owned());
        list.push((
            "errno",
            Syscall {
                errno,
                ..call.clone()
            },
        ));
    }
    if value(&call.result).is_some_and(|result| result >= 0) {
        handed_back(call, &mut list);
    }
    list
}

/// Any number will do for a new descriptor, so only failure is a wrong result there.
fn wrong_result(name: &str, result: i64) -> i64 {
    match name {
        "socket" | "accept" | "accept4" | "open" | "epoll_create" | "epoll_create1"
            if result >= 0 =>
        {
            -1
        }
        _ => result + 1,
    }
}

fn handed_back(call: &Syscall, list: &mut Vec<(&'static str, Syscall)>) {
    let mut add = |what: &'static str, at: usize, wrong: Option<Expr>| {
        if let (Some(wrong), true) = (wrong, at < call.args.len()) {
            let mut call = call.clone();
            call.args[at] = wrong;
            list.push((what, call));
        }
    };
    let arg = |at: usize| call.args.get(at);
    match call.name.as_str() {
        "getsockopt" => {
            add("optval", 3, arg(3).and_then(other_value));
            // More room is no other answer, less room cuts the answer off: only what is too much is wrong.
            add("optlen", 4, arg(4).and_then(|len| add_to_single(len, 1)));
        }
        "ioctl" => {
            // 0 is nothing to compare for requests that take no argument.
            let written = arg(2).and_then(single_of).filter(|n| *n != 0);
            add(
                "ioctl value",
                2,
                written.and_then(|_| add_to_single(arg(2)?, 1)),
            );
        }
        "poll" => {
            let Some(Expr::List(entries)) = arg(0) else {
                return;
            };
            for at in 0..entries.len() {
                let mut entries = entries.clone();
                let done = toggle(&mut entries[at], "revents", NO_EVENT);
                add("revents", 0, done.then_some(Expr::List(entries)));
            }
        }
        "epoll_wait" if value(&call.result) != Some(0) => {
            for (what, name) in [
                ("epoll events", "events"),
                ("epoll data", "u32"),
                ("epoll data", "fd"),
                ("epoll data", "u64"),
                ("epoll data", "ptr"),
            ] {
                let mut event = match arg(1) {
                    Some(Expr::List(events)) => events.first().cloned(),
                    other => other.cloned(),
                };
                let has = event.as_ref().is_some_and(|event| has_field(event, name));
                let done = has
                    && event
                        .as_mut()
                        .is_some_and(|event| toggle(event, name, NO_EVENT));
                add(what, 1, event.filter(|_| done));
            }
        }
        "recvmsg" => {
            for (what, wrong) in messages(arg(1)) {
                add(what, 1, Some(wrong));
            }
        }
        _ => {}
    }
}

fn single_of(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::List(items) if items.len() == 1 => value(&items[0]),
        _ => None,
    }
}

fn add_to_single(expr: &Expr, by: i64) -> Option<Expr> {
    single_of(expr).map(|n| Expr::List(vec![Expr::Int(n + by)]))
}

fn other_value(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Str(bytes) => {
            let mut bytes = bytes.clone();
            *bytes.first_mut()? ^= 1;
            Some(Expr::Str(bytes))
        }
        Expr::Struct(_) => {
            let mut wrong = expr.clone();
            toggle(&mut wrong, "linger", 1).then_some(wrong)
        }
        other => add_to_single(other, 1),
    }
}

fn has_field(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Struct(fields) if fields.iter().any(|field| field.name.as_deref() == Some(name)))
}

/// Changes bits of a field, which is 0 if it is not written.
fn toggle(expr: &mut Expr, name: &str, bits: i64) -> bool {
    let Expr::Struct(fields) = expr else {
        return false;
    };
    match fields
        .iter_mut()
        .find(|field| field.name.as_deref() == Some(name))
    {
        Some(field) => match value(&field.value) {
            Some(now) => {
                field.value = Expr::Int(now ^ bits);
                true
            }
            None => false,
        },
        None => {
            fields.push(Field {
                name: Some(name.to_owned()),
                args: Vec::new(),
                value: Expr::Int(bits),
            });
            true
        }
    }
}

/// Wrong flags of a received message, one control message too many, and wrong control messages.
fn messages(written: Option<&Expr>) -> Vec<(&'static str, Expr)> {
    let mut list = Vec::new();
    let Some(message @ Expr::Struct(fields)) = written else {
        return list;
    };
    let mut flags = message.clone();
    if toggle(&mut flags, "msg_flags", NO_FLAG) {
        list.push(("msg_flags", flags));
    }
    let Some(at) = fields
        .iter()
        .position(|field| field.name.as_deref() == Some("msg_control"))
    else {
        return list;
    };
    let Expr::List(control) = &fields[at].value else {
        return list;
    };
    let with = |control: Vec<Expr>| {
        let mut fields = fields.clone();
        fields[at].value = Expr::List(control);
        Expr::Struct(fields)
    };
    if let Some(first) = control.first() {
        let mut more = control.clone();
        more.push(first.clone());
        list.push(("one control message more", with(more)));
    }
    for (at, one) in control.iter().enumerate() {
        for name in ["cmsg_level", "cmsg_type"] {
            let mut wrong = one.clone();
            if toggle(&mut wrong, name, NO_EVENT) {
                let mut control = control.clone();
                control[at] = wrong;
                list.push((name_of(name), with(control)));
            }
        }
        for wrong in data_mutants(one) {
            let mut control = control.clone();
            control[at] = wrong;
            list.push(("cmsg_data", with(control)));
        }
    }
    list
}

fn name_of(name: &str) -> &'static str {
    match name {
        "cmsg_level" => "cmsg_level",
        _ => "cmsg_type",
    }
}

/// Control messages with other data. Times that are 0 are not looked at.
fn data_mutants(written: &Expr) -> Vec<Expr> {
    let Expr::Struct(fields) = written else {
        return Vec::new();
    };
    let Some(at) = fields
        .iter()
        .position(|field| field.name.as_deref() == Some("cmsg_data"))
    else {
        return Vec::new();
    };
    let with = |data: Expr| {
        let mut fields = fields.clone();
        fields[at].value = data;
        Expr::Struct(fields)
    };
    match &fields[at].value {
        data @ Expr::Struct(parts) => parts
            .iter()
            .filter_map(|part| part.name.as_deref())
            .filter(|name| name.starts_with("ee_") || name.starts_with("TCP_NLA_"))
            .filter_map(|name| {
                let mut wrong = data.clone();
                toggle(&mut wrong, name, 0x40).then(|| with(wrong))
            })
            .collect(),
        other => value(other)
            .map(|n| with(Expr::Int(n + 1)))
            .into_iter()
            .collect(),
    }
}
