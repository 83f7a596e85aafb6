//! Sending urgent data (MSG_OOB): the urgent pointer stands in every segment before it (Linux `tcp_mark_urg`,
//! `tcp_urg_mode`).

use crate::tcp::sock::TcpSock;
use crate::tcp::sock::hot::Nonagle;
use millrace_wire::seq::SeqNum;
use millrace_wire::tcp::TcpFlags;

/// What was queued last is urgent: SND.UP is the number after it.
pub(crate) fn mark(sk: &mut TcpSock) {
    sk.cold.snd_up = sk.tx.write_seq;
    sk.tx.nonagle.insert(Nonagle::URGENT);
}

/// Flag and pointer of a segment at `seq`.
#[inline]
pub(crate) fn pointer(sk: &TcpSock, seq: SeqNum) -> (TcpFlags, u16) {
    if !sk.tx.nonagle.contains(Nonagle::URGENT) {
        return (TcpFlags::NONE, 0);
    }
    pointer_to(seq, sk.cold.snd_up, sk.tx.snd_nxt)
}

/// As far as the field reaches; beyond, the largest value while it lies in what is about to be sent.
fn pointer_to(seq: SeqNum, snd_up: SeqNum, snd_nxt: SeqNum) -> (TcpFlags, u16) {
    if !seq.before(snd_up) {
        return (TcpFlags::NONE, 0);
    }
    match u16::try_from(snd_up.bytes_since(seq)) {
        Ok(offset) => (TcpFlags::URG, offset),
        Err(_) if (seq + u32::from(u16::MAX)).after(snd_nxt) => (TcpFlags::URG, u16::MAX),
        Err(_) => (TcpFlags::NONE, 0),
    }
}

/// An ACK came: the urgent data may be through.
pub(crate) fn acked(sk: &mut TcpSock) {
    if sk.tx.snd_una.at_or_after(sk.cold.snd_up) {
        sk.tx.nonagle.remove(Nonagle::URGENT);
    }
}

/// A closed window: the peer must hear of urgent data that is near (RFC 9293 §3.8.5).
pub(crate) fn wants_probe(sk: &TcpSock) -> bool {
    let una = sk.tx.snd_una;
    sk.tx.nonagle.contains(Nonagle::URGENT)
        && sk.cold.snd_up.after(una)
        && sk.cold.snd_up.at_or_before(una + u32::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers() {
        let at = |seq, up, nxt| {
            let (flags, pointer) = pointer_to(SeqNum::new(seq), SeqNum::new(up), SeqNum::new(nxt));
            flags.contains(TcpFlags::URG).then_some(pointer)
        };
        assert_eq!(at(100, 110, 100), Some(10));
        assert_eq!(at(109, 110, 110), Some(1));
        assert_eq!(at(110, 110, 110), None);
        assert_eq!(at(0, 0xffff, 0), Some(0xffff));
        assert_eq!(at(0, 0x1_0000, 0), Some(0xffff));
        // Far from the end of what was sent: later segments will tell.
        assert_eq!(at(0, 0x2_0000, 0xffff), None);
        assert_eq!(at(u32::MAX, 2, u32::MAX), Some(3));
    }
}
