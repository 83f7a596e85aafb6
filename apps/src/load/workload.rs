//! What is said on a connection, and where a reply ends.

use crate::http::chunked::{Chunked, Decoded};
use crate::http::reply::{Framing, Parsed, parse};

/// What connections do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Shape {
    /// Requests and replies on connections that stay open.
    Requests,
    /// A connection for each request.
    Connect,
    /// Send without end.
    Send,
    /// Receive without end.
    Receive,
}

/// How a reply is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyKind {
    /// The bytes of the request.
    Echo,
    /// So many bytes, whatever they are.
    Bytes(usize),
    /// A response of HTTP/1.1.
    Http,
}

/// A workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What connections do.
    pub shape: Shape,
    /// The bytes of a request; of a stream, what is sent over and over.
    pub request: Vec<u8>,
    /// How a reply is recognised.
    pub reply: ReplyKind,
}

impl Workload {
    /// A reader for a new connection.
    pub fn reader(&self) -> Reader {
        match self.reply {
            ReplyKind::Echo => Reader::Echo { got: 0 },
            ReplyKind::Bytes(want) => Reader::Bytes { want, got: 0 },
            ReplyKind::Http => Reader::Http(HttpReader::default()),
        }
    }
}

/// The bytes of a request of `size`: every place differs from its neighbours.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// Finds the ends of replies in what a connection receives.
#[derive(Debug)]
pub enum Reader {
    /// The request must come back.
    Echo {
        /// Bytes of the present reply so far.
        got: usize,
    },
    /// A number of bytes.
    Bytes {
        /// Bytes of a reply.
        want: usize,
        /// Bytes of the present one so far.
        got: usize,
    },
    /// HTTP/1.1.
    Http(HttpReader),
}

impl Reader {
    /// Takes what arrived: how many replies it completed.
    ///
    /// # Errors
    ///
    /// What is wrong with the reply, as the end of a sentence that begins with "the server answered".
    pub fn feed(&mut self, bytes: &[u8], request: &[u8]) -> Result<usize, String> {
        match self {
            Self::Echo { got } => echo(got, bytes, request),
            Self::Bytes { want, got } => {
                let total = *got + bytes.len();
                *got = total % *want;
                Ok(total / *want)
            }
            Self::Http(reader) => reader.feed(bytes),
        }
    }
}

fn echo(got: &mut usize, mut bytes: &[u8], request: &[u8]) -> Result<usize, String> {
    let mut replies = 0;
    while !bytes.is_empty() {
        let len = bytes.len().min(request.len() - *got);
        if bytes[..len] != request[*got..*got + len] {
            return Err(
                "with other bytes than were sent; is it an echo service? (else give --reply-size)"
                    .to_owned(),
            );
        }
        bytes = &bytes[len..];
        *got += len;
        if *got == request.len() {
            *got = 0;
            replies += 1;
        }
    }
    Ok(replies)
}

/// Responses with a length or in chunks.
#[derive(Debug, Default)]
pub struct HttpReader {
    /// What of the present head or chunk line has come and is not complete.
    held: Vec<u8>,
    part: Part,
}

/// Where in a response the next byte stands.
#[derive(Debug, Default)]
enum Part {
    #[default]
    Head,
    Length(u64),
    Chunks(Chunked),
}

/// What one step over the input came to.
enum Step {
    /// So many bytes were used; the response goes on.
    Used(usize),
    /// So many bytes were used, and the response was complete.
    Complete(usize),
    /// What is there is not enough.
    Hungry,
}

impl HttpReader {
    fn feed(&mut self, bytes: &[u8]) -> Result<usize, String> {
        if self.held.is_empty() {
            let (used, replies) = self.take(bytes)?;
            self.held.extend_from_slice(&bytes[used..]);
            return Ok(replies);
        }
        let mut all = core::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let (used, replies) = self.take(&all)?;
        all.drain(..used);
        self.held = all;
        Ok(replies)
    }

    /// Goes over `input` as far as it can: bytes used, responses completed.
    fn take(&mut self, input: &[u8]) -> Result<(usize, usize), String> {
        let (mut at, mut replies) = (0, 0);
        loop {
            match self.step(&input[at..])? {
                Step::Used(used) => at += used,
                Step::Complete(used) => {
                    at += used;
                    replies += 1;
                    self.part = Part::Head;
                }
                Step::Hungry => return Ok((at, replies)),
            }
        }
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, String> {
        if input.is_empty() {
            return Ok(Step::Hungry);
        }
        match &mut self.part {
            Part::Head => self.head(input),
            Part::Length(left) => {
                let used = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *left -= used as u64;
                Ok(if *left == 0 {
                    Step::Complete(used)
                } else {
                    Step::Used(used)
                })
            }
            Part::Chunks(chunked) => {
                let (used, decoded) = chunked.step(input).map_err(|bad| format!("badly: {bad}"))?;
                Ok(match decoded {
                    Decoded::End => Step::Complete(used),
                    Decoded::Hungry => Step::Hungry,
                    Decoded::Data(_) | Decoded::Nothing => Step::Used(used),
                })
            }
        }
    }

    fn head(&mut self, input: &[u8]) -> Result<Step, String> {
        let reply = match parse(input) {
            Parsed::Partial => return Ok(Step::Hungry),
            Parsed::Bad(what) => return Err(format!("with {what}")),
            Parsed::Reply(reply) => reply,
        };
        let used = reply.head_len;
        match reply.code {
            100..=199 => return Ok(Step::Used(used)),
            200..=399 => {}
            code => return Err(format!("{code} {}", reply.reason)),
        }
        match reply.framing {
            Framing::None | Framing::Length(0) => return Ok(Step::Complete(used)),
            Framing::Length(len) => self.part = Part::Length(len),
            Framing::Chunked => self.part = Part::Chunks(Chunked::new()),
            Framing::UntilClose => {
                return Err("without the length of its body; keep-alive needs one".to_owned());
            }
        }
        Ok(Step::Used(used))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_echo_is_compared() {
        let request = pattern(5);
        let mut reader = Reader::Echo { got: 0 };
        assert_eq!(reader.feed(&[0, 1, 2], &request), Ok(0));
        assert_eq!(reader.feed(&[3, 4, 0, 1, 2, 3, 4, 0], &request), Ok(2));
        assert!(reader.feed(&[2], &request).is_err());
    }

    #[test]
    fn replies_of_another_size_are_counted() {
        let mut reader = Reader::Bytes { want: 3, got: 0 };
        assert_eq!(reader.feed(&[9; 2], &[]), Ok(0));
        assert_eq!(reader.feed(&[9; 8], &[]), Ok(3));
    }

    #[test]
    fn an_answer_that_is_no_success_is_told() {
        let mut reader = Reader::Http(HttpReader::default());
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(reader.feed(answer, &[]), Err("404 Not Found".to_owned()));
    }

    #[test]
    fn a_body_until_the_end_is_told() {
        let mut reader = Reader::Http(HttpReader::default());
        assert!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\n", &[]).is_err());
    }

    proptest! {
        #[test]
        fn responses_in_pieces(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
                HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n\
                HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            let mut reader = Reader::Http(HttpReader::default());
            let (mut replies, mut rest) = (0, &text[..]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                replies += reader.feed(piece, &[]).expect("valid");
                rest = after;
            }
            replies += reader.feed(rest, &[]).expect("valid");
            prop_assert_eq!(replies, 4);
        }
    }
}
