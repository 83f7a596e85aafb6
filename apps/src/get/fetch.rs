//! One GET over a blocking connection of our stack (RFC 9112), the body written as it comes.

use std::io::{self, Write};
use std::net::SocketAddrV4;

use millrace::{Client, ClientError, SockError, Stream};

use super::url::Url;
use crate::http::chunked::{Chunked, Decoded};
use crate::http::reply::{Framing, Parsed, Reply, parse};

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// A complete answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The status code.
    pub code: u16,
    /// Bytes of the body.
    pub body: u64,
}

/// Why there is no complete answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection.
    #[error("cannot connect to {to}: {}", connect_words(.error))]
    Connect {
        /// Where to.
        to: SocketAddrV4,
        /// What the stack says.
        error: ClientError,
    },
    /// The connection broke.
    #[error("the connection to {from} {} after {got} bytes of the body", broken_words(.error))]
    Broken {
        /// Where from.
        from: SocketAddrV4,
        /// Bytes of the body that had come.
        got: u64,
        /// What the stack says.
        error: ClientError,
    },
    /// The connection ended before the answer.
    #[error("the connection was closed by {from} after {got} bytes of the body, which is too short{}", of(.want))]
    Short {
        /// Where from.
        from: SocketAddrV4,
        /// Bytes of the body that had come.
        got: u64,
        /// Bytes that were promised.
        want: Option<u64>,
    },
    /// What came is not HTTP.
    #[error("{from} answered with {what}")]
    Malformed {
        /// Where from.
        from: SocketAddrV4,
        /// What is wrong with it.
        what: String,
    },
    /// The server says no.
    #[error("{from} answered {code} {reason}{}", moved(.location))]
    Refused {
        /// Where from.
        from: SocketAddrV4,
        /// The status code.
        code: u16,
        /// Its words.
        reason: String,
        /// Where the resource is instead.
        location: Option<String>,
    },
    /// The body cannot be written.
    #[error("cannot write the body: {0}")]
    Output(io::Error),
}

fn connect_words(error: &ClientError) -> String {
    match error {
        ClientError::Socket(SockError::Refused) => {
            "connection refused; nothing listens there".to_owned()
        }
        ClientError::Socket(
            SockError::TimedOut
            | SockError::InProgress
            | SockError::WouldBlock
            | SockError::Already,
        ) => "timed out; nobody answers".to_owned(),
        ClientError::Socket(SockError::NetUnreachable) => {
            "no route to it; give one with --gateway or --addr".to_owned()
        }
        ClientError::Socket(SockError::HostUnreachable) => {
            "host unreachable; nobody has this address on the link".to_owned()
        }
        ClientError::Socket(SockError::Interrupted) => "interrupted".to_owned(),
        ClientError::Socket(SockError::Reset) => "connection reset".to_owned(),
        other => other.to_string(),
    }
}

fn broken_words(error: &ClientError) -> String {
    match error {
        ClientError::Socket(SockError::Reset | SockError::BrokenPipe) => {
            "was reset by the peer".to_owned()
        }
        ClientError::Socket(SockError::TimedOut | SockError::WouldBlock) => "timed out".to_owned(),
        ClientError::Socket(SockError::Interrupted) => "was interrupted".to_owned(),
        other => format!("failed ({other})"),
    }
}

fn of(want: &Option<u64>) -> String {
    want.map_or_else(String::new, |want| format!(" ({want} were promised)"))
}

fn moved(location: &Option<String>) -> String {
    location
        .as_ref()
        .map_or_else(String::new, |location| format!("; it is at {location}"))
}

/// Fetches `url` on a connection of its own and writes the body to `out`.
///
/// # Errors
///
/// [`FetchError`]; what had come by then has been written.
pub fn fetch(
    client: &mut Client<'_>,
    url: &Url,
    out: &mut dyn Write,
) -> Result<Fetched, FetchError> {
    let from = url.addr;
    let stream = client
        .connect(from)
        .map_err(|error| FetchError::Connect { to: from, error })?;
    let mut exchange = Exchange {
        stream,
        from,
        buffer: vec![0; PIECE],
        filled: 0,
        body: 0,
    };
    exchange.request(url)?;
    let reply = exchange.head()?;
    if !(200..300).contains(&reply.code) {
        let Reply {
            code,
            reason,
            location,
            ..
        } = reply;
        return Err(FetchError::Refused {
            from,
            code,
            reason,
            location,
        });
    }
    exchange.body(reply.framing, out)?;
    Ok(Fetched {
        code: reply.code,
        body: exchange.body,
    })
}

/// A request under way.
struct Exchange<'w> {
    stream: Stream<'w>,
    from: SocketAddrV4,
    /// What has arrived and is not used yet stands in `buffer[..filled]`.
    buffer: Vec<u8>,
    filled: usize,
    /// Bytes of the body so far.
    body: u64,
}

impl Exchange<'_> {
    fn request(&mut self, url: &Url) -> Result<(), FetchError> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: millrace\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            url.target, url.authority
        );
        match self.stream.send(request.as_bytes()) {
            Ok(sent) if sent == request.len() => Ok(()),
            // So long a request was cut by the timeout.
            Ok(_) => Err(self.broken(SockError::TimedOut.into())),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&self, error: ClientError) -> FetchError {
        FetchError::Broken {
            from: self.from,
            got: self.body,
            error,
        }
    }

    /// Reads more behind what is there: how much, zero at the end.
    fn fill(&mut self) -> Result<usize, FetchError> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.stream.recv(&mut self.buffer[self.filled..]) {
            Ok(n) => {
                self.filled += n;
                Ok(n)
            }
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Forgets the first `used` bytes.
    fn used(&mut self, used: usize) {
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
    }

    /// The final response head; interim ones (100 to 199) are passed over.
    fn head(&mut self) -> Result<Reply, FetchError> {
        loop {
            match parse(&self.buffer[..self.filled]) {
                Parsed::Reply(reply) => {
                    self.used(reply.head_len);
                    if !(100..200).contains(&reply.code) {
                        return Ok(reply);
                    }
                }
                Parsed::Bad(what) => {
                    return Err(FetchError::Malformed {
                        from: self.from,
                        what,
                    });
                }
                Parsed::Partial => {
                    if self.fill()? == 0 {
                        let what = if self.filled == 0 {
                            "nothing"
                        } else {
                            "half a response head"
                        };
                        return Err(FetchError::Malformed {
                            from: self.from,
                            what: what.to_owned(),
                        });
                    }
                }
            }
        }
    }

    fn body(&mut self, framing: Framing, out: &mut dyn Write) -> Result<(), FetchError> {
        match framing {
            Framing::None => Ok(()),
            Framing::Length(want) => self.length(want, out),
            Framing::Chunked => self.chunked(out),
            Framing::UntilClose => self.until_close(out),
        }?;
        out.flush().map_err(FetchError::Output)
    }

    /// Writes the first `len` bytes of what is there.
    fn write(&mut self, len: usize, out: &mut dyn Write) -> Result<(), FetchError> {
        out.write_all(&self.buffer[..len])
            .map_err(FetchError::Output)?;
        self.body += len as u64;
        self.used(len);
        Ok(())
    }

    fn length(&mut self, want: u64, out: &mut dyn Write) -> Result<(), FetchError> {
        loop {
            let left = usize::try_from(want - self.body).unwrap_or(usize::MAX);
            self.write(left.min(self.filled), out)?;
            if self.body == want {
                return Ok(());
            }
            if self.fill()? == 0 {
                return Err(FetchError::Short {
                    from: self.from,
                    got: self.body,
                    want: Some(want),
                });
            }
        }
    }

    fn until_close(&mut self, out: &mut dyn Write) -> Result<(), FetchError> {
        loop {
            self.write(self.filled, out)?;
            if self.fill()? == 0 {
                return Ok(());
            }
        }
    }

    fn chunked(&mut self, out: &mut dyn Write) -> Result<(), FetchError> {
        let mut chunked = Chunked::new();
        let mut at = 0;
        loop {
            let step = chunked.step(&self.buffer[at..self.filled]);
            let (used, decoded) = step.map_err(|bad| FetchError::Malformed {
                from: self.from,
                what: bad.to_string(),
            })?;
            match decoded {
                Decoded::Data(data) => {
                    out.write_all(data).map_err(FetchError::Output)?;
                    self.body += data.len() as u64;
                }
                Decoded::Nothing => {}
                Decoded::End => return Ok(()),
                Decoded::Hungry => {
                    self.used(at);
                    at = 0;
                    if self.fill()? == 0 {
                        return Err(FetchError::Short {
                            from: self.from,
                            got: self.body,
                            want: None,
                        });
                    }
                }
            }
            at += used;
        }
    }
}
