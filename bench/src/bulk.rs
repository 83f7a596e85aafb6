//! Bulk over the in-memory pair, MTU 1500, checksums on: one connection, from an application that always has more to one
//! that looks at all and throws it away.

use std::time::Duration;

use millrace_net::{Instant, MsgFlags, Readiness, Service, SockError, SockId, Stack};

use crate::pair::{Wired, accept, said};

/// Bytes that the application hands over at a time.
pub const PIECE: usize = 16 * 1024;
/// Bytes of a full segment: MTU 1500, timestamps.
pub const SEGMENT: u64 = 1448;

/// Sends until enough is sent; counts at the other end.
struct Bulk {
    to_send: u64,
    arrived: u64,
}

impl Service for Bulk {
    fn data(
        &mut self,
        _stack: &mut Stack,
        _now: Instant,
        _sock: SockId,
        _user: u64,
        bytes: &[u8],
    ) -> usize {
        self.arrived += bytes.len() as u64;
        bytes.len()
    }

    fn ready(&mut self, stack: &mut Stack, now: Instant, sock: SockId, _: u64, _: Readiness) {
        accept(stack, now, sock);
    }
}

/// Hands over as much as there is room for.
fn send(wired: &mut Wired, to_send: &mut u64) -> Result<(), String> {
    let piece = [0x5a; PIECE];
    let Some(&sock) = wired.socks.first() else {
        return Ok(());
    };
    while *to_send > 0 {
        let most = (*to_send).min(PIECE as u64) as usize;
        match wired
            .client
            .stack
            .send(wired.now, sock, &piece[..most], MsgFlags::NONE)
        {
            Ok(sent) => *to_send -= sent as u64,
            Err(SockError::WouldBlock) => return Ok(()),
            Err(e) => return Err(said("send", e)),
        }
    }
    Ok(())
}

/// Moves `bytes` bytes. How long it took.
///
/// # Errors
/// A sentence, when the stacks do not get there.
pub fn bulk(bytes: u64) -> Result<Duration, String> {
    let none = || Bulk {
        to_send: 0,
        arrived: 0,
    };
    let (mut near, mut far) = (none(), none());
    let mut wired = Wired::connect(1, &mut near, &mut far)?;
    near.to_send = bytes;
    let begin = std::time::Instant::now();
    let mut idle = 0;
    while far.arrived < bytes {
        send(&mut wired, &mut near.to_send)?;
        let before = far.arrived;
        wired.turn(&mut near, &mut far);
        idle = if far.arrived > before { 0 } else { idle + 1 };
        if idle > 1_000_000 {
            return Err(format!("stuck after {} B", far.arrived));
        }
    }
    Ok(begin.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_arrives() {
        assert!(bulk(3_000_001).is_ok());
    }
}
