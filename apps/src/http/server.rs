//! The service that answers requests: from a prebuilt body, or from a directory.
//!
//! A request that arrives whole in one frame is parsed where it lies and answered into the send ring: nothing is
//! allocated and nothing copied but the answer. A request that arrives in pieces waits in the receive ring until it is
//! whole. While an answer does not fit into the send ring nothing more is read, so a client that pipelines without
//! reading stops itself. Files are read in pieces, as room for them comes.

mod answer;

use std::io;
use std::path::Path;

use millrace::Instant;
use millrace::net::Readiness;

use self::answer::{Answer, Then};
use super::Status;
use super::fixed::{FixedBody, Variant};
use super::request::{MAX_HEAD, Method, Parsed, Persist, Request, parse};
use super::response::{Head, write_head};
use super::root::{Found, Root};
use crate::services::{Activity, Behaviour, Flow, Io, Read};

/// What is served.
enum Content {
    /// The same body for `/`, nothing else.
    Fixed(FixedBody),
    /// Files.
    Root(Root),
}

/// The behaviour.
pub struct Http {
    content: Content,
    state: State,
}

/// Whether the program is about to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    Draining,
}

/// What is remembered of a connection.
#[derive(Default)]
pub struct Conn {
    /// What is still to be sent.
    answer: Answer,
    /// Bytes of a request's body that are still to come.
    skip: u64,
    /// What follows when the answer is out.
    then: Ending,
}

/// What follows an answer.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Ending {
    /// The next request.
    #[default]
    Next,
    /// The end: the client has been told, and nothing of what it sent matters any more.
    End,
}

impl Http {
    /// Serves a body of `size` bytes as `/`.
    pub fn fixed(size: u64) -> Self {
        Self {
            content: Content::Fixed(FixedBody::new(size)),
            state: State::Serving,
        }
    }

    /// Serves the files below `dir`.
    ///
    /// # Errors
    ///
    /// When `dir` does not exist, is no directory, or may not be read.
    pub fn root(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            content: Content::Root(Root::open(dir)?),
            state: State::Serving,
        })
    }

    /// Answers the requests at the front of `bytes` until one answer does not fit: how many bytes were used.
    fn requests(
        &mut self,
        io: &mut Io<'_>,
        scratch: &mut [u8],
        conn: &mut Conn,
        bytes: &[u8],
    ) -> (usize, Flow) {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            if conn.skip > 0 {
                let skipped = usize::try_from(conn.skip)
                    .unwrap_or(usize::MAX)
                    .min(rest.len());
                conn.skip -= skipped as u64;
                used += skipped;
                continue;
            }
            if conn.then == Ending::End {
                // Said and done: whatever still comes is not read.
                return (bytes.len(), Flow::Open);
            }
            if !conn.answer.is_out() {
                break;
            }
            match parse(rest) {
                Parsed::Partial => break,
                Parsed::Request(request, head_len) => {
                    used += head_len;
                    self.prepare(conn, &request);
                }
                Parsed::Refused(status) => {
                    used = bytes.len();
                    conn.then = Ending::End;
                    conn.answer = Answer::error(status, None);
                }
            }
            match self.push(io, scratch, conn) {
                Flow::Open => {}
                flow => return (used, flow),
            }
        }
        (used, Flow::Open)
    }

    /// Decides on the answer to a request.
    fn prepare(&mut self, conn: &mut Conn, request: &Request<'_>) {
        let persist = if self.state == State::Draining {
            Persist::Close
        } else {
            request.persist
        };
        conn.skip = request.body_len;
        if persist == Persist::Close {
            conn.then = Ending::End;
        }
        let request = Request {
            persist,
            ..*request
        };
        conn.answer = match (&self.content, request.method) {
            (_, Method::Other) => Answer::error(Status::MethodNotAllowed, Some(&request)),
            (Content::Fixed(fixed), method) => match request.target.split('?').next() {
                Some("/") => {
                    let variant = Variant::of(request.version, persist);
                    let end = if method == Method::Head {
                        fixed.head_len(variant)
                    } else {
                        fixed.len(variant)
                    };
                    Answer::fixed(variant, end)
                }
                _ => Answer::error(Status::NotFound, Some(&request)),
            },
            (Content::Root(root), _) => from_root(root, &request),
        };
    }

    /// Sends what is to be sent; an answer that ends the connection ends it when it is out.
    fn push(&self, io: &mut Io<'_>, scratch: &mut [u8], conn: &mut Conn) -> Flow {
        let fixed = match &self.content {
            Content::Fixed(fixed) => Some(fixed),
            Content::Root(_) => None,
        };
        match conn.answer.push(io, scratch, fixed) {
            Flow::Open if conn.then == Ending::End && conn.answer.is_out() => Flow::Linger,
            flow => flow,
        }
    }
}

/// The answer from a directory.
fn from_root(root: &Root, request: &Request<'_>) -> Answer {
    let (status, content_type, len, extra, then) = match root.find(request.target) {
        Found::File {
            file,
            len,
            content_type,
        } => (Status::Ok, content_type, len, None, Then::file(file, len)),
        Found::Listing(page) => (
            Status::Ok,
            "text/html; charset=utf-8",
            page.len() as u64,
            None,
            Then::Bytes(page),
        ),
        Found::Redirect(to) => (
            Status::MovedPermanently,
            "text/plain",
            0,
            Some(to),
            Then::Nothing,
        ),
        Found::Refused(status) => return Answer::error(status, Some(request)),
    };
    let mut head = Vec::with_capacity(256);
    write_head(
        &mut head,
        &Head {
            status,
            content_type,
            content_length: len,
            version: request.version,
            persist: request.persist,
            extra: extra.as_deref().map(|to| ("Location", to)),
        },
    );
    Answer::new(
        head,
        if request.method == Method::Head {
            Then::Nothing
        } else {
            then
        },
    )
}

impl Behaviour for Http {
    type Conn = Conn;

    fn open(&mut self, _: Instant) -> Conn {
        Conn::default()
    }

    fn data(
        &mut self,
        io: &mut Io<'_>,
        scratch: &mut [u8],
        conn: &mut Conn,
        bytes: &[u8],
    ) -> (usize, Flow) {
        self.requests(io, scratch, conn, bytes)
    }

    fn pump(&mut self, io: &mut Io<'_>, scratch: &mut [u8], conn: &mut Conn) -> Flow {
        // One part for requests, which must hold the longest head, the other for files.
        let (input, scratch) = scratch.split_at_mut(MAX_HEAD);
        loop {
            match self.push(io, scratch, conn) {
                Flow::Open if conn.answer.is_out() => {}
                flow => return flow,
            }
            let waiting = match io.peek(input) {
                Read::Some(n) => n,
                Read::Empty => return Flow::Open,
                Read::End => return Flow::Over,
                Read::Broken => return Flow::Broken,
            };
            let (used, flow) = self.requests(io, scratch, conn, &input[..waiting]);
            if used > 0 {
                io.consume(&mut input[..used]);
            }
            if flow != Flow::Open {
                return flow;
            }
            if used == 0 {
                // The beginning of a request stays where it is until more comes or the client has ended.
                return if conn.answer.is_out() {
                    at_end(io)
                } else {
                    Flow::Open
                };
            }
        }
    }

    fn drain(&mut self, conn: &mut Conn) -> Flow {
        self.state = State::Draining;
        match self.activity(conn) {
            Activity::Idle => Flow::Linger,
            Activity::Busy => Flow::Open,
        }
    }

    fn activity(&self, conn: &Conn) -> Activity {
        if conn.answer.is_out() && conn.skip == 0 {
            Activity::Idle
        } else {
            Activity::Busy
        }
    }
}

/// A request that will never be whole ends the connection.
fn at_end(io: &mut Io<'_>) -> Flow {
    match io.stack.readiness(io.sock) {
        Ok(ready) if ready.contains(Readiness::RDHUP) => Flow::Over,
        Ok(_) => Flow::Open,
        Err(_) => Flow::Broken,
    }
}
