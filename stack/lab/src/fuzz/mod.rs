//! Bodies of the fuzz targets in `stack/fuzz`: any bytes are a sequence of frames, pauses and socket calls.
//!
//! A finding is a panic: the stack's own, or one of the promises checked here (what is sent is well-formed, time
//! passes, and a closed application with a silent peer leaves nothing behind). The corpora are replayed as a test;
//! [`seeds`] makes their first members.

mod peer;
mod play;
pub mod seeds;
pub mod tape;

use millrace_net::link::LinkKind;

use play::Player;
use tape::Tape;

/// Frames into a stack that listens, over Ethernet.
pub fn listening(data: &[u8]) {
    Player::listening(LinkKind::Ethernet).play(&mut Tape::new(data));
}

/// Frames into a stack with an established connection, over a link without link addresses. The first two bytes choose
/// the options of the handshake.
pub fn established(data: &[u8]) {
    let mut tape = Tape::new(data);
    let options = tape.byte().unwrap_or(0);
    let detail = tape.byte().unwrap_or(0);
    let mut player = Player::listening(LinkKind::Ip);
    // Template 4 is a SYN with everything, 6 one with a segment size only, 0 one without options.
    player.establish(0, [4, 4, 6, 0][usize::from(options % 4)], detail);
    player.play(&mut tape);
}
