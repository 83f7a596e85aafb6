//! What is to be said on a control connection and has found no room yet: results of many streams are longer than a send
//! buffer is at first.

use millrace::net::MsgFlags;
use millrace::{Instant, SockError, SockId, Stack};

/// Bytes that wait. Bounded by what is said: one set of results.
#[derive(Default, Debug)]
pub struct Outbox(Vec<u8>);

impl Outbox {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Sends what there is room for; when more waits, `OUT` follows.
    ///
    /// # Errors
    ///
    /// What sending says.
    pub fn flush(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        sock: SockId,
    ) -> Result<(), SockError> {
        while !self.0.is_empty() {
            match stack.send(now, sock, &self.0, MsgFlags::NONE) {
                Ok(sent) => drop(self.0.drain(..sent)),
                Err(SockError::WouldBlock | SockError::NoBuffers | SockError::NoMemory) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
