//! A body of a given size, the same for every request, with prebuilt heads: what benchmarks fetch.
//!
//! The body is a 64 KiB pattern repeated, so a size of many gigabytes costs no memory. The head and the first pattern
//! stand together in one piece of memory, so that a small answer is a single send.

use super::Status;
use super::request::{Persist, Version};
use super::response::{Head, write_head};

/// Bytes after which the body repeats itself.
pub const PERIOD: usize = 64 * 1024;

/// The byte of the body at `offset`.
pub fn byte_at(offset: u64) -> u8 {
    // Below PERIOD, which fits.
    let place = (offset % PERIOD as u64) as usize;
    // Lines of 64 characters, so that a terminal survives it.
    match place % 64 {
        63 => b'\n',
        column => b' ' + ((place / 64 + column) % 95) as u8,
    }
}

/// Which of the prebuilt heads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// HTTP/1.1, the connection stays open.
    Keep11,
    /// HTTP/1.0, the connection stays open.
    Keep10,
    /// The connection is closed.
    Close,
}

impl Variant {
    /// The one for a request.
    pub fn of(version: Version, persist: Persist) -> Self {
        match (version, persist) {
            (_, Persist::Close) => Self::Close,
            (Version::Http11, Persist::Keep) => Self::Keep11,
            (Version::Http10, Persist::Keep) => Self::Keep10,
        }
    }
}

/// One prebuilt answer.
struct Prebuilt {
    /// The head and the beginning of the body.
    front: Vec<u8>,
    head_len: usize,
}

/// The answers.
pub struct FixedBody {
    size: u64,
    keep11: Prebuilt,
    keep10: Prebuilt,
    close: Prebuilt,
    pattern: Vec<u8>,
}

impl FixedBody {
    /// Bodies of `size` bytes.
    pub fn new(size: u64) -> Self {
        let pattern: Vec<u8> = (0..PERIOD as u64).map(byte_at).collect();
        let build = |version, persist| {
            let mut front = Vec::new();
            let head = Head {
                status: Status::Ok,
                content_type: "text/plain",
                content_length: size,
                version,
                persist,
                extra: None,
            };
            write_head(&mut front, &head);
            let head_len = front.len();
            let body = usize::try_from(size).unwrap_or(PERIOD).min(PERIOD);
            front.extend_from_slice(&pattern[..body]);
            Prebuilt { front, head_len }
        };
        Self {
            size,
            keep11: build(Version::Http11, Persist::Keep),
            keep10: build(Version::Http10, Persist::Keep),
            close: build(Version::Http11, Persist::Close),
            pattern,
        }
    }

    /// Length of the answer's head.
    pub fn head_len(&self, variant: Variant) -> u64 {
        self.prebuilt(variant).head_len as u64
    }

    /// Length of the whole answer, head and body.
    pub fn len(&self, variant: Variant) -> u64 {
        self.head_len(variant) + self.size
    }

    /// A stretch of the answer from `from` on, before `end`: as long as memory has it in one piece. Empty at the end.
    pub fn piece(&self, variant: Variant, from: u64, end: u64) -> &[u8] {
        let prebuilt = self.prebuilt(variant);
        let front = usize::try_from(from)
            .ok()
            .and_then(|from| prebuilt.front.get(from..))
            .unwrap_or_default();
        let piece = if front.is_empty() {
            let offset = from.saturating_sub(prebuilt.head_len as u64) % PERIOD as u64;
            // Below PERIOD, which fits.
            &self.pattern[offset as usize..]
        } else {
            front
        };
        let left = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        &piece[..piece.len().min(left)]
    }

    fn prebuilt(&self, variant: Variant) -> &Prebuilt {
        match variant {
            Variant::Keep11 => &self.keep11,
            Variant::Keep10 => &self.keep10,
            Variant::Close => &self.close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_whole() {
        for size in [
            0,
            1,
            100,
            PERIOD as u64 - 1,
            PERIOD as u64,
            PERIOD as u64 + 1,
            3 * PERIOD as u64 + 7,
        ] {
            let fixed = FixedBody::new(size);
            for variant in [Variant::Keep11, Variant::Keep10, Variant::Close] {
                let (mut whole, end) = (Vec::new(), fixed.len(variant));
                while !fixed.piece(variant, whole.len() as u64, end).is_empty() {
                    whole.extend_from_slice(fixed.piece(variant, whole.len() as u64, end));
                }
                assert_eq!(whole.len() as u64, end);
                let body = &whole[fixed.head_len(variant) as usize..];
                assert_eq!(body.len() as u64, size);
                assert!((0..).zip(body).all(|(at, &b)| b == byte_at(at)), "{size}");
                assert!(whole.starts_with(b"HTTP/1.1 200 OK\r\n"));
            }
        }
    }

    #[test]
    fn the_head_alone() {
        let fixed = FixedBody::new(1000);
        let head = fixed.piece(Variant::Keep11, 0, fixed.head_len(Variant::Keep11));
        assert!(head.ends_with(b"Content-Length: 1000\r\n\r\n"));
    }
}
