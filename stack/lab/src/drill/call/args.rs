//! The arguments of one call, by position.

use millrace_posix::call::{Buffer, Fd};

use super::Descriptors;
use crate::drill::ast::{Expr, Syscall};
use crate::drill::conn::Conn;
use crate::drill::settings::Settings;
use crate::drill::symbols::value;
use crate::drill::verdict::Stop;

/// Largest buffer of one call, in bytes.
const MAX_BUFFER: i64 = 64 << 20;

/// A call and what its `...` stand for.
#[derive(Clone, Copy)]
pub(in crate::drill) struct Args<'a> {
    pub line: u32,
    pub call: &'a Syscall,
    pub settings: &'a Settings,
    pub fds: &'a Descriptors,
    pub conn: Option<&'a Conn>,
}

impl<'a> Args<'a> {
    /// The runner knows no such form of this call.
    pub(super) fn unsupported(&self) -> Stop {
        Stop::unsupported(
            self.line,
            format!("{}(…) with these arguments", self.call.name),
        )
    }

    pub(super) fn expr(&self, at: usize) -> Result<&'a Expr, Stop> {
        self.call.args.get(at).ok_or_else(|| self.unsupported())
    }

    pub(super) fn is_written(&self, at: usize) -> bool {
        self.call.args.len() > at
    }

    /// A number of the width that the call has for it. Numbers above the signed range are bit patterns.
    pub(super) fn int(&self, at: usize) -> Result<i32, Stop> {
        self.number(self.expr(at)?)
    }

    /// The same of an expression inside of an argument.
    pub(super) fn number(&self, expr: &Expr) -> Result<i32, Stop> {
        let n = value(expr).ok_or_else(|| self.unsupported())?;
        i32::try_from(n)
            .or_else(|_| u32::try_from(n).map(u32::cast_signed))
            .map_err(|_| self.unsupported())
    }

    pub(super) fn int_or(&self, at: usize, default: i32) -> Result<i32, Stop> {
        match self.is_written(at) {
            true => self.int(at),
            false => Ok(default),
        }
    }

    pub(super) fn fd(&self, at: usize) -> Result<Fd, Stop> {
        self.fd_of(self.expr(at)?)
    }

    pub(super) fn fd_of(&self, expr: &Expr) -> Result<Fd, Stop> {
        let number = value(expr).ok_or_else(|| self.unsupported())?;
        Ok(self.fds.live(number))
    }

    /// A length in octets.
    pub(super) fn len(&self, at: usize) -> Result<usize, Stop> {
        self.len_of(self.expr(at)?)
    }

    pub(super) fn len_of(&self, expr: &Expr) -> Result<usize, Stop> {
        match value(expr) {
            Some(len @ 0..=MAX_BUFFER) => Ok(len as usize),
            _ => Err(Stop::unsupported(
                self.line,
                format!("the length of this {}", self.call.name),
            )),
        }
    }

    /// A data pointer and its length: `...` or NULL.
    pub(super) fn buffer(&self, at: usize, len: usize) -> Result<Buffer<usize>, Stop> {
        match self.expr(at)? {
            Expr::Ellipsis => Ok(Buffer::Given(len)),
            Expr::Int(0) => Ok(Buffer::Null(len)),
            _ => Err(self.unsupported()),
        }
    }

    /// The total length of `[{..., 1000}, …]`, whose element count stands in `count`.
    pub(super) fn iovec(&self, vector: &Expr, count: &Expr) -> Result<usize, Stop> {
        let Expr::List(items) = vector else {
            return Err(self.unsupported());
        };
        if value(count) != Some(items.len() as i64) {
            return Err(self.unsupported());
        }
        let mut total = 0;
        for item in items {
            let Expr::Struct(fields) = item else {
                return Err(self.unsupported());
            };
            let [base, len] = fields.as_slice() else {
                return Err(self.unsupported());
            };
            if base.value != Expr::Ellipsis {
                return Err(self.unsupported());
            }
            total += self.len_of(&len.value)?;
        }
        Ok(total)
    }
}

/// Zeros of that length: what all data of a script are.
pub(super) fn zeros(buffer: Buffer<usize>) -> Buffer<Vec<u8>> {
    match buffer {
        Buffer::Given(len) => Buffer::Given(vec![0; len]),
        Buffer::Null(len) => Buffer::Null(len),
    }
}
