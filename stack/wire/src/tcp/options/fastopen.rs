//! The Fast Open option (RFC 7413 §4.1.1), under its own number and under the experimental one of before (RFC 6994).

use super::{OptionsBuf, kind};

/// Shortest and longest cookie, octets.
const COOKIE_LEN: core::ops::RangeInclusive<usize> = 4..=16;
/// Identifier of Fast Open under the experimental option.
const MAGIC: [u8; 2] = [0xf9, 0x89];

/// A Fast Open option: a cookie, or the wish for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FastOpen {
    bytes: [u8; 16],
    len: u8,
    /// It uses the experimental number, 254.
    pub experimental: bool,
}

impl FastOpen {
    /// The wish for a cookie: an option without one.
    pub const fn request(experimental: bool) -> Self {
        Self {
            bytes: [0; 16],
            len: 0,
            experimental,
        }
    }

    /// A cookie of 4 to 16 octets, an even number of them; `None` for another length.
    pub fn cookie(cookie: &[u8], experimental: bool) -> Option<Self> {
        if !COOKIE_LEN.contains(&cookie.len()) || !cookie.len().is_multiple_of(2) {
            return None;
        }
        let mut option = Self::request(experimental);
        option.bytes[..cookie.len()].copy_from_slice(cookie);
        option.len = cookie.len() as u8;
        Some(option)
    }

    /// The cookie; empty in a request.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// No cookie, but the wish for one.
    pub const fn is_request(&self) -> bool {
        self.len == 0
    }

    /// The Fast Open option of a SYN or SYN-ACK. Of several the last one of even length counts; one that is too short
    /// or too long counts as none (Linux `tcp_parse_fastopen_option`).
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut found = None;
        loop {
            match *bytes {
                [kind::NOP, ref behind @ ..] => bytes = behind,
                [kind, len, ..]
                    if kind != kind::EOL && len >= 2 && usize::from(len) <= bytes.len() =>
                {
                    let (option, behind) = bytes.split_at(usize::from(len));
                    let (body, experimental) = match (kind, &option[2..]) {
                        (kind::FASTOPEN, body) => (Some(body), false),
                        (kind::EXPERIMENTAL, body) => (body.strip_prefix(&MAGIC), true),
                        _ => (None, false),
                    };
                    match body {
                        Some([]) => found = Some(Self::request(experimental)),
                        Some(body) if body.len().is_multiple_of(2) => {
                            found = Self::cookie(body, experimental);
                        }
                        _ => {}
                    }
                    bytes = behind;
                }
                _ => return found,
            }
        }
    }
}

impl OptionsBuf {
    /// A Fast Open option and its padding, which comes behind it. Left out when it does not fit.
    pub fn fast_open(&mut self, option: &FastOpen) -> &mut Self {
        let body = option.as_bytes();
        let base = if option.experimental { 4 } else { 2 };
        let len = base + body.len();
        if len.next_multiple_of(4) > self.room() {
            return self;
        }
        if option.experimental {
            self.raw(&[kind::EXPERIMENTAL, len as u8]).raw(&MAGIC);
        } else {
            self.raw(&[kind::FASTOPEN, len as u8]);
        }
        self.raw(body);
        if !len.is_multiple_of(4) {
            self.raw(&[kind::NOP, kind::NOP]);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        for experimental in [false, true] {
            for len in [4, 6, 8, 10, 12, 14, 16] {
                let option = FastOpen::cookie(&[7; 16][..len], experimental).unwrap();
                let mut buf = OptionsBuf::new();
                buf.mss(1460).fast_open(&option);
                assert!(buf.as_bytes().len().is_multiple_of(4));
                assert_eq!(FastOpen::parse(buf.as_bytes()), Some(option));
            }
            let mut buf = OptionsBuf::new();
            buf.fast_open(&FastOpen::request(experimental));
            assert_eq!(
                FastOpen::parse(buf.as_bytes()),
                Some(FastOpen::request(experimental))
            );
        }
    }

    #[test]
    fn lengths_that_do_not_count() {
        assert_eq!(FastOpen::parse(&[34, 4, 1, 2]), None, "too short");
        assert_eq!(FastOpen::parse(&[34, 20, 0, 0]), None, "cut off");
        let mut long = [9; 20];
        (long[0], long[1]) = (34, 20);
        assert_eq!(FastOpen::parse(&long), None, "too long");
        // An odd length is skipped, and what came before it stays.
        let odd = [34, 6, 1, 2, 3, 4, 34, 7, 1, 2, 3, 4, 5];
        let first = FastOpen::cookie(&[1, 2, 3, 4], false);
        assert_eq!(FastOpen::parse(&odd), first);
        assert_eq!(FastOpen::parse(&[254, 4, 1, 2]), None, "another experiment");
        assert_eq!(FastOpen::parse(&[0, 34, 2]), None, "behind the end");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut buf = OptionsBuf::new();
        buf.raw(&[1; 24]);
        buf.fast_open(&FastOpen::cookie(&[7; 16], false).unwrap());
        assert_eq!(buf.as_bytes().len(), 24);
    }
}
