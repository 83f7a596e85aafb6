//! Response heads (RFC 9112 §4, §6).

use std::io::Write;

use super::Status;
use super::request::{Persist, Version};

/// What stands in a response head.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The status.
    pub status: Status,
    /// The type of the body.
    pub content_type: &'a str,
    /// The length of the body, which HEAD does not send.
    pub content_length: u64,
    /// The version of the request: what a 1.0 client must be told differs.
    pub version: Version,
    /// What becomes of the connection.
    pub persist: Persist,
    /// One more field: name and value.
    pub extra: Option<(&'static str, &'a str)>,
}

/// Appends the head to `out`.
pub fn write_head(out: &mut Vec<u8>, head: &Head<'_>) {
    let Head {
        status,
        content_type,
        content_length,
        version,
        persist,
        extra,
    } = *head;
    let (code, reason) = (status.code(), status.reason());
    let connection = match (version, persist) {
        (_, Persist::Close) => "Connection: close\r\n",
        (Version::Http10, Persist::Keep) => "Connection: keep-alive\r\n",
        (Version::Http11, Persist::Keep) => "",
    };
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {code} {reason}\r\nServer: millrace\r\nContent-Type: {content_type}\r\nContent-Length: {content_length}\r\n{connection}"
    );
    if let Some((name, value)) = extra {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, persist: Persist, extra: Option<(&'static str, &str)>) -> String {
        let mut out = Vec::new();
        let head = Head {
            status: Status::NotFound,
            content_type: "text/plain",
            content_length: 10,
            version,
            persist,
            extra,
        };
        write_head(&mut out, &head);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn fields_in_order() {
        assert_eq!(
            head(Version::Http11, Persist::Keep, None),
            "HTTP/1.1 404 Not Found\r\nServer: millrace\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n"
        );
    }

    #[test]
    fn the_connection_field_is_said_where_it_is_not_the_default() {
        assert!(
            head(Version::Http11, Persist::Close, None).contains("\r\nConnection: close\r\n\r\n")
        );
        assert!(
            head(Version::Http10, Persist::Close, None).contains("\r\nConnection: close\r\n\r\n")
        );
        assert!(
            head(Version::Http10, Persist::Keep, None)
                .contains("\r\nConnection: keep-alive\r\n\r\n")
        );
        assert!(
            head(Version::Http11, Persist::Keep, Some(("Allow", "GET")))
                .ends_with("\r\nAllow: GET\r\n\r\n")
        );
    }
}
