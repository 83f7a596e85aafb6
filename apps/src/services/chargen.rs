//! Character generator (RFC 864): sends lines of 72 characters, each one place further in the alphabet, until the peer
//! ends the connection. What the peer sends is thrown away.

use millrace::Instant;

use super::{Activity, Behaviour, Flow, Io, Read, Sent};

/// The printable characters, of which each line shows 72.
const ALPHABET: usize = 95;
const LINE: usize = 72 + 2;

/// Bytes after which everything repeats.
const PERIOD: usize = ALPHABET * LINE;

/// Periods held ready, so that one send offers much.
const PERIODS: usize = 9;

/// The behaviour.
pub struct Chargen {
    text: Vec<u8>,
}

/// Where in the period a connection is.
pub struct Place(usize);

impl Chargen {
    /// Prepares the text.
    pub fn new() -> Self {
        Self {
            text: (0..PERIOD * PERIODS).map(byte_at).collect(),
        }
    }
}

impl Default for Chargen {
    fn default() -> Self {
        Self::new()
    }
}

/// The byte at `offset` of the stream.
pub fn byte_at(offset: usize) -> u8 {
    let (line, column) = (offset / LINE % ALPHABET, offset % LINE);
    match column {
        72 => b'\r',
        73 => b'\n',
        // Below 95.
        column => b' ' + ((line + column) % ALPHABET) as u8,
    }
}

impl Behaviour for Chargen {
    type Conn = Place;

    fn open(&mut self, _: Instant) -> Place {
        Place(0)
    }

    fn data(&mut self, _: &mut Io<'_>, _: &mut [u8], _: &mut Place, bytes: &[u8]) -> (usize, Flow) {
        (bytes.len(), Flow::Open)
    }

    fn pump(&mut self, io: &mut Io<'_>, scratch: &mut [u8], place: &mut Place) -> Flow {
        loop {
            match io.consume(scratch) {
                Read::Some(_) => {}
                Read::Empty => break,
                Read::End => return Flow::Over,
                Read::Broken => return Flow::Broken,
            }
        }
        loop {
            let text = &self.text[place.0..];
            match io.send(text) {
                Sent::All => place.0 = 0,
                Sent::Some(n) => {
                    place.0 = (place.0 + n) % PERIOD;
                    return Flow::Open;
                }
                Sent::Broken => return Flow::Broken,
            }
        }
    }

    /// It would never end by itself.
    fn drain(&mut self, _: &mut Place) -> Flow {
        Flow::Linger
    }

    fn activity(&self, _: &Place) -> Activity {
        Activity::Busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_72_that_rotate() {
        let text = Chargen::new().text;
        let mut lines = text.split(|&b| b == b'\n');
        let first = lines.next().expect("a line");
        assert_eq!(
            (first.len(), first[0], first[71], first[72]),
            (73, b' ', b'g', b'\r')
        );
        assert_eq!(lines.next().expect("a line")[0], b'!');
        assert_eq!(text[PERIOD..2 * PERIOD], text[..PERIOD]);
        assert_eq!(text.len() % PERIOD, 0);
    }
}
