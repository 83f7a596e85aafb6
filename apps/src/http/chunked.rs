//! The chunked transfer coding (RFC 9112 §7.1), decoded piece by piece as bytes arrive.

use core::fmt;

/// The longest chunk-size line and the longest trailer field in bytes.
const MAX_LINE: usize = 8 * 1024;

/// Not chunked coding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadChunk;

impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the chunked coding of the body is malformed")
    }
}

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    End,
}

/// A decoder.
#[derive(Debug)]
pub struct Chunked {
    expect: Expect,
}

/// What a step found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded<'a> {
    /// A piece of the body.
    Data(&'a [u8]),
    /// Nothing of the body, but the coding goes on.
    Nothing,
    /// More bytes are needed.
    Hungry,
    /// The body is complete.
    End,
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunked {
    /// At the beginning of a body.
    pub fn new() -> Self {
        Self {
            expect: Expect::Size,
        }
    }

    /// Takes the next element of the coding from the front of `input`: how many bytes it took, and what they were.
    ///
    /// # Errors
    ///
    /// [`BadChunk`]: where the body ends is lost.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Decoded<'a>), BadChunk> {
        match self.expect {
            Expect::End => Ok((0, Decoded::End)),
            _ if input.is_empty() => Ok((0, Decoded::Hungry)),
            Expect::Data(left) => {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - len as u64;
                self.expect = if left == 0 {
                    Expect::DataEnd
                } else {
                    Expect::Data(left)
                };
                Ok((len, Decoded::Data(&input[..len])))
            }
            Expect::Size | Expect::DataEnd | Expect::Trailer => self.line(input),
        }
    }

    fn line<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Decoded<'a>), BadChunk> {
        let Some(end) = input.iter().take(MAX_LINE).position(|&b| b == b'\n') else {
            return if input.len() < MAX_LINE {
                Ok((0, Decoded::Hungry))
            } else {
                Err(BadChunk)
            };
        };
        let line = input[..end].strip_suffix(b"\r").ok_or(BadChunk)?;
        self.expect = match self.expect {
            Expect::Size => match chunk_size(line)? {
                0 => Expect::Trailer,
                size => Expect::Data(size),
            },
            Expect::DataEnd if line.is_empty() => Expect::Size,
            Expect::Trailer if line.is_empty() => Expect::End,
            Expect::Trailer => Expect::Trailer,
            _ => return Err(BadChunk),
        };
        Ok((
            end + 1,
            if self.expect == Expect::End {
                Decoded::End
            } else {
                Decoded::Nothing
            },
        ))
    }
}

/// Hexadecimal digits, perhaps followed by extensions, which are ignored.
fn chunk_size(line: &[u8]) -> Result<u64, BadChunk> {
    let digits = line
        .split(|&b| b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadChunk);
    }
    let digits = core::str::from_utf8(digits).map_err(|_| BadChunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| BadChunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `text` given in pieces of `step` bytes: the body, and whether the end was reached.
    fn decode(text: &[u8], step: usize) -> Result<(Vec<u8>, bool), BadChunk> {
        let (mut chunked, mut body, mut buffer) = (Chunked::new(), Vec::new(), Vec::new());
        for piece in text.chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                let (used, decoded) = chunked.step(&buffer)?;
                if let Decoded::Data(data) = decoded {
                    body.extend_from_slice(data);
                }
                let (done, hungry) = (decoded == Decoded::End, decoded == Decoded::Hungry);
                buffer.drain(..used);
                if done {
                    return Ok((body, true));
                }
                if hungry {
                    break;
                }
            }
        }
        Ok((body, false))
    }

    #[test]
    fn in_pieces_of_any_size() {
        let text = b"5\r\nhello\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext";
        for step in 1..=text.len() {
            assert_eq!(
                decode(text, step),
                Ok((b"hello0123456789".to_vec(), true)),
                "{step}"
            );
        }
    }

    #[test]
    fn a_cut_body_has_no_end() {
        assert_eq!(decode(b"5\r\nhel", 100), Ok((b"hel".to_vec(), false)));
        assert_eq!(
            decode(b"5\r\nhello\r\n0\r\n", 100),
            Ok((b"hello".to_vec(), false))
        );
    }

    #[test]
    fn malformed_coding_is_found() {
        for text in [
            "x\r\n",
            "\r\n",
            "5\nhello",
            "5\r\nhelloworld\r\n",
            "11111111111111111\r\n",
            "-1\r\n",
        ] {
            assert_eq!(decode(text.as_bytes(), 100), Err(BadChunk), "{text:?}");
        }
        assert_eq!(decode(&[b'1'; MAX_LINE], MAX_LINE), Err(BadChunk));
    }
}
