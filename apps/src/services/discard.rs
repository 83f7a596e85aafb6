//! Discard (RFC 863): throws away what arrives.

use millrace::Instant;

use super::{Activity, Behaviour, Flow, Io, Read};

/// The behaviour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Behaviour for Discard {
    type Conn = ();

    fn open(&mut self, _: Instant) {}

    fn data(&mut self, _: &mut Io<'_>, _: &mut [u8], (): &mut (), bytes: &[u8]) -> (usize, Flow) {
        (bytes.len(), Flow::Open)
    }

    fn pump(&mut self, io: &mut Io<'_>, scratch: &mut [u8], (): &mut ()) -> Flow {
        loop {
            match io.consume(scratch) {
                Read::Some(_) => {}
                Read::Empty => return Flow::Open,
                Read::End => return Flow::Over,
                Read::Broken => return Flow::Broken,
            }
        }
    }

    /// The peer decides when it has nothing more to throw away.
    fn drain(&mut self, (): &mut ()) -> Flow {
        Flow::Open
    }

    fn activity(&self, (): &()) -> Activity {
        Activity::Idle
    }
}
