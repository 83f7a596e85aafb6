//! An answer on its way out: what of it is still to be handed to the send ring.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::http::Status;
use crate::http::fixed::{FixedBody, Variant};
use crate::http::request::{Method, Persist, Request, Version};
use crate::http::response::{Head, write_head};
use crate::services::{Flow, Io, Sent};

/// An answer, or none.
#[derive(Default)]
pub(super) struct Answer {
    /// The head, then a page in memory.
    bytes: Vec<u8>,
    /// How much of `bytes` is out.
    sent: usize,
    then: Then,
}

/// What follows the head.
#[derive(Default)]
pub(super) enum Then {
    /// Nothing.
    #[default]
    Nothing,
    /// A page in memory.
    Bytes(Vec<u8>),
    /// A prebuilt answer, head included, from `from` to `end`.
    Fixed {
        variant: Variant,
        from: u64,
        end: u64,
    },
    /// A file, from `from` to `end`.
    File {
        file: Box<File>,
        from: u64,
        end: u64,
    },
}

impl Then {
    /// The whole of a file.
    pub(super) fn file(file: File, len: u64) -> Self {
        Self::File {
            file: Box::new(file),
            from: 0,
            end: len,
        }
    }
}

impl Answer {
    pub(super) fn new(head: Vec<u8>, then: Then) -> Self {
        match then {
            Then::Bytes(page) => Self {
                bytes: [head, page].concat(),
                sent: 0,
                then: Then::Nothing,
            },
            then => Self {
                bytes: head,
                sent: 0,
                then,
            },
        }
    }

    pub(super) fn fixed(variant: Variant, end: u64) -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            then: Then::Fixed {
                variant,
                from: 0,
                end,
            },
        }
    }

    /// A short page that says what is wrong. Without a request there was nothing to be understood, and the connection
    /// ends.
    pub(super) fn error(status: Status, request: Option<&Request<'_>>) -> Self {
        let body = format!("{} {}\n", status.code(), status.reason());
        let mut bytes = Vec::with_capacity(256);
        let head = Head {
            status,
            content_type: "text/plain",
            content_length: body.len() as u64,
            version: request.map_or(Version::Http11, |request| request.version),
            persist: request.map_or(Persist::Close, |request| request.persist),
            extra: (status == Status::MethodNotAllowed).then_some(("Allow", "GET, HEAD")),
        };
        write_head(&mut bytes, &head);
        if request.is_none_or(|request| request.method != Method::Head) {
            bytes.extend_from_slice(body.as_bytes());
        }
        Self {
            bytes,
            sent: 0,
            then: Then::Nothing,
        }
    }

    /// Whether everything has been handed over.
    pub(super) fn is_out(&self) -> bool {
        self.sent >= self.bytes.len() && matches!(self.then, Then::Nothing)
    }

    /// Hands over as much as there is room for. `fixed` is what [`Then::Fixed`] means.
    pub(super) fn push(
        &mut self,
        io: &mut Io<'_>,
        scratch: &mut [u8],
        fixed: Option<&FixedBody>,
    ) -> Flow {
        if self.sent < self.bytes.len() {
            match io.send(&self.bytes[self.sent..]) {
                Sent::All => (self.bytes, self.sent) = (Vec::new(), 0),
                Sent::Some(n) => {
                    self.sent += n;
                    return Flow::Open;
                }
                Sent::Broken => return Flow::Broken,
            }
        }
        match &mut self.then {
            Then::Nothing | Then::Bytes(_) => Flow::Open,
            Then::Fixed { variant, from, end } => {
                while let Some(piece) = fixed
                    .map(|fixed| fixed.piece(*variant, *from, *end))
                    .filter(|piece| !piece.is_empty())
                {
                    match io.send(piece) {
                        Sent::All => *from += piece.len() as u64,
                        Sent::Some(n) => {
                            *from += n as u64;
                            return Flow::Open;
                        }
                        Sent::Broken => return Flow::Broken,
                    }
                }
                self.then = Then::Nothing;
                Flow::Open
            }
            Then::File { file, from, end } => match push_file(io, scratch, file, from, *end) {
                Pushed::All => {
                    self.then = Then::Nothing;
                    Flow::Open
                }
                Pushed::Some => Flow::Open,
                Pushed::Broken => Flow::Broken,
            },
        }
    }
}

/// How far a file got.
enum Pushed {
    All,
    Some,
    Broken,
}

/// Reads from disk what there is room for, in pieces of the scratch memory.
fn push_file(io: &mut Io<'_>, scratch: &mut [u8], file: &File, from: &mut u64, end: u64) -> Pushed {
    while *from < end {
        let Ok(room) = io.stack.send_space(io.sock) else {
            return Pushed::Broken;
        };
        let left = usize::try_from(end - *from).unwrap_or(usize::MAX);
        // Without room a byte is tried all the same: the refusal asks for the event that says that there is room.
        let len = room.max(1).min(left).min(scratch.len());
        let read = match file.read_at(&mut scratch[..len], *from) {
            // Shorter than it was: the length that was promised cannot be kept.
            Ok(0) | Err(_) => return Pushed::Broken,
            Ok(read) => read,
        };
        match io.send(&scratch[..read]) {
            Sent::All => *from += read as u64,
            Sent::Some(n) => {
                *from += n as u64;
                return Pushed::Some;
            }
            Sent::Broken => return Pushed::Broken,
        }
    }
    Pushed::All
}
