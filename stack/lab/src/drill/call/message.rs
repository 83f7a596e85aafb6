//! The message structure of sendmsg and recvmsg:
//! `{msg_name(...)=..., msg_iov(n)=[{..., len}…], msg_flags=F, msg_control=[…]}`.

use millrace_posix::call::{Cmsg, Received};

use super::args::Args;
use super::cmsg::{self, Clock};
use super::field;
use crate::drill::ast::{Expr, Field};
use crate::drill::symbols::bit_names;
use crate::drill::verdict::Stop;

/// Room for control messages, unless the script says that there is none.
const CONTROL_ROOM: usize = 4096;

/// A written message header.
pub(super) struct Message<'a> {
    /// Total length of the vector.
    pub(super) len: usize,
    /// `msg_flags`.
    pub(super) flags: i32,
    /// `msg_control`, nothing written being none.
    pub(super) control: &'a [Expr],
    /// Whether there is a `msg_name`.
    pub(super) named: bool,
}

impl<'a> Message<'a> {
    pub(super) fn of(args: &Args<'a>, at: usize) -> Result<Self, Stop> {
        let Expr::Struct(fields) = args.expr(at)? else {
            return Err(args.unsupported());
        };
        let known = ["msg_name", "msg_iov", "msg_flags", "msg_control"];
        let is_known = |field: &Field| {
            field
                .name
                .as_deref()
                .is_some_and(|name| known.contains(&name))
        };
        if !fields.iter().all(is_known) {
            return Err(args.unsupported());
        }
        let find = |name: &str| {
            fields
                .iter()
                .find(|field| field.name.as_deref() == Some(name))
        };
        let iov = find("msg_iov").ok_or_else(|| args.unsupported())?;
        let count = iov.args.first().ok_or_else(|| args.unsupported())?;
        let flags = match find("msg_flags") {
            Some(flags) => args.number(&flags.value)?,
            None => 0,
        };
        let control = match find("msg_control").map(|field| &field.value) {
            None => &[],
            Some(Expr::List(list)) => list.as_slice(),
            Some(_) => return Err(args.unsupported()),
        };
        let named = find("msg_name").is_some_and(|name| name.value == Expr::Ellipsis);
        Ok(Self {
            len: args.iovec(&iov.value, count)?,
            flags,
            control,
            named,
        })
    }

    /// The control messages to be sent.
    pub(super) fn outgoing(&self, args: &Args<'_>) -> Result<Vec<Cmsg>, Stop> {
        self.control
            .iter()
            .map(|one| cmsg::encode(args, one))
            .collect()
    }

    /// Room for control messages when receiving.
    pub(super) fn control_room(&self) -> usize {
        CONTROL_ROOM
    }

    /// What differs between the written message and the received one: expected and got.
    pub(super) fn differs(
        &self,
        args: &Args<'_>,
        got: &Received,
        clock: Clock,
    ) -> Result<Option<(String, String)>, Stop> {
        if self.flags != got.flags {
            let shown =
                |flags: i32| format!("msg_flags {}", bit_names("MSG_", flags.cast_unsigned()));
            return Ok(Some((shown(self.flags), shown(got.flags))));
        }
        if self.control.len() != got.control.len() {
            let kinds: Vec<String> = got.control.iter().map(cmsg::kind).collect();
            return Ok(Some((
                format!("{} control messages", self.control.len()),
                format!("{} ({})", got.control.len(), kinds.join(", ")),
            )));
        }
        for (written, got) in self.control.iter().zip(&got.control) {
            if let Some(difference) = cmsg::differs(args, written, got, clock)? {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    }
}

/// The field that a control message must have.
pub(super) fn required<'e>(
    args: &Args<'_>,
    written: &'e Expr,
    name: &str,
) -> Result<&'e Expr, Stop> {
    field(written, name).ok_or_else(|| args.unsupported())
}
