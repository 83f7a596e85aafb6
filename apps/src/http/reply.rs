//! Response heads as the client sees them: status, and how the body is framed (RFC 9112 §6.3).

use super::request::content_length;

/// The longest response head in bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// How the end of a body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    None,
    /// By its length in bytes.
    Length(u64),
    /// By the chunked coding.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// A response head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// The words that came with it.
    pub reason: String,
    /// How the body is framed, if the request was a GET.
    pub framing: Framing,
    /// Where the resource is instead.
    pub location: Option<String>,
    /// Length of the head in bytes.
    pub head_len: usize,
}

/// What the bytes at the front of a connection are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// The beginning of a head.
    Partial,
    /// A whole head.
    Reply(Reply),
    /// No HTTP response: why.
    Bad(String),
}

/// Parses the response head at the front of `input`.
pub fn parse(input: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Response::new(&mut fields);
    match head.parse(input) {
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => Parsed::Partial,
        Ok(httparse::Status::Partial) => {
            Parsed::Bad(format!("a response head longer than {MAX_HEAD} bytes"))
        }
        Ok(httparse::Status::Complete(head_len)) => {
            match framing(head.code.unwrap_or(0), head.headers) {
                Some(framing) => Parsed::Reply(Reply {
                    code: head.code.unwrap_or(0),
                    reason: head.reason.unwrap_or_default().to_owned(),
                    framing,
                    location: field(head.headers, "Location")
                        .map(|value| String::from_utf8_lossy(value).into_owned()),
                    head_len,
                }),
                None => Parsed::Bad("a response whose body length cannot be understood".to_owned()),
            }
        }
        Err(error) => Parsed::Bad(format!("not an HTTP response ({error})")),
    }
}

fn framing(code: u16, fields: &[httparse::Header<'_>]) -> Option<Framing> {
    if matches!(code, 100..=199 | 204 | 304) {
        return Some(Framing::None);
    }
    if let Some(coding) = field(fields, "Transfer-Encoding") {
        return coding
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
            .then_some(Framing::Chunked);
    }
    let mut lengths = fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("Content-Length"));
    let Some(first) = lengths.next() else {
        return Some(Framing::UntilClose);
    };
    let length = content_length(first.value)?;
    lengths
        .all(|other| content_length(other.value) == Some(length))
        .then_some(Framing::Length(length))
}

fn field<'a>(fields: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        match parse(text.as_bytes()) {
            Parsed::Reply(reply) => reply,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn framing_by_the_fields() {
        for (fields, framing) in [
            ("Content-Length: 12\r\n", Framing::Length(12)),
            (
                "Content-Length: 12\r\nContent-Length: 12\r\n",
                Framing::Length(12),
            ),
            (
                "Transfer-Encoding: Chunked\r\nContent-Length: 12\r\n",
                Framing::Chunked,
            ),
            ("", Framing::UntilClose),
        ] {
            assert_eq!(
                reply(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).framing,
                framing,
                "{fields:?}"
            );
        }
        assert_eq!(
            reply("HTTP/1.1 204 No Content\r\n\r\n").framing,
            Framing::None
        );
        assert_eq!(
            reply("HTTP/1.0 100 Continue\r\nContent-Length: 3\r\n\r\n").framing,
            Framing::None
        );
    }

    #[test]
    fn what_cannot_be_framed_is_bad() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        ] {
            assert!(matches!(parse(text.as_bytes()), Parsed::Bad(_)), "{text:?}");
        }
        assert_eq!(parse(b"HTTP/1.1 200 O"), Parsed::Partial);
    }

    #[test]
    fn redirects_say_where() {
        let moved =
            reply("HTTP/1.1 301 Moved Permanently\r\nLocation: /a/\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((moved.code, moved.location.as_deref()), (301, Some("/a/")));
    }
}
