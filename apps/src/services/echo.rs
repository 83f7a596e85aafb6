//! Echo (RFC 862): sends back what arrives, straight from the lent frame into the send ring.
//!
//! When the send ring is full nothing is taken any more, so the receive window closes and the peer stops.

use millrace::Instant;

use super::{Activity, Behaviour, Flow, Io, Read, Sent};

/// The behaviour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Behaviour for Echo {
    type Conn = ();

    fn open(&mut self, _: Instant) {}

    fn data(&mut self, io: &mut Io<'_>, _: &mut [u8], (): &mut (), bytes: &[u8]) -> (usize, Flow) {
        match io.send(bytes) {
            Sent::All => (bytes.len(), Flow::Open),
            Sent::Some(n) => (n, Flow::Open),
            Sent::Broken => (bytes.len(), Flow::Broken),
        }
    }

    fn pump(&mut self, io: &mut Io<'_>, scratch: &mut [u8], (): &mut ()) -> Flow {
        loop {
            let waiting = match io.peek(scratch) {
                Read::Some(n) => n,
                Read::Empty => return Flow::Open,
                Read::End => return Flow::Over,
                Read::Broken => return Flow::Broken,
            };
            match io.send(&scratch[..waiting]) {
                Sent::All => io.consume(&mut scratch[..waiting]),
                Sent::Some(0) => return Flow::Open,
                Sent::Some(n) => io.consume(&mut scratch[..n]),
                Sent::Broken => return Flow::Broken,
            };
        }
    }

    /// The peer decides when an echo is over.
    fn drain(&mut self, (): &mut ()) -> Flow {
        Flow::Open
    }

    fn activity(&self, (): &()) -> Activity {
        Activity::Idle
    }
}
