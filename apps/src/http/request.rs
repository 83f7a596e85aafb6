//! Request heads (RFC 9112 §3, §6, §9).
//!
//! Parsing borrows from the received bytes and allocates nothing. What would let two readers disagree about where a
//! request ends (two lengths, a length beside a transfer coding, two hosts) is refused, not guessed.

use core::mem::MaybeUninit;

use super::Status;

#[cfg(test)]
mod tests;

/// The longest request head in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// The most header fields in a request.
const MAX_FIELDS: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Head and body.
    Get,
    /// The head alone.
    Head,
    /// Anything else: not served.
    Other,
}

/// The version of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Persist {
    /// It stays open (RFC 9112 §9.3).
    Keep,
    /// It is closed.
    Close,
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub method: Method,
    /// The path with its query, starting with `/` (or `*` for methods that are not served).
    pub target: &'a str,
    /// The version.
    pub version: Version,
    /// What becomes of the connection.
    pub persist: Persist,
    /// Bytes of the request's own body, which follow the head.
    pub body_len: u64,
}

/// What the bytes at the front of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<'a> {
    /// The beginning of a head.
    Partial,
    /// A request, and the length of its head in bytes.
    Request(Request<'a>, usize),
    /// Nothing that can be served; what follows cannot be understood either.
    Refused(Status),
}

/// Parses the request at the front of `input`.
pub fn parse(input: &[u8]) -> Parsed<'_> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(input, &mut fields) {
        Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => match understand(&request) {
            Ok(request) => Parsed::Request(request, len),
            Err(status) => Parsed::Refused(status),
        },
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => Parsed::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            Parsed::Refused(Status::HeaderFieldsTooLarge)
        }
        Err(httparse::Error::Version) => Parsed::Refused(Status::VersionNotSupported),
        Err(_) => Parsed::Refused(Status::BadRequest),
    }
}

/// What the header fields say together.
#[derive(Default)]
struct Facts {
    hosts: usize,
    length: Option<u64>,
    close: Option<Persist>,
    expects: bool,
}

fn understand<'a>(head: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Status> {
    let version = if head.version == Some(0) {
        Version::Http10
    } else {
        Version::Http11
    };
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => Method::Other,
    };
    let target = path_of(head.path.unwrap_or_default(), method)?;
    let facts = read_fields(head.headers)?;
    if version == Version::Http11 && facts.hosts != 1 {
        return Err(Status::BadRequest);
    }
    let persist = match (facts.close, version) {
        // A client that waits for `100 Continue` gets the final answer instead; whether its body then comes is
        // unknown, so nothing after it can be understood (RFC 9110 §10.1.1).
        _ if facts.expects => Persist::Close,
        (Some(said), _) => said,
        (None, Version::Http11) => Persist::Keep,
        (None, Version::Http10) => Persist::Close,
    };
    Ok(Request {
        method,
        target,
        version,
        persist,
        body_len: facts.length.unwrap_or(0),
    })
}

fn read_fields(fields: &[httparse::Header<'_>]) -> Result<Facts, Status> {
    let mut facts = Facts::default();
    for field in fields {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        // Told apart by length first: most fields are none of these.
        match field.name.len() {
            4 if is("Host") => facts.hosts += 1,
            6 if is("Expect") => facts.expects = true,
            10 if is("Connection") => facts.close = connection(field.value).or(facts.close),
            14 if is("Content-Length") => {
                let length = content_length(field.value).ok_or(Status::BadRequest)?;
                if facts
                    .length
                    .replace(length)
                    .is_some_and(|before| before != length)
                {
                    return Err(Status::BadRequest);
                }
            }
            17 if is("Transfer-Encoding") => return Err(Status::NotImplemented),
            _ => {}
        }
    }
    if facts.hosts > 1 {
        Err(Status::BadRequest)
    } else {
        Ok(facts)
    }
}

/// The connection options `close` and `keep-alive`; `close` wins.
fn connection(value: &[u8]) -> Option<Persist> {
    let mut said = None;
    for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
        if option.eq_ignore_ascii_case(b"close") {
            return Some(Persist::Close);
        }
        if option.eq_ignore_ascii_case(b"keep-alive") {
            said = Some(Persist::Keep);
        }
    }
    said
}

/// Digits and nothing else (RFC 9112 §6.3).
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(value).ok()?.parse().ok()
}

/// The path of a request target in origin form or absolute form (RFC 9112 §3.2).
fn path_of(target: &str, method: Method) -> Result<&str, Status> {
    if target.starts_with('/') || method == Method::Other {
        return Ok(target);
    }
    let is_http = target
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let after = target
        .get(7..)
        .filter(|_| is_http)
        .ok_or(Status::BadRequest)?;
    Ok(after
        .find('/')
        .and_then(|at| after.get(at..))
        .unwrap_or("/"))
}
