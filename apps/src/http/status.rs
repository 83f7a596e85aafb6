//! The status codes that the server sends (RFC 9110 §15, RFC 6585).

/// A status code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Status {
    /// The request has succeeded.
    Ok = 200,
    /// The directory's name ends with a slash.
    MovedPermanently = 301,
    /// The request is malformed.
    BadRequest = 400,
    /// The file may not be read, or the path leaves the root.
    Forbidden = 403,
    /// There is no such file.
    NotFound = 404,
    /// Only GET and HEAD are served.
    MethodNotAllowed = 405,
    /// The request head is too long.
    HeaderFieldsTooLarge = 431,
    /// Reading failed.
    InternalServerError = 500,
    /// A transfer coding that is not understood.
    NotImplemented = 501,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported = 505,
}

impl Status {
    /// The number.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The words that go with it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::MovedPermanently => "Moved Permanently",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::InternalServerError => "Internal Server Error",
            Self::NotImplemented => "Not Implemented",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}
